"""Extracts failures from a run's events: checks, steps and the run itself, each with a one-line reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster import DagsterEventType

EVENT_TYPES = {
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.ASSET_CHECK_EVALUATION,
    DagsterEventType.RUN_FAILURE,
}


@dataclass(frozen=True)
class FailureEvent:
    """Something that failed in a run.

    Attributes:
        where: the step, or an asset and its check, or "run".
        reason: why, in one line.
        metadata: the metadata of the check or the step.
    """

    where: str
    reason: str
    metadata: Mapping[str, dg.MetadataValue] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFailures:
    """The failures of a run. `ends` are Dagster's own messages about the end of a failed run."""

    checks: Sequence[FailureEvent]
    steps: Sequence[FailureEvent]
    run: Sequence[FailureEvent]
    ends: Sequence[str]


def failures_of_run(instance: dg.DagsterInstance, run_id: str) -> RunFailures:
    """Return a run's failed checks of severity error, its failed steps, and its own failure."""
    records = instance.get_records_for_run(run_id, of_type=EVENT_TYPES).records
    events = [event for record in records if (event := record.event_log_entry.dagster_event)]
    ends = [event for event in events if event.event_type == DagsterEventType.RUN_FAILURE]
    return RunFailures(
        checks=[_check(event) for event in events if _is_failed_check(event)],
        steps=[_step(event) for event in events if event.is_step_failure],
        run=[FailureEvent("run", reason(end)) for end in ends],
        ends=[end.message or "" for end in ends],
    )


def reason(event: dg.DagsterEvent) -> str:
    """Return the reason of a step's or run's failure in one line: its description, or the innermost error's message."""
    if event.is_step_failure:
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            return data.user_failure_data.description
        error = data.error
    else:
        error = event.job_failure_data.error if event.event_specific_data else None
    while error and error.cause:
        error = error.cause
    return _in_one_line(error.message if error else event.message or "")


def _is_failed_check(event: dg.DagsterEvent) -> bool:
    if event.event_type != DagsterEventType.ASSET_CHECK_EVALUATION:
        return False
    check = event.asset_check_evaluation_data
    return not check.passed and check.severity == dg.AssetCheckSeverity.ERROR


def _check(event: dg.DagsterEvent) -> FailureEvent:
    check = event.asset_check_evaluation_data
    why = check.description or ", ".join(f"{name}: {value.value}" for name, value in check.metadata.items())
    where = f"{check.asset_key.to_user_string()}, check {check.check_name}"
    return FailureEvent(where, _in_one_line(why), check.metadata)


def _step(event: dg.DagsterEvent) -> FailureEvent:
    failure = event.step_failure_data.user_failure_data
    return FailureEvent(event.step_key or "run", reason(event), failure.metadata if failure else {})


def _in_one_line(text: str) -> str:
    return " ".join(text.split())
