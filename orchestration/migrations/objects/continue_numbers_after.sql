-- Forwards only: a number that is assigned twice would mix up two loads. Sessions that
-- are about to take a number hold the table's lock, so none is taken between reading
-- and advancing the sequences.
create or replace function raw.continue_numbers_after(
    last_load bigint, last_completion bigint
) returns void
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
                numbers.name,
                greatest(
                    numbers.last, coalesce(pg_sequence_last_value(numbers.name), 0)
                )
            );
        end if;
    end loop;
end
$$;

comment on function raw.continue_numbers_after is
    'Advances the numbers of the next load and completion past those of the loads in an export';

revoke all on function raw.continue_numbers_after from public;
grant execute on function raw.continue_numbers_after to hiring_restorer;
