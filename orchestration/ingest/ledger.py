"""The ledger in schema raw: which object versions were loaded, and how far. Progress is stored nowhere else."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from contracts import Column, LogicalType, Table
from contracts.rules import WHITE_SPACE
from orchestration.database import Connection
from orchestration.ingest.file_format import PROVENANCE, FileFormat
from orchestration.ingest.invalid import InvalidRecord
from orchestration.ingest.objects import ObjectVersion
from orchestration.ingest.records import START, Chunk, Position, Rejection
from orchestration.ingest.rejections import record_corrections, record_invalid, record_malformed

# Whether a load counts for a listed object: any load of the object, or of this version where versions have ids.
COUNTS_FOR_LISTED = "loads.status <> 'abandoned' and (loads.version = listed.version or not listed.has_id)"
# Whether the latest of these is of the listed version. Where versions are dates and sizes, these are compared instead:
# the server may have had ETags when the load began. Some dates are stored to the second.
IS_SAME_VERSION = """(
    latest.version = listed.version
    or listed.is_weak
    and latest.bytes = listed.bytes
    and latest.last_modified in (listed.last_modified, date_trunc('second', listed.last_modified))
)"""

# Whether a later load of the same object has ended, so that how this one ended no longer matters.
IS_REPLACED = """exists (
    select from raw.loads as later
    where
        (later.bucket, later.key) = (loads.bucket, loads.key) and later.load_id > loads.load_id
        and later.status in ('complete', 'failed', 'held')
)"""
# Whether an object is a corrected export of rejected records: it is no snapshot of its table.
IS_CORRECTION = f"coalesce(loads.left_out_columns @> array[{', '.join(map(repr, PROVENANCE))}], false)"

# Of chunks. Those of old loads, before invalid rows were counted, have only `rejected`, the malformed records.
TOTALS = """
    coalesce(sum(records), 0) as records,
    coalesce(sum(coalesce(malformed, rejected)), 0) as malformed,
    coalesce(sum(invalid), 0) as invalid
"""


class LoadStatus(StrEnum):
    """The status of a load, raw.loads.status. Only the records of complete loads count."""

    LOADING = "loading"
    COMPLETE = "complete"
    FAILED = "failed"
    ABANDONED = "abandoned"
    HELD = "held"


@dataclass(frozen=True)
class Totals:
    """Numbers of records: all, malformed ones (not loaded), and invalid ones (loaded, but they break a rule)."""

    records: int = 0
    malformed: int = 0
    invalid: int = 0

    @property
    def rejected(self) -> int:
        """How many records are malformed or invalid."""
        return self.malformed + self.invalid

    def __str__(self) -> str:
        """Return the numbers as a phrase."""
        split = f" ({self.malformed:,} malformed, {self.invalid:,} invalid)" if self.rejected else ""
        return f"{self.records:,} records, {self.rejected:,} rejected{split}"

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(self.records + other.records, self.malformed + other.malformed, self.invalid + other.invalid)


@dataclass(frozen=True)
class Load:
    """A load: its status, its format once that is known, where its next chunk begins, and totals of earlier chunks."""

    load_id: int
    status: LoadStatus
    file_format: FileFormat | None
    position: Position
    totals: Totals


def pending(connection: Connection, versions: Sequence[ObjectVersion]) -> list[ObjectVersion]:
    """Return the versions that are still to be loaded: the object's latest load is of another version, or unfinished.

    An object that is restored to the content before its latest load is loaded again; where versions have ids, that is a
    version of its own. Abandoned loads do not count.
    """
    settled = connection.execute(
        f"""
        select listed.key, listed.version
        from unnest(
            %s::text[], %s::text[], %s::text[], %s::bigint[], %s::timestamptz[], %s::boolean[], %s::boolean[]
        ) as listed (bucket, key, version, bytes, last_modified, is_weak, has_id)
        cross join lateral (
            select * from raw.loads
            where loads.bucket = listed.bucket and loads.key = listed.key and {COUNTS_FOR_LISTED}
            order by load_id desc limit 1
        ) as latest
        where latest.status <> 'loading' and {IS_SAME_VERSION}
        """,  # noqa: S608 - a constant
        [
            [v.bucket for v in versions],
            [v.key for v in versions],
            [v.version for v in versions],
            [v.size for v in versions],
            [v.last_modified for v in versions],
            [v.is_weak for v in versions],
            [v.has_id for v in versions],
        ],
    ).fetchall()
    done = set(settled)
    return [version for version in versions if (version.key, version.version) not in done]


def digest_of_latest(connection: Connection, item: ObjectVersion) -> str | None:
    """Return the digest of an object's latest load if it is complete and has the same size, but another date."""
    row = connection.execute(
        """
        select latest.digest
        from (
            select * from raw.loads where bucket = %s and key = %s and status <> 'abandoned'
            order by load_id desc limit 1
        ) as latest
        where latest.status = 'complete' and latest.bytes = %s and latest.last_modified <> %s
        """,
        [item.bucket, item.key, item.size, item.last_modified],
    ).fetchone()
    return row[0] if row else None


def update_date_of_latest(connection: Connection, item: ObjectVersion) -> None:
    """Set the date of an object's latest load to the object's, since its bytes are the same."""
    connection.execute(
        """
        update raw.loads set last_modified = %s where load_id = (
            select max(load_id) from raw.loads where bucket = %s and key = %s and status <> 'abandoned'
        )
        """,
        [item.last_modified, item.bucket, item.key],
    )


def start_reload(connection: Connection, table: Table, item: ObjectVersion) -> None:
    """Record another load of an object version in addition to complete ones; `open_load` starts it.

    A failed or held load of the version is abandoned in favor of the new one. If one is in progress, that is the
    reload: calling this twice, as after a lost response, records one load.

    Args:
        connection: that commits each statement.
        table: the table that the object is for.
        item: the version to load again.
    """
    version = [item.bucket, item.key, item.version]
    with connection.transaction():
        connection.execute(
            """
            update raw.loads set status = 'abandoned'
            where bucket = %s and key = %s and version = %s and status in ('failed', 'held')
            """,
            version,
        )
        connection.execute(
            """
            insert into raw.loads (table_name, source, bucket, key, version, bytes, last_modified, reload)
            select %s, 'object', %s, %s, %s, %s, %s, coalesce(max(reload) + 1, 0)
            from raw.loads
            where bucket = %s and key = %s and version = %s and status <> 'abandoned'
            having bool_or(status = 'loading') is not true
            """,
            [table.name, *version, item.size, item.last_modified, *version],
        )


def open_load(connection: Connection, table: Table, item: ObjectVersion) -> Load:
    """Start the load of an object version, or resume the object's latest load after its last committed chunk.

    The latest load is resumed if it is of this version: a complete one stays complete, a failed one is retried. An
    abandoned load is never resumed, since some of its chunks may be of another version.

    Args:
        connection: of the session that holds the table's lock.
        table: the table that the object is for.
        item: the version to load, as listed.
    """
    load_id, status, columns, dialect, left_out = _one(
        connection.execute(
            f"""
            with listed as (
                select
                    %(version)s::text as version, %(bytes)s::bigint as bytes,
                    %(last_modified)s::timestamptz as last_modified, %(is_weak)s::boolean as is_weak,
                    %(has_id)s::boolean as has_id
            ),
            latest as (
                select loads.* from raw.loads, listed
                where loads.bucket = %(bucket)s and loads.key = %(key)s and {COUNTS_FOR_LISTED}
                order by load_id desc limit 1
            ),
            reloads as (
                select coalesce(max(reload) + 1, 0) as next from raw.loads
                where bucket = %(bucket)s and key = %(key)s and version = %(version)s and status <> 'abandoned'
            )
            insert into raw.loads (table_name, source, bucket, key, version, bytes, last_modified, reload)
            select
                %(table)s, 'object', %(bucket)s, %(key)s, coalesce(latest.version, listed.version), listed.bytes,
                listed.last_modified, coalesce(latest.reload, reloads.next)
            from reloads cross join listed left join latest on {IS_SAME_VERSION}
            on conflict (bucket, key, version, reload) where status <> 'abandoned' do update
            set
                status = case loads.status when 'complete' then loads.status else 'loading' end,
                error = null
            returning load_id, status, columns, dialect, left_out_columns
            """,  # noqa: S608 - a constant
            {
                "table": table.name,
                "bucket": item.bucket,
                "key": item.key,
                "version": item.version,
                "bytes": item.size,
                "last_modified": item.last_modified,
                "is_weak": item.is_weak,
                "has_id": item.has_id,
            },
        ).fetchone()
    )
    # A load has columns as soon as it has a chunk.
    if columns is None:
        return Load(load_id, LoadStatus(status), None, START, Totals())
    position = (
        connection.cursor(row_factory=class_row(Position))
        .execute(
            """
            select chunk + 1 as chunk, first_record + records as record, first_line + lines as line, byte_to as byte
            from raw.load_chunks
            where load_id = %s
            order by load_chunks.chunk desc
            limit 1
            """,
            [load_id],
        )
        .fetchone()
    )
    totals = connection.execute(
        f"select {TOTALS} from raw.load_chunks where load_id = %s",  # noqa: S608 - a constant
        [load_id],
    ).fetchone()
    # Loads from before dialects were stored are in the plain dialect.
    file_format = FileFormat.from_json(dialect, left_out) if dialect else FileFormat(tuple(columns))
    return Load(load_id, LoadStatus(status), file_format, position or START, Totals(*_one(totals)))


def record_chunks(
    connection: Connection,
    table: Table,
    load: Load,
    file_format: FileFormat,
    chunks: Sequence[Chunk],
    malformed: Sequence[Sequence[Rejection]],
    invalid: Sequence[Sequence[InvalidRecord]],
) -> None:
    """Record chunks and their rejected records, in the transaction that copies their rows.

    Together with the first chunk the object's format is stored, which is detected from the object's beginning.

    Args:
        connection: of the session that holds the table's lock.
        table: of the load.
        load: the load.
        file_format: of the object.
        chunks: consecutive chunks.
        malformed: for each chunk, its malformed records.
        invalid: for each chunk, its rows that break a rule.
    """
    if chunks[0].begin == START:
        connection.execute(
            "update raw.loads set columns = %s, dialect = %s, left_out_columns = %s where load_id = %s",
            [list(file_format.columns), Jsonb(file_format.to_json()), list(file_format.left_out), load.load_id],
        )
    if repeated_headers := sum(chunk.repeated_headers for chunk in chunks):
        connection.execute(
            "update raw.loads set repeated_headers = repeated_headers + %s where load_id = %s",
            [repeated_headers, load.load_id],
        )
    connection.execute(
        """
        insert into raw.load_chunks (
            load_id, chunk, first_record, first_line, byte_from, records, malformed, invalid, rejected, lines, byte_to
        )
        select %s, chunk, record, line, byte_from, records, malformed, invalid, malformed + invalid, lines, byte_to
        from unnest(
            %s::integer[], %s::bigint[], %s::bigint[], %s::bigint[],
            %s::integer[], %s::integer[], %s::integer[], %s::integer[], %s::bigint[]
        ) as entered (chunk, record, line, byte_from, records, malformed, invalid, lines, byte_to)
        """,
        [
            load.load_id,
            [chunk.begin.chunk for chunk in chunks],
            [chunk.begin.record for chunk in chunks],
            [chunk.begin.line for chunk in chunks],
            [chunk.begin.byte for chunk in chunks],
            [chunk.records for chunk in chunks],
            list(map(len, malformed)),
            list(map(len, invalid)),
            [chunk.end.line - chunk.begin.line for chunk in chunks],
            [chunk.end.byte for chunk in chunks],
        ],
    )
    load_id = load.load_id
    record_malformed(connection, table, load_id, file_format, list(itertools.chain(*malformed)))
    record_invalid(connection, load_id, list(itertools.chain(*invalid)))
    record_corrections(connection, load_id, [correction for chunk in chunks for correction in chunk.corrections])


def finish_load(
    connection: Connection, load: Load, status: LoadStatus, error: str | None = None, digest: str | None = None
) -> Totals:
    """Record how a load ended: complete (its records count from now on), failed or abandoned. Durable on return.

    With status loading it only records why the load could not finish this time.

    Args:
        connection: of the session that holds the table's lock.
        load: the load.
        status: how it ended.
        error: why it failed or is held.
        digest: SHA-256 of the object's text, if all of it was read.
    """
    # One statement, including the setting: round trips are a large part of a small object's load.
    return Totals(
        *_one(
            connection.execute(
                f"""
                with durable as materialized (select set_config('synchronous_commit', 'on', true) as setting),
                total as (select {TOTALS} from raw.load_chunks where load_id = %(load_id)s)
                update raw.loads
                set
                    status = %(status)s,
                    error = %(error)s,
                    digest = coalesce(%(digest)s, digest),
                    records = total.records,
                    loaded = total.records - total.malformed,
                    malformed = total.malformed,
                    invalid = total.invalid,
                    rejected = total.malformed + total.invalid,
                    completed_at = case %(status)s when 'complete' then clock_timestamp() end
                from total cross join durable
                where loads.load_id = %(load_id)s and durable.setting = 'on'
                returning loads.records, loads.malformed, loads.invalid
                """,  # noqa: S608 - a constant
                {"load_id": load.load_id, "status": status, "error": error, "digest": digest},
            ).fetchone()
        )
    )


def would_withdraw(connection: Connection, table: Table, load: Load) -> tuple[int, int]:
    """Return how many of the ids that count so far a snapshot lacks, and how many ids count so far.

    Unreadable ids are left out. A correction withdraws nothing, and neither does a load if a later object is complete.

    Args:
        connection: of the session that holds the table's lock.
        table: one that is delivered as snapshots.
        load: all records of which are in raw.
    """
    query = sql.SQL("""
        with latest as (
            select max(load_id) as load_id
            from raw.loads
            where
                table_name = %(table)s and source = 'object' and status = 'complete' and load_id <> %(load)s
                and not {is_correction}
        ),
        counting as (
            select distinct {key} as key
            from {table}
            where {key} is not null and _load_id in (
                select loads.load_id
                from raw.loads, latest
                where
                    table_name = %(table)s and status = 'complete'
                    and loads.load_id >= latest.load_id and latest.load_id < %(load)s
            )
            and not exists (select from raw.loads where load_id = %(load)s and {is_correction})
        ),
        delivered as (
            select {key} as key from {table} where _load_id = %(load)s
            union
            select {malformed_key} from raw.rejected_records where load_id = %(load)s
        )
        select count(*) filter (where delivered.key is null), count(*)
        from counting
        left join delivered using (key)
    """).format(
        table=sql.Identifier("raw", table.name),
        key=_comparable(table.key, sql.Identifier(table.key.name)),
        malformed_key=_comparable(table.key, sql.SQL("delivered ->> {}").format(sql.Literal(table.key.name))),
        is_correction=sql.SQL(IS_CORRECTION),
    )
    lacking, counting = _one(connection.execute(query, {"table": table.name, "load": load.load_id}).fetchone())
    return lacking, counting


def _comparable(column: Column, field: sql.Composable) -> sql.Composed:
    """Return SQL for a delivered key in canonical form, given SQL for its text; null if it cannot be read."""
    trimmed = sql.SQL("btrim({}, {})").format(field, sql.Literal(WHITE_SPACE))
    if column.logical_type is not LogicalType.INTEGER:
        return sql.SQL("nullif({}, '')").format(trimmed)
    return sql.SQL(r"substring({} from '^\+?0*([1-9][0-9]*)(?:\.0+)?$')").format(trimmed)


def unfinished(
    connection: Connection, table: Table, bucket: str, other_than: Sequence[int], limit: int
) -> list[tuple[int, str, str, bool]]:
    """Return the unfinished loads of a table's objects.

    Args:
        connection: of the session that holds the table's lock.
        table: the table.
        bucket: of the objects.
        other_than: ids of loads to leave out.
        limit: return at most so many loads.

    Returns:
        load_id, key, version, and whether the object has a later load, which is of the same version if the object was
        restored.
    """
    return connection.execute(
        """
        select load_id, key, version, exists (
            select from raw.loads as later
            where (later.bucket, later.key) = (loads.bucket, loads.key) and later.load_id > loads.load_id
                and later.status <> 'abandoned'
        )
        from raw.loads
        where status = 'loading' and bucket = %s and table_name = %s and load_id <> all(%s)
        order by load_id
        limit %s
        """,
        [bucket, table.name, list(other_than), limit],
    ).fetchall()


def abandon(connection: Connection, load_ids: Sequence[int]) -> None:
    """Abandon unfinished loads whose versions no longer exist in the bucket."""
    connection.execute(
        """
        update raw.loads
        set status = 'abandoned', error = coalesce(error, 'the object was overwritten or deleted before it was loaded')
        where status = 'loading' and load_id = any(%s)
        """,
        [list(load_ids)],
    )


def _one(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    assert row is not None, "the statement returns a row whatever the data"
    return row
