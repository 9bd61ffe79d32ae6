"""Objects into raw tables: every version once, a thousand records a transaction, with its entry in the ledger."""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from orchestration.ingest import ledger
from orchestration.ingest.ledger import Connection, Load, Rejection
from orchestration.ingest.objects import (
    BucketUnavailable,
    ObjectChanged,
    ObjectDamaged,
    ObjectVersion,
    list_objects,
    read,
)
from orchestration.ingest.records import START, Chunk, cut, refusal, split_header
from orchestration.ingest.tables import Table, table_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

VERSIONS_A_QUERY = 1000


@dataclass(frozen=True)
class Loaded:
    """An object version that is in raw, whole; `rejected` of its `records` are in raw.rejected_records."""

    load_id: int
    item: ObjectVersion
    records: int
    rejected: int
    seconds: float


@dataclass(frozen=True)
class Failed:
    """An object version that could not be loaded; nothing of it counts."""

    load_id: int
    item: ObjectVersion
    message: str


def connect(conninfo: str) -> Connection:
    """Open a connection for loading.

    Chunks commit without waiting for the disk: a crash of the server loses their rows and their ledger entries
    together, and they are loaded again. Completing a load does wait.

    Raises:
        psycopg.OperationalError: the server cannot be reached or refuses the login.
    """
    return psycopg.connect(
        conninfo,
        autocommit=True,
        application_name="hiring_loader",
        options="-c synchronous_commit=off -c timezone=UTC -c client_encoding=UTF8",
    )


def pending(
    connection: Connection, client: "S3Client", bucket: str, settle_seconds: float = 0
) -> Iterator[tuple[Table, ObjectVersion]]:
    """Yield the objects of a bucket that belong to a table and still want loading, in the order of their keys.

    Raises:
        BucketUnavailable: the bucket cannot be listed.
    """
    listed = ((table_of(item.key), item) for item in list_objects(client, bucket, settle_seconds))
    known = ((table, item) for table, item in listed if table is not None)
    while page := list(itertools.islice(known, VERSIONS_A_QUERY)):
        wanted = set(ledger.unloaded(connection, [item for _, item in page]))
        yield from ((table, item) for table, item in page if item in wanted)


def load_pending(
    connection: Connection, client: "S3Client", bucket: str, table: Table, settle_seconds: float = 0
) -> Iterator[Loaded | Failed]:
    """Load whatever is new for a table, oldest first, and yield what became of each object.

    An object that cannot be loaded does not keep the others from it. A second caller for the same table waits.

    Raises:
        BucketUnavailable: the bucket cannot be listed.
        psycopg.Error: the database went away; committed chunks stay and the next call goes on after them.
    """
    with ledger.sole_writer(connection, table):
        found = [item for owner, item in pending(connection, client, bucket, settle_seconds) if owner == table]
        tried = []
        for item in sorted(found, key=lambda item: (item.last_modified, item.key)):
            outcome = load_object(connection, client, table, item)
            tried.append(outcome.load_id)
            yield outcome
        ledger.abandon_others(connection, table, bucket, tried)


def load_object(connection: Connection, client: "S3Client", table: Table, item: ObjectVersion) -> Loaded | Failed:
    """Load one object version from its first missing chunk on. The caller is the table's sole writer.

    Raises:
        psycopg.Error: the database went away.
    """
    started = time.monotonic()
    load = ledger.open_load(connection, table, item)
    try:
        for chunk, columns in _missing_chunks(connection, client, table, item, load):
            with connection.transaction():
                rejections = copy_chunk(connection, table, columns, load, chunk)
                ledger.record_chunk(connection, load, chunk, rejections)
    except (BucketUnavailable, ObjectChanged, ObjectDamaged) as error:
        status = {ObjectChanged: "abandoned", ObjectDamaged: "failed"}.get(type(error), "loading")
        ledger.end_load(connection, load, status, str(error))
        return Failed(load.load_id, item, str(error))
    totals = ledger.complete(connection, load)
    return Loaded(load.load_id, item, totals.records, totals.rejected, time.monotonic() - started)


def _missing_chunks(
    connection: Connection, client: "S3Client", table: Table, item: ObjectVersion, load: Load
) -> Iterator[tuple[Chunk, tuple[str, ...]]]:
    """Yield the chunks that the ledger lacks, each with the object's columns in their order."""
    columns, body_from = load.columns, 0
    blocks: Iterable[bytes] = read(client, item, load.position.byte)
    if columns is None or load.position == START:
        columns, body_from, blocks = split_header(blocks, table.columns)
        ledger.record_columns(connection, load, columns)
    for chunk in cut(blocks, load.position, body_from):
        yield chunk, columns


def copy_chunk(
    connection: Connection, table: Table, columns: tuple[str, ...], load: Load, chunk: Chunk
) -> list[Rejection]:
    """Copy a chunk's records into the table as they came; return those that COPY cannot take, which are left out.

    Belongs into a transaction. A clean chunk is one COPY. Only when that is refused are its records looked at one by
    one, the bad ones set aside and the rest copied again.
    """
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(
        sql.Identifier("raw", table.name),
        sql.SQL(", ").join(map(sql.Identifier, ("_load_id", "_record", *columns))),
    )
    numbered = list(enumerate(chunk.records, chunk.first_record))
    if _copied(connection, statement, load, numbered) is None:
        return []
    offsets = dict(zip((number for number, _ in numbered), chunk.record_offsets, strict=True))
    refused = {number: refusal(record, len(columns)) for number, record in numbered}
    # Line ends are made alike, since COPY wants one kind only.
    good = [(number, _with_line_feed(record)) for number, record in numbered if refused[number] is None]
    if _copied(connection, statement, load, good) is not None:
        for number, record in good:
            if message := _copied(connection, statement, load, [(number, record)]):
                refused[number] = ("refused_by_copy", message)
    return [
        Rejection(number, *reason, offsets[number], record)
        for number, record in numbered
        if (reason := refused[number]) is not None
    ]


def _copied(
    connection: Connection, statement: sql.Composed, load: Load, numbered: Sequence[tuple[int, bytes]]
) -> str | None:
    """Copy records, or none of them; return None, or the server's words when it refuses their data."""
    if not numbered:
        return None
    try:
        with connection.transaction(), connection.cursor().copy(statement) as copy:
            copy.write(b"".join([b"%d,%d,%b" % (load.load_id, number, record) for number, record in numbered]))
            if not numbered[-1][1].endswith(b"\n"):
                # Without any line feed COPY would take carriage returns for line ends, and make rows of one record.
                copy.write(b"\n")
    except psycopg.DataError as error:
        return error.diag.message_primary or str(error)
    return None


def _with_line_feed(record: bytes) -> bytes:
    return record.removesuffix(b"\n").removesuffix(b"\r") + b"\n"
