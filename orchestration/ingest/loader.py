"""Objects into raw tables: every version once, some chunks a transaction, each with its entry in the ledger."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from contracts import Table
from orchestration.database import Connection, is_outage
from orchestration.ingest import ledger
from orchestration.ingest.ahead import ahead
from orchestration.ingest.copying import copy_statement, copy_text, copy_what_is_taken
from orchestration.ingest.ledger import Load, Totals
from orchestration.ingest.limits import SAMPLES, RejectLimit, diagnosis
from orchestration.ingest.objects import (
    BucketUnavailable,
    ObjectChanged,
    ObjectDamaged,
    ObjectVersion,
    is_passing,
    list_objects,
)
from orchestration.ingest.patience import patiently
from orchestration.ingest.preamble import NotThisTable, read_preamble
from orchestration.ingest.reading import read
from orchestration.ingest.records import START, Chunk, Position, cut
from orchestration.ingest.tables import table_of
from orchestration.ingest.writer import Interrupted, Writer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

VERSIONS_A_QUERY = 1000
# A transaction costs as much time as some thousand records do, whatever it holds; a crash costs what is under way.
CHUNKS_A_TRANSACTION = 64
BYTES_A_TRANSACTION = 4 << 20
TRANSACTIONS_AHEAD = 1
# An object that is overwritten all the time must not keep a load from its end.
LISTINGS_A_LOAD = 3

# What becomes of a load by what ended it.
STATUS = {BucketUnavailable: "loading", ObjectChanged: "abandoned", ObjectDamaged: "failed", NotThisTable: "failed"}


@dataclass(frozen=True)
class Policy:
    """What a loader puts up with.

    Attributes:
        reject_limit: how much of an object may be rejected.
        give_up_seconds: how long to wait for a database or a bucket that has gone away.
        settle_seconds: leave out objects that changed less than this long ago, see list_objects.
    """

    reject_limit: RejectLimit = field(default_factory=RejectLimit)
    give_up_seconds: float = 120
    settle_seconds: float = 0


@dataclass(frozen=True)
class Progress:
    """How far a load has come: records and bytes (of the unpacked text) that are committed."""

    load_id: int
    item: ObjectVersion
    totals: Totals
    bytes: int


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
    """An object version that could not be loaded; nothing of it counts. The status is the ledger's."""

    load_id: int
    item: ObjectVersion
    status: str
    message: str


Outcome = Loaded | Failed
Watch = Callable[[Progress], None]


def unwatched(progress: Progress) -> None:
    """Do nothing about the progress of a load."""


def pending(
    connection: Connection, client: "S3Client", bucket: str, settle_seconds: float = 0
) -> Iterator[tuple[Table, ObjectVersion]]:
    """Yield the objects of a bucket that belong to a table and still want loading, in the order of their keys.

    Raises:
        BucketUnavailable: the bucket cannot be listed.
    """
    listed = list_objects(client, bucket, settle_seconds)
    while page := list(itertools.islice(listed, VERSIONS_A_QUERY)):
        yield from wanted(connection, page)


def wanted(connection: Connection, listed: Sequence[ObjectVersion]) -> list[tuple[Table, ObjectVersion]]:
    """Return those of the listed objects that belong to a table and still want loading."""
    known = [(table, item) for item in listed if (table := table_of(item.key)) is not None]
    unloaded = set(ledger.unloaded(connection, [item for _, item in known]))
    return [(table, item) for table, item in known if item in unloaded]


def load_pending(
    conninfo: str,
    client: "S3Client",
    bucket: str,
    table: Table,
    policy: Policy | None = None,
    watch: Watch = unwatched,
) -> Iterator[Outcome]:
    """Load whatever is new for a table, oldest first, and yield what became of each object.

    An object that cannot be loaded does not keep the others from it. One that was overwritten while it was read is
    loaded as it is then. A second caller for the same table waits.

    Raises:
        psycopg.OperationalError: the database cannot be reached at the beginning.
        DatabaseUnavailable: it went away and stayed away; the next call goes on after what was committed.
        BucketUnavailable: the bucket cannot be listed.
    """
    policy = policy or Policy()
    with Writer(conninfo, table, policy.give_up_seconds) as writer:
        tried: list[int] = []
        for _ in range(LISTINGS_A_LOAD):
            found = patiently(policy.give_up_seconds, is_passing)(_new_objects, writer, client, bucket, table, policy)
            changed = False
            for item in found:
                outcome = load_object(writer, client, table, item, policy, watch)
                changed |= isinstance(outcome, Failed) and outcome.status == "abandoned"
                tried.append(outcome.load_id)
                yield outcome
            if not changed:
                break
        writer.run(lambda connection: ledger.abandon_others(connection, table, bucket, tried))


def _new_objects(writer: Writer, client: "S3Client", bucket: str, table: Table, policy: Policy) -> list[ObjectVersion]:
    found = writer.run(lambda connection: list(pending(connection, client, bucket, policy.settle_seconds)))
    return sorted((item for owner, item in found if owner == table), key=lambda item: (item.last_modified, item.key))


def load_object(
    writer: Writer,
    client: "S3Client | None",
    table: Table,
    item: ObjectVersion,
    policy: Policy,
    watch: Watch = unwatched,
) -> Outcome:
    """Load one object version, from its first missing chunk on, whatever happens to the database meanwhile.

    Raises:
        DatabaseUnavailable: the database went away and stayed away.
    """
    return writer.run(lambda connection: _Attempt(connection, client, table, item, policy, watch).load())


def reload_object(
    writer: Writer,
    client: "S3Client | None",
    table: Table,
    item: ObjectVersion,
    policy: Policy,
    watch: Watch = unwatched,
) -> Outcome:
    """Load one object version once more: its records are later than all that came before and replace them by id.

    A reload that was broken off is gone on with, here as in `load_pending`.

    Raises:
        DatabaseUnavailable: the database went away and stayed away.
    """
    # Apart from the loading, which is done again after each outage: what was completed by then must stay the one load.
    writer.run(lambda connection: ledger.begin_again(connection, table, item))
    return load_object(writer, client, table, item, policy, watch)


@dataclass(frozen=True)
class Batch:
    """What goes into one transaction: chunks, the object's columns, the rows of each chunk as COPY reads them."""

    columns: tuple[str, ...]
    chunks: list[Chunk]
    texts: list[bytes]


@dataclass(frozen=True)
class _Attempt:
    """One attempt at an object version, with one connection."""

    connection: Connection
    client: "S3Client | None"
    table: Table
    item: ObjectVersion
    policy: Policy
    watch: Watch

    def load(self) -> Outcome:
        started = time.monotonic()
        load = ledger.open_load(self.connection, self.table, self.item)
        if load.status == "complete":
            return self._loaded(load, load.totals, started)
        totals = load.totals
        chunks = chunks_of(self.client, self.table, self.item, load.columns, load.position, self.policy.give_up_seconds)
        limit = self.policy.reject_limit
        try:
            with ahead(batches(load.load_id, chunks), TRANSACTIONS_AHEAD) as prepared:
                for batch in prepared:
                    totals += self._commit(load, batch)
                    self.watch(Progress(load.load_id, self.item, totals, batch.chunks[-1].end.byte))
                    if excess := limit.excess(totals, at_end=False):
                        return self._rejected(load, totals, excess)
            if excess := limit.excess(totals, at_end=True):
                return self._rejected(load, totals, excess)
            return self._loaded(load, ledger.end_load(self.connection, load, "complete"), started)
        except (BucketUnavailable, ObjectChanged, ObjectDamaged, NotThisTable) as error:
            status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
            return self._failed(load, status, str(error))
        except psycopg.Error as error:
            if is_outage(error) and totals != load.totals:
                raise Interrupted(error, totals.records) from error
            raise

    def _commit(self, load: Load, batch: Batch) -> Totals:
        """Copy the rows of a batch and enter its chunks, in one transaction."""
        statement = copy_statement(self.table, batch.columns)
        rejections = [list(chunk.rejections) for chunk in batch.chunks]
        try:
            with self.connection.transaction():
                with self.connection.cursor().copy(statement) as copy:
                    for text in batch.texts:
                        copy.write(text)
                ledger.record_chunks(self.connection, load, batch.columns, batch.chunks, rejections)
        except (psycopg.DataError, psycopg.IntegrityError):
            with self.connection.transaction():
                for chunk, rejected in zip(batch.chunks, rejections, strict=True):
                    rejected.extend(copy_what_is_taken(self.connection, statement, load.load_id, chunk))
                ledger.record_chunks(self.connection, load, batch.columns, batch.chunks, rejections)
        return Totals(sum(chunk.records for chunk in batch.chunks), sum(map(len, rejections)))

    def _loaded(self, load: Load, totals: Totals, started: float) -> Loaded:
        return Loaded(load.load_id, self.item, totals.records, totals.rejected, time.monotonic() - started)

    def _rejected(self, load: Load, totals: Totals, excess: str) -> Failed:
        found = diagnosis(ledger.rejections_by_reason(self.connection, load, SAMPLES), totals.records)
        return self._failed(load, "failed", f"{self.item}: {excess}: {found}")

    def _failed(self, load: Load, status: str, message: str) -> Failed:
        ledger.end_load(self.connection, load, status, message)
        return Failed(load.load_id, self.item, status, message)


def chunks_of(
    client: "S3Client | None",
    table: Table,
    item: ObjectVersion,
    columns: tuple[str, ...] | None = None,
    start: Position = START,
    give_up_seconds: float = 0,
) -> Iterator[tuple[tuple[str, ...], Chunk]]:
    """Yield the chunks of an object version from one on, each with the object's columns in their order.

    Args:
        client: a boto3 S3 client; none is needed for a file.
        table: the table that the object is for.
        item: the version to read.
        columns: its columns, if they are known from an earlier reading.
        start: what the first chunk is to be.
        give_up_seconds: how long to go on asking a server that gives no further byte.

    Raises:
        BucketUnavailable: the server refused, or went away for longer than that.
        ObjectChanged: this version is gone.
        ObjectDamaged: the gzip stream is broken.
        NotThisTable: it is no CSV text, or its header does not name the table's columns.
    """
    blocks = read(client, item, start.byte, give_up_seconds)
    if columns is not None and start != START:
        yield from ((columns, chunk) for chunk in cut(blocks, len(columns), start))
        return
    try:
        preamble = read_preamble(blocks, table.column_names)
    except NotThisTable as error:
        raise NotThisTable(f"{item} {error}") from None
    for chunk in cut(preamble.blocks, len(preamble.columns), START, preamble.body):
        yield preamble.columns, chunk


def batches(load_id: int, chunks: Iterator[tuple[tuple[str, ...], Chunk]]) -> Iterator[Batch]:
    """Group chunks into transactions, independently of where the load was taken up."""
    held: list[Chunk] = []
    for columns, chunk in chunks:
        held.append(chunk)
        size = chunk.end.byte - held[0].begin.byte
        if len(held) == CHUNKS_A_TRANSACTION or size >= BYTES_A_TRANSACTION:
            yield _batch(load_id, columns, held)
            held = []
    if held:
        yield _batch(load_id, columns, held)


def _batch(load_id: int, columns: tuple[str, ...], chunks: list[Chunk]) -> Batch:
    return Batch(columns, chunks, [copy_text(load_id, chunk.numbers, chunk.rows) for chunk in chunks])
