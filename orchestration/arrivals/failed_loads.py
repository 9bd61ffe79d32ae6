"""Notes failed and held loads in their run's tags, which the list of runs shows and the run's last step reads."""

import dagster as dg

FAILED_OBJECTS = "hiring/failed_objects"
FAILED_LOADS = "hiring/failed_loads"
# The tags are rewritten with each failure; with more failures than this, a few are enough to find the cause.
MAX_NOTED_LOADS = 100


def note_failed_load(instance: dg.DagsterInstance, run_id: str, load_id: int) -> None:
    """Note a failed or held load in its run's tags, immediately, because the run may end at any time.

    Args:
        instance: Dagster's instance.
        run_id: the run that met the load.
        load_id: the load's number.
    """
    run = instance.get_run_by_id(run_id)
    if run is None:
        return
    noted = _noted(run)
    if load_id in noted:
        return
    count = int(run.tags.get(FAILED_OBJECTS, 0)) + 1
    shown = ", ".join(map(str, [*noted, load_id][:MAX_NOTED_LOADS]))
    instance.add_run_tags(run_id, {FAILED_OBJECTS: str(count), FAILED_LOADS: shown})


def failed_loads(instance: dg.DagsterInstance, run_id: str) -> list[int]:
    """Return the loads that were noted for a run, at most MAX_NOTED_LOADS."""
    run = instance.get_run_by_id(run_id)
    return _noted(run) if run else []


def _noted(run: dg.DagsterRun) -> list[int]:
    return [int(load_id) for load_id in run.tags.get(FAILED_LOADS, "").split(",") if load_id.strip()]
