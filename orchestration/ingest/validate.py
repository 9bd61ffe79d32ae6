"""A dry run: what a load of an object would do, without a database, from the same bytes, chunks and rules."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts import Table
from orchestration.ingest.encoding import UnreadableFile
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.ledger import Totals
from orchestration.ingest.limits import RejectLimit, Tally, diagnosis
from orchestration.ingest.loader import OnProgress, Progress, batches, chunks_of
from orchestration.ingest.objects import BucketUnavailable, ObjectChanged, ObjectUnreadable, ObjectVersion
from orchestration.ingest.rejections import Example, examples_of_invalid, examples_of_malformed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class DryRun:
    """What a load would do.

    Attributes:
        file_format: the detected format; None if the file cannot be read.
        repeated_headers: how many headers there are among the records.
        totals: the numbers of records.
        by_reason: the number of rejected records for each reason, most frequent first, and samples of them.
        failure: why the load would fail, None if it would not.
    """

    file_format: FileFormat | None
    repeated_headers: int
    totals: Totals
    by_reason: list[tuple[int, list[Example]]]
    failure: str | None


def dry_run(
    client: "S3Client | None",
    table: Table,
    item: ObjectVersion,
    limit: RejectLimit,
    on_progress: OnProgress | None = None,
) -> DryRun:
    """Read an object version as a load would, and return what the load would do. Nothing is written.

    Args:
        client: a boto3 S3 client; None for a file.
        table: the table that the object is for.
        item: the version.
        limit: how many records may be rejected.
        on_progress: called after each batch.
    """
    file_format, repeated, totals, tally = None, 0, Totals(), Tally()
    violation = None
    try:
        for batch in batches(0, table, chunks_of(client, table, item)):
            file_format = batch.file_format
            for chunk, invalid in zip(batch.chunks, batch.invalid, strict=True):
                totals += Totals(chunk.records, len(chunk.rejections), len(invalid))
                repeated += chunk.repeated_headers
                tally.add([*examples_of_malformed(chunk.rejections), *examples_of_invalid(invalid)])
            if on_progress:
                on_progress(Progress(0, item, totals, batch.chunks[-1].end.byte))
            if violation := limit.violation(totals, at_end=False):
                break
    except (BucketUnavailable, ObjectChanged, ObjectUnreadable, UnreadableFile) as error:
        return DryRun(file_format, repeated, totals, tally.by_reason(), str(error))
    violation = violation or limit.violation(totals, at_end=True)
    failure = f"{item}: {violation}: {diagnosis(tally.by_reason(), totals)}" if violation else None
    return DryRun(file_format, repeated, totals, tally.by_reason(), failure)
