"""Checks of the data in Dagster: what each means and what to do about it. Their queries are in monitoring/checks.py.

Those of a raw table are part of its load, the others are steps of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import dagster as dg
from pydantic import BaseModel, ValidationError

from contracts import TABLES, Table
from orchestration.arrivals.backoff import digest_of
from orchestration.defs.models import MARTS
from orchestration.defs.resources import Warehouse
from orchestration.markdown import table_of_rows
from orchestration.monitoring import checks
from orchestration.monitoring.failures import as_metadata
from orchestration.settings import CheckSettings

SHOWN = 20
COLUMNS, LOADED, ADDS_UP = "columns_as_agreed", "every_object_loaded", "records_add_up"
USUAL_SIZE = "deliveries_of_usual_size"
FEW_REJECTED, ALL_ADDS_UP, UP_TO_DATE = "few_records_rejected", "all_records_add_up", "shows_every_complete_load"
NO_OPEN_RECORDS, NOTHING_WAITS = "no_open_records", "nothing_waits_long"
LEDGER = dg.AssetKey(["raw", "loads"])
REJECTED_RECORDS = dg.AssetKey(["staging", "rejected_records"])
MISSING_REFERENCES = dg.AssetKey(["marts", "missing_references"])
PERCENT = f"over {checks.WARNING_REJECTED_SHARE:.0%} is a warning, over {checks.ERROR_REJECTED_SHARE:.0%} an error"


def of_raw(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Return the checks that each load of a raw table makes."""
    descriptions = {
        COLUMNS: "The table has the columns of the contract, as text. If not, nothing is loaded: run the migrations, "
        "or revert the manual change.",
        LOADED: "No object's latest load failed or is held back; objects are listed until they are loaded. Deliver "
        "them corrected under the same name, or launch reload_object with another limit.",
        ADDS_UP: "Every record of the last run's objects is in the table or rejected, exactly once. If not, somebody "
        "changed raw manually: remove the load and let it be loaded again.",
        FEW_REJECTED: f"Few records of the last run's loads are rejected, as malformed or invalid ({PERCENT}). See "
        "staging/rejected_records, and deliver the corrected records in a new file.",
        USUAL_SIZE: f"The newest object has at least {checks.USUAL_SHARE:.0%} of the previous one's records, if that "
        f"has {checks.USUAL_RECORDS} or more. If not: ask the sender whether the file was truncated.",
    }
    return [dg.AssetCheckSpec(name, asset=key, description=text) for name, text in descriptions.items()]


def columns_as_agreed(wrong: Sequence[str]) -> dg.AssetCheckResult:
    """Return the check of a table's columns, given how they differ from the contract's."""
    return dg.AssetCheckResult(
        check_name=COLUMNS, passed=not wrong, description="; ".join(wrong) or None, metadata={"wrong": len(wrong)}
    )


def every_object_loaded(table: Table, failed: Sequence[checks.FailedObject]) -> dg.AssetCheckResult:
    """Return the check of a table's objects, given those that failed or are held, latest first."""
    rows: list[dict[str, object]] = [
        {
            "object": item.object,
            "load": item.load_id,
            "status": item.status,
            "since": f"{item.since:%Y-%m-%d %H:%M:%S %Z}",
            "why": item.why,
        }
        for item in failed[:SHOWN]
    ]
    return dg.AssetCheckResult(
        check_name=LOADED,
        asset_key=dg.AssetKey(["raw", table.name]),
        passed=not failed,
        description="; ".join(item.why for item in failed[:SHOWN]) or None,
        metadata={
            "failed": len(failed),
            "objects": dg.MetadataValue.md(table_of_rows(rows)),
            **as_metadata({item.load_id: item.why for item in failed}),
        },
    )


def deliveries_of_usual_size(deliveries: Sequence[checks.Delivery]) -> dg.AssetCheckResult:
    """Return the check of the newest object's size, given it and the previous complete one."""
    rows: list[dict[str, object]] = [
        {"object": delivery.object, "load": delivery.load_id, "records": delivery.records} for delivery in deliveries
    ]
    passed = checks.is_of_usual_size(deliveries)
    words = [f"{delivery.object} has {delivery.records:,} records" for delivery in deliveries]
    return dg.AssetCheckResult(
        check_name=USUAL_SIZE,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=None if passed else ", ".join(words) + " and was the previous one",
        metadata={"deliveries": dg.MetadataValue.md(table_of_rows(rows))},
    )


def records_add_up(
    name: str, found: Sequence[checks.Discrepancy], asset_key: dg.AssetKey | None = None
) -> dg.AssetCheckResult:
    """Return the check of the ledger against the records.

    Args:
        name: of the check.
        found: the contradictions.
        asset_key: of the asset, unless the step has only one.
    """
    rows: list[dict[str, object]] = [
        {"load": discrepancy.load_id, "record": discrepancy.record, "what": discrepancy.complaint}
        for discrepancy in found
    ]
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=asset_key,
        passed=not found,
        metadata={"discrepancies": len(found), "found": dg.MetadataValue.md(table_of_rows(rows))},
    )


def few_records_rejected(shares: Sequence[checks.Share]) -> dg.AssetCheckResult:
    """Return the check of rejected records, given the loads' shares, highest first."""
    worst = shares[0].share if shares else 0.0
    rows: list[dict[str, object]] = [
        {
            "load": load.load_id,
            "object": load.object,
            "records": load.records,
            "malformed": load.malformed,
            "invalid": load.invalid,
        }
        for load in shares[:SHOWN]
    ]
    return dg.AssetCheckResult(
        check_name=FEW_REJECTED,
        passed=worst <= checks.WARNING_REJECTED_SHARE,
        severity=dg.AssetCheckSeverity.ERROR if worst > checks.ERROR_REJECTED_SHARE else dg.AssetCheckSeverity.WARN,
        metadata={
            "malformed": sum(load.malformed for load in shares),
            "invalid": sum(load.invalid for load in shares),
            "worst_percent": round(100 * worst, 3),
            "loads": dg.MetadataValue.md(table_of_rows(rows)),
        },
    )


@dg.asset_check(
    asset=LEDGER,
    name=ALL_ADDS_UP,
    description=(
        "Every record of every load is in its table or rejected, exactly once. Takes two seconds per million records, "
        "so it runs at night; click Execute for a result now. If it fails, somebody changed raw manually: remove the "
        "listed loads and let them be loaded again."
    ),
)
def all_records_add_up(warehouse: Warehouse) -> dg.AssetCheckResult:
    """Check all of raw."""
    with warehouse.transformer() as connection:
        return records_add_up(ALL_ADDS_UP, checks.discrepancies(connection, SHOWN))


def no_open_records(counts: Mapping[str, int], latest: Sequence[checks.OpenRecord]) -> dg.AssetCheckResult:
    """Return the check of open rejected records, given their number by table, and the latest ones."""
    in_words = ", ".join(f"{count:,} of {table}" for table, count in counts.items())
    return dg.AssetCheckResult(
        check_name=NO_OPEN_RECORDS,
        asset_key=REJECTED_RECORDS,
        passed=not counts,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"Open rejected records: {in_words}." if counts else None,
        metadata={
            "open": sum(counts.values()),
            **{f"open_{table}": count for table, count in counts.items()},
            # Without names of people, which users of this page may not be allowed to see.
            "latest": dg.MetadataValue.md(table_of_rows([asdict(record) for record in latest])),
            "export": dg.MetadataValue.md("\n\n".join(export_commands(list(counts)))),
        },
    )


def export_commands(tables: Sequence[str]) -> list[str]:
    """Return the commands that write the open records of some tables to files, one per table."""
    options = [f" --table {table}" for table in tables] if len(tables) > 1 else [""]
    return [f"`make ingest ARGS='rejected --open --csv{option}'`" for option in options]


def nothing_waits_long(missing: Sequence[checks.MissingReference], hours: float) -> dg.AssetCheckResult:
    """Return the check of what records wait for, longest wait first, given how many hours are acceptable."""
    late = too_long(missing, hours)
    by_table: dict[str, list[str]] = {}
    for reference in late:
        by_table.setdefault(reference.missing_from, []).append(reference.id)
    in_words = "; ".join(f"{table} {', '.join(ids[:SHOWN])}" for table, ids in sorted(by_table.items()))
    rows: list[dict[str, object]] = [
        {
            "missing from": reference.missing_from,
            "id": reference.id,
            "waiting": reference.waiting,
            "of": f"{reference.table}.{reference.column}",
            "since": f"{reference.since:%Y-%m-%d %H:%M:%S %Z}",
        }
        for reference in missing[:SHOWN]
    ]
    return dg.AssetCheckResult(
        check_name=NOTHING_WAITS,
        asset_key=MISSING_REFERENCES,
        passed=not late,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"Records have waited for more than {hours:g} hours for {in_words}." if late else None,
        metadata={
            "references": len(missing),
            "references_for_too_long": len(late),
            "longest_hours": round(missing[0].hours, 1) if missing else 0.0,
            "missing": dg.MetadataValue.md(table_of_rows(rows)),
        },
    )


def too_long(missing: Sequence[checks.MissingReference], hours: float) -> list[checks.MissingReference]:
    """Return the references that records have waited for longer than some hours."""
    return [reference for reference in missing if reference.hours > hours]


AFTER_BUILD = [
    dg.AssetCheckSpec(
        NO_OPEN_RECORDS,
        asset=REJECTED_RECORDS,
        description=(
            "No rejected record is open. Open ones are counted by table, and the latest are listed. Export them with "
            "the command in the metadata, have them corrected and deliver the file; or dismiss them, see "
            "`make ingest ARGS='dismiss --help'`."
        ),
    ),
    dg.AssetCheckSpec(
        NOTHING_WAITS,
        asset=MISSING_REFERENCES,
        description=(
            "No valid record has waited longer than WAITING_HOURS (24) for an unknown department, job or the like; a "
            "sensor checks every minute. If one has: have the listed records delivered."
        ),
    ),
    *(
        dg.AssetCheckSpec(
            UP_TO_DATE,
            asset=dg.AssetKey(["marts", mart]),
            description=(
                f"No complete load has waited longer than {checks.MAX_WAIT_SECONDS // 60} minutes for this mart to "
                "show it; a sensor checks every minute. If one has: open the last failed run of refresh, repair what "
                "it names, and launch refresh."
            ),
        )
        for mart in MARTS
    ),
]


# A subset, because a run that materializes one model has the checks of that model only.
@dg.multi_asset_check(specs=AFTER_BUILD, name="after_build", can_subset=True)
def after_build(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> Iterator[dg.AssetCheckResult]:
    """Check the result of a build, for the models of the run."""
    with warehouse.transformer() as connection:
        results = [
            no_open_records(*checks.open_records(connection, SHOWN)),
            nothing_waits_long(checks.missing_references(connection), CheckSettings.read().waiting_hours),
            *shows_every_complete_load(checks.waiting(connection, MARTS)),
        ]
    selected = {(key.asset_key, key.name) for key in context.selected_asset_check_keys}
    yield from (result for result in results if (result.asset_key, result.check_name) in selected)


def shows_every_complete_load(late: checks.Waiting) -> list[dg.AssetCheckResult]:
    """Return the checks of all marts, given the loads that they do not show."""
    metadata = {
        "waiting_loads": dg.MetadataValue.int(late.loads),
        "waiting_seconds": dg.MetadataValue.float(round(late.seconds, 1)),
        "first_waiting": dg.MetadataValue.text(
            f"load {late.first_load_id}, complete since {late.since:%Y-%m-%d %H:%M:%S %Z}" if late.since else "none"
        ),
    }
    return [
        dg.AssetCheckResult(
            check_name=UP_TO_DATE,
            asset_key=dg.AssetKey(["marts", mart]),
            passed=not late.is_too_long,
            metadata=metadata,
        )
        for mart in MARTS
    ]


def as_evaluation(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """Return the result of a check that ran outside of a run's steps as an event."""
    assert result.asset_key is not None
    assert result.check_name is not None
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=bool(result.passed),
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
    )


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        f"Reports checks that can change without a run: {UP_TO_DATE} of the marts, {NOTHING_WAITS} of missing "
        f"references, and {LOADED} of the raw tables, for instance after a load from a shell. Starts no runs."
    ),
)
def late_marts(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SensorResult | dg.SkipReason:
    """Run the checks that time or a shell can change; the cursor has the failures last reported, by check."""
    with warehouse.transformer() as connection:
        late = checks.waiting(connection, MARTS)
        missing = checks.missing_references(connection)
        failed = {table: checks.failed_objects(connection, table) for table in TABLES}
    hours = CheckSettings.read().waiting_hours
    # The failures of each check, empty if it passes, and its results.
    outcomes: dict[str, tuple[list[str], list[dg.AssetCheckResult]]] = {
        UP_TO_DATE: ([str(late.first_load_id)] * late.is_too_long, shows_every_complete_load(late)),
        NOTHING_WAITS: (
            [f"{item.column} {item.id}" for item in too_long(missing, hours)],
            [nothing_waits_long(missing, hours)],
        ),
    }
    for table, objects in failed.items():
        loads = [str(item.load_id) for item in objects]
        outcomes[f"{LOADED} {table.name}"] = (loads, [every_object_loaded(table, objects)])
    before = Reported.read(context.cursor)
    now = Reported(digests={name: digest_of(" ".join(wrong)) for name, (wrong, _) in outcomes.items() if wrong})
    changed = [name for name in outcomes if before.digests.get(name) != now.digests.get(name)]
    if not changed:
        # An alarm (deploy/aws) matches "loads wait too long"; while files keep arriving, some loads always wait.
        status = f"{late.loads} loads wait" if late.loads else "The marts show every complete load"
        status += " too long" * late.is_too_long
        others = [name for name in now.digests if name != UP_TO_DATE]
        return dg.SkipReason(f"{status}; still failing: {', '.join(others)}." if others else f"{status}.")
    return dg.SensorResult(
        asset_events=[as_evaluation(result) for name in changed for result in outcomes[name][1]],
        cursor=now.model_dump_json(),
    )


class Reported(BaseModel):
    """Digests of the failures that the sensor last reported, by check. Losing it costs one more report."""

    digests: dict[str, str] = {}

    @classmethod
    def read(cls, cursor: str | None) -> "Reported":
        """Return the content of a cursor; an unreadable cursor counts as none."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:
            return cls()
