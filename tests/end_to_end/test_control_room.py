"""Dagster's webserver and daemon, as an operator uses them: launch, look, cancel, run again, and lose a worker.

Right after each the ledger and the metrics are looked at. The sensors are off, so that nothing runs unasked.
"""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.end_to_end.conftest import RunningStack, end, start_stack

SENSORS = ("new_objects", "unpublished_batches")
HIRES = 20_000
FINAL = ("SUCCESS", "FAILURE", "CANCELED")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose sensors are off, with departments and jobs."""
    running = start_stack(tmp_path_factory.mktemp("stack") / "state")
    try:
        for sensor in SENSORS:
            running.switch_sensor(sensor, on=False)
        (running.landing / "departments.csv").write_text("1,Sales\n2,Legal\n")
        (running.landing / "jobs.csv").write_text("1,Clerk\n")
        yield running
    finally:
        end(running.process, running.state_dir)


def deliver(stack: RunningStack, name: str, first: int, count: int = HIRES) -> None:
    """Drop a file of hires of 2021, and wait until it can be listed."""
    lines = (f"{number},Ada Lovelace,2021-05-01T00:00:00Z,1,1\n" for number in range(first, first + count))
    (stack.landing / name).write_text("".join(lines))
    stack.wait_for(f"{name} in the sensor's view", lambda: bool(tick(stack, "new_objects")["runRequests"]))


def tick(stack: RunningStack, sensor: str) -> dict[str, Any]:
    """Evaluate a sensor like the UI's test button, which starts nothing."""
    answer = stack.graphql(
        """
        mutation($s: SensorSelector!) { sensorDryRun(selectorData: $s, cursor: null) {
            __typename ... on DryRunInstigationTick { evaluationResult { skipReason error { message }
                runRequests { runKey assetSelection { path } } } } ... on PythonError { message } } }
        """,
        s={"sensorName": sensor, "repositoryName": "__repository__", "repositoryLocationName": "hiring"},
    )["sensorDryRun"]
    assert answer["__typename"] == "DryRunInstigationTick", answer
    result: dict[str, Any] = answer["evaluationResult"]
    assert result["error"] is None
    return result


def hired(stack: RunningStack) -> int:
    """The hires of 2021 that the API shows."""
    items = stack.get("/metrics/hires-by-quarter?year=2021")["items"]
    return sum(item["Q1"] + item["Q2"] + item["Q3"] + item["Q4"] for item in items)


def ledger(stack: RunningStack, name: str) -> list[tuple[Any, ...]]:
    """What the ledger has of a file: status, records that count."""
    with stack.connect() as connection:
        return connection.execute(
            "select status, loaded from raw.loads where key = %s order by load_id", [name]
        ).fetchall()


def adds_up(stack: RunningStack) -> bool:
    """Whether ledger and records agree."""
    with stack.connect() as connection:
        return connection.execute("select * from raw.discrepancies").fetchall() == []


def final(stack: RunningStack, run_id: str) -> str:
    """Wait for the end of a run; return how it ended."""
    stack.wait_for(f"the end of run {run_id}", lambda: stack.run(run_id)["status"] in FINAL)
    return stack.run(run_id)["status"]


@contextmanager
def stuck_in_a_load(stack: RunningStack, name: str) -> Iterator[str]:
    """Launch a refresh whose load of a file waits for a lock while the block runs; yield the run's id."""
    with stack.connect() as connection, connection.transaction():
        connection.execute("lock table raw.hired_employees in exclusive mode")
        run_id = stack.launch("refresh")
        with stack.connect() as looker:
            waiting = "select from pg_locks where relation = 'raw.hired_employees'::regclass and not granted"
            stack.wait_for("a load that waits", lambda: looker.execute(waiting).fetchall() != [])
        assert ledger(stack, name) == [("loading", None)]
        yield run_id


def worker(stack: RunningStack, run_id: str) -> int:
    """The process of a run, as its log says."""
    events = stack.graphql(
        """
        query($r: ID!) { logsForRun(runId: $r) { ... on EventConnection {
            events { ... on MessageEvent { message } } } } }
        """,
        r=run_id,
    )["logsForRun"]["events"]
    (pid,) = {found[1] for event in events if (found := re.search(r"as process (\d+)", event.get("message", "")))}
    return int(pid)


def test_a_launched_refresh_loads_what_the_sensor_sees_and_builds_the_metrics(stack: RunningStack) -> None:
    deliver(stack, "hired_employees_1.csv", first=1)
    run_id = stack.launch("refresh")
    assert final(stack, run_id) == "SUCCESS"
    assert ledger(stack, "hired_employees_1.csv") == [("complete", HIRES)]
    stack.wait_for("the API's word of it", lambda: hired(stack) == HIRES)
    seen = tick(stack, "new_objects")
    assert not seen["runRequests"]
    assert seen["skipReason"] == "3 objects, none new."


def test_a_canceled_run_stops_and_the_next_one_continues(stack: RunningStack) -> None:
    deliver(stack, "hired_employees_2.csv", first=100_001)
    with stuck_in_a_load(stack, "hired_employees_2.csv") as run_id:
        stack.graphql("mutation($r: String!) { terminateRun(runId: $r) { __typename } }", r=run_id)
        assert final(stack, run_id) == "CANCELED"
    assert ledger(stack, "hired_employees_2.csv") == [("loading", None)]
    assert hired(stack) == HIRES
    again = relaunch(stack, run_id)
    assert final(stack, again) == "SUCCESS"
    assert ledger(stack, "hired_employees_2.csv") == [("complete", HIRES)]
    assert adds_up(stack)
    stack.wait_for("the API's word of it", lambda: hired(stack) == 2 * HIRES)


def relaunch(stack: RunningStack, run_id: str) -> str:
    """Run a run again, as the UI's button does; return the new run's id."""
    answer = stack.graphql(
        """
        mutation($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p) {
            __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
        """,
        p={"parentRunId": run_id, "strategy": "ALL_STEPS"},
    )["launchRunReexecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    again: str = answer["run"]["runId"]
    return again


def test_a_run_whose_worker_is_killed_is_over_soon_and_is_run_again_by_itself(stack: RunningStack) -> None:
    deliver(stack, "hired_employees_3.csv", first=200_001)
    before = len(stack.runs())
    with stuck_in_a_load(stack, "hired_employees_3.csv") as run_id:
        os.kill(worker(stack, run_id), signal.SIGKILL)
        assert final(stack, run_id) == "FAILURE"
        assert hired(stack) == 2 * HIRES
    stack.wait_for("a second attempt", lambda: len(stack.runs()) == before + 2)
    assert final(stack, stack.runs()[0]["runId"]) == "SUCCESS"
    assert ledger(stack, "hired_employees_3.csv") == [("complete", HIRES)]
    assert adds_up(stack)
    stack.wait_for("the API's word of it", lambda: hired(stack) == 3 * HIRES)


def test_a_run_that_meets_a_damaged_file_is_red_once_and_has_loaded_and_built_the_rest(stack: RunningStack) -> None:
    """Green, it would be all that the first page shows of the file."""
    (stack.landing / "jobs_damaged.csv.gz").write_text("not gzip")
    deliver(stack, "hired_employees_4.csv", first=400_001, count=1)
    run_id = stack.launch("refresh")
    assert final(stack, run_id) == "FAILURE"
    assert tags(stack, run_id)["hiring/failed_objects"] == "1"
    assert ledger(stack, "jobs_damaged.csv.gz") == [("failed", 0)]
    assert not tick(stack, "new_objects")["runRequests"]
    stack.wait_for("the API's word of the rest", lambda: hired(stack) == 3 * HIRES + 1)
    assert final(stack, stack.launch("refresh")) == "SUCCESS"


def tags(stack: RunningStack, run_id: str) -> dict[str, str]:
    """The tags of a run, as the list of runs shows them."""
    query = "query($r: ID!) { runOrError(runId: $r) { ... on Run { tags { key value } } } }"
    return {tag["key"]: tag["value"] for tag in stack.graphql(query, r=run_id)["runOrError"]["tags"]}


def test_a_batch_over_http_waits_for_the_sensor_which_requests_only_a_build(stack: RunningStack) -> None:
    batch = [{"id": 300_001, "name": "Zoë", "datetime": "2021-08-01", "department_id": 2, "job_id": 1}]
    stack.post("/employees", batch)
    assert hired(stack) == 3 * HIRES + 1
    (request,) = tick(stack, "unpublished_batches")["runRequests"]
    assert {asset["path"][0] for asset in request["assetSelection"]} == {"staging", "marts"}
    stack.switch_sensor("unpublished_batches", on=True)
    stack.wait_for("the batch in the metrics", lambda: hired(stack) == 3 * HIRES + 2)
    assert adds_up(stack)
