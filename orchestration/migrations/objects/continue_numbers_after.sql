-- Forwards only: a number that is given out twice would mix two loads up. Whoever is
-- about to take one holds the table's lock, so that between looking and moving nobody
-- takes any.
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
    'Lets the next load and the next completion have numbers that loads out of an export do not have';

revoke all on function raw.continue_numbers_after from public;
grant execute on function raw.continue_numbers_after to hiring_restorer;
