"""The failures of a run: failed steps and checks, each as one line, and failed loads with their numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import dagster as dg

from orchestration.instance.run_events import FailureEvent, failures_of_run

# The embedded stack marks runs as failed with this message if their processes ended together with it.
STACK_STOPPED = "The stack was stopped while this run was under way."
# The second one is Dagster's own, for a run whose process was asked to stop by other means than the UI.
INTERRUPTED = (STACK_STOPPED, "Execution was interrupted unexpectedly.")

# Metadata of a check or step that failed because of loads: their numbers and reasons. Both are limited, because all
# events of a run are read at once.
FAILED_LOADS = "failed_loads"
MAX_LOADS = 100
MAX_REASON_CHARACTERS = 1000


@dataclass(frozen=True)
class Failure:
    """A failure: where (a step, or an asset and its check), and why, in one line.

    `load_id` is set for a load that failed or is held, which may be shown in several places.
    """

    where: str
    why: str
    load_id: int | None = None


def as_metadata(reasons: Mapping[int, str]) -> dict[str, dg.MetadataValue]:
    """Return why loads failed or are held as metadata of a check or a step, for at most MAX_LOADS of them."""
    shortened = {str(load_id): why[:MAX_REASON_CHARACTERS] for load_id, why in islice(reasons.items(), MAX_LOADS)}
    return {FAILED_LOADS: dg.MetadataValue.json(shortened)}


def failures_in(instance: dg.DagsterInstance, run_id: str) -> list[Failure]:
    """Return a run's failures: checks that failed as errors, failed steps, or the run itself if no step failed.

    A run whose process was stopped, alone or with the embedded stack, is not a failure: sensors start the next run.
    """
    events = failures_of_run(instance, run_id)
    checks = [failure for event in events.checks for failure in _failures(event)]
    if any(words in end for end in events.ends for words in INTERRUPTED):
        return checks
    steps = [failure for event in events.steps for failure in _failures(event)]
    return _without_repetitions(checks + (steps or [Failure(event.where, event.reason) for event in events.run]))


def _failures(event: FailureEvent) -> Iterator[Failure]:
    """Yield a failure per load in the metadata, or a single one if there are none."""
    loads = event.metadata.get(FAILED_LOADS)
    if not isinstance(loads, dg.JsonMetadataValue) or not isinstance(loads.data, dict):
        yield Failure(event.where, event.reason)
        return
    for load_id, why in loads.data.items():
        yield Failure(event.where, " ".join(str(why).split()), int(load_id))


def _without_repetitions(failures: Sequence[Failure]) -> list[Failure]:
    """Keep only the first failure of each load, which its table's check and a failed step may both show."""
    first = {failure.load_id: failure for failure in reversed(failures)}
    return [failure for failure in failures if failure.load_id is None or first[failure.load_id] is failure]
