-- For batches over HTTP only, not for files.
create or replace function raw.find_batch(
    the_load_id bigint,
    out records bigint, out malformed bigint, out completed_at timestamptz
)
returns setof record
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select
        loads.records,
        coalesce(loads.malformed, loads.rejected),
        loads.completed_at
    from raw.loads
    where loads.load_id = the_load_id and loads.source = 'api'
$$;

comment on function raw.find_batch is
    'Number of records of a batch over HTTP, number of rejected ones, and when it was stored';

revoke all on function raw.find_batch from public;
grant execute on function raw.find_batch to hiring_api;
