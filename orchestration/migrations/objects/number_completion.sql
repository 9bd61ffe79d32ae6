-- Sequence numbers are assigned in the order of requests, not of commits: a reader
-- could see 6, consider everything up to it as read, and miss a 5 that commits later.
-- Deferred to the commit, under a lock until its end, both orders are the same, and a
-- session waits at most for another one's commit.
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
    'Numbers complete loads in the order of commits (trigger on raw.loads)';

revoke all on function raw.number_completion() from public;
