"""The loads that failed or are held in a run, noted in the run's tags: the run list shows them, its last step asks."""

import dagster as dg

FAILED_OBJECTS = "hiring/failed_objects"
FAILED_LOADS = "hiring/failed_loads"
# The tags are written once per failure; a run that fails more than this has a fault that one look at them shows.
NOTED = 100


def note_failed_load(instance: dg.DagsterInstance, run_id: str, load_id: int) -> None:
    """Count a load that failed or is held in the tags of the run that met it, at once: the run may end at any time."""
    run = instance.get_run_by_id(run_id)
    if run is None:
        return
    noted = _noted(run)
    if load_id in noted:
        return
    count = int(run.tags.get(FAILED_OBJECTS, 0)) + 1
    shown = ", ".join(map(str, [*noted, load_id][:NOTED]))
    instance.add_run_tags(run_id, {FAILED_OBJECTS: str(count), FAILED_LOADS: shown})


def failed_loads(instance: dg.DagsterInstance, run_id: str) -> list[int]:
    """Return the loads that were noted of a run, NOTED of them at most."""
    run = instance.get_run_by_id(run_id)
    return _noted(run) if run else []


def _noted(run: dg.DagsterRun) -> list[int]:
    return [int(load_id) for load_id in run.tags.get(FAILED_LOADS, "").split(",") if load_id.strip()]
