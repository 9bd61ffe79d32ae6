"""The jobs export_raw and restore_raw launched manually, and the commands that do the same without Dagster."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.archive.manifest import File
from orchestration.archive.store import Store
from orchestration.dbt.project import BUILD
from orchestration.definitions import defs
from orchestration.defs import retries
from orchestration.settings import ArchiveSettings
from orchestration.warehouse.published import unpublished_loads
from tests.conftest import environment
from tests.dbt_project.conftest import build, forget_builds, running_dbt
from tests.orchestration.archive.conftest import Warehouse
from tests.orchestration.conftest import landing_of

PROJECT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def press(
    job: str,
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    config: Mapping[str, object] | None = None,
    **variables: str,
) -> dg.ExecuteInProcessResult:
    landing = landing_of(warehouse.bucket, warehouse.landing.name)
    ops = {"ops": {"restore_tables": {"config": config}}} if config else {}
    with environment(warehouse.variables | variables):
        return defs.resolve_job_def(job).execute_in_process(
            ops,
            instance=instance,
            resources={"landing": landing},
            raise_on_error=False,
        )


def reason(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data
    assert data.description
    return data.description


def shown(result: dg.ExecuteInProcessResult) -> dict[str, dg.MetadataValue]:
    (event,) = [event for event in result.all_events if event.is_successful_output]
    return dict(event.step_output_data.metadata)


def test_both_show_what_they_did_by_table_and_where_the_export_is(
    filled: Warehouse, instance: dg.DagsterInstance
) -> None:
    before = filled.content()
    exported = press("export_raw", filled, instance)
    assert exported.success
    filled.database.execute("truncate raw.jobs, raw.departments")

    restored = press("restore_raw", filled, instance, {"export": "latest", "tables": ["jobs"]})
    assert restored.success
    assert filled.content()["jobs"] == before["jobs"]
    assert filled.content()["departments"] == []
    assert press("restore_raw", filled, instance).success
    assert filled.content() == before

    address = f"s3://{filled.bucket.name}/raw/{filled.store.manifest('latest').export}/"
    for result in (exported, restored):
        metadata = shown(result)
        assert metadata["export"].value == address
        assert "| raw.jobs " in str(metadata["tables"].value)
    assert shown(exported)["rows"].value == sum(map(len, before.values()))
    assert shown(restored)["loads"].value == 2


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"S3_ARCHIVE_BUCKET": ""}, "S3_ARCHIVE_BUCKET is not set: name a bucket for exports"),
        ({"S3_ARCHIVE_BUCKET": "same", "S3_BUCKET": "same"}, "S3_ARCHIVE_BUCKET is same, where files are delivered"),
        (
            {"S3_ARCHIVE_BUCKET": "nowhere"},
            "bucket 'nowhere' does not exist: create it, or name another in S3_ARCHIVE_",
        ),
    ],
)
def test_a_wrong_bucket_is_named_by_both(
    warehouse: Warehouse, instance: dg.DagsterInstance, variables: dict[str, str], complaint: str
) -> None:
    for job in ("export_raw", "restore_raw"):
        assert reason(press(job, warehouse, instance, None, **variables)).startswith(complaint)


@pytest.mark.parametrize(
    ("config", "variables", "complaint"),
    [
        (
            {},
            {"HIRING_RESTORER_PASSWORD": ""},
            "HIRING_RESTORER_PASSWORD is not set, .*orchestration.migrations with it",
        ),
        (
            {},
            {"HIRING_RESTORER_PASSWORD": "wrong"},
            "cannot connect to Postgres as hiring_restorer: .*authentication failed",
        ),
        (
            {"tables": ["jobs", "loads"]},
            {},
            "tables: loads cannot be restored, only departments, jobs, hired_employees",
        ),
        ({"tables": []}, {}, "tables: none cannot be restored"),
        ({"export": "yesterday"}, {}, "there is no complete export yesterday in s3://"),
    ],
)
def test_an_impossible_restore_is_reported_in_one_line(
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    config: dict[str, object],
    variables: dict[str, str],
    complaint: str,
) -> None:
    warehouse.export()

    said = reason(press("restore_raw", warehouse, instance, {"export": "latest", **config}, **variables))

    assert re.match(complaint, said)
    assert "\n" not in said


def test_an_export_that_the_database_breaks_off_is_tried_again(
    warehouse: Warehouse, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The night's export would else be missing for a restart of Postgres."""
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0)
    put, cuts = Store.put, list[object]()

    def put_and_cut(*arguments: Any) -> File:
        if not cuts:
            cuts.append(
                warehouse.database.rows("""
                select pg_terminate_backend(pid, 5000) from pg_stat_activity
                where usename = 'hiring_loader' and datname = current_database()
            """)
            )
        return put(*arguments)

    monkeypatch.setattr(Store, "put", put_and_cut)

    result = press("export_raw", warehouse, instance)

    assert result.success
    assert [event.event_type_value for event in result.all_events].count("STEP_UP_FOR_RETRY") == 1
    assert len(warehouse.store.exports()) == 2


@pytest.mark.parametrize(
    ("bucket", "nightly", "is_on"),
    [("", "true", False), ("archive", "true", True), ("archive", "", True), ("archive", "false", False)],
)
def test_it_is_exported_every_night_where_there_is_a_bucket_for_it(bucket: str, nightly: str, is_on: bool) -> None:
    with environment({"S3_ARCHIVE_BUCKET": bucket, "EXPORT_EVERY_NIGHT": nightly}):
        assert ArchiveSettings.read().is_exported_every_night is is_on
    schedule = defs.resolve_schedule_def("export_every_night")
    assert (schedule.job_name, schedule.cron_schedule, schedule.execution_timezone) == (
        "export_raw",
        "30 2 * * *",
        "UTC",
    )


def command(warehouse: Warehouse, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    with environment(warehouse.variables | variables):
        return subprocess.run(
            [sys.executable, "-m", "orchestration.archive", *arguments],
            cwd=PROJECT, capture_output=True, text=True, check=False,
        )  # fmt: skip


def test_the_commands_do_the_same_before_there_is_a_dagster(filled: Warehouse) -> None:
    before = filled.content()
    exported = command(filled, "export")
    assert exported.returncode == 0, exported.stderr
    export = filled.store.manifest("latest").export
    assert f"exported to s3://{filled.bucket.name}/raw/{export}/\n" in exported.stdout
    filled.empty()

    restored = command(filled, "restore", export, "--table", "jobs")

    assert restored.returncode == 0, restored.stderr
    assert f"restored 2 loads from s3://{filled.bucket.name}/raw/{export}/\n" in restored.stdout
    assert filled.content()["jobs"] == before["jobs"]
    refused = command(filled, "restore", "never")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "there is no complete export never" in refused.stderr


MARTS = [
    "select year, department, job, q1, q2, q3, q4 from marts.hires_by_quarter order by year, department, job",
    "select year, id, department, hired, mean from marts.departments_above_mean order by year, id",
    "select table_name, load_id, record, field, reason from staging.rejected_fields order by 1, 2, 3, 4, 5",
]


def test_an_export_alone_restores_the_same_marts(warehouse: Warehouse, tmp_path: Path) -> None:
    """In a database with manual changes, and in an empty one."""
    warehouse.load("departments.csv", b"1,Sales\n2,Legal\n3,\n")
    warehouse.load("jobs.csv", b"1,Clerk\n")
    warehouse.load("hired_employees.csv", b"1,Ada,2021-01-01T00:00:00Z,1,1\n2,Bob,2021-05-01T00:00:00Z,1,1\n3,,,\n4\n")
    warehouse.post()
    warehouse.export()
    warehouse.database.execute("update raw.hired_employees set department_id = '2' where id = '2'")

    def marts() -> list[list[tuple[object, ...]]]:
        return [warehouse.database.rows(query) for query in MARTS]

    with running_dbt(warehouse.database, tmp_path) as dbt:
        build(dbt)
        assert [row[1:] for row in marts()[0]] == [("Legal", "Clerk", 0, 1, 0, 0), ("Sales", "Clerk", 1, 0, 0, 0)]

        warehouse.restore()
        # As the refresh does when the project counts as not built.
        build(dbt, *BUILD, "--full-refresh")
        restored = marts()
        assert [row[1:] for row in restored[0]] == [("Sales", "Clerk", 1, 1, 0, 0)]

        forget_builds(warehouse.database)
        warehouse.empty()
        warehouse.restore()
        build(dbt)
        assert marts() == restored
    with warehouse.database.connect("hiring_transformer") as connection:
        assert unpublished_loads(connection, ["departments_above_mean", "hires_by_quarter"]) == []
    forget_builds(warehouse.database)
