"""Where a rejected record stands and how long it was, in lines and bytes; whether the ledger adds up, as a view."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    add_lines()
    add_sizes()
    let_abandoned_versions_come_back()
    create_discrepancies()


def add_lines() -> None:
    # The default is for what was loaded before lines were counted.
    op.execute("""
        alter table raw.load_chunks
            add column first_line bigint not null default 1,
            add column lines integer not null default 0
    """)
    op.execute("comment on column raw.load_chunks.first_line is 'Number of its first line in the object, from 1'")
    op.execute("alter table raw.rejected_records add column line bigint")
    op.execute("comment on column raw.rejected_records.line is 'Line in the object with which it begins, from 1'")


def add_sizes() -> None:
    op.execute("alter table raw.rejected_records add column raw_bytes bigint")
    op.execute("update raw.rejected_records set raw_bytes = octet_length(raw)")
    op.execute("alter table raw.rejected_records alter column raw_bytes set not null")
    op.execute("comment on column raw.rejected_records.raw is 'Its bytes as they came; of long ones the first 65,536'")
    op.execute("comment on column raw.rejected_records.raw_bytes is 'How many bytes it had'")


def let_abandoned_versions_come_back() -> None:
    # What an abandoned load had read may be partly another version's: nothing may ever go on from there.
    op.execute("alter table raw.loads drop constraint loads_bucket_key_version_key")
    op.execute("create unique index on raw.loads (bucket, key, version) where status <> 'abandoned'")


def create_discrepancies() -> None:
    op.execute("""
        create view raw.discrepancies as
        with
        stored as (
            select 'departments' as table_name, _load_id as load_id, _record as record from raw.departments
            union all
            select 'jobs', _load_id, _record from raw.jobs
            union all
            select 'hired_employees', _load_id, _record from raw.hired_employees
        ),
        kept as (
            select table_name, load_id, record, 0 as rejected from stored
            union all
            select loads.table_name, load_id, record, 1
            from raw.rejected_records inner join raw.loads using (load_id)
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
            select load_id, sum(records) as records, sum(rejected) as rejected, max(byte_to) as byte_to
            from raw.load_chunks
            group by load_id
        ),
        found as (
            select load_id, count(*) as records, coalesce(sum(rejected), 0) as rejected
            from kept
            group by load_id
        ),
        -- A record belongs to the last chunk that begins before it. One pass in order: a join over ranges would compare
        -- each record with each chunk of its load.
        beginnings_and_records as (
            select load_id, first_record as record, false as is_record, 0 as rejected, chunk from raw.load_chunks
            union all
            select load_id, record, true, rejected, null from kept
        ),
        placed as (
            select
                load_id, is_record, rejected,
                max(chunk) over (partition by load_id order by record, is_record rows unbounded preceding) as chunk
            from beginnings_and_records
        ),
        found_in_chunk as (
            select load_id, chunk, count(*) filter (where is_record) as records, sum(rejected) as rejected
            from placed
            where chunk is not null
            group by load_id, chunk
        )
        select load_id, record, 'is kept more than once' as complaint
        from kept group by load_id, record having count(*) > 1
        union all
        select kept.load_id, kept.record, 'is of no load of its table'
        from kept
        left join raw.loads on kept.load_id = loads.load_id and kept.table_name = loads.table_name
        where loads.load_id is null
        union all
        select c.load_id, c.first_record, 'begins a chunk that leaves a gap or overlaps'
        from chunks as c
        where (c.chunk, c.byte_from, c.first_record) <> (c.chunk_due, c.byte_due, c.record_due)
            or c.byte_to < c.byte_from
        union all
        select c.load_id, c.first_record, 'begins a chunk that counts other records than there are'
        from raw.load_chunks as c
        inner join found_in_chunk as f on c.load_id = f.load_id and c.chunk = f.chunk
        where (c.records, c.rejected) <> (f.records, f.rejected)
        union all
        select l.load_id, null, 'is a load that counts other records than there are'
        from raw.loads as l
        left join found on l.load_id = found.load_id
        left join counted on l.load_id = counted.load_id
        where
            (
                l.status = 'complete'
                and (l.records, l.rejected) <> (coalesce(found.records, 0), coalesce(found.rejected, 0))
            )
            or (
                l.source = 'object'
                and (coalesce(counted.records, 0), coalesce(counted.rejected, 0))
                <> (coalesce(found.records, 0), coalesce(found.rejected, 0))
            )
        union all
        select l.load_id, null, 'is a load whose chunks are not the whole object'
        from raw.loads as l
        left join counted on l.load_id = counted.load_id
        where
            l.status = 'complete' and l.source = 'object'
            and lower(l.key) not like '%.gz' and coalesce(counted.byte_to, 0) <> l.bytes
    """)
    op.execute("""
        comment on view raw.discrepancies is
            'Whatever does not add up between the ledger and the records. Nothing is ever to be found here'
    """)
    op.execute("grant select on raw.discrepancies to hiring_loader, hiring_transformer")
