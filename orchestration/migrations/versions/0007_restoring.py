"""The role that puts records back out of an export: it alone may delete from raw, and own nothing."""

from alembic import op

revision = "0007"
down_revision = "0006"

RECORDS = "raw.departments, raw.jobs, raw.hired_employees, raw.load_chunks, raw.rejected_records"


def upgrade() -> None:
    create_role()
    let_it_put_records_back()
    create_continue_numbers_after()


def create_role() -> None:
    # Roles belong to the cluster, not to the database: another database may have made it already, even just now.
    # Until it is given a password nobody can log in as it.
    op.execute("""
        do $$
        begin
            create role hiring_restorer login;
        exception when duplicate_object or unique_violation then
            null;
        end
        $$
    """)


def let_it_put_records_back() -> None:
    op.execute("grant usage on schema raw to hiring_restorer")
    op.execute("grant select on public.alembic_version to hiring_restorer")
    op.execute(f"grant select, insert, delete on {RECORDS} to hiring_restorer")
    op.execute("grant select, insert, update on raw.loads to hiring_restorer")
    # What the marts show has to be built anew after a restore; they themselves are none of its business.
    op.execute("grant usage on schema staging to hiring_restorer")
    op.execute("grant select, delete on staging.progress to hiring_restorer")


def create_continue_numbers_after() -> None:
    # Forwards only: a number that is given out twice would mix two loads up. Whoever is about to take one holds the
    # table's lock, so that between looking and moving nobody takes any.
    op.execute("""
        create function raw.continue_numbers_after(last_load bigint, last_completion bigint) returns void
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
        declare
            numbers record;
        begin
            for numbers in
                select * from (
                    values
                        (pg_get_serial_sequence('raw.loads', 'load_id')::regclass, last_load),
                        ('raw.completions'::regclass, last_completion)
                ) as named (name, last)
            loop
                if numbers.last > coalesce(pg_sequence_last_value(numbers.name), 0) then
                    lock table raw.loads in share row exclusive mode;
                    perform setval(
                        numbers.name, greatest(numbers.last, coalesce(pg_sequence_last_value(numbers.name), 0))
                    );
                end if;
            end loop;
        end
        $$
    """)
    op.execute("""
        comment on function raw.continue_numbers_after is
            'Lets the next load and the next completion have numbers that loads out of an export do not have'
    """)
    op.execute("revoke all on function raw.continue_numbers_after from public")
    op.execute("grant execute on function raw.continue_numbers_after to hiring_restorer")
