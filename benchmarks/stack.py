"""The whole embedded stack as started by `make up`, on separate ports and in a separate folder."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import boto3
import numpy as np
import psutil

from benchmarks.builds import DEPARTMENTS, JOBS
from benchmarks.hires import block
from benchmarks.servers import REGION, free_port
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.services import LOOPBACK
from deploy.local.settings import PROJECT, Settings, orchestration_environment
from deploy.local.supervisor import MARK

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PORTS = ("dagster_port", "api_port", "s3_port", "pg_port", "code_port")
START_SECONDS = 120
FRESH_SECONDS = 300
POLL_SECONDS = 0.02


@dataclass
class RunningStack:
    """A running stack: its settings, a client of its S3 server, and how many hires were delivered to it."""

    settings: Settings
    s3: "S3Client"
    hires: int = 0

    def put(self, key: str, content: bytes) -> None:
        """Put an object into its bucket."""
        self.s3.put_object(Bucket=self.settings.s3_bucket, Key=key, Body=content)

    def put_hires(self, key: str, count: int) -> None:
        """Put an object with `count` hires of 2021 with new ids."""
        self.put(key, self.next_hires(count))

    def next_hires(self, count: int) -> bytes:
        """Return `count` hires of 2021 with new ids as CSV; from then on they count as delivered."""
        text = block(np.random.default_rng(self.hires), self.hires + 1, count)
        self.hires += count
        return text

    def wait_until_shown(self) -> None:
        """Wait until the API shows every hire.

        Raises:
            TimeoutError: it does not within FRESH_SECONDS.
        """
        deadline = time.monotonic() + FRESH_SECONDS
        while self._shown() != self.hires:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the API shows {self._shown()} of {self.hires} hires after {FRESH_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def _shown(self) -> int:
        address = f"http://{LOOPBACK}:{self.settings.api_port}/metrics/departments-above-mean?year=2021"
        try:
            with urllib.request.urlopen(address) as response:
                mean: float = json.load(response)["mean"]
                return round(mean * DEPARTMENTS)
        except OSError:
            return -1  # before the first build there is no metric

    def environment(self) -> dict[str, str]:
        """Return the environment of Dagster's processes and dbt."""
        postgres = EmbeddedPostgres(self.settings.state_dir / "postgres", self.settings.secrets.postgres)
        postgres.start()
        return orchestration_environment(self.settings, postgres.host)

    def processes(self) -> list[psutil.Process]:
        """Return every process of the stack, including Postgres."""
        mark, folder = str(self.settings.state_dir), str(self.settings.state_dir / "postgres")
        return [process for process in psutil.process_iter() if _is_of(process, mark, folder)]


@contextmanager
def running_stack(scratch: Path) -> Iterator[RunningStack]:
    """Run a stack while the block runs, with all departments and jobs of the hires, and a thousand hires.

    Args:
        scratch: the folder for its output, and for its state in a subfolder.
    """
    ports: dict[str, Any] = {name: free_port() for name in PORTS}
    settings = Settings(state_dir=Path(mkdtemp(prefix="stack-", dir=scratch)), landing=None, **ports)
    variables = {name.upper(): str(port) for name, port in ports.items()} | {"STATE_DIR": str(settings.state_dir)}
    output = scratch / "stack.out"
    with output.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "up"],
            cwd=PROJECT,
            env=os.environ | {"LANDING": ""} | variables,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "API_KEY" not in output.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the stack did not start: {output.read_text()}")
            time.sleep(0.2)
        stack = RunningStack(settings, _client(settings))
        stack.put("departments.csv", b"".join(b"%d,Department %d\n" % (n, n) for n in range(1, DEPARTMENTS + 1)))
        stack.put("jobs.csv", b"".join(b"%d,Job %d\n" % (n, n) for n in range(1, JOBS + 1)))
        stack.put_hires("hired_employees.csv", 1000)
        stack.wait_until_shown()
        yield stack
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _client(settings: Settings) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=f"http://{LOOPBACK}:{settings.s3_port}",
        aws_access_key_id=settings.secrets.s3_access_key,
        aws_secret_access_key=settings.secrets.s3_secret_key,
        region_name=REGION,
    )


def _is_of(process: psutil.Process, mark: str, folder: str) -> bool:
    try:
        environment = process.environ()
        return environment.get(MARK) == mark or environment.get("PGDATA") == folder
    except psutil.Error:
        return False
