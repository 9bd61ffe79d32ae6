create or replace function raw.summarize_new_records(table_name text) returns integer
language sql security definer set search_path = pg_catalog as $$
    select brin_summarize_new_values(
        format('raw.%I', table_name || '__load_id_idx')::regclass
    )
$$;

comment on function raw.summarize_new_records is
    'Adds new pages to the index by load: without it they are all read';

revoke all on function raw.summarize_new_records(text) from public;
grant execute on function raw.summarize_new_records(text) to hiring_transformer;
