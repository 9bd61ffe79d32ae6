"""Checks of the data in Dagster: what each means and what to do about it. What they query is in monitoring/checks.py.

Those of a raw table belong to its load, the others are steps of their own.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from orchestration.defs.models import MARTS
from orchestration.defs.resources import Warehouse
from orchestration.ingest.loader import Failed
from orchestration.markdown import table_of_rows
from orchestration.monitoring import checks

SHOWN = 20
COLUMNS, LOADED, ADDS_UP = "columns_as_agreed", "every_object_loaded", "records_add_up"
FEW_REJECTED, ALL_ADDS_UP, UP_TO_DATE = "few_records_rejected", "all_records_add_up", "shows_every_complete_load"
LEDGER = dg.AssetKey(["raw", "loads"])
PERCENT = (
    f"over {checks.REJECTED_SHARE_TO_LOOK_AT:.0%} is a warning, over {checks.REJECTED_SHARE_TOO_MUCH:.0%} an error"
)


def of_raw(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Return the checks that each load of a raw table makes."""
    descriptions = {
        COLUMNS: "The table has the columns that objects deliver, as text. If not, nothing is loaded: run the "
        "migrations, or take back what was changed by hand.",
        LOADED: "No object of the last load failed; those that did are named. Deliver them corrected, or load one by "
        "hand with another limit.",
        ADDS_UP: "Of each object of the last load, every record is in the table or among the rejected, once. If not, "
        "somebody changed raw by hand: take the load out and let it be loaded again.",
        FEW_REJECTED: f"Few records of the last load are rejected, as malformed or as invalid ({PERCENT}). See "
        "staging/rejected_records, and deliver the corrected records in a new file.",
    }
    return [dg.AssetCheckSpec(name, asset=key, description=text) for name, text in descriptions.items()]


def columns_as_agreed(wrong: Sequence[str]) -> dg.AssetCheckResult:
    """Return the check of a table's columns, given what is wrong with them."""
    return dg.AssetCheckResult(
        check_name=COLUMNS, passed=not wrong, description="; ".join(wrong) or None, metadata={"wrong": len(wrong)}
    )


def every_object_loaded(failed: Sequence[Failed]) -> dg.AssetCheckResult:
    """Return the check of a load's objects, given those that failed."""
    rows: list[dict[str, object]] = [{"object": each.item.key, "reason": each.message} for each in failed]
    return dg.AssetCheckResult(
        check_name=LOADED,
        passed=not failed,
        description="; ".join(each.message for each in failed) or None,
        metadata={"failed": len(failed), "objects": dg.MetadataValue.md(table_of_rows(rows))},
    )


def records_add_up(
    name: str, found: Sequence[checks.Discrepancy], asset_key: dg.AssetKey | None = None
) -> dg.AssetCheckResult:
    """Return the check of the ledger's accounts, given what does not add up in them."""
    rows: list[dict[str, object]] = [
        {"load": each.load_id, "record": each.record, "what": each.complaint} for each in found
    ]
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=asset_key,
        passed=not found,
        metadata={"discrepancies": len(found), "found": dg.MetadataValue.md(table_of_rows(rows))},
    )


def few_records_rejected(shares: Sequence[checks.Share]) -> dg.AssetCheckResult:
    """Return the check of how much was rejected, given the loads' shares, the worst first."""
    worst = shares[0].share if shares else 0.0
    rows: list[dict[str, object]] = [
        {
            "load": each.load_id,
            "object": each.object,
            "records": each.records,
            "malformed": each.malformed,
            "invalid": each.invalid,
        }
        for each in shares[:SHOWN]
    ]
    return dg.AssetCheckResult(
        check_name=FEW_REJECTED,
        passed=worst <= checks.REJECTED_SHARE_TO_LOOK_AT,
        severity=dg.AssetCheckSeverity.ERROR if worst > checks.REJECTED_SHARE_TOO_MUCH else dg.AssetCheckSeverity.WARN,
        metadata={
            "malformed": sum(each.malformed for each in shares),
            "invalid": sum(each.invalid for each in shares),
            "worst_percent": round(100 * worst, 3),
            "loads": dg.MetadataValue.md(table_of_rows(rows)),
        },
    )


@dg.asset_check(
    asset=LEDGER,
    name=ALL_ADDS_UP,
    description=(
        "Every record of every load is in its table or among the rejected, once. Two seconds a million records, so it "
        "runs at night; press Execute to know now. If not: somebody changed raw by hand; take out the loads named "
        "here and let them be loaded again."
    ),
)
def all_records_add_up(warehouse: Warehouse) -> dg.AssetCheckResult:
    """Look at all of raw."""
    with warehouse.transformer() as connection:
        return records_add_up(ALL_ADDS_UP, checks.discrepancies(connection, SHOWN))


AFTER_BUILD = [
    *(
        dg.AssetCheckSpec(
            UP_TO_DATE,
            asset=dg.AssetKey(["marts", mart]),
            description=(
                f"No complete load has waited longer than {checks.PATIENCE_SECONDS // 60} minutes for this mart to "
                "show it; a sensor looks each minute. If one has: look at the last failed run of refresh, mend what it "
                "names, start refresh."
            ),
        )
        for mart in MARTS
    ),
]


@dg.multi_asset_check(specs=AFTER_BUILD, name="after_build")
def after_build(warehouse: Warehouse) -> Iterator[dg.AssetCheckResult]:
    """Look at what a build has left."""
    with warehouse.transformer() as connection:
        late = checks.waiting(connection, MARTS)
    for mart in MARTS:
        yield dg.AssetCheckResult(
            check_name=UP_TO_DATE,
            asset_key=dg.AssetKey(["marts", mart]),
            passed=not late.is_too_long,
            metadata=_lateness(late),
        )


def _lateness(late: checks.Waiting) -> dict[str, dg.MetadataValue]:
    return {
        "waiting_loads": dg.MetadataValue.int(late.loads),
        "waiting_seconds": dg.MetadataValue.float(round(late.seconds, 1)),
        "first_waiting": dg.MetadataValue.text(
            f"load {late.first_load_id}, complete since {late.since:%Y-%m-%d %H:%M:%S %Z}" if late.since else "none"
        ),
    }


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        f"Reports {UP_TO_DATE} of the marts as failed while a complete load waits too long for them, and as passed "
        "afterwards. Starts no runs."
    ),
)
def late_marts(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SensorResult | dg.SkipReason:
    """Look whether the marts are behind; the cursor is the load that was last reported as waiting."""
    with warehouse.transformer() as connection:
        late = checks.waiting(connection, MARTS)
    waits_for = str(late.first_load_id) if late.is_too_long else None
    if waits_for == context.cursor:
        return dg.SkipReason(f"{late.loads} loads wait" if late.loads else "The marts show every complete load.")
    context.update_cursor(waits_for)
    return dg.SensorResult(
        asset_events=[
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(["marts", mart]),
                check_name=UP_TO_DATE,
                passed=waits_for is None,
                metadata=_lateness(late),
            )
            for mart in MARTS
        ],
    )
