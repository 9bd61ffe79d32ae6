"""What Dagster keeps when a run is deleted, and where it stores partitions; test_maintenance.py has the rest."""

from pathlib import Path

import dagster as dg
import pytest

from orchestration.instance import pruning


@dg.asset(check_specs=[dg.AssetCheckSpec("is_fine", asset="checked")])
def checked() -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Be made and checked, and say so on standard output."""
    print("made")  # noqa: T201
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


def printed(instance: dg.DagsterInstance) -> list[Path]:
    return list(Path(instance.storage_directory()).rglob("*.out"))


def test_dagster_keeps_results_of_checks_and_what_was_printed_of_a_run_that_is_deleted(
    instance: dg.DagsterInstance,
) -> None:
    """Once Dagster deletes them, too, this project need not."""
    runs = [dg.materialize([checked], instance=instance).run_id for _ in range(2)]
    before = len(printed(instance))
    instance.delete_run(runs[0])
    assert len(printed(instance)) == before
    executions = instance.event_log_storage.get_asset_check_execution_history(next(iter(checked.check_keys)), limit=9)
    assert {execution.run_id for execution in executions} == {*runs}

    pruning.delete_run(instance, runs[1])
    assert len(printed(instance)) == before - 1


def test_dagster_offers_no_partition_any_more_that_is_deleted_from_its_table(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "ROWS_PER_STATEMENT", 2)
    for definition in ("jobs_objects", "objects"):
        instance.add_dynamic_partitions(definition, ["a", "b", "c", "d"])
    assert pruning.delete_partitions(instance, "jobs_objects", ["a", "b", "c"]) == 3
    assert instance.get_dynamic_partitions("jobs_objects") == ["d"]
    assert instance.get_dynamic_partitions("objects") == ["a", "b", "c", "d"]
