"""Batches over HTTP go in through one function, which remembers what it answered; the API inserts nothing itself."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    create_answers()
    create_store_batch()
    take_rights_to_insert()


def create_answers() -> None:
    op.execute("""
        create table raw.batch_answers (
            sender text not null,
            idempotency_key text not null,
            request bytea not null,
            load_id bigint not null,
            answer json not null,
            answered_at timestamptz not null default now(),
            primary key (sender, idempotency_key)
        )
    """)
    op.execute("create index on raw.batch_answers (answered_at)")
    op.execute("""
        comment on table raw.batch_answers is
            'What a batch sent with an Idempotency-Key was answered, for the retries of the next 24 hours'
    """)
    op.execute("comment on column raw.batch_answers.sender is 'Name of the API key that sent it'")
    op.execute("comment on column raw.batch_answers.request is 'Digest of the request, to tell a retry from another'")
    op.execute("comment on column raw.batch_answers.answer is 'The answer but for the number of the load'")


def create_store_batch() -> None:
    # The load's figures are counted here and its number is made here: a caller can neither claim records that it did
    # not send nor add to another's load. Answers that are due to go are taken in small portions, and passed over when
    # another batch is at them, so that nobody waits for anybody.
    op.execute("""
        create function raw.store_batch(
            batch json, rejections json, the_sender text, the_key text, the_request bytea, the_answer json,
            out outcome text, out batch_load_id bigint, out first_answer json
        )
        language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
        declare
            earlier raw.batch_answers;
        begin
            if the_key is not null then
                if not pg_try_advisory_xact_lock(hashtextextended(the_sender || chr(10) || the_key, 4)) then
                    outcome := 'in flight';
                    return;
                end if;
                delete from raw.batch_answers where (sender, idempotency_key) in (
                    select sender, idempotency_key from raw.batch_answers
                    where answered_at < now() - interval '24 hours'
                    order by answered_at limit 100 for update skip locked
                );
                select * into earlier from raw.batch_answers
                where sender = the_sender and idempotency_key = the_key
                    and answered_at >= now() - interval '24 hours';
                if found then
                    outcome := case when earlier.request = the_request then 'replayed' else 'another request' end;
                    batch_load_id := earlier.load_id;
                    first_answer := earlier.answer;
                    return;
                end if;
            end if;

            insert into raw.loads (table_name, source, status, records, loaded, rejected, completed_at)
            select
                'hired_employees', 'api', 'complete', records, records - rejected, rejected, now()
            from (select json_array_length(batch), json_array_length(rejections)) as counted (records, rejected)
            returning load_id into batch_load_id;

            insert into raw.hired_employees (_load_id, _record, id, name, datetime, department_id, job_id)
            select batch_load_id, hire.record, hire.id, hire.name, hire.datetime, hire.department_id, hire.job_id
            from rows from (
                json_to_recordset(batch) as (id text, name text, datetime text, department_id text, job_id text)
            ) with ordinality as hire (id, name, datetime, department_id, job_id, record)
            where not exists (
                select from json_to_recordset(rejections) as rejection (record bigint)
                where rejection.record = hire.record
            );

            insert into raw.rejected_records (
                load_id, record, reason, message, byte_from, raw, line, raw_bytes
            )
            select
                batch_load_id, record, reason, message, byte_from, decode(raw, 'base64'), line, raw_bytes
            from json_to_recordset(rejections) as rejection (
                record bigint, reason text, message text, byte_from bigint, raw text, line bigint, raw_bytes bigint
            );

            if the_key is not null then
                insert into raw.batch_answers (sender, idempotency_key, request, load_id, answer)
                values (the_sender, the_key, the_request, batch_load_id, the_answer)
                on conflict (sender, idempotency_key) do update set
                    request = excluded.request, load_id = excluded.load_id, answer = excluded.answer,
                    answered_at = excluded.answered_at;
            end if;
            outcome := 'stored';
            first_answer := the_answer;
        end
        $$
    """)
    op.execute("""
        comment on function raw.store_batch is
            'Stores a batch over HTTP as one complete load: each element a hire, or kept apart if rejections names it'
    """)
    op.execute("revoke all on function raw.store_batch from public")
    op.execute("grant execute on function raw.store_batch to hiring_api")


def take_rights_to_insert() -> None:
    op.execute("""
        revoke insert (table_name, source, status, records, loaded, rejected, completed_at), select (load_id)
        on raw.loads from hiring_api
    """)
    op.execute("revoke insert on raw.hired_employees from hiring_api")
