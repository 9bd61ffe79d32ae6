"""Malformed and invalid records are counted apart and together, and what becomes of them can be followed."""

from alembic import op

revision = "0012"
down_revision = "0011"

READERS = "hiring_loader, hiring_transformer"


def upgrade() -> None:
    count_invalid_records()
    keep_invalid_records()
    keep_corrections()
    hold_deliveries_back()


def count_invalid_records() -> None:
    # Version 11 still writes `rejected` alone, which for it is the malformed ones; its own check would refuse what
    # this one writes.
    op.execute("""
        do $$
        declare
            accounts name := (
                select conname from pg_constraint
                where conrelid = 'raw.loads'::regclass and pg_get_constraintdef(oid) like '%(loaded + rejected)%'
            );
        begin
            execute format('alter table raw.loads drop constraint %I', accounts);
        end
        $$
    """)
    op.execute("alter table raw.loads add column malformed bigint, add column invalid bigint")
    op.execute("alter table raw.load_chunks add column malformed integer, add column invalid integer")
    op.execute("update raw.loads set malformed = rejected where rejected is not null")
    # What the models have found so far; a load that they have not judged has null, and its next reload counts.
    op.execute("""
        do $$
        begin
            if to_regclass('staging.checked_records') is not null
                and has_table_privilege(to_regclass('staging.checked_records'), 'select')
            then
                update raw.loads
                set invalid = coalesce(judged.invalid, 0), rejected = malformed + coalesce(judged.invalid, 0)
                from staging.loads as published
                left join (
                    select _load_id as load_id, count(*) as invalid
                    from staging.checked_records
                    where disposition = 'rejected'
                    group by _load_id
                ) as judged using (load_id)
                where loads.load_id = published.load_id;
            end if;
        end
        $$
    """)
    op.execute("""
        alter table raw.loads
            add constraint loads_accounts check (records = loaded + coalesce(malformed, rejected)),
            add constraint loads_rejected check (rejected = malformed + invalid)
    """)
    for table in ("loads", "load_chunks"):
        op.execute(f"""
            comment on column raw.{table}.rejected is
                'Records that do not count: malformed and invalid; only the malformed ones where invalid is null'
        """)
        op.execute(f"""
            comment on column raw.{table}.malformed is 'Records that are no rows of their table: raw.rejected_records'
        """)
        op.execute(f"""
            comment on column raw.{table}.invalid is
                'Rows that break a rule of the contract as it was during the load: raw.invalid_records'
        """)
    op.execute("alter table raw.rejected_records add column delivered jsonb")
    op.execute("comment on column raw.rejected_records.delivered is 'What can be read of its fields, by column'")


def keep_invalid_records() -> None:
    op.execute("""
        create table raw.invalid_records (
            load_id bigint not null references raw.loads,
            record bigint not null,
            line bigint not null,
            reasons text[] not null,
            primary key (load_id, record)
        )
    """)
    op.execute("""
        comment on table raw.invalid_records is
            'Rows of objects that break a rule of the contract, as found while loading; dbt decides which rows count'
    """)
    op.execute("comment on column raw.invalid_records.line is 'Line in the object with which it begins, from 1'")
    op.execute("comment on column raw.invalid_records.reasons is 'What is wrong, as field:reason'")
    grant("raw.invalid_records")


def keep_corrections() -> None:
    # Without references: the columns hold what a file says.
    op.execute("""
        create table raw.corrections (
            corrected_load_id bigint not null,
            corrected_record bigint not null,
            load_id bigint,
            record bigint,
            note text,
            recorded_at timestamptz not null default now(),
            check (num_nonnulls(load_id, record) in (0, 2)),
            check (num_nonnulls(load_id, note) = 1)
        )
    """)
    op.execute("create index on raw.corrections (corrected_load_id, corrected_record)")
    op.execute("create index on raw.corrections (load_id)")
    op.execute("""
        comment on table raw.corrections is
            'Which rejected records are dealt with: by a row of a later load, or by somebody who says why'
    """)
    op.execute("comment on column raw.corrections.note is 'Why nothing has to be delivered in its place'")
    grant("raw.corrections")


def grant(table: str) -> None:
    op.execute(f"grant select on {table} to {READERS}")
    op.execute(f"grant insert on {table} to hiring_loader")
    op.execute(f"grant select, insert, delete on {table} to hiring_restorer")


def hold_deliveries_back() -> None:
    op.execute("""
        alter table raw.loads
            drop constraint loads_status_check,
            add constraint loads_status_check
                check (status in ('loading', 'complete', 'held', 'failed', 'abandoned'))
    """)
    op.execute("""
        comment on column raw.loads.status is
            'loading, complete, held (until somebody releases it), failed or abandoned; only what is complete counts'
    """)
