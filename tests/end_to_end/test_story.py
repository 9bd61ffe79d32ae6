"""From a failure to its visible correction: dirty files on the whole stack."""

import csv
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from typing import Any

import pytest

from tests.conftest import environment
from tests.end_to_end.conftest import PROJECT, RunningStack, end, start_stack

RED, YELLOW, GREEN = "ERROR", "WARN", "passed"


@pytest.fixture(scope="module")
def alerts() -> Iterator[list[str]]:
    """The alerts that the webhook has received."""
    told: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with environment({"ALERT_WEBHOOK_URL": f"http://127.0.0.1:{server.server_port}/"}):
            yield told
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def stack(alerts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that alerts somebody."""
    assert alerts == []
    running = start_stack(tmp_path_factory.mktemp("stack") / "state")
    try:
        yield running
    finally:
        end(running.process, running.state_dir)


def ingest(stack: RunningStack, *arguments: str) -> str:
    """Return what `make ingest ARGS=…` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "ingest", *arguments],
        cwd=PROJECT, env=os.environ | stack.ports | {"STATE_DIR": str(stack.state_dir)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def color(stack: RunningStack, asset: list[str], check: str) -> str | None:
    """Return how a check of an asset last ended, None before it ever did."""
    data = stack.graphql(
        """
        query($k: AssetKeyInput!, $c: String!) { assetNodeOrError(assetKey: $k) { ... on AssetNode {
            assetCheckOrError(checkName: $c) { ... on AssetCheck { executionForLatestMaterialization {
                evaluation { success severity } } } } } } }
        """,
        k={"path": asset},
        c=check,
    )
    execution = data["assetNodeOrError"]["assetCheckOrError"]["executionForLatestMaterialization"]
    found = execution and execution["evaluation"]
    if not found:
        return None
    return GREEN if found["success"] else str(found["severity"])


def hired(stack: RunningStack) -> int:
    items = stack.get("/metrics/hires-by-quarter?year=2021")["items"]
    return sum(item[f"Q{quarter}"] for item in items for quarter in range(1, 5))


def open_records(stack: RunningStack) -> int:
    tables = stack.get("/completeness")["tables"]
    return sum(table["open_records"] for table in tables)


def hires(first: int, count: int, wrong: int = 0) -> str:
    days = ["2021-05-01"] * (count - wrong) + ["soon"] * wrong
    return "".join(f"{first + number},Ada,{day},1,1\n" for number, day in enumerate(days))


def corrected(row: dict[str, str]) -> dict[str, str]:
    """Correct a record as a person would."""
    return row | {"id": row["_text"].split(",")[0] or row["id"], "name": "Ada", "datetime": "2021-05-01",
                  "department_id": "1", "job_id": "1"}  # fmt: skip


def test_dirty_files_are_reported_once_corrected_and_then_everything_is_green_and_counts_once(
    stack: RunningStack, alerts: list[str]
) -> None:
    jobs, raw = ["staging", "rejected_records"], ["raw", "hired_employees"]
    (stack.landing / "departments.csv").write_text("1,Sales\n")
    (stack.landing / "jobs.csv").write_text("1,Clerk\n")
    # Sixty of a hundred are wrong: the file fails as a whole.
    (stack.landing / "hired_employees_a.csv").write_text(hires(1, 100, wrong=60))
    stack.wait_for("a red check", lambda: color(stack, raw, "every_object_loaded") == RED)
    stack.wait_for("the alert", lambda: len(alerts) == 1)
    assert "hired_employees_a.csv" in alerts[0]
    assert "60 of 100 rejected (0 malformed, 60 invalid), 60 of them as datetime:not_a_datetime" in alerts[0]
    assert "FAILURE" in {run["status"] for run in stack.runs()}

    # Another one loads, with three records that are to be corrected; one of them has no id that could be read.
    dirty = hires(101, 40, wrong=1) + "x,Ada,2021-05-01,1,1\n" + "142,Lovelace, Ada,2021-05-01,1,1\n"
    (stack.landing / "hired_employees_b.csv").write_text(dirty)
    stack.wait_for("its good records", lambda: hired(stack) == 39)
    stack.wait_for("its open records", lambda: open_records(stack) == 3)
    stack.wait_for("a yellow check", lambda: color(stack, jobs, "no_open_records") == YELLOW)
    assert color(stack, raw, "every_object_loaded") == RED

    # The first file is delivered again as it should be, the open records as the export has them, but corrected.
    (stack.landing / "hired_employees_a.csv").write_text(hires(1, 100))
    rows = list(csv.DictReader(StringIO(ingest(stack, "rejected", "--open", "--csv"))))
    assert len(rows) == 3
    with (stack.landing / "hired_employees_b_corrected.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(corrected(row) | ({"id": "141"} if row["id"] == "x" else {}) for row in rows)
    stack.wait_for("every hire, once", lambda: hired(stack) == 142)
    stack.wait_for("nothing open", lambda: open_records(stack) == 0)
    stack.wait_for("a green check", lambda: color(stack, raw, "every_object_loaded") == GREEN)
    stack.wait_for("the other green check", lambda: color(stack, jobs, "no_open_records") == GREEN)
    assert "Every record is accounted for." in ingest(stack, "status")
    assert len(alerts) == 1
    assert stack.runs()[0]["status"] in ("SUCCESS", "STARTED")
