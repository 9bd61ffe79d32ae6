"""What a load of an object would do, found out without a database: the same bytes, cuts and judgements, no rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts import Table
from orchestration.ingest.ledger import Totals
from orchestration.ingest.limits import RejectLimit, Tally, diagnosis
from orchestration.ingest.loader import Progress, Watch, batches, chunks_of, unwatched
from orchestration.ingest.objects import BucketUnavailable, ObjectChanged, ObjectDamaged, ObjectVersion
from orchestration.ingest.preamble import NotThisTable
from orchestration.ingest.records import Rejection

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Forecast:
    """What a load would come to: its columns, records, rejections (number and samples a reason), why it would fail."""

    columns: tuple[str, ...] | None
    totals: Totals
    by_reason: list[tuple[int, list[Rejection]]]
    failure: str | None


def forecast(
    client: "S3Client | None", table: Table, item: ObjectVersion, limit: RejectLimit, watch: Watch = unwatched
) -> Forecast:
    """Read an object version as a load would, and say what that would come to. Nothing is written anywhere."""
    columns, totals, tally = None, Totals(), Tally()
    excess = None
    try:
        for batch in batches(0, chunks_of(client, table, item)):
            columns = batch.columns
            for chunk in batch.chunks:
                totals += Totals(chunk.records, len(chunk.rejections))
                tally.add(chunk.rejections)
            watch(Progress(0, item, totals, batch.chunks[-1].end.byte))
            if excess := limit.excess(totals, at_end=False):
                break
    except (BucketUnavailable, ObjectChanged, ObjectDamaged, NotThisTable) as error:
        return Forecast(columns, totals, tally.by_reason(), str(error))
    excess = excess or limit.excess(totals, at_end=True)
    failure = f"{item}: {excess}: {diagnosis(tally.by_reason(), totals.records)}" if excess else None
    return Forecast(columns, totals, tally.by_reason(), failure)
