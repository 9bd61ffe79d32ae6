"""Loads objects into raw tables: each version exactly once, several chunks per transaction, recorded in the ledger."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from contracts import Delivery, Table
from orchestration.database import LOCK_WAIT_SECONDS, is_refusal
from orchestration.ingest import ledger
from orchestration.ingest.beginning import read_beginning
from orchestration.ingest.bulk_copy import copy, copy_accepted_rows, copy_statement, copy_text
from orchestration.ingest.candidates import Candidates
from orchestration.ingest.encoding import Encoding, UnreadableFile, in_utf8
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.header import Header
from orchestration.ingest.invalid import InvalidRecord, Validator
from orchestration.ingest.ledger import Load, LoadStatus, Totals
from orchestration.ingest.limits import SAMPLES, RejectLimit, diagnosis
from orchestration.ingest.objects import (
    BucketUnavailable,
    ObjectChanged,
    ObjectUnreadable,
    ObjectVersion,
    is_stable,
    is_transient,
    listed_version,
)
from orchestration.ingest.plain import PlainRows
from orchestration.ingest.prefetch import prefetch
from orchestration.ingest.reading import read, skip
from orchestration.ingest.records import START, Chunk, Position, split_chunks
from orchestration.ingest.rejections import examples_by_reason
from orchestration.ingest.retry import retry_transient
from orchestration.ingest.session import TableSession, retry_outages
from orchestration.ingest.workbook import workbook_text

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# A transaction takes as much time as a few thousand records, whatever it contains; a crash loses the current one.
CHUNKS_PER_TRANSACTION = 64
BYTES_PER_TRANSACTION = 4 << 20
TRANSACTIONS_AHEAD = 1
# An object that is overwritten all the time must not keep a load from ending.
MAX_VERSIONS_OF_AN_OBJECT = 3
# Each takes a request to the bucket; the next load checks the others.
MAX_UNFINISHED_CHECKED = 100

# The status of a load by the error that ended it.
STATUS = {
    BucketUnavailable: LoadStatus.LOADING,
    ObjectChanged: LoadStatus.ABANDONED,
    ObjectUnreadable: LoadStatus.FAILED,
    UnreadableFile: LoadStatus.FAILED,
}


@dataclass(frozen=True)
class Policy:
    """Limits and timeouts of a load.

    Attributes:
        reject_limit: how many of an object's records may be rejected.
        withdraw_share: for tables delivered as snapshots, the share (0 to 1) of the ids that count that an object may
            lack before it is held.
        give_up_seconds: how long to retry while the database or the bucket is unavailable.
        settle_seconds: leave out objects that changed less than this long ago, see list_objects.
        lock_wait_seconds: how long to wait for another load into the same table.
    """

    reject_limit: RejectLimit = field(default_factory=RejectLimit)
    withdraw_share: float = 0.2
    give_up_seconds: float = 120
    settle_seconds: float = 0
    lock_wait_seconds: float = LOCK_WAIT_SECONDS


@dataclass(frozen=True)
class Progress:
    """The progress of a load: committed records and bytes (of the decompressed text)."""

    load_id: int
    item: ObjectVersion
    totals: Totals
    bytes: int


@dataclass(frozen=True)
class Loaded:
    """An object version that is completely loaded.

    `is_new` is false if the object's bytes turned out to be those of its latest load, which `load_id` then is.
    """

    load_id: int
    item: ObjectVersion
    totals: Totals
    seconds: float
    is_new: bool = True


@dataclass(frozen=True)
class Failed:
    """An object version that could not be loaded, or is held; none of its records count. The status is the ledger's."""

    load_id: int
    item: ObjectVersion
    status: LoadStatus
    message: str


Outcome = Loaded | Failed
OnProgress = Callable[[Progress], None]


def load_pending(
    conninfo: str,
    client: "S3Client",
    bucket: str,
    table: Table,
    policy: Policy | None = None,
    on_progress: OnProgress | None = None,
    candidates: Candidates | None = None,
) -> Iterator[Outcome]:
    """Load a table's pending objects, oldest first, and yield the outcome of each.

    An object that cannot be loaded does not affect the others. If an object was overwritten since it was listed, its
    new version is loaded. A second caller for the same table waits.

    Args:
        conninfo: libpq's connection string of the role hiring_loader.
        client: a boto3 S3 client.
        bucket: the bucket.
        table: the table.
        policy: limits and timeouts.
        on_progress: called after each transaction.
        candidates: which objects to load, by default all of the bucket.

    Raises:
        psycopg.OperationalError: the database cannot be reached at the start.
        DatabaseUnavailable: the database became unavailable for too long; the next call continues after the last
            commit.
        BucketUnavailable: the bucket cannot be listed.
        LockTimeout: another load holds the table's lock for too long.
    """
    policy = policy or Policy()
    candidates = candidates or Candidates(client, bucket, policy.settle_seconds)
    with TableSession(conninfo, table, policy.give_up_seconds, policy.lock_wait_seconds) as session:
        tried: list[int] = []
        for _ in range(MAX_VERSIONS_OF_AN_OBJECT):
            changed: list[str] = []
            for item in find_pending(session, candidates):
                outcome = load_object(session, client, item, policy, on_progress)
                tried.append(outcome.load_id)
                if isinstance(outcome, Failed) and outcome.status == LoadStatus.ABANDONED:
                    changed.append(item.key)
                if not isinstance(outcome, Loaded) or outcome.is_new:
                    yield outcome
            if not changed:
                break
            candidates = _current_versions(client, bucket, table, changed, policy)
        _abandon_vanished(session, client, bucket, tried)


@retry_outages
def find_pending(session: TableSession, candidates: Candidates) -> list[ObjectVersion]:
    """Return the candidates that are pending for the session's table, oldest first.

    Raises:
        BucketUnavailable: the bucket cannot be listed, even after retries.
        DatabaseUnavailable: the database became unavailable for too long.
    """
    retries = retry_transient(session.give_up_seconds, is_transient)
    return retries(candidates.pending, session.connection, session.table)


def _current_versions(client: "S3Client", bucket: str, table: Table, keys: Sequence[str], policy: Policy) -> Candidates:
    retries = retry_transient(policy.give_up_seconds, is_transient)
    versions = [retries(listed_version, client, bucket, key) for key in keys]
    stable = [(table, item) for item in versions if item and is_stable(item, policy.settle_seconds)]
    return Candidates(client, bucket, objects=stable)


def _abandon_vanished(session: TableSession, client: "S3Client", bucket: str, tried: Sequence[int]) -> None:
    """Abandon a table's unfinished loads whose versions no longer exist in the bucket."""
    vanished: list[int] = []
    try:
        for load_id, key, version, has_later in _unfinished(session, bucket, tried):
            item = None if has_later else listed_version(client, bucket, key)
            if item is None or item.version != version:
                vanished.append(load_id)
    except BucketUnavailable:
        pass  # The next load checks them.
    if vanished:
        _abandon(session, vanished)


@retry_outages
def _unfinished(session: TableSession, bucket: str, tried: Sequence[int]) -> list[tuple[int, str, str, bool]]:
    return ledger.unfinished(session.connection, session.table, bucket, tried, MAX_UNFINISHED_CHECKED)


@retry_outages
def _abandon(session: TableSession, load_ids: Sequence[int]) -> None:
    ledger.abandon(session.connection, load_ids)


@retry_outages
def load_object(
    session: TableSession,
    client: "S3Client | None",
    item: ObjectVersion,
    policy: Policy,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Load one object version from its first missing chunk on, through outages of the database.

    Args:
        session: of the table that the object is for.
        client: a boto3 S3 client; None for a file.
        item: the version.
        policy: limits and timeouts.
        on_progress: called after each transaction.

    Raises:
        DatabaseUnavailable: the database became unavailable for too long.
    """
    started = time.monotonic()
    is_new = not _has_bytes_of_latest(session, client, item, policy)
    load = ledger.open_load(session.connection, session.table, item)
    if load.status == LoadStatus.COMPLETE:
        return _loaded(load, item, load.totals, started, is_new)
    try:
        totals, violation, digest = _load_chunks(session, client, load, item, policy, on_progress)
    except tuple(STATUS) as error:
        status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
        return _failed(session, load, item, status, str(error))
    except psycopg.Error as error:
        if not is_refusal(error):
            raise
        return _failed(session, load, item, LoadStatus.FAILED, f"{item} is refused by the database: {error}")
    if violation:
        examples = examples_by_reason(session.connection, session.table, load.load_id, SAMPLES)
        causes = diagnosis(examples, totals)
        return _failed(session, load, item, LoadStatus.FAILED, f"{item}: {violation}: {causes}", digest)
    if message := _held_back(session, load, policy.withdraw_share):
        return _failed(session, load, item, LoadStatus.HELD, f"{item}: {message}", digest)
    totals = ledger.finish_load(session.connection, load, LoadStatus.COMPLETE, digest=digest)
    return _loaded(load, item, totals, started)


def _held_back(session: TableSession, load: Load, withdraw_share: float) -> str | None:
    """Return why a person should review a load before it counts, None if that is not needed."""
    if session.table.delivery is not Delivery.SNAPSHOT:
        return None
    lacking, counting = ledger.would_withdraw(session.connection, session.table, load)
    if not counting or lacking / counting <= withdraw_share:
        return None
    return (
        f"it is held back, because it lacks {lacking:,} of the {counting:,} ids that count, more than "
        f"{withdraw_share:.0%}, and would withdraw them; if they are to go, load it again with withdraw_share 1"
    )


def reload_object(
    session: TableSession,
    client: "S3Client | None",
    item: ObjectVersion,
    policy: Policy,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Load one object version again: its records become the latest and replace earlier ones by id.

    An interrupted reload continues, as in `load_pending`.

    Args:
        session: of the table that the object is for.
        client: a boto3 S3 client; None for a file.
        item: the version.
        policy: limits and timeouts.
        on_progress: called after each transaction.

    Raises:
        DatabaseUnavailable: the database became unavailable for too long.
    """
    # Not part of load_object, which starts over after an outage: a reload that is complete must not be done again.
    _start_reload(session, item)
    return load_object(session, client, item, policy, on_progress)


@retry_outages
def _start_reload(session: TableSession, item: ObjectVersion) -> None:
    ledger.start_reload(session.connection, session.table, item)


def _has_bytes_of_latest(session: TableSession, client: "S3Client | None", item: ObjectVersion, policy: Policy) -> bool:
    """Return whether the object differs from its latest load only by its date, and record the new date if so."""
    latest = ledger.digest_of_latest(session.connection, item) if item.is_weak else None
    if latest is None:
        return False
    digest = hashlib.sha256()
    try:
        for block in read(client, item, give_up_seconds=policy.give_up_seconds):
            digest.update(block)
    except (BucketUnavailable, ObjectChanged, ObjectUnreadable):
        return False  # The load runs into the same error and records it.
    if digest.hexdigest() != latest:
        return False
    ledger.update_date_of_latest(session.connection, item)
    return True


def _load_chunks(
    session: TableSession,
    client: "S3Client | None",
    load: Load,
    item: ObjectVersion,
    policy: Policy,
    on_progress: OnProgress | None,
) -> tuple[Totals, str | None, str | None]:
    """Load the missing chunks.

    Returns:
        The totals of the load, the violated limit, if any, and the digest of the text, if all of it was read.
    """
    totals, limit = load.totals, policy.reject_limit
    digest = hashlib.sha256() if item.is_weak and load.position == START else None
    chunks = chunks_of(client, session.table, item, load.file_format, load.position, policy.give_up_seconds, digest)
    work = batches(load.load_id, session.table, chunks)
    # An object that fits into one transaction needs no prefetching.
    is_small = item.size <= BYTES_PER_TRANSACTION and not item.is_packed
    with nullcontext(work) if is_small else prefetch(work, TRANSACTIONS_AHEAD) as prepared:
        for batch in prepared:
            totals += _commit(session, load, batch)
            session.committed = totals.records
            if on_progress:
                on_progress(Progress(load.load_id, item, totals, batch.chunks[-1].end.byte))
            if violation := limit.violation(totals, at_end=False):
                return totals, violation, None
    return totals, limit.violation(totals, at_end=True), digest.hexdigest() if digest else None


def _commit(session: TableSession, load: Load, batch: "Batch") -> Totals:
    """Copy the rows of a batch and record its chunks, in one transaction."""
    connection = session.connection
    statement = copy_statement(session.table, batch.file_format)
    malformed, invalid = [list(chunk.rejections) for chunk in batch.chunks], batch.invalid
    try:
        with connection.transaction():
            copy(connection, statement, batch.texts)
            ledger.record_chunks(connection, session.table, load, batch.file_format, batch.chunks, malformed, invalid)
    except psycopg.Error as error:
        if not is_refusal(error):
            raise
        with connection.transaction():
            for chunk, rejected in zip(batch.chunks, malformed, strict=True):
                delimiter = batch.file_format.dialect.delimiter_byte
                rejected.extend(copy_accepted_rows(connection, statement, load.load_id, chunk, delimiter))
            refused = {rejection.record for chunk in malformed for rejection in chunk}
            invalid = [[row for row in chunk if row.record not in refused] for chunk in invalid]
            ledger.record_chunks(connection, session.table, load, batch.file_format, batch.chunks, malformed, invalid)
    return Totals(sum(chunk.records for chunk in batch.chunks), sum(map(len, malformed)), sum(map(len, invalid)))


def _loaded(load: Load, item: ObjectVersion, totals: Totals, started: float, is_new: bool = True) -> Loaded:
    return Loaded(load.load_id, item, totals, time.monotonic() - started, is_new)


def _failed(
    session: TableSession, load: Load, item: ObjectVersion, status: LoadStatus, message: str, digest: str | None = None
) -> Failed:
    ledger.finish_load(session.connection, load, status, message, digest)
    return Failed(load.load_id, item, status, message)


@dataclass(frozen=True)
class Batch:
    """The content of one transaction.

    Attributes:
        file_format: of the object.
        chunks: consecutive chunks of it.
        texts: for each chunk, its rows as COPY reads them.
        invalid: for each chunk, its rows that break a rule.
    """

    file_format: FileFormat
    chunks: list[Chunk]
    texts: list[bytes]
    invalid: list[list[InvalidRecord]]


def chunks_of(
    client: "S3Client | None",
    table: Table,
    item: ObjectVersion,
    file_format: FileFormat | None = None,
    start: Position = START,
    give_up_seconds: float = 0,
    digest: "hashlib._Hash | None" = None,
) -> Iterator[tuple[FileFormat, Chunk]]:
    """Yield the chunks of an object version from a position on, each with the object's format.

    Args:
        client: a boto3 S3 client; None for a file.
        table: the table that the object is for.
        item: the version to read.
        file_format: its format, if that is known from an earlier attempt.
        start: the position of the first chunk.
        give_up_seconds: how long to retry while the server delivers no bytes.
        digest: updated with the text that is read.

    Raises:
        BucketUnavailable: the server refuses the request, or is unavailable for longer than that.
        ObjectChanged: this version no longer exists.
        ObjectUnreadable: reading it is forbidden, it is archived, or its gzip stream is damaged.
        UnreadableFile: it is neither CSV text nor a workbook, or its header does not name the table's columns.
    """
    # A workbook is read completely; a load resumes in the text that it is converted to.
    blocks = read(client, item, 0 if item.is_workbook else start.byte, give_up_seconds)
    if digest:
        blocks = _updating(digest, blocks)
    try:
        if item.is_workbook:
            blocks = skip(workbook_text(blocks, table), start.byte)
        if file_format is not None and start != START:
            body, blocks = start, in_utf8(blocks, file_format.encoding)
        else:
            declared = Encoding.UTF_8 if item.is_workbook else Encoding(table.encoding_of(item.key))
            beginning = read_beginning(blocks, table, declared)
            file_format, body, blocks = beginning.file_format, beginning.body, beginning.blocks
        probe = Header(table).probe(file_format.fields)
        plain_rows = PlainRows(table, file_format)
        for chunk in split_chunks(blocks, file_format, start, body, probe, plain_rows=plain_rows):
            yield file_format, chunk
    except UnreadableFile as error:
        raise UnreadableFile(f"{item} {error}") from None


def _updating(digest: "hashlib._Hash", blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


def batches(load_id: int, table: Table, chunks: Iterator[tuple[FileFormat, Chunk]]) -> Iterator[Batch]:
    """Group chunks into transactions.

    Args:
        load_id: the load.
        table: that the object is for.
        chunks: of the object, each with the object's format.
    """
    validator: Validator | None = None
    held: list[Chunk] = []

    def batch(file_format: FileFormat, validator: Validator) -> Batch:
        delimiter = file_format.dialect.delimiter_byte
        texts = [copy_text(load_id, chunk.numbers, chunk.rows, delimiter) for chunk in held]
        return Batch(file_format, held, texts, [validator.invalid(chunk) for chunk in held])

    for file_format, chunk in chunks:
        validator = validator or Validator(table, file_format)
        held.append(chunk)
        size = chunk.end.byte - held[0].begin.byte
        if len(held) == CHUNKS_PER_TRANSACTION or size >= BYTES_PER_TRANSACTION:
            yield batch(file_format, validator)
            held = []
    if held and validator:
        yield batch(file_format, validator)
