-- Numbers taken in a transaction come in the order in which they are asked for, not
-- in that of the commits: a reader could see 6, take everything up to it as read, and
-- miss the 5 that commits later. Deferred to the commit and under a lock until its
-- end, the two orders are one, and nobody waits longer than for another's commit.
create or replace function raw.number_completion() returns trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('raw.completions', 0));
    update raw.loads set completion = nextval('raw.completions')
    where load_id = new.load_id and status = 'complete' and completion is null;
    return null;
end
$$;

comment on function raw.number_completion is
    'Numbers a load that is complete, in the order of commits (trigger on raw.loads)';

revoke all on function raw.number_completion() from public;
