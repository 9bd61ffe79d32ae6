"""The whole embedded stack as started by `make up`, on separate ports and in a separate folder."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.local.postgres import EmbeddedPostgres
from tests.conftest import free_port
from tests.outside import REPOSITORY, Outside

PROJECT = Path(__file__).parents[2]
START_SECONDS = 120
# A sensor's tick, a run in a fresh process, a build: seconds on an idle machine, more while other tests run.
FRESH_SECONDS = 120


@dataclass
class RunningStack(Outside):
    """A stack that was started as users start it: its landing folder, HTTP and psql."""

    state_dir: Path
    ports: dict[str, str]
    process: subprocess.Popen[str]
    key: str

    @property
    def landing(self) -> Path:
        """The folder to drop files into."""
        return self.state_dir / "s3" / "landing"

    def sql(self, query: str) -> str:
        """Return what `make psql SQL=…` prints, unaligned and without headings."""
        environment = os.environ | self.ports | {"STATE_DIR": str(self.state_dir), "PGOPTIONS": ""}
        done = subprocess.run(
            [sys.executable, "-m", "deploy.local", "psql", "--sql", query],
            cwd=PROJECT, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect to the stack's database as superuser."""
        secrets = json.loads((self.state_dir / "secrets.json").read_text())
        postgres = EmbeddedPostgres(self.state_dir / "postgres", secrets["postgres"])
        postgres.attach()
        return psycopg.connect(postgres.conninfo("hiring"), autocommit=True)

    def switch_sensor(self, name: str, *, on: bool) -> None:
        """Switch a sensor on, or off; then wait until the tick that may be under way has come to its end."""
        selector = {"sensorName": name, **REPOSITORY}
        if on:
            self.graphql("mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }", s=selector)
            return
        data = self.graphql(
            "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { id } } }", s=selector
        )
        answer = self.graphql(
            "mutation($i: String!) { stopSensor(id: $i) { __typename } }", i=data["sensorOrError"]["id"]
        )
        assert answer["stopSensor"]["__typename"] == "StopSensorMutationResult"
        self.wait_for(f"the end of {name}'s tick", lambda: self.last_tick(name).get("status") != "STARTED")

    def last_tick(self, sensor: str) -> dict[str, str]:
        """Return status and skipReason of a sensor's newest tick, empty before the first."""
        data = self.graphql(
            """
            query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) {
                ... on Sensor { sensorState { ticks(limit: 1) { status skipReason } } } } }
            """,
            s={"sensorName": sensor, **REPOSITORY},
        )
        ticks: list[dict[str, str]] = data["sensorOrError"]["sensorState"]["ticks"]
        return ticks[0] if ticks else {}

    def wait_for(self, what: str, is_so: Callable[[], bool], seconds: float = FRESH_SECONDS) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + seconds
        while not self._holds(is_so):
            assert self.process.poll() is None, "the stack ended"
            assert time.monotonic() < deadline, f"after {seconds} s still not so: {what}"
            time.sleep(0.5)

    @staticmethod
    def _holds(is_so: Callable[[], bool]) -> bool:
        try:
            return is_so()
        except urllib.error.HTTPError as error:
            # Before the first build there are no marts.
            if error.code == 503:
                return False
            raise

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send the stack's owner a signal and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


def ports() -> dict[str, str]:
    """Return free ports by the names of their settings."""
    return {name: str(free_port()) for name in ("DAGSTER_PORT", "API_PORT", "S3_PORT", "PG_PORT", "CODE_PORT")}


def start_stack(state_dir: Path, with_ports: dict[str, str] | None = None) -> RunningStack:
    """Run what `make up` runs and wait until it says that it is up."""
    chosen = with_ports or ports()
    output = state_dir.with_name(state_dir.name + ".out")
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.local", "up"],
        cwd=PROJECT,
        env=os.environ | chosen | {"STATE_DIR": str(state_dir), "LANDING": ""},
        stdout=output.open("w"),
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + START_SECONDS
    while not (key := re.search(r"export API_KEY=(\S+)", output.read_text())):
        assert process.poll() is None, output.read_text()
        if time.monotonic() > deadline:
            end(process, state_dir)
            raise AssertionError(output.read_text())
        time.sleep(0.2)
    return RunningStack(state_dir, chosen, process, key[1])


def end(process: subprocess.Popen[str], state_dir: Path) -> None:
    """Stop all processes of a stack, even after failures."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    clean = [sys.executable, "-m", "deploy.local", "clean"]
    subprocess.run(clean, cwd=PROJECT, env=os.environ | {"STATE_DIR": str(state_dir)}, check=True)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One stack for the tests of a module, empty at its start."""
    running = start_stack(tmp_path_factory.mktemp("stack") / "state")
    yield running
    end(running.process, running.state_dir)
