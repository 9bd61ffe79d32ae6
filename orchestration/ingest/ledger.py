"""The ledger in schema raw: which object versions were loaded and how far. It is the only progress there is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from orchestration.ingest.objects import ObjectVersion
from orchestration.ingest.records import Chunk, Position
from orchestration.ingest.tables import Table

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Load:
    """A load that has not come to its end: its columns once they are known, and where its next chunk begins."""

    load_id: int
    columns: tuple[str, ...] | None
    position: Position


@dataclass(frozen=True)
class Rejection:
    """A record that cannot be a row of its table: why, where it begins in the object's text, its bytes."""

    record: int
    reason: str
    message: str
    byte_from: int
    raw: bytes


@dataclass(frozen=True)
class Totals:
    """A complete load's records: all, and those of them that were rejected."""

    records: int
    rejected: int


@contextmanager
def sole_writer(connection: Connection, table: Table) -> Iterator[None]:
    """Hold the right to load into a table for the length of a block; a second loader waits for the first."""
    lock = ["raw." + table.name]
    connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", lock)
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", lock)


def unloaded(connection: Connection, versions: Sequence[ObjectVersion]) -> list[ObjectVersion]:
    """Return those of the versions that still want loading: neither complete nor failed for good."""
    settled = connection.execute(
        """
        select l.key, l.version
        from raw.loads as l
        inner join unnest(%s::text[], %s::text[], %s::text[]) as v (bucket, key, version)
            using (bucket, key, version)
        where l.status in ('complete', 'failed')
        """,
        [[v.bucket for v in versions], [v.key for v in versions], [v.version for v in versions]],
    ).fetchall()
    done = set(settled)
    return [version for version in versions if (version.key, version.version) not in done]


def open_load(connection: Connection, table: Table, item: ObjectVersion) -> Load:
    """Begin the load of an object version, or take it up where its last committed chunk ends."""
    load_id, columns = _one(
        connection.execute(
            """
            insert into raw.loads (table_name, source, bucket, key, version, bytes, last_modified)
            values (%s, 'object', %s, %s, %s, %s, %s)
            on conflict (bucket, key, version) do update set status = 'loading', error = null
            returning load_id, columns
            """,
            [table.name, item.bucket, item.key, item.version, item.size, item.last_modified],
        ).fetchone()
    )
    position = (
        connection.cursor(row_factory=class_row(Position))
        .execute(
            """
            select chunk + 1 as chunk, first_record + records as record, byte_to as byte
            from raw.load_chunks
            where load_id = %s
            order by load_chunks.chunk desc
            limit 1
            """,
            [load_id],
        )
        .fetchone()
    )
    return Load(load_id, tuple(columns) if columns else None, position or Position())


def record_columns(connection: Connection, load: Load, columns: tuple[str, ...]) -> None:
    """Keep the order of the object's columns, which only its beginning tells."""
    connection.execute("update raw.loads set columns = %s where load_id = %s", [list(columns), load.load_id])


def record_chunk(connection: Connection, load: Load, chunk: Chunk, rejections: Sequence[Rejection]) -> None:
    """Enter a chunk and what it rejected. Belongs into the transaction that copies its rows."""
    connection.execute(
        """
        insert into raw.load_chunks (load_id, chunk, first_record, records, rejected, byte_from, byte_to)
        values (%s, %s, %s, %s, %s, %s, %s)
        """,
        [
            load.load_id,
            chunk.number,
            chunk.first_record,
            len(chunk.records),
            len(rejections),
            chunk.byte_from,
            chunk.byte_to,
        ],
    )
    if rejections:
        connection.cursor().executemany(
            """
            insert into raw.rejected_records (load_id, record, reason, message, byte_from, raw)
            values (%s, %s, %s, %s, %s, %s)
            """,
            [(load.load_id, r.record, r.reason, r.message, r.byte_from, r.raw) for r in rejections],
        )


def complete(connection: Connection, load: Load) -> Totals:
    """Mark a load complete: from here on its records count. Durable when this returns."""
    with connection.transaction():
        connection.execute("set local synchronous_commit = on")
        return Totals(
            *_one(
                connection.execute(
                    """
                    update raw.loads
                    set
                        status = 'complete',
                        records = total.records,
                        loaded = total.records - total.rejected,
                        rejected = total.rejected,
                        completed_at = clock_timestamp()
                    from (
                        select
                            coalesce(sum(records), 0) as records,
                            coalesce(sum(rejected), 0) as rejected
                        from raw.load_chunks
                        where load_id = %(load_id)s
                    ) as total
                    where loads.load_id = %(load_id)s
                    returning loads.records, loads.rejected
                    """,
                    {"load_id": load.load_id},
                ).fetchone()
            )
        )


def end_load(connection: Connection, load: Load, status: str, error: str) -> None:
    """Note why a load did not get to its end; status is loading (to be tried again), failed or abandoned."""
    connection.execute("update raw.loads set status = %s, error = %s where load_id = %s", [status, error, load.load_id])


def abandon_others(connection: Connection, table: Table, bucket: str, tried: Sequence[int]) -> None:
    """Abandon the unfinished loads of a table whose versions are gone from the bucket: all but the `tried` ones."""
    connection.execute(
        """
        update raw.loads
        set status = 'abandoned', error = coalesce(error, 'the object was overwritten or deleted before it was loaded')
        where status = 'loading' and bucket = %s and table_name = %s and load_id <> all(%s)
        """,
        [bucket, table.name, list(tried)],
    )


def _one(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    assert row is not None, "the statement returns a row whatever the data"
    return row
