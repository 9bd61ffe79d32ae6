create or replace view raw.discrepancies as
with

kept as (

    select
        table_name,
        load_id,
        record,
        0 as malformed
    from raw.records
    union all
    select
        loads.table_name,
        load_id,
        record,
        1
    from raw.rejected_records
    inner join raw.loads using (load_id)

),

chunks as (

    select
        *,
        lag(chunk, 1, -1) over in_order + 1 as chunk_due,
        lag(byte_to, 1, 0::bigint) over in_order as byte_due,
        lag(first_record + records, 1, 1::bigint) over in_order as record_due
    from raw.load_chunks
    window in_order as (partition by load_id order by chunk)

),

counted as (

    select
        load_id,
        sum(records) as records,
        sum(coalesce(malformed, rejected)) as malformed,
        sum(invalid) as invalid,
        max(byte_to) as byte_to
    from raw.load_chunks
    group by load_id

),

found as (

    select
        load_id,
        count(*) as records,
        coalesce(sum(malformed), 0) as malformed
    from kept
    group by load_id

),

-- A record belongs to the last chunk that begins before it. A single ordered pass: a
-- range join would compare each record with each chunk of its load.
beginnings_and_records as (

    select
        load_id,
        first_record as record,
        false as is_record,
        0 as malformed,
        0 as invalid,
        chunk
    from raw.load_chunks
    union all
    select
        load_id,
        record,
        true,
        malformed,
        0,
        null
    from kept
    union all
    select
        load_id,
        record,
        false,
        0,
        1,
        null
    from raw.invalid_records

),

placed as (

    select
        load_id,
        is_record,
        malformed,
        invalid,
        max(chunk) over (
            partition by load_id
            order by record, chunk nulls last
            rows unbounded preceding
        ) as chunk
    from beginnings_and_records

),

found_in_chunk as (

    select
        load_id,
        chunk,
        count(*) filter (where is_record) as records,
        sum(malformed) as malformed,
        sum(invalid) as invalid
    from placed
    where chunk is not null
    group by load_id, chunk

)

select
    load_id,
    record,
    'is kept more than once' as complaint
from kept
group by load_id, record
having count(*) > 1
union all
select
    kept.load_id,
    kept.record,
    'is of no load of its table'
from kept
left join raw.loads
    on kept.load_id = loads.load_id and kept.table_name = loads.table_name
where loads.load_id is null
union all
select
    load_id,
    first_record,
    'begins a chunk that leaves a gap or overlaps'
from chunks
where
    (chunk, byte_from, first_record) <> (chunk_due, byte_due, record_due)
    or byte_to < byte_from
union all
select
    load_chunks.load_id,
    load_chunks.first_record,
    'begins a chunk that counts other records than there are'
from raw.load_chunks
inner join found_in_chunk
    on load_chunks.load_id = found_in_chunk.load_id
    and load_chunks.chunk = found_in_chunk.chunk
where
    (load_chunks.records, coalesce(load_chunks.malformed, load_chunks.rejected))
    <> (found_in_chunk.records, found_in_chunk.malformed)
    -- Null for loads from before invalid records were counted.
    or load_chunks.invalid <> found_in_chunk.invalid
union all
select
    loads.load_id,
    null,
    'is a load that counts other records than there are'
from raw.loads
left join found on loads.load_id = found.load_id
left join counted on loads.load_id = counted.load_id
where
    (
        loads.status in ('complete', 'held')
        and (
            (loads.records, coalesce(loads.malformed, loads.rejected))
            <> (coalesce(found.records, 0), coalesce(found.malformed, 0))
            or loads.invalid <> counted.invalid
        )
    )
    or (
        loads.source = 'object'
        and (coalesce(counted.records, 0), coalesce(counted.malformed, 0))
        <> (coalesce(found.records, 0), coalesce(found.malformed, 0))
    )
union all
select
    loads.load_id,
    null,
    'is a load whose chunks are not the whole object'
from raw.loads
left join counted on loads.load_id = counted.load_id
where
    loads.status = 'complete'
    and loads.source = 'object'
    and loads.key !~* '[.](gz|xlsx)$'
    and coalesce(counted.byte_to, 0) <> loads.bytes;

comment on view raw.discrepancies is
    'Contradictions between the ledger and the records; always empty';

grant select on raw.discrepancies to hiring_loader, hiring_transformer;
