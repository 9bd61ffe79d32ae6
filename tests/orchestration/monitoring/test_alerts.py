"""Alerts: which failures are reported, and what happens if the receiver does not accept them: over real sockets."""

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from contracts import TABLES, Delivery, Table
from orchestration.defs.alerts import alerts
from orchestration.defs.arrivals import arrivals
from orchestration.defs.raw import raw_asset
from orchestration.defs.resources import Warehouse
from orchestration.monitoring import alerts as alerting
from orchestration.monitoring.alerts import Undelivered, Webhook
from orchestration.monitoring.failures import STACK_STOPPED
from orchestration.settings import AlertSettings, WrongSetting
from tests.conftest import Bucket, Database, environment, free_port
from tests.orchestration.conftest import landing_of

JOBS = next(table for table in TABLES if table.name == "jobs")
TOKEN = "s3cret-t0ken"  # noqa: S105
PATH = "/services/T0/B0/s3cret-path"


@dataclass
class Receiver:
    """A webhook's server: the received alerts, and the statuses of the next responses before 200."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    heard: list[tuple[str, Mapping[str, str], dict[str, Any]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    @property
    def texts(self) -> list[str]:
        return [body["text"] for _, _, body in self.heard]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server on a real socket."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.heard.append((self.path, self.headers, body))
            status = made.statuses.pop(0) if made.statuses else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", made.url)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"ok")  # and never the rest

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let attempts follow each other immediately."""
    monkeypatch.setattr(alerting, "PAUSE_SECONDS", 0)


class Watched:
    """The sensor, tick by tick, on an instance."""

    def __init__(
        self, instance: dg.DagsterInstance, url: str | None, cursor: str | None = None, **settings: str
    ) -> None:
        self.instance = instance
        self.settings = {"ALERT_WEBHOOK_URL": url or "", "ALERT_WEBHOOK_TOKEN": "", **settings}
        self.cursor = cursor

    def tick(self) -> str:
        """Tick once; return what the tick says."""
        with environment(self.settings):
            context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
            said = alerts(context)
        self.cursor = context.cursor
        assert isinstance(said, dg.SkipReason)
        return said.skip_message or ""


@dg.op(config_schema=str)
def work(context: dg.OpExecutionContext) -> None:
    """Fail with the configured message, or do nothing."""
    if context.op_config:
        raise dg.Failure(context.op_config, allow_retries=False)


@dg.job
def nightly() -> None:
    work()


@dg.op
def stopped() -> None:
    """Be interrupted from outside, like a run's process by SIGTERM."""
    raise DagsterExecutionInterruptedError


@dg.job
def stopped_from_outside() -> None:
    stopped()


def run(instance: dg.DagsterInstance, fails_with: str = "", **tags: str) -> str:
    config = {"ops": {"work": {"config": fails_with}}}
    return nightly.execute_in_process(config, instance=instance, raise_on_error=False, tags=tags).run_id


def test_a_failed_run_is_reported_once_with_job_step_reason_and_link(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    watched = Watched(instance, receiver.url, ALERT_WEBHOOK_TOKEN=TOKEN, DAGSTER_UI_URL="https://dagster.example/")
    watched.tick()
    run_id = run(instance, "Postgres is away")
    assert f"run {run_id} of nightly" in watched.tick()
    assert watched.tick() == "Nothing to report: 0 runs ended, without new failures."
    ((path, headers, body),) = receiver.heard
    assert (path, headers["Authorization"], headers["Content-Type"]) == (PATH, f"Bearer {TOKEN}", "application/json")
    assert body == {
        "text": f"nightly failed\n• work: Postgres is away\nhttps://dagster.example/runs/{run_id}",
        "job": "nightly",
        "status": "failure",
        "object": None,
        "troubles": [{"where": "work", "why": "Postgres is away"}],
        "run_id": run_id,
        "run_url": f"https://dagster.example/runs/{run_id}",
    }


def test_what_ended_before_the_first_tick_is_not_reported(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    run(instance, "yesterday")
    watched = Watched(instance, receiver.url)
    assert watched.tick() == "Runs that end from now on are reported."
    assert watched.tick().startswith("Nothing to report: 0 runs ended")
    run(instance)
    assert watched.tick().startswith("Nothing to report: 1 run ended")
    assert receiver.heard == []


def test_each_failed_run_is_reported_in_the_order_in_which_they_ended(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    watched = Watched(instance, receiver.url)
    watched.tick()
    for reason in ("first", "", "second", "", "third"):
        run(instance, reason)
    for _ in range(4):
        watched.tick()
    assert [body["troubles"][0]["why"] for _, _, body in receiver.heard] == ["first", "second", "third"]


def test_the_same_failure_is_reported_again_only_after_a_run_that_succeeded(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    """A server that is down for a night would be reported every few minutes, and the next failure overlooked."""
    watched = Watched(instance, receiver.url)
    watched.tick()
    for reason in ("away", "away", "away", "", "away"):
        run(instance, reason)
        watched.tick()
    assert len(receiver.heard) == 2
    assert receiver.heard[1][2]["run_id"] == instance.get_runs(limit=1)[0].run_id


def test_the_same_failure_of_another_object_is_reported(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    watched = Watched(instance, receiver.url)
    watched.tick()
    for key in ("jobs a.csv", "jobs%0Ab.csv", "jobs%0Ab.csv"):
        run(instance, "damaged", **{"dagster/partition": key})
        watched.tick()
    assert [body["object"] for _, _, body in receiver.heard] == ["jobs a.csv", "jobs\nb.csv"]
    assert receiver.texts[0].startswith("nightly failed (jobs a.csv)\n")


def test_a_run_that_the_stack_interrupted_when_it_stopped_is_not_reported(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    watched = Watched(instance, receiver.url)
    watched.tick()
    for message in (STACK_STOPPED, "the machine went down"):
        made = instance.create_run_for_job(nightly, run_config={"ops": {"work": {"config": ""}}})
        instance.report_run_failed(made, message=message)
        watched.tick()
    assert [body["troubles"] for _, _, body in receiver.heard] == [[{"where": "run", "why": "the machine went down"}]]


def test_a_run_whose_process_was_asked_to_stop_is_not_reported(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    watched = Watched(instance, receiver.url)
    watched.tick()
    with pytest.raises(DagsterExecutionInterruptedError):
        stopped_from_outside.execute_in_process(instance=instance)
    assert instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])) == 1
    assert watched.tick().startswith("Nothing to report: 1 run ended")
    assert receiver.heard == []


def test_an_object_that_could_not_be_loaded_is_reported_once_though_its_run_succeeded(
    instance: dg.DagsterInstance, receiver: Receiver, database: Database, bucket: Bucket
) -> None:
    bucket.put("jobs_bad.csv.gz", b"not gzip")
    watched = Watched(instance, receiver.url)
    watched.tick()
    for _ in range(2):
        assert load(instance, database, bucket).success
        watched.tick()
    ((_, _, body),) = receiver.heard
    assert body["status"] == "success"
    (failure,) = body["troubles"]
    assert failure["where"] == "raw/jobs, check every_object_loaded"
    assert failure["why"].startswith(f"s3://{bucket.name}/jobs_bad.csv.gz is not valid gzip")
    assert "\n" not in failure["why"]


def load(
    instance: dg.DagsterInstance,
    database: Database,
    bucket: Bucket,
    *more: dg.AssetsDefinition,
    table: Table = JOBS,
) -> dg.ExecuteInProcessResult:
    """Load everything new for a table, and materialize further assets."""
    warehouse = Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer")  # noqa: S106
    resources = {"landing": landing_of(bucket), "warehouse": warehouse}
    with environment(database.environment):
        return dg.materialize([raw_asset(table), *more], resources=resources, instance=instance, raise_on_error=False)


def test_an_object_that_failed_is_not_reported_again_with_a_later_load_of_its_table_whether_that_is_good_or_bad(
    instance: dg.DagsterInstance, receiver: Receiver, database: Database, bucket: Bucket
) -> None:
    watched = Watched(instance, receiver.url)
    watched.tick()
    for key, content in {
        "jobs_1.csv.gz": b"not gzip",
        "jobs_2.csv": b"1,Clerk\n",
        "jobs_3.csv.gz": b"nor is this",
        "jobs_4.csv": b"2,Cook\n",
    }.items():
        bucket.put(key, content)
        load(instance, database, bucket)
        watched.tick()
    reported = [
        [failure["why"].split()[0].rpartition("/")[2] for failure in body["troubles"]] for *_, body in receiver.heard
    ]
    assert reported == [["jobs_1.csv.gz"], ["jobs_3.csv.gz"]]
    assert receiver.texts[0].startswith("__ephemeral_asset_job__ met 1 failed or held-back file\n")


def test_another_version_of_an_object_that_fails_again_is_reported(
    instance: dg.DagsterInstance, receiver: Receiver, database: Database, bucket: Bucket
) -> None:
    watched = Watched(instance, receiver.url)
    watched.tick()
    for age_seconds in (60, 30):
        bucket.put("jobs.csv.gz", b"not gzip", age_seconds)
        load(instance, database, bucket)
        watched.tick()
    assert len(receiver.heard) == 2


def test_the_step_that_fails_a_run_for_its_objects_reports_nothing_twice(
    instance: dg.DagsterInstance, receiver: Receiver, database: Database, bucket: Bucket
) -> None:
    bucket.put("jobs_bad.csv.gz", b"not gzip")
    watched = Watched(instance, receiver.url)
    watched.tick()
    assert not load(instance, database, bucket, arrivals).success
    watched.tick()
    ((_, _, body),) = receiver.heard
    assert body["status"] == "failure"
    assert [failure["where"] for failure in body["troubles"]] == ["raw/jobs, check every_object_loaded"]


def test_a_delivery_that_is_held_back_is_reported_once_with_what_to_do(
    instance: dg.DagsterInstance, receiver: Receiver, database: Database, bucket: Bucket
) -> None:
    whole = replace(JOBS, delivery=Delivery.SNAPSHOT)
    bucket.put("jobs_1.csv", b"1,Clerk\n2,Cook\n")
    load(instance, database, bucket, table=whole)
    watched = Watched(instance, receiver.url)
    watched.tick()
    bucket.put("jobs_2.csv", b"1,Clerk\n", age_seconds=30)
    for _ in range(2):
        load(instance, database, bucket, table=whole)
        watched.tick()
    (text,) = receiver.texts
    assert "held back, because it lacks 1 of the 2 ids that count" in text
    assert "load it again with withdraw_share 1" in text


def test_a_restart_of_the_daemon_neither_repeats_nor_loses_an_object_that_failed(
    instance: dg.DagsterInstance, receiver: Receiver, database: Database, bucket: Bucket
) -> None:
    before = Watched(instance, receiver.url)
    before.tick()
    bucket.put("jobs_1.csv.gz", b"not gzip")
    load(instance, database, bucket)
    receiver.statuses = [500] * alerting.ATTEMPTS
    with pytest.raises(dg.Failure):
        before.tick()
    after = Watched(instance, receiver.url, cursor=before.cursor)
    after.tick()
    load(instance, database, bucket)
    again = Watched(instance, receiver.url, cursor=after.cursor)
    assert again.tick().startswith("Nothing to report: 1 run ended")
    assert len(receiver.heard) == alerting.ATTEMPTS + 1


def test_the_cursor_of_an_earlier_version_is_continued(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    watched = Watched(instance, receiver.url, cursor="0")
    run(instance, "broken")
    assert watched.tick().startswith("Reported run")


def checked(severity: dg.AssetCheckSeverity) -> dg.AssetsDefinition:
    """Return an asset whose check does not pass."""

    @dg.asset(check_specs=[dg.AssetCheckSpec("looks_odd", asset="made")])
    def made() -> dg.MaterializeResult:  # type: ignore[type-arg]
        result = dg.AssetCheckResult(passed=False, severity=severity, description="as odd as can be")
        return dg.MaterializeResult(check_results=[result])

    return made


def test_a_check_that_only_warns_is_not_reported(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    watched = Watched(instance, receiver.url)
    watched.tick()
    assert dg.materialize([checked(dg.AssetCheckSeverity.WARN)], instance=instance).success
    watched.tick()
    assert receiver.heard == []


def test_a_failed_check_is_reported_before_the_run_that_failed_after_it(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    """Reported the other way round, the run that ended first would be skipped for good."""
    watched = Watched(instance, receiver.url)
    watched.tick()
    assert dg.materialize([checked(dg.AssetCheckSeverity.ERROR)], instance=instance).success
    run(instance, "broken")
    for _ in range(3):
        watched.tick()
    assert [body["troubles"] for _, _, body in receiver.heard] == [
        [{"where": "made, check looks_odd", "why": "as odd as can be"}],
        [{"where": "work", "why": "broken"}],
    ]


@pytest.mark.parametrize("statuses", [[500], [503, 429]])
def test_a_receiver_that_responds_with_an_error_is_retried_in_the_same_tick(
    instance: dg.DagsterInstance, receiver: Receiver, statuses: list[int]
) -> None:
    watched = Watched(instance, receiver.url)
    watched.tick()
    run(instance, "broken")
    receiver.statuses = [*statuses]
    assert watched.tick().startswith("Reported run")
    assert len(receiver.heard) == len(statuses) + 1


def test_an_alert_that_nobody_accepted_is_named_by_the_tick_and_retried_by_the_next_one(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    """A network outage makes runs fail: alerts about them must not be lost."""
    watched = Watched(instance, receiver.url)
    watched.tick()
    run_id = run(instance, "broken")
    receiver.statuses = [500] * alerting.ATTEMPTS
    with pytest.raises(dg.Failure) as raised:
        watched.tick()
    said = f"run {run_id} of nightly is not reported yet: 127.0.0.1 answered with status 500"
    assert raised.value.description == said
    assert watched.tick().startswith("Reported run")
    assert len(receiver.heard) == alerting.ATTEMPTS + 1


def test_a_redirect_is_not_followed_since_the_token_would_go_along(receiver: Receiver) -> None:
    receiver.statuses = [302] * alerting.ATTEMPTS
    with pytest.raises(Undelivered, match="status 302"):
        Webhook(receiver.url, TOKEN).send({})
    assert len(receiver.heard) == alerting.ATTEMPTS


@contextmanager
def deaf_server() -> Iterator[int]:
    """A port that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("kind", ["closed", "deaf", "unknown"])
def test_a_receiver_that_is_away_is_named_by_its_host_and_no_secret(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alerting, "ANSWER_SECONDS", 0.05)
    caplog.set_level("DEBUG")
    with deaf_server() as port:
        host = {"closed": f"127.0.0.1:{free_port()}", "deaf": f"127.0.0.1:{port}", "unknown": "nowhere.invalid"}[kind]
        with pytest.raises(Undelivered) as raised:
            Webhook(f"http://user:s3cret-user@{host}{PATH}", TOKEN).send({})
    assert str(raised.value).startswith(host.partition(":")[0] + " does not answer: ")
    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in "".join(record.getMessage() for record in caplog.records if record.levelname != "DEBUG")


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [
        ("ALERT_WEBHOOK_URL", "hooks.example/s3cret", "ALERT_WEBHOOK_URL"),
        ("ALERT_WEBHOOK_URL", "ftp://hooks.example/s3cret", "ALERT_WEBHOOK_URL"),
        ("ALERT_WEBHOOK_URL", "http:///s3cret", "ALERT_WEBHOOK_URL"),
        ("ALERT_WEBHOOK_TOKEN", "s3cret\nX-Other: header", "ALERT_WEBHOOK_TOKEN"),
        ("ALERT_WEBHOOK_TOKEN", "s3crét", "ALERT_WEBHOOK_TOKEN"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_and_its_value_is_not(setting: str, value: str, name: str) -> None:
    given = {"ALERT_WEBHOOK_URL": "https://hooks.example", setting: value}
    with environment(given), pytest.raises(WrongSetting, match=name) as raised:
        _ = AlertSettings.read().webhook
    assert "s3cr" not in str(raised.value)


def test_without_a_webhook_the_sensor_names_the_setting(instance: dg.DagsterInstance) -> None:
    assert Watched(instance, None).tick() == "There are no alerts: set ALERT_WEBHOOK_URL and restart the code server."
    assert alerts.default_status == dg.DefaultSensorStatus.STOPPED


def test_values_of_a_file_mention_nobody_in_a_chat_and_are_short(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    watched = Watched(instance, receiver.url)
    watched.tick()
    run(instance, "<!channel> & " + "x" * 5000)
    watched.tick()
    (text,) = receiver.texts
    assert "• work: &lt;!channel&gt; &amp; xxx" in text
    assert len(text) < 800


def test_a_run_that_was_deleted_meanwhile_is_passed_over(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    watched = Watched(instance, receiver.url)
    watched.tick()
    instance.run_storage.delete_run(run(instance, "gone"))
    run(instance, "there")
    watched.tick()
    watched.tick()
    assert [body["troubles"][0]["why"] for _, _, body in receiver.heard] == ["there"]


def test_more_runs_than_a_tick_processes_are_left_to_the_next(
    instance: dg.DagsterInstance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerting, "MAX_RUNS_PER_TICK", 2)
    watched = Watched(instance, receiver.url)
    watched.tick()
    for reason in ("", "", "", "a", "b"):
        run(instance, reason)
    for _ in range(4):
        watched.tick()
    assert [body["troubles"][0]["why"] for _, _, body in receiver.heard] == ["a", "b"]
