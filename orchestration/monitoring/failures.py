"""What went wrong in a run, out of Dagster's event log: its failed steps and checks, each told in one line."""

from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType

# With these words the embedded stack ends, in Dagster's books, runs whose processes ended together with it.
STACK_STOPPED = "The stack was stopped while this run was under way."
# The second one is Dagster's own, for a run whose process was asked to stop otherwise than in the UI.
CUT_OFF = (STACK_STOPPED, "Execution was interrupted unexpectedly.")

TOLD = {
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.ASSET_CHECK_EVALUATION,
    DagsterEventType.RUN_FAILURE,
}


@dataclass(frozen=True)
class Trouble:
    """Something that went wrong: where (a step, or an asset and its check), and why in one line."""

    where: str
    why: str


def troubles_of(instance: dg.DagsterInstance, run_id: str) -> list[Trouble]:
    """Return what went wrong in a run: checks that failed as errors, steps; the run as such where no step failed.

    That somebody stopped the run's process, or the embedded stack with it, is no trouble: the sensors start the next
    run by themselves.
    """
    records = instance.get_records_for_run(run_id, of_type=TOLD).records
    events = [entry.dagster_event for record in records if (entry := record.event_log_entry).dagster_event]
    troubles = [found for event in events if (found := _failed_check(event))]
    ends = [event for event in events if event.event_type == DagsterEventType.RUN_FAILURE]
    if any(words in (end.message or "") for end in ends for words in CUT_OFF):
        return troubles
    steps = [Trouble(event.step_key or "run", reason(event)) for event in events if event.is_step_failure]
    return troubles + (steps or [Trouble("run", reason(end)) for end in ends])


def _failed_check(event: dg.DagsterEvent) -> Trouble | None:
    if event.event_type != DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    found = event.asset_check_evaluation_data
    if found.passed or found.severity != dg.AssetCheckSeverity.ERROR:
        return None
    told = found.description or ", ".join(f"{name}: {value.value}" for name, value in found.metadata.items())
    return Trouble(f"{found.asset_key.to_user_string()}, check {found.check_name}", _in_one_line(told))


def reason(event: dg.DagsterEvent) -> str:
    """Return a failure of a step or a run as one line: what it said itself, or else the innermost error's message."""
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


def _in_one_line(text: str) -> str:
    return " ".join(text.split())
