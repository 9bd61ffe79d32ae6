"""Exports: a snapshot of every table of schema raw, as Parquet files in the bucket of exports."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedRandom
from tempfile import TemporaryFile

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from orchestration.archive.manifest import LOAD_COLUMNS, File, Manifest, load_of_row
from orchestration.archive.rows import read, schema_of
from orchestration.archive.store import MANIFEST, Store
from orchestration.database import Connection

# Each file is written to the disk before it is uploaded. This bounds the space that an export of any size takes there,
# or in memory if /tmp is in memory.
FILE_BYTES = 64 << 20


@dataclass(frozen=True)
class TableStatistics:
    """What was exported from a table, or restored into it. `bytes` is the size of its files."""

    table: str
    rows: int
    bytes: int
    seconds: float


def export_raw(connection: Connection, store: Store, on_table: Callable[[TableStatistics], None]) -> Manifest:
    """Export a snapshot of all tables. The export is not valid until this returns.

    Loads in progress are left out: parts of them are useless, and their objects will be loaded again. An export blocks
    nothing and is not blocked.

    Args:
        connection: as hiring_loader.
        store: the bucket to write to.
        on_table: called after each table.

    Raises:
        BucketUnavailable: the bucket does not exist, refuses access, or its server stayed down.
        psycopg.OperationalError: the connection to the database was lost.
    """
    # Fail early if the bucket does not exist.
    store.exports()
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        ((snapshot, revision, highest, unfinished),) = connection.execute("""
            select
                now(),
                (select version_num from public.alembic_version),
                max(load_id) filter (where status <> 'loading'),
                coalesce(array_agg(load_id order by load_id) filter (where status = 'loading'), '{}')
            from raw.loads
        """).fetchall()
        export = f"{snapshot:%Y%m%dT%H%M%S-%fZ}"
        tables = {}
        for table in LOAD_COLUMNS:
            began = time.monotonic()
            files = list(_stored(store, export, table, schema_of(connection, table), connection, unfinished))
            tables[table] = files
            on_table(statistics(table, files, time.monotonic() - began))
    manifest = Manifest(
        export=export,
        snapshot=snapshot,
        revision=revision,
        highest_load_id=highest,
        unfinished=unfinished,
        tables=tables,
    )
    with TemporaryFile() as content:
        content.write(manifest.model_dump_json(indent=2).encode())
        store.put(export, MANIFEST, 0, content)
    return manifest


def statistics(table: str, files: Sequence[File], seconds: float) -> TableStatistics:
    """Return the statistics of an exported or restored table.

    Args:
        table: its name.
        files: its files.
        seconds: how long they took.
    """
    return TableStatistics(table, sum(file.rows for file in files), sum(file.bytes for file in files), seconds)


def _stored(
    store: Store, export: str, table: str, schema: pa.Schema, connection: Connection, unfinished: Sequence[int]
) -> Iterator[File]:
    condition = sql.SQL("{} <> all({}::bigint[])").format(load_of_row(table), sql.Literal(list(unfinished)))
    rows = read(connection, sql.Identifier("raw", table), schema, condition)
    for file_number in itertools.count(1):
        with TemporaryFile() as content:
            written = _write(content, schema, rows)
            # An empty table has a file, too, for its columns.
            if written or file_number == 1:
                yield store.put(export, f"{table}/{file_number:05}.parquet", written, content)
            else:
                return


def _write(content: BufferedRandom, schema: pa.Schema, rows: Iterator[pa.Table]) -> int:
    """Write as many of the rows as fit into a file; return how many."""
    written = 0
    with pq.ParquetWriter(content, schema, compression="zstd") as writer:
        for table in rows:
            writer.write_table(table)
            written += table.num_rows
            if content.tell() >= FILE_BYTES:
                break
    return written
