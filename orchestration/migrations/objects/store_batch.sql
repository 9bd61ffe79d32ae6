-- The load's records are counted and its number is assigned here: a caller can neither
-- claim records that it did not send nor add to another load. Expired answers are
-- deleted in small portions, skipping those that another batch has locked, so that
-- batches never wait for each other.
create or replace function raw.store_batch(
    batch json, rejections json,
    the_sender text, the_key text, the_request bytea, the_answer json,
    out outcome text, out batch_load_id bigint, out first_answer json
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    earlier raw.batch_answers;
begin
    if the_key is not null then
        if not pg_try_advisory_xact_lock(
            hashtextextended(the_sender || chr(10) || the_key, 4)
        ) then
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
            outcome := case
                when earlier.request = the_request then 'replayed'
                else 'another request'
            end;
            batch_load_id := earlier.load_id;
            first_answer := earlier.answer;
            return;
        end if;
    end if;

    insert into raw.loads (
        table_name, source, status, records, loaded,
        malformed, invalid, rejected, completed_at
    )
    select
        'hired_employees', 'api', 'complete', records, records - malformed,
        malformed, 0, malformed, now()
    from (
        select json_array_length(batch), json_array_length(rejections)
    ) as counted (records, malformed)
    returning load_id into batch_load_id;

    -- Only columns of the contract, filled in by migrate: manually added columns keep
    -- their defaults.
    insert into raw.hired_employees (_load_id, _record, {{ batch_columns }})
    select batch_load_id, delivered.ordinality, {{ delivered.batch_columns }}
    from json_populate_recordset(null::raw.hired_employees, batch)
        with ordinality as delivered
    where not exists (
        select from json_to_recordset(rejections) as rejection (record bigint)
        where rejection.record = delivered.ordinality
    );

    insert into raw.rejected_records (
        load_id, record, reason, message, byte_from, raw, line, raw_bytes, delivered
    )
    select
        batch_load_id, record, reason, message, byte_from,
        decode(raw, 'base64'), line, raw_bytes, delivered
    from json_to_recordset(rejections) as rejection (
        record bigint, reason text, message text, byte_from bigint, raw text,
        line bigint, raw_bytes bigint, delivered jsonb
    );

    if the_key is not null then
        insert into raw.batch_answers (
            sender, idempotency_key, request, load_id, answer
        )
        values (the_sender, the_key, the_request, batch_load_id, the_answer)
        on conflict (sender, idempotency_key) do update set
            request = excluded.request, load_id = excluded.load_id,
            answer = excluded.answer, answered_at = excluded.answered_at;
    end if;
    outcome := 'stored';
    first_answer := the_answer;
end
$$;

comment on function raw.store_batch is
    'Stores a batch over HTTP as one complete load: each element as a hire, or rejected if rejections has it';

revoke all on function raw.store_batch from public;
grant execute on function raw.store_batch to hiring_api;
