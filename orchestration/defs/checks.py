"""Checks of the data in Dagster: what each means and what to do about it. What they query is in monitoring/checks.py.

Those of a raw table belong to its load, the others are steps of their own.
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
PERCENT = (
    f"over {checks.REJECTED_SHARE_TO_LOOK_AT:.0%} is a warning, over {checks.REJECTED_SHARE_TOO_MUCH:.0%} an error"
)


def of_raw(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Return the checks that each load of a raw table makes."""
    descriptions = {
        COLUMNS: "The table has the columns that objects deliver, as text. If not, nothing is loaded: run the "
        "migrations, or take back what was changed by hand.",
        LOADED: "No object's latest load failed or is held back; those of which it did are named until they are "
        "loaded. Deliver them corrected under the same name, or press reload_object with another limit.",
        ADDS_UP: "Of each object of the last load, every record is in the table or among the rejected, once. If not, "
        "somebody changed raw by hand: take the load out and let it be loaded again.",
        FEW_REJECTED: f"Few records of the last load are rejected, as malformed or as invalid ({PERCENT}). See "
        "staging/rejected_records, and deliver the corrected records in a new file.",
        USUAL_SIZE: f"The newest object has at least {checks.USUAL_SHARE:.0%} of the records of the one before it, "
        f"where that has {checks.USUAL_RECORDS} or more. If not: ask the sender whether the file was cut off.",
    }
    return [dg.AssetCheckSpec(name, asset=key, description=text) for name, text in descriptions.items()]


def columns_as_agreed(wrong: Sequence[str]) -> dg.AssetCheckResult:
    """Return the check of a table's columns, given what is wrong with them."""
    return dg.AssetCheckResult(
        check_name=COLUMNS, passed=not wrong, description="; ".join(wrong) or None, metadata={"wrong": len(wrong)}
    )


def every_object_loaded(table: Table, failed: Sequence[checks.FailedObject]) -> dg.AssetCheckResult:
    """Return the check of a table's objects, given those that failed or are held, the last one first."""
    rows: list[dict[str, object]] = [
        {
            "object": each.object,
            "load": each.load_id,
            "status": each.status,
            "since": f"{each.since:%Y-%m-%d %H:%M:%S %Z}",
            "why": each.why,
        }
        for each in failed[:SHOWN]
    ]
    return dg.AssetCheckResult(
        check_name=LOADED,
        asset_key=dg.AssetKey(["raw", table.name]),
        passed=not failed,
        description="; ".join(each.why for each in failed[:SHOWN]) or None,
        metadata={
            "failed": len(failed),
            "objects": dg.MetadataValue.md(table_of_rows(rows)),
            **as_metadata({each.load_id: each.why for each in failed}),
        },
    )


def deliveries_of_usual_size(deliveries: Sequence[checks.Delivery]) -> dg.AssetCheckResult:
    """Return the check of how large the newest object is, given it and the complete one before it."""
    rows: list[dict[str, object]] = [
        {"object": each.object, "load": each.load_id, "records": each.records} for each in deliveries
    ]
    passed = checks.is_of_usual_size(deliveries)
    words = [f"{each.object} has {each.records:,} records" for each in deliveries]
    return dg.AssetCheckResult(
        check_name=USUAL_SIZE,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=None if passed else ", ".join(words) + " and came before it",
        metadata={"deliveries": dg.MetadataValue.md(table_of_rows(rows))},
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


def no_open_records(counts: Mapping[str, int], latest: Sequence[checks.OpenRecord]) -> dg.AssetCheckResult:
    """Return the check of what there is to correct, given how many records are open by table, and the latest ones."""
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
            # Without their names: who may see this page need not see people.
            "latest": dg.MetadataValue.md(table_of_rows([asdict(each) for each in latest])),
            "export": dg.MetadataValue.md("\n\n".join(export_commands(list(counts)))),
        },
    )


def export_commands(tables: Sequence[str]) -> list[str]:
    """Return what writes the open records of some tables as files to be corrected: a file is of one table."""
    options = [f" --table {table}" for table in tables] if len(tables) > 1 else [""]
    return [f"`make ingest ARGS='rejected --open --csv{option}'`" for option in options]


def nothing_waits_long(missing: Sequence[checks.MissingReference], hours: float) -> dg.AssetCheckResult:
    """Return the check of what records wait for, the longest awaited first, given how long they may."""
    late = too_long(missing, hours)
    by_table: dict[str, list[str]] = {}
    for each in late:
        by_table.setdefault(each.missing_from, []).append(each.id)
    in_words = "; ".join(f"{table} {', '.join(ids[:SHOWN])}" for table, ids in sorted(by_table.items()))
    rows: list[dict[str, object]] = [
        {
            "missing from": each.missing_from,
            "id": each.id,
            "waiting": each.waiting,
            "of": f"{each.table}.{each.column}",
            "since": f"{each.since:%Y-%m-%d %H:%M:%S %Z}",
        }
        for each in missing[:SHOWN]
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
    """Return what has been waited for longer than some hours."""
    return [each for each in missing if each.hours > hours]


AFTER_BUILD = [
    dg.AssetCheckSpec(
        NO_OPEN_RECORDS,
        asset=REJECTED_RECORDS,
        description=(
            "No rejected record is open: those that are open are counted by table, and the latest are shown. Export "
            "them with the command that is shown, have them corrected and deliver the file; or dismiss them with "
            "`make ingest ARGS='dismiss --help'`."
        ),
    ),
    dg.AssetCheckSpec(
        NOTHING_WAITS,
        asset=MISSING_REFERENCES,
        description=(
            "No valid record has waited longer than WAITING_HOURS (24) for a department, a job or the like that is "
            "unknown; a sensor looks each minute. If one has: have the records that are named here delivered."
        ),
    ),
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


# A subset, because a run that materializes one model has the checks of that model alone.
@dg.multi_asset_check(specs=AFTER_BUILD, name="after_build", can_subset=True)
def after_build(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> Iterator[dg.AssetCheckResult]:
    """Look at what a build has left, for the models of the run."""
    with warehouse.transformer() as connection:
        results = [
            no_open_records(*checks.open_records(connection, SHOWN)),
            nothing_waits_long(checks.missing_references(connection), CheckSettings.read().waiting_hours),
            *shows_every_complete_load(checks.waiting(connection, MARTS)),
        ]
    selected = {(key.asset_key, key.name) for key in context.selected_asset_check_keys}
    yield from (result for result in results if (result.asset_key, result.check_name) in selected)


def shows_every_complete_load(late: checks.Waiting) -> list[dg.AssetCheckResult]:
    """Return the checks of the marts, given the loads that they do not show."""
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
    """Return a check that was made outside of a run's steps as an event."""
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
        f"Reports checks that change though nothing runs: {UP_TO_DATE} of the marts, {NOTHING_WAITS} of what records "
        f"wait for, and {LOADED} of the raw tables, as after a load from a shell. Starts no runs."
    ),
)
def late_marts(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SensorResult | dg.SkipReason:
    """Look at what time or a shell changes; the cursor is what was last reported as wrong, by check."""
    with warehouse.transformer() as connection:
        late = checks.waiting(connection, MARTS)
        missing = checks.missing_references(connection)
        failed = {table: checks.failed_objects(connection, table) for table in TABLES}
    hours = CheckSettings.read().waiting_hours
    # What is wrong in each, empty where nothing is, and the check that says so.
    looks: dict[str, tuple[list[str], list[dg.AssetCheckResult]]] = {
        UP_TO_DATE: ([str(late.first_load_id)] * late.is_too_long, shows_every_complete_load(late)),
        NOTHING_WAITS: (
            [f"{each.column} {each.id}" for each in too_long(missing, hours)],
            [nothing_waits_long(missing, hours)],
        ),
    }
    for table, objects in failed.items():
        loads = [str(each.load_id) for each in objects]
        looks[f"{LOADED} {table.name}"] = (loads, [every_object_loaded(table, objects)])
    before = Reported.read(context.cursor)
    now = Reported(digests={name: digest_of(" ".join(wrong)) for name, (wrong, _) in looks.items() if wrong})
    changed = [name for name in looks if before.digests.get(name) != now.digests.get(name)]
    if not changed:
        # An alarm outside (deploy/aws) looks for "loads wait too long"; files that keep coming always let some wait.
        behind = f"{late.loads} loads wait" if late.loads else "The marts show every complete load"
        behind += " too long" * late.is_too_long
        others = [name for name in now.digests if name != UP_TO_DATE]
        return dg.SkipReason(f"{behind}; still wrong: {', '.join(others)}." if others else f"{behind}.")
    return dg.SensorResult(
        asset_events=[as_evaluation(result) for name in changed for result in looks[name][1]],
        cursor=now.model_dump_json(),
    )


class Reported(BaseModel):
    """What the sensor has reported as wrong, a digest of it by check. Losing it costs one more report."""

    digests: dict[str, str] = {}

    @classmethod
    def read(cls, cursor: str | None) -> "Reported":
        """Return what a cursor holds; a cursor that holds anything else counts as none."""
        try:
            return cls.model_validate_json(cursor or "{}")
        except ValidationError:
            return cls()
