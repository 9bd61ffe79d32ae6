"""Nightly maintenance deletes old runs from a real Dagster database, but nothing that is still needed."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from contracts import TABLES
from orchestration.arrivals.partitions import landing_of, report
from orchestration.definitions import defs
from orchestration.ingest.loader import Failed, load_pending
from orchestration.instance.failed_partitions import RECORD_RUN
from orchestration.monitoring.maintenance import prune, republish
from orchestration.settings import MaintenanceSettings, WrongSetting
from orchestration.warehouse.build_lock import acquire_build_lock
from tests.conftest import Bucket, Database, environment

JOBS = next(table for table in TABLES if table.name == "jobs")
KEEP_DAYS = 90
LATER = timedelta(days=KEEP_DAYS, seconds=1)


@dg.asset
def made() -> None:
    """Be made, and say so on standard output."""
    print("made")  # noqa: T201


@dg.asset(check_specs=[dg.AssetCheckSpec("is_fine", asset="checked")])
def checked() -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Be made and checked."""
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@dg.asset
def looked_at(context: dg.AssetExecutionContext) -> None:
    """Materialize, and observe another asset."""
    context.log_event(dg.AssetObservation("watched"))


def make(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> str:
    return dg.materialize([*assets], instance=instance).run_id


def rows(instance: dg.DagsterInstance, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(instance.event_log_storage.postgres_url.replace("+psycopg2", "")) as connection:  # type: ignore[attr-defined]
        return connection.execute(query.encode()).fetchall()


def runs(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def logs(instance: dg.DagsterInstance) -> set[str]:
    folder = Path(instance.storage_directory())
    return {path.relative_to(folder).parts[0] for path in folder.rglob("*.out")}


def test_runs_that_ended_too_long_ago_go_with_their_events_and_logs(instance: dg.DagsterInstance) -> None:
    old = [make(instance, made), make(instance, made)]
    then = datetime.now(UTC)
    young = make(instance, made)
    assert logs(instance) == {*old, young}
    pruned = prune(instance, KEEP_DAYS, then + timedelta(days=KEEP_DAYS))
    assert (pruned.runs, pruned.kept) == (2, 0)
    assert runs(instance) == {young} == logs(instance)
    assert rows(instance, "select distinct run_id from event_logs") == [(young,)]
    assert rows(instance, "select distinct run_id from run_tags") in ([], [(young,)])
    assert prune(instance, KEEP_DAYS, then + timedelta(days=KEEP_DAYS)).runs == 0


def test_the_run_with_what_was_last_known_of_an_asset_stays_however_old(instance: dg.DagsterInstance) -> None:
    only_once = make(instance, checked)
    observed = make(instance, looked_at)
    instance.report_runless_asset_event(dg.AssetMaterialization("looked_at"))
    for _ in range(2):
        newest = make(instance, made)
    pruned = prune(instance, KEEP_DAYS, datetime.now(UTC) + 10 * LATER)
    assert runs(instance) == {only_once, observed, newest}
    assert (pruned.runs, pruned.kept) == (1, 3)
    event = instance.get_latest_materialization_event(dg.AssetKey("checked"))
    assert event is not None
    assert event.run_id == only_once


def test_a_run_under_way_stays_however_long_ago_it_began(instance: dg.DagsterInstance) -> None:
    made_of = dg.Definitions(assets=[made]).resolve_implicit_global_asset_job_def()
    for status in (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING):
        instance.create_run_for_job(made_of, status=status)
    before = runs(instance)
    assert len(before) == 3
    prune(instance, KEEP_DAYS, datetime.now(UTC) + 10 * LATER)
    assert runs(instance) == before


def test_of_old_results_of_a_check_the_newest_stays(instance: dg.DagsterInstance) -> None:
    """Dagster keeps them when their runs are deleted: forty a build, for ever."""
    for _ in range(3):
        newest = make(instance, checked)
    pruned = prune(instance, KEEP_DAYS, datetime.now(UTC) + 10 * LATER)
    assert pruned.check_evaluations == 2
    assert rows(instance, "select run_id from asset_check_executions") == [(newest,)]
    key = dg.AssetCheckKey(dg.AssetKey("checked"), "is_fine")
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.run_id == newest


def test_young_results_of_a_check_all_stay(instance: dg.DagsterInstance) -> None:
    for _ in range(2):
        make(instance, checked)
    pruned = prune(instance, KEEP_DAYS, datetime.now(UTC) + timedelta(days=KEEP_DAYS - 1))
    assert (pruned.runs, pruned.check_evaluations) == (0, 0)
    assert rows(instance, "select count(*) from asset_check_executions") == [(2,)]


def test_old_events_outside_of_runs_are_deleted_except_the_newest_of_existing_partitions(
    instance: dg.DagsterInstance,
) -> None:
    """They are not deleted with a run: events of each object and check would stay for ever."""
    instance.add_dynamic_partitions("jobs_objects", ["offered.csv"])
    for _ in range(2):
        for partition in ("offered.csv", "gone.csv"):
            instance.report_runless_asset_event(
                dg.AssetMaterialization(landing_of("jobs"), partition=partition, tags={DATA_VERSION_TAG: "1"})
            )
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=dg.AssetKey("checked"), check_name="is_fine", passed=True, metadata={})
        )
    instance.report_runless_asset_event(dg.AssetMaterialization(landing_of("jobs"), partition="last.csv"))
    assert prune(instance, KEEP_DAYS, datetime.now(UTC) + timedelta(days=KEEP_DAYS - 1)).events == 0

    pruned = prune(instance, KEEP_DAYS, datetime.now(UTC) + LATER)

    assert pruned.events == 4
    assert materialized(instance) == {"offered.csv", "last.csv"}
    assert rows(instance, "select count(*) from asset_event_tags") == [(1,)]
    assert rows(instance, "select count(*) from event_logs") == [(3,)]


def test_the_state_of_an_object_is_reported_again_after_its_run_was_deleted(
    instance: dg.DagsterInstance, database: Database, bucket: Bucket
) -> None:
    """Each object is loaded by one run: keeping its events would keep all runs."""
    bucket.put("jobs_1.csv", b"1,a\n", age_seconds=60)
    bucket.put("jobs_2.csv.gz", b"damaged", age_seconds=30)
    bucket.put("jobs_3.csv", b"3,a\n", age_seconds=10)
    run_id = make(instance, made)
    outcomes = list(load_pending(database.conninfo("hiring_loader"), bucket.client, bucket.name, JOBS))
    assert [isinstance(outcome, Failed) for outcome in outcomes] == [False, True, False]
    with database.connect("hiring_loader") as connection:
        report(instance, connection, JOBS, run_id, [outcome.load_id for outcome in outcomes])
        make(instance, made)
        shown = {"jobs_1.csv", "jobs_3.csv"}
        assert materialized(instance) == shown
        for newer in (dg.AssetMaterialization, dg.AssetObservation):
            instance.report_runless_asset_event(newer(landing_of("jobs"), partition="other"))
        prune(instance, KEEP_DAYS, datetime.now(UTC) + 10 * LATER)
        assert run_id not in runs(instance)
        assert RECORD_RUN in runs(instance)
        assert materialized(instance) == {"other"}
        republish(instance, connection)
        assert materialized(instance) == {"other"} | shown
        assert republish(instance, connection) == 0


def materialized(instance: dg.DagsterInstance) -> set[str]:
    return instance.get_materialized_partitions(landing_of("jobs"))


@pytest.mark.parametrize(
    ("given", "days"), [({}, 90), ({"DAGSTER_KEEP_DAYS": ""}, 90), ({"DAGSTER_KEEP_DAYS": "7"}, 7)]
)
def test_how_long_runs_are_kept_is_a_setting(given: dict[str, str], days: int) -> None:
    with environment(given):
        assert MaintenanceSettings.read().dagster_keep_days == days


@pytest.mark.parametrize("given", ["0", "-1", "7.5", "a week"])
def test_a_number_of_days_that_cannot_be_is_refused_by_name(given: str) -> None:
    with (
        environment({"DAGSTER_KEEP_DAYS": given}),
        pytest.raises(WrongSetting, match=f"DAGSTER_KEEP_DAYS={given} is not a number of days"),
    ):
        MaintenanceSettings.read()


def test_the_job_prune_history_logs_what_it_deleted(instance: dg.DagsterInstance, database: Database) -> None:
    make(instance, made)
    with environment(database.environment | {"DAGSTER_KEEP_DAYS": "1"}):
        result = defs.resolve_job_def("prune_history").execute_in_process(instance=instance)
    told = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert any(message.startswith("Deleted 0 runs that ended more than 1 days ago") for message in told)


@pytest.mark.parametrize(
    ("name", "job"), [("build_every_night", "nightly_build"), ("prune_every_night", "prune_history")]
)
class TestSchedules:
    def schedule(self, name: str) -> dg.ScheduleDefinition:
        return defs.resolve_schedule_def(name)

    def tick(self, name: str, due: datetime) -> dg.RunRequest | dg.SkipReason | None:
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_schedule_context(instance=instance, scheduled_execution_time=due)
            data = self.schedule(name).evaluate_tick(context)
        return data.run_requests[0] if data.run_requests else dg.SkipReason(data.skip_message)

    def test_it_runs_each_night_from_the_first_start_on(self, name: str, job: str) -> None:
        schedule = self.schedule(name)
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
        assert schedule.execution_timezone == "UTC"
        assert schedule.job_name == job
        request = self.tick(name, datetime.now(UTC))
        assert isinstance(request, dg.RunRequest)

    def test_of_the_nights_in_which_dagster_was_off_only_the_last_is_made_up_for(self, name: str, job: str) -> None:
        """They would all run at the next start."""
        now = datetime.now(UTC)
        asked = [self.tick(name, now - timedelta(hours=hours)) for hours in (73, 49, 25, 1)]
        assert [isinstance(each, dg.RunRequest) for each in asked] == [False, False, False, True], job


def checks_of(job: str) -> set[str]:
    return {key.name for each in defs.resolve_job_def(job).asset_layer.data for key in each.assets_def.check_keys}


def test_only_the_night_reads_all_of_raw() -> None:
    jobs = ("refresh", "rebuild_marts", "nightly_build")
    assert [job for job in jobs if "all_records_add_up" in checks_of(job)] == ["nightly_build"]
    assert checks_of("rebuild_marts") == checks_of("nightly_build") - {"all_records_add_up", "disk_has_room"}
    assert {"each_hire_once", "quarters_sum_to_hires"} <= checks_of("rebuild_marts")


def test_the_nightly_build_waits_for_another_and_tests_everything_and_rebuilding_repairs_a_mart(
    database: Database, bucket: Bucket
) -> None:
    """Its tests would fail on loads that a concurrent build has only half built."""
    for key, text in FILES.items():
        bucket.put(key, text)
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance, database.connect() as other:
        for table in TABLES:
            list(load_pending(database.conninfo("hiring_loader"), bucket.client, bucket.name, table))
        acquire_build_lock(other, pytest.fail)
        holder = other.info.backend_pid
        release = threading.Thread(target=end_when_waited_for, args=(database, holder))
        release.start()
        night = defs.resolve_job_def("nightly_build").execute_in_process(instance=instance)
        release.join()
        told = [entry.user_message for entry in instance.all_logs(night.run_id)]
        metric = database.rows("select department, job, q1, q2 from marts.hires_by_quarter")
        database.execute("update marts.hires_by_quarter set q1 = 7")
        defs.resolve_job_def("rebuild_marts").execute_in_process(instance=instance)
        repaired = database.rows("select department, job, q1, q2 from marts.hires_by_quarter")
    waits = f"Another run is building the models; waiting for that to end: session {holder} ("
    assert any(text.startswith(waits) for text in told)
    assert {check.check_name for check in night.get_asset_check_evaluations()} == checks_of("nightly_build")
    assert all(check.passed for check in night.get_asset_check_evaluations())
    assert metric == repaired == [("Sales", "Clerk", 1, 0)]


WRONG = {
    "a hire in another quarter of the same year": (
        "insert into staging.quarterly_hires select year, 2, department_id, job_id, hired from staging.quarterly_hires",
        "update staging.quarterly_hires set hired = 0 where quarter = 1",
    ),
    "an earlier record of an id that counts instead of the latest": (
        "update staging.checked_hired_employees set disposition = 'waiting' where disposition = 'accepted'",
        "update staging.checked_hired_employees set disposition = 'accepted' where disposition = 'superseded'",
        "update staging.checked_hired_employees set disposition = 'superseded' where disposition = 'waiting'",
    ),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_the_night_builds_everything_again_when_a_test_of_all_records_finds_something_wrong(
    database: Database, bucket: Bucket, wrong: tuple[str, ...]
) -> None:
    """Incremental builds never read it again: it would stay wrong for ever."""
    for key, text in FILES.items():
        bucket.put(key, text)
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance:
        for table in TABLES:
            list(load_pending(database.conninfo("hiring_loader"), bucket.client, bucket.name, table))
        nights = [defs.resolve_job_def("nightly_build").execute_in_process(instance=instance) for _ in range(2)]
        right = database.rows("select _record, disposition from staging.checked_hired_employees order by 1")
        for statement in wrong:
            database.execute(statement)
        repair = defs.resolve_job_def("nightly_build").execute_in_process(instance=instance)
    events = [[event.event_type_value for event in run.all_events] for run in [*nights, repair]]
    assert [each.count("STEP_RESTARTED") for each in events] == [0, 0, 1]
    assert database.rows("select _record, disposition from staging.checked_hired_employees order by 1") == right
    assert database.rows("select quarter, hired from staging.quarterly_hires where hired > 0") == [(1, 1)]
    assert database.rows("select q1, q2 from marts.hires_by_quarter") == [(1, 0)]


FILES = {
    "departments.csv": b"1,Sales\n",
    "jobs.csv": b"1,Clerk\n",
    "hired_employees.csv": b"1,Adda,2021-01-01T00:00:00Z,1,1\n1,Ada,2021-01-01T00:00:00Z,1,1\n",
}


def end_when_waited_for(database: Database, session: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if database.rows("select from pg_locks where locktype = 'advisory' and not granted"):
            break
        time.sleep(0.05)
    database.execute("select pg_terminate_backend(%s)", session)
