"""The sensors on real servers: one run for everything new, never two at a time, and a reason for each skip."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import pytest

from contracts import TABLES
from orchestration.arrivals.run_gate import RunGate
from orchestration.definitions import defs
from orchestration.defs import sensors
from orchestration.defs.models import dbt_models
from orchestration.defs.resources import Landing, Warehouse
from orchestration.ingest.loader import Policy, load_pending
from tests.conftest import Bucket, Database, environment
from tests.orchestration.conftest import landing_of

MODELS = {key.to_user_string() for key in dbt_models.keys}


@dataclass
class Ticks:
    """Consecutive ticks of a sensor, in place of Dagster's daemon."""

    instance: dg.DagsterInstance
    landing: Landing
    bucket: Bucket
    database: Database
    cursor: str | None = None

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer")  # noqa: S106

    def new_objects(self) -> dg.SensorResult:
        """Tick once; add the requested partitions and events, and keep the cursor."""
        resources = {"landing": self.landing, "warehouse": self.warehouse}
        with dg.build_sensor_context(self.instance, self.cursor, resources=resources) as context:
            result = sensors.new_objects(context)
        assert isinstance(result, dg.SensorResult)
        for request in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        self.cursor = result.cursor
        return result

    def unpublished(self) -> dg.SensorResult:
        """Tick the sensor of unpublished loads once."""
        with dg.build_sensor_context(self.instance, resources={"warehouse": self.warehouse}) as context:
            result = sensors.unpublished_batches(context)
        assert isinstance(result, dg.SensorResult)
        return result

    def load(self) -> None:
        """Load everything that is new, without building anything."""
        for table in TABLES:
            conninfo = self.database.conninfo("hiring_loader")
            list(load_pending(conninfo, self.bucket.client, self.bucket.name, table, Policy(give_up_seconds=0)))

    def later(self, seconds: float) -> None:
        """Let the next attempt be due as if some time had passed."""
        cursor = json.loads(self.cursor or "{}")
        cursor["backoff"]["next_at"] -= seconds
        self.cursor = json.dumps(cursor)


@pytest.fixture
def ticks(database: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ticks]:
    # A tick does not wait for objects that it does not find immediately.
    monkeypatch.setattr(sensors, "SECONDS_PER_TICK", 0)
    monkeypatch.setattr(sensors, "RUN_GATE", RunGate())
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance:
        yield Ticks(instance, landing_of(bucket), bucket, database)


def test_a_tick_that_scans_several_times_asks_once_whether_the_bucket_keeps_versions(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request costs money, and this answer nearly never changes."""
    monkeypatch.setattr(sensors, "SECONDS_PER_TICK", 0.5)
    monkeypatch.setattr(sensors, "SCAN_INTERVAL_SECONDS", 0.2)
    requests: list[str] = []
    events = ticks.landing.client.meta.events
    events.register("before-call.s3", lambda model, **_: requests.append(model.name), unique_id="count")
    try:
        ticks.new_objects()
    finally:
        events.unregister("before-call.s3", unique_id="count")
    assert requests.count("GetBucketVersioning") == 1
    assert requests.count("ListObjectsV2") > 1


def test_the_bucket_is_listed_as_often_as_the_setting_says() -> None:
    """A tick that begins every second would pay for a listing of AWS every second."""
    code = "from orchestration.defs.sensors import new_objects; print(new_objects.minimum_interval_seconds)"
    with environment({"SCAN_INTERVAL_SECONDS": "30"}):
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.split()[-1] == "30"


def only_request(result: dg.SensorResult) -> dg.RunRequest:
    assert result.skip_reason is None, result.skip_reason
    (request,) = result.run_requests or []
    return request


def selected(request: dg.RunRequest) -> set[str]:
    return {key.to_user_string() for key in request.asset_selection or []}


def skipped(result: dg.SensorResult) -> str:
    assert not result.run_requests
    assert result.skip_reason
    return result.skip_reason.skip_message or ""


def test_one_run_is_requested_for_all_new_objects_with_their_tables_and_every_model(ticks: Ticks) -> None:
    for key in ("departments.csv", "jobs.csv", "jobs_b.csv"):
        ticks.bucket.put(key, b"1,a\n")
    request = only_request(ticks.new_objects())
    assert selected(request) == {"raw/departments", "raw/jobs", *MODELS, "landing/arrivals"}
    assert request.tags["hiring/reason"] == "3 objects, 3 new"
    ops = request.run_config["ops"]
    assert {name: [each["key"] for each in op["config"].get("objects", [])] for name, op in ops.items()} == {
        "dbt_models": [],
        "raw__departments": ["departments.csv"],
        "raw__jobs": ["jobs.csv", "jobs_b.csv"],
    }
    assert {name: ticks.instance.get_dynamic_partitions(name) for name in ("jobs_objects", "objects")} == {
        "jobs_objects": ["jobs.csv", "jobs_b.csv"],
        "objects": ["departments.csv", "jobs.csv", "jobs_b.csv"],
    }


@pytest.fixture
def settling(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> Ticks:
    """Ticks that look several times at a folder, where files are listed while they are copied."""
    monkeypatch.setattr(sensors, "SECONDS_PER_TICK", 30)
    ticks.landing = landing_of(ticks.bucket, settle_seconds=1.0)
    return ticks


def objects_of(request: dg.RunRequest) -> list[str]:
    return [each["key"] for op in request.run_config["ops"].values() for each in op["config"].get("objects", [])]


def test_files_that_arrive_together_are_loaded_by_one_run(settling: Ticks) -> None:
    """A run for the first of them would build the models for these, and another run for the others."""
    settling.bucket.put("jobs_a.csv", b"1,a\n", age_seconds=1.1)
    settling.bucket.put("jobs_b.csv", b"2,b\n", age_seconds=0.5)

    assert objects_of(only_request(settling.new_objects())) == ["jobs_a.csv", "jobs_b.csv"]


def test_a_file_that_keeps_changing_does_not_hold_up_the_others(settling: Ticks) -> None:
    """Like one whose date is in the future."""
    settling.bucket.put("jobs_a.csv", b"1,a\n")
    scans: list[str] = []

    def change(**_: object) -> None:
        scans.append("one more")
        settling.bucket.put("jobs_b.csv", b"2,b\n", age_seconds=0)

    settling.landing.client.meta.events.register("before-call.s3.ListObjectsV2", change)
    assert objects_of(only_request(settling.new_objects())) == ["jobs_a.csv"]
    # As often as in a second, not as in the whole tick.
    assert 1 < len(scans) < 20


def test_the_run_has_the_checks_of_its_selection_and_dbt_gets_no_subset(ticks: Ticks) -> None:
    """dbt counts the project's version as built only when nothing of it was left out."""
    ticks.bucket.put("jobs.csv", b"1,a\n")
    job = defs.resolve_job_def("refresh")
    narrowed = job.get_subset(asset_selection=set(only_request(ticks.new_objects()).asset_selection or []))
    steps = {data.assets_def.node_def.name: data.assets_def for data in narrowed.asset_layer.data}
    assert {name for name in steps if name.startswith("raw__")} == {"raw__jobs"}
    assert "every_object_loaded" in {check.name for check in steps["raw__jobs"].check_keys}
    assert steps["dbt_models"].check_keys == dbt_models.check_keys
    assert not steps["dbt_models"].is_subset


def test_with_nothing_new_it_reports_what_it_scanned(ticks: Ticks) -> None:
    assert skipped(ticks.new_objects()) == "0 objects, none new."
    ticks.bucket.put("jobs.csv", b"1,a\n")
    ticks.load()
    assert skipped(ticks.new_objects()) == "1 object, none new."


def test_no_run_is_requested_while_one_is_under_way(ticks: Ticks) -> None:
    ticks.bucket.put("jobs.csv", b"1,a\n")
    run = ticks.instance.add_run(dg.DagsterRun("refresh", status=dg.DagsterRunStatus.STARTED))
    assert skipped(ticks.new_objects()) == f"1 object, 1 new; run {run.run_id} is under way."


def test_the_other_sensor_requests_none_before_the_run_of_the_first_exists(ticks: Ticks) -> None:
    """They tick concurrently: a run requested by one does not exist yet when the other checks."""
    ticks.bucket.put("jobs.csv", b"1,a\n")
    ticks.load()
    ticks.bucket.put("jobs_b.csv", b"2,b\n")
    request = only_request(ticks.new_objects())
    assert skipped(ticks.unpublished()) == "1 new load; a run that a sensor has just requested is under way."
    ticks.instance.add_run(dg.DagsterRun("refresh", status=dg.DagsterRunStatus.SUCCESS, tags=request.tags))
    only_request(ticks.unpublished())


def test_an_object_that_stays_pending_is_tried_a_bounded_number_of_times_and_then_given_up(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sensors.MAX_ATTEMPTS == 10
    monkeypatch.setattr(sensors, "MAX_ATTEMPTS", 2)
    ticks.bucket.put("jobs.csv", b"1,a\n")
    for attempt in range(1, 3):
        tags = only_request(ticks.new_objects()).tags
        ticks.instance.add_run(dg.DagsterRun("refresh", status=dg.DagsterRunStatus.FAILURE, tags=tags))
        assert f"{attempt} attempt" in skipped(ticks.new_objects())
        ticks.later(900)
    assert skipped(ticks.new_objects()) == (
        "1 object, 1 new; given up after 2 attempts. "
        "Launch the job reload_object for one of them; any new object tries them all again."
    )
    ticks.bucket.put("departments.csv", b"1,a\n")
    assert selected(only_request(ticks.new_objects())) == {"raw/departments", "raw/jobs", *MODELS, "landing/arrivals"}


def test_a_run_that_failed_for_an_object_that_cannot_be_loaded_is_not_started_again(ticks: Ticks) -> None:
    ticks.bucket.put("jobs.csv.gz", b"not gzip")
    tags = only_request(ticks.new_objects()).tags
    ticks.load()
    ticks.instance.add_run(dg.DagsterRun("refresh", status=dg.DagsterRunStatus.FAILURE, tags=tags))
    ticks.later(900)
    assert skipped(ticks.new_objects()) == "1 object, none new."
    assert not ticks.unpublished().run_requests


def test_an_object_of_no_table_is_reported_once_and_counted_in_each_tick(ticks: Ticks) -> None:
    ticks.bucket.put("readme.txt", b"hello")
    first, second = ticks.new_objects(), ticks.new_objects()
    assert [event.description for event in first.asset_events] == [
        "readme.txt belongs to no table by its name, and is ignored"
    ]
    assert second.asset_events == []
    assert skipped(first) == skipped(second) == "1 object, none new, 1 of no table."


def test_a_run_is_requested_before_a_long_listing_ends(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    client = ticks.bucket.client
    client.meta.events.register("provide-client-params.s3.ListObjectsV2", lambda params, **_: params | {"MaxKeys": 2})
    for number in range(3):
        ticks.bucket.put(f"jobs_{number}.csv", b"1,a\n")
    monkeypatch.setattr(Landing, "client", client)
    assert only_request(ticks.new_objects()).tags["hiring/reason"] == "2 objects so far, 2 new"


def test_a_bucket_that_cannot_be_listed_is_named_and_the_cursor_kept(ticks: Ticks) -> None:
    ticks.cursor = "kept"
    ticks.landing = landing_of(ticks.bucket, "no-such-bucket")
    said = skipped(ticks.new_objects())
    assert said.startswith("The bucket cannot be listed: bucket 'no-such-bucket' does not exist")
    assert ticks.cursor == "kept"


def test_unpublished_loads_request_a_run_of_only_the_models(ticks: Ticks) -> None:
    assert skipped(ticks.unpublished()) == "No new load."
    ticks.bucket.put("jobs.csv", b"1,a\n")
    ticks.load()
    request = only_request(ticks.unpublished())
    assert selected(request) == MODELS
    assert request.tags["hiring/reason"] == "1 new load"
