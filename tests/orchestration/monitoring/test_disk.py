"""Disk space: when it is low, who reports it, and that it is reported once."""

from pathlib import Path

import dagster as dg
import pytest

from orchestration.definitions import defs
from orchestration.defs.disk import check_disk, disk_has_room, disk_room
from orchestration.monitoring import disk
from orchestration.monitoring.alerts import AlertCursor, scan_runs
from orchestration.monitoring.disk import DiskSpace, database_sizes, disk_space
from tests.conftest import Database, environment

GIB = 1 << 30


@pytest.mark.parametrize(
    ("free_gib", "total_gib", "state"),
    [
        (90, 1000, "enough"),
        (19, 1000, "scarce"),  # of a large disk 5 % would be more than anything needs
        (9, 1000, "low"),
        (7, 50, "enough"),
        (4, 50, "scarce"),
        (2, 50, "low"),
        (1.5, 8, "scarce"),  # of a small disk 5 % are not enough for a build
        (0.9, 8, "low"),
    ],
)
def test_room_is_low_by_a_share_of_the_disk_within_bounds(free_gib: float, total_gib: int, state: str) -> None:
    assert DiskSpace(int(free_gib * GIB), total_gib * GIB).state == state


def test_the_free_space_is_that_of_the_folders_disk_even_before_the_folder_exists(tmp_path: Path) -> None:
    found = disk_space(tmp_path / "not" / "yet")

    assert 0 < found.free <= found.total
    assert 0 < found.share <= 1


def test_the_databases_sizes_are_those_of_the_server(database: Database) -> None:
    with database.connect("hiring_transformer") as connection:
        sizes = database_sizes(connection)

    assert sizes[database.name] > 1 << 20
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)


@pytest.fixture
def _full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "disk_space", lambda _: DiskSpace(1 << 20, 100 << 30))


@pytest.mark.usefixtures("_full")
def test_a_disk_that_becomes_full_is_checked_immediately_and_reported_once(database: Database) -> None:
    """Postgres stops at a full disk, and what fails then says anything but that."""
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, cursor="enough")
        asked = disk_room(context)
        assert isinstance(asked, dg.SensorResult)
        assert len(asked.run_requests or []) == 1
        runs = [defs.resolve_job_def(check_disk.name).execute_in_process(instance=instance) for _ in range(2)]
        first = scan_runs(instance, AlertCursor(event=0), "http://ui")
        repeated = scan_runs(instance, first.cursor, "http://ui")
        still = disk_room(dg.build_sensor_context(instance=instance, cursor=asked.cursor))

    assert all(run.success for run in runs)
    (evaluation,) = runs[0].get_asset_check_evaluations()
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert evaluation.metadata["free_gib"].value == pytest.approx(0.0, abs=0.01)
    assert first.alert is not None
    assert "raw/loads, check disk_has_room: The disk of" in first.alert.text
    assert repeated.alert is None
    assert isinstance(still, dg.SkipReason)


def test_a_disk_with_room_is_no_news(database: Database) -> None:
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance:
        run = defs.resolve_job_def(check_disk.name).execute_in_process(instance=instance)
    skipped = disk_room(dg.build_sensor_context(cursor=None))

    (evaluation,) = run.get_asset_check_evaluations()
    assert (evaluation.check_name, evaluation.passed) == (next(iter(disk_has_room.check_keys)).name, True)
    assert isinstance(skipped, dg.SkipReason)
    assert "GiB are free" in (skipped.skip_message or "")
