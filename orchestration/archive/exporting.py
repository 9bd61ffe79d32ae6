"""An export: every table of schema raw at one moment, as Parquet files in the bucket of exports."""

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

# Files are written on the disk before they are sent, and read from it: this is all the room that an export of any size
# takes there, and in memory when /tmp is in memory.
FILE_BYTES = 64 << 20


@dataclass(frozen=True)
class Figures:
    """What went out of a table, or into it. `bytes` is the size of the files that hold it."""

    table: str
    rows: int
    bytes: int
    seconds: float


def export_raw(connection: Connection, store: Store, tell: Callable[[Figures], None]) -> Manifest:
    """Store all tables as they are at one moment. Until it returns the export does not exist.

    Loads that are under way are left out: what is there of them is of no use without the rest, and their objects are
    still to be read. Nobody waits for an export, and it waits for nobody.

    Args:
        connection: as hiring_loader.
        store: where to.
        tell: is told of each table that is done.

    Raises:
        BucketUnavailable: the bucket does not exist, refuses, or its server stayed away.
        psycopg.OperationalError: the database went away.
    """
    # A bucket that is not there is told of before anything is read.
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
            tell(figures(table, files, time.monotonic() - began))
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


def figures(table: str, files: Sequence[File], seconds: float) -> Figures:
    """Return what the files of a table come to, and how long they took."""
    return Figures(table, sum(file.rows for file in files), sum(file.bytes for file in files), seconds)


def _stored(
    store: Store, export: str, table: str, schema: pa.Schema, connection: Connection, unfinished: Sequence[int]
) -> Iterator[File]:
    condition = sql.SQL("{} <> all({}::bigint[])").format(load_of_row(table), sql.Literal(list(unfinished)))
    rows = read(connection, sql.Identifier("raw", table), schema, condition)
    for number in itertools.count(1):
        with TemporaryFile() as content:
            written = _write(content, schema, rows)
            # An empty table has a file, too, which tells its columns.
            if written or number == 1:
                yield store.put(export, f"{table}/{number:05}.parquet", written, content)
            else:
                return


def _write(content: BufferedRandom, schema: pa.Schema, rows: Iterator[pa.Table]) -> int:
    """Take from the rows as many as go into a file; return how many that were."""
    written = 0
    with pq.ParquetWriter(content, schema, compression="zstd") as writer:
        for table in rows:
            writer.write_table(table)
            written += table.num_rows
            if content.tell() >= FILE_BYTES:
                break
    return written
