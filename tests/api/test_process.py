"""`python -m api` as its operators see it: its log, its figures, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import KEY, build_marts, eventually
from tests.api.test_employees import hire
from tests.conftest import Database, free_port

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Running:
    """A process, a client of it, and the file that its standard error goes to."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    figures: str
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        text = self.log.read_text()
        # The text after the last line end is still being written.
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def lines_up_to(self, answer: httpx.Response) -> list[dict[str, Any]]:
        """Return the lines once they include a request's own, which is written after its response was sent."""
        identity = answer.headers["x-request-id"]
        eventually(
            lambda: any((line["event"], line.get("request_id")) == ("request", identity) for line in self.lines())
        )
        return self.lines()


@contextmanager
def running(database: Database, folder: Path, **further: str) -> Iterator[Running]:
    port, metrics_port = free_port(), free_port()
    log = folder / "log"
    settings = {"API_KEY": KEY, "API_OPEN_READS": "1", "API_PORT": str(port), "API_METRICS_PORT": str(metrics_port)}
    with log.open("wb") as stderr, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        process = subprocess.Popen(
            [sys.executable, "-m", "api"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **database.environment, **settings, **further},
            stderr=stderr,
        )
        try:
            wait_for(client, process)
            yield Running(process, client, f"http://127.0.0.1:{metrics_port}/internal/metrics", log)
        finally:
            process.kill()
            process.wait()


def wait_for(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            client.get("/health/live")
        except httpx.ConnectError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the process ended")


@pytest.fixture(scope="module")
def api(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    build_marts(module_database)
    with running(module_database, tmp_path_factory.mktemp("process")) as api:
        yield api


def test_every_request_logs_a_line_of_json_with_its_id_and_no_request_data(api: Running) -> None:
    private = "Ada Lovelace"
    for address, status in (("/employees", 201), ("/employees?on_error=continue", 201), (f"/{private}", 404)):
        answer = api.client.post(address, json=[hire(name=private)], headers={"X-API-Key": KEY})
        assert answer.status_code == status
    assert api.client.post("/employees", headers={"X-API-Key": private}).status_code == 401
    wrong = api.client.get("/metrics/departments-above-mean", params={"year": private})
    requests = [line for line in api.lines_up_to(wrong) if line["event"] == "request"]
    last = requests[-1]
    assert last["request_id"] == wrong.headers["x-request-id"]
    assert (last["method"], last["route"], last["status"]) == ("GET", "/metrics/departments-above-mean", 422)
    assert last["milliseconds"] > 0
    assert last["client"] == "127.0.0.1"
    assert [(line["route"], line["key"]) for line in requests[-5:]] == [
        ("/employees", "API_KEY"),
        ("/employees", "API_KEY"),
        ("none", "API_KEY"),
        ("/employees", None),
        ("/metrics/departments-above-mean", None),
    ]
    assert private not in api.log.read_text()
    assert KEY not in api.log.read_text()


@pytest.mark.parametrize(
    ("trusted", "logged"),
    [('["127.0.0.0/8", "10.40.0.0/16"]', "203.0.113.5"), ('["10.40.0.0/16"]', "127.0.0.1")],
    ids=["of a trusted proxy", "of anybody"],
)
def test_the_clients_address_is_logged_when_the_proxy_is_trusted(
    module_database: Database, tmp_path: Path, trusted: str, logged: str
) -> None:
    """Anybody can write the header: believed from everybody, it would put any address into the log."""
    with running(module_database, tmp_path, API_TRUSTED_PROXIES=trusted) as api:
        forwarded = {"X-Forwarded-For": "198.51.100.66, 203.0.113.5, 10.40.1.9"}
        answer = api.client.get("/health/live", headers=forwarded)
        (line,) = [each for each in api.lines_up_to(answer) if each.get("request_id") == answer.headers["x-request-id"]]
        assert line["client"] == logged


def test_an_error_of_the_database_is_logged_with_the_request_that_met_it_and_without_its_message(
    api: Running, module_database: Database
) -> None:
    module_database.execute("alter table raw.hired_employees add constraint odd check (name <> 'Ada Odd')")
    answer = api.client.post("/employees", json=[hire(name="Ada Odd")], headers={"X-API-Key": KEY})
    assert answer.status_code == 500
    about = [line for line in api.lines_up_to(answer) if line.get("request_id") == answer.headers["x-request-id"]]
    assert {line["level"] for line in about} == {"error", "info"}
    assert "CheckViolation" in about[0]["event"]
    assert "Ada" not in api.log.read_text()


def test_figures_are_kept_by_route_on_a_port_of_their_own(api: Running) -> None:
    def count(route: str, status: int) -> float:
        series = f'http_request_duration_seconds_count{{method="GET",route="{route}",status="{status}"}} '
        lines = [line for line in httpx.get(api.figures).text.splitlines() if line.startswith(series)]
        return float(lines[0].removeprefix(series)) if lines else 0

    before = count("/metrics/hires-by-quarter", 200), count("none", 404)
    for year in (2021, 2021, 2022):
        assert api.client.get(f"/metrics/hires-by-quarter?year={year}").status_code == 200
    for number in range(3):
        assert api.client.get(f"/nowhere/{number}").status_code == 404
    # Counted after the response was sent.
    eventually(lambda: count("/metrics/hires-by-quarter", 200) == before[0] + 3)
    eventually(lambda: count("none", 404) == before[1] + 3)
    assert api.client.get("/internal/metrics").status_code == 404


def test_no_header_reveals_the_server_software(api: Running) -> None:
    assert "server" not in api.client.get("/health/live").headers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_on_shutdown_it_finishes_started_requests_and_exits_with_0(
    database: Database, tmp_path: Path, number: signal.Signals
) -> None:
    with running(database, tmp_path) as api, ThreadPoolExecutor(1) as threads:
        with database.connect() as blocker, blocker.transaction():
            blocker.execute("lock table raw.hired_employees in access exclusive mode")
            post = threads.submit(api.client.post, "/employees", json=[hire()], headers={"X-API-Key": KEY})
            waiting = "select count(*) from pg_stat_activity where usename = 'hiring_api' and wait_event_type = 'Lock'"
            while database.rows(waiting) != [(1,)]:
                time.sleep(0.01)
            api.process.send_signal(number)
            while refuses_nobody(api):
                time.sleep(0.01)
        assert post.result().status_code == 201
        assert api.process.wait(timeout=20) == 0
    assert database.rows("select count(*) from raw.hired_employees") == [(1,)]


def refuses_nobody(api: Running) -> bool:
    try:
        httpx.get(f"{api.client.base_url}/health/live")
    except httpx.TransportError:
        return False
    return True
