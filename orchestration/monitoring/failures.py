"""What went wrong in a run, out of Dagster's event log: its failed steps and checks, each told in one line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

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


# What a check or a failed step has in its metadata where loads are what went wrong: each load's number and its reason.
# A run's events are read as a whole, so that there is a bound to both.
FAILED_LOADS = "failed_loads"
LOADS_NAMED = 100
CHARACTERS_A_LOAD = 1000


@dataclass(frozen=True)
class Trouble:
    """Something that went wrong: where (a step, or an asset and its check), and why in one line.

    `load_id` is set where it is a load that failed or is held: it is one and the same wherever it is shown.
    """

    where: str
    why: str
    load_id: int | None = None


def as_metadata(reasons: Mapping[int, str]) -> dict[str, dg.MetadataValue]:
    """Return why loads failed or are held as metadata of a check or a step, the first LOADS_NAMED of them."""
    named = {str(load_id): why[:CHARACTERS_A_LOAD] for load_id, why in islice(reasons.items(), LOADS_NAMED)}
    return {FAILED_LOADS: dg.MetadataValue.json(named)}


def troubles_of(instance: dg.DagsterInstance, run_id: str) -> list[Trouble]:
    """Return what went wrong in a run: checks that failed as errors, steps; the run as such where no step failed.

    That somebody stopped the run's process, or the embedded stack with it, is no trouble: the sensors start the next
    run by themselves.
    """
    records = instance.get_records_for_run(run_id, of_type=TOLD).records
    events = [entry.dagster_event for record in records if (entry := record.event_log_entry).dagster_event]
    troubles = [trouble for event in events for trouble in _failed_check(event)]
    ends = [event for event in events if event.event_type == DagsterEventType.RUN_FAILURE]
    if any(words in (end.message or "") for end in ends for words in CUT_OFF):
        return troubles
    steps = [trouble for event in events if event.is_step_failure for trouble in _failed_step(event)]
    return _once(troubles + (steps or [Trouble("run", reason(end)) for end in ends]))


def _failed_check(event: dg.DagsterEvent) -> Iterator[Trouble]:
    if event.event_type != DagsterEventType.ASSET_CHECK_EVALUATION:
        return
    found = event.asset_check_evaluation_data
    if found.passed or found.severity != dg.AssetCheckSeverity.ERROR:
        return
    told = found.description or ", ".join(f"{name}: {value.value}" for name, value in found.metadata.items())
    yield from _troubles(
        f"{found.asset_key.to_user_string()}, check {found.check_name}", _in_one_line(told), found.metadata
    )


def _failed_step(event: dg.DagsterEvent) -> Iterator[Trouble]:
    said = event.step_failure_data.user_failure_data
    yield from _troubles(event.step_key or "run", reason(event), said.metadata if said else {})


def _troubles(where: str, why: str, metadata: Mapping[str, dg.MetadataValue]) -> Iterator[Trouble]:
    """Yield one trouble for each load that is named, or else one for all that is said."""
    loads = metadata.get(FAILED_LOADS)
    if not isinstance(loads, dg.JsonMetadataValue) or not isinstance(loads.data, dict):
        yield Trouble(where, why)
        return
    for load_id, why_it_failed in loads.data.items():
        yield Trouble(where, _in_one_line(str(why_it_failed)), int(load_id))


def _once(troubles: Sequence[Trouble]) -> list[Trouble]:
    """Leave out what is shown again of a load: by the check of its table, and by the step that failed for it."""
    first = {each.load_id: each for each in reversed(troubles)}
    return [each for each in troubles if each.load_id is None or first[each.load_id] is each]


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
