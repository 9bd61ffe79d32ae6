"""The list of recent arrivals, which is also the last step of a run: it fails if the run met objects that failed."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from contracts import TABLES
from orchestration.arrivals.failed_loads import failed_loads
from orchestration.arrivals.partitions import ARRIVALS
from orchestration.arrivals.recent import SHOWN, recent_arrivals, runs_of_loads
from orchestration.defs.landing import OWNERS
from orchestration.defs.resources import Warehouse
from orchestration.markdown import table_of_rows
from orchestration.monitoring.checks import FailedObject, failed_objects
from orchestration.monitoring.failures import as_metadata
from orchestration.settings import AlertSettings

# How many of a run's failed objects its summary names.
MAX_NAMED = 20


@dg.asset(
    key=ARRIVALS,
    # Not on the models: it has to run when they have nothing to build, and after them when they have.
    deps=[dg.AssetKey(["raw", table.name]) for table in TABLES],
    op_tags={"dagster/priority": "-1"},
    description=(
        f"The latest arrivals, newest first: the table in the metadata has one row for each of the latest {SHOWN} "
        "loads of objects, with the object's format, its columns that were left out, its rejected and waiting "
        "records, and the run that loaded it. This is the last step of each refresh. It fails if objects failed or "
        "were held back in that run, after everything else is built: its error names them."
    ),
    group_name="landing",
    kinds={"s3", "table"},
    owners=OWNERS,
)
def arrivals(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Iterator[dg.MaterializeResult[None]]:
    """Show the latest loads, and fail if loads of this run failed.

    Raises:
        dagster.Failure: objects failed or were held back in this run, and still are.
    """
    with warehouse.transformer() as connection:
        latest = recent_arrivals(connection)
        failed = [item for table in TABLES for item in failed_objects(connection, table)]
    runs, ui_url = runs_of_loads(context.instance), AlertSettings.read().dagster_ui_url
    yield dg.MaterializeResult(
        metadata={
            "arrivals": dg.MetadataValue.md(table_of_rows([item.row(runs, ui_url) for item in latest])),
            "failed_objects": len(failed),
        }
    )
    met = set(failed_loads(context.instance, context.run.run_id))
    if of_this_run := [item for item in failed if item.load_id in met]:
        raise dg.Failure(
            summary(of_this_run),
            metadata=as_metadata({item.load_id: item.why for item in of_this_run}),
            allow_retries=False,
        )


def summary(failed: list[FailedObject]) -> str:
    """Return which objects failed or are held, and why, in one line."""
    counts = Counter(item.status for item in failed)
    states = [f"{count} file{'s' * (count != 1)} {WORDS[status]}" for status, count in sorted(counts.items())]
    named = "; ".join(item.why_with_name for item in failed[:MAX_NAMED])
    more = f"; and {len(failed) - MAX_NAMED} more" * (len(failed) > MAX_NAMED)
    return f"{', '.join(states)}: {named}{more}"


WORDS = {"failed": "failed", "held": "held back"}
