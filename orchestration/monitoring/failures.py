"""What went wrong in a run: its failed steps and checks, each in one line, and the loads among them by their number."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import dagster as dg

from orchestration.instance.run_events import FailureEvent, failures_of_run

# With these words the embedded stack ends, in Dagster's books, runs whose processes ended together with it.
STACK_STOPPED = "The stack was stopped while this run was under way."
# The second one is Dagster's own, for a run whose process was asked to stop otherwise than in the UI.
CUT_OFF = (STACK_STOPPED, "Execution was interrupted unexpectedly.")

# What a check or a failed step has in its metadata where loads are what went wrong: each load's number and its reason.
# A run's events are read as a whole, so that there is a bound to both.
FAILED_LOADS = "failed_loads"
MAX_LOADS_NAMED = 100
MAX_CHARACTERS_PER_LOAD = 1000


@dataclass(frozen=True)
class Failure:
    """Something that went wrong: where (a step, or an asset and its check), and why in one line.

    `load_id` is set where it is a load that failed or is held: it is one and the same wherever it is shown.
    """

    where: str
    why: str
    load_id: int | None = None


def as_metadata(reasons: Mapping[int, str]) -> dict[str, dg.MetadataValue]:
    """Return why loads failed or are held as metadata of a check or a step, the first MAX_LOADS_NAMED of them."""
    named = {str(load_id): why[:MAX_CHARACTERS_PER_LOAD] for load_id, why in islice(reasons.items(), MAX_LOADS_NAMED)}
    return {FAILED_LOADS: dg.MetadataValue.json(named)}


def failures_in(instance: dg.DagsterInstance, run_id: str) -> list[Failure]:
    """Return what went wrong in a run: checks that failed as errors, steps; the run as such where no step failed.

    That somebody stopped the run's process, or the embedded stack with it, is no failure: the sensors start the next
    run by themselves.
    """
    events = failures_of_run(instance, run_id)
    checks = [failure for event in events.checks for failure in _failures(event)]
    if any(words in end for end in events.ends for words in CUT_OFF):
        return checks
    steps = [failure for event in events.steps for failure in _failures(event)]
    return _without_repetitions(checks + (steps or [Failure(event.where, event.reason) for event in events.run]))


def _failures(event: FailureEvent) -> Iterator[Failure]:
    """Yield one failure for each load that is named, or else one for all that is said."""
    loads = event.metadata.get(FAILED_LOADS)
    if not isinstance(loads, dg.JsonMetadataValue) or not isinstance(loads.data, dict):
        yield Failure(event.where, event.reason)
        return
    for load_id, why in loads.data.items():
        yield Failure(event.where, " ".join(str(why).split()), int(load_id))


def _without_repetitions(failures: Sequence[Failure]) -> list[Failure]:
    """Leave out what is shown again of a load: by the check of its table, and by the step that failed for it."""
    first = {failure.load_id: failure for failure in reversed(failures)}
    return [failure for failure in failures if failure.load_id is None or first[failure.load_id] is failure]
