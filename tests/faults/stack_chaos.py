"""`make soak STACK=1`: kills processes of a whole stack under load; afterwards every record exists exactly once.

Files are dropped into the landing folder and batches are posted, each again under its key until it is answered, while
every few seconds a random process gets SIGKILL: Postgres, the S3 server, the API, Dagster's daemon, webserver and code
server, a run. Then senders stop, and what the database and the API say is compared with what was sent.
"""

import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pandas as pd
import psutil
import psycopg
import typer
from rich.console import Console

from deploy.local.postgres import PostgresRefused
from deploy.local.supervisor import MARK
from tests import oracle
from tests.end_to_end.conftest import RunningStack, end, start_stack

YEAR = 2021
DEPARTMENTS, JOBS = 12, 30
RECORDS_PER_FILE, RECORDS_PER_BATCH = 300, 40
FILE_INTERVAL_SECONDS, BATCH_INTERVAL_SECONDS = 4, 0.7
KILL_INTERVAL_SECONDS = 15
# Dagster waits two minutes for a run that does not start; on a busy machine the last build is slow, too.
SETTLE_SECONDS = 300
COMPLETE_IDS = """
    select hires.id::int
    from raw.hired_employees as hires
    inner join raw.loads on loads.load_id = hires._load_id and loads.status = 'complete'
"""
UNFINISHED = {"QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"}
TARGETS = ("postgres", "s3", "api", "code-server", "dagster-webserver", "dagster-daemon", "run", "run")

out = Console(soft_wrap=True)


@dataclass
class Sent:
    """The hires that were sent, each with an id of its own. Only what the API has answered with 201 counts as sent."""

    rows: list[tuple[str, ...]] = field(default_factory=list)
    files: int = 0
    batches: int = 0
    retries: int = 0
    _ids: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def make(self, count: int) -> list[tuple[str, ...]]:
        """Return so many new hires."""
        with self._lock:
            first, self._ids = self._ids + 1, self._ids + count
        return [
            (str(n), f"Ada {n}", f"{YEAR}-{n % 12 + 1:02}-{n % 28 + 1:02}T12:00:00Z", str(n % DEPARTMENTS + 1),
             str(n % JOBS + 1))
            for n in range(first, first + count)
        ]  # fmt: skip

    def add(self, rows: list[tuple[str, ...]]) -> None:
        """Note that hires were sent."""
        with self._lock:
            self.rows += rows


class Chaos:
    """Load and kills on a running stack, and the checks afterwards."""

    def __init__(self, stack: RunningStack, seed: int = 0) -> None:
        self.stack = stack
        self.sent = Sent()
        self.kills: Counter[str] = Counter()
        self._chance = random.Random(seed)  # noqa: S311
        self._is_over = threading.Event()
        self._failures: list[BaseException] = []

    def drop_references(self) -> None:
        """Deliver departments and jobs."""
        for name, count in (("departments", DEPARTMENTS), ("jobs", JOBS)):
            self._drop(f"{name}.csv", [(str(n), f"{name} {n}") for n in range(1, count + 1)])

    def drop_file(self) -> None:
        """Deliver a file of hires."""
        rows = self.sent.make(RECORDS_PER_FILE)
        self.sent.files += 1
        self._drop(f"hired_employees_{self.sent.files}.csv", rows)
        self.sent.add(rows)

    def post_batch(self) -> None:
        """Post a batch with the same key until it gets a response."""
        rows = self.sent.make(RECORDS_PER_BATCH)
        self.sent.batches += 1
        body = json.dumps([
            {"id": int(row[0]), "name": row[1], "datetime": row[2], "department_id": int(row[3]), "job_id": int(row[4])}
            for row in rows
        ]).encode()  # fmt: skip
        key = f"chaos-{self.sent.batches}"
        while not self._is_taken(body, key):
            self.sent.retries += 1
            time.sleep(0.3)
        self.sent.add(rows)

    @contextmanager
    def load(self) -> Iterator[None]:
        """Drop files and post batches while the block runs."""

        def repeat(act: Callable[[], None], seconds: float) -> None:
            try:
                while not self._is_over.wait(seconds):
                    act()
            except BaseException as error:
                self._failures.append(error)

        threads = [
            threading.Thread(target=repeat, args=each)
            for each in ((self.drop_file, FILE_INTERVAL_SECONDS), (self.post_batch, BATCH_INTERVAL_SECONDS))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()
        assert not self._failures, self._failures

    def kill_any(self) -> str:
        """Kill a random process of the stack, a run if there is one under way and it is its turn."""
        while not (name := self._chance.choice(TARGETS)) or not self.kill(name):
            time.sleep(0.05)
        return name

    def kill(self, name: str) -> bool:
        """Kill one of TARGETS; return whether there was such a process."""
        process = self._processes().get(name)
        if process is None:
            return False
        with suppress(psutil.NoSuchProcess):
            process.kill()
            self.kills[name] += 1
            return True
        return False

    def differences(self) -> list[str]:
        """Wait until everything is loaded and built, and return the differences."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (found := self._differences()) and time.monotonic() < deadline:
            assert self.stack.process.poll() is None, "the stack ended"
            time.sleep(1)
        return found

    def _differences(self) -> list[str]:
        try:
            stuck = [run["runId"] for run in self.stack.runs() if run["status"] in UNFINISHED]
            with self.stack.connect() as connection:
                ids = connection.execute(COMPLETE_IDS).fetchall()
                wrong = connection.execute("select * from raw.discrepancies").fetchall()
            shown = self.stack.get(f"/metrics/hires-by-quarter?year={YEAR}&limit=1000")["items"]
        except (OSError, psycopg.Error, PostgresRefused) as error:
            return [f"something does not answer yet: {error}"]
        return [
            *(f"run {run_id} is not over" for run_id in stuck),
            *_miscounted(Counter(row[0] for row in ids), Counter(int(row[0]) for row in self.sent.rows)),
            *(f"raw.discrepancies: {row}" for row in wrong),
            *(["marts.hires_by_quarter is not the recount"] if shown != self._recount() else []),
        ]

    def _recount(self) -> list[dict[str, object]]:
        landing = self.stack.landing
        frames = oracle.frames(landing, {"departments": ["departments.csv"], "jobs": ["jobs.csv"]})
        columns = oracle.COLUMNS["hired_employees"]
        frames["hired_employees"] = pd.DataFrame(self.sent.rows, columns=columns, dtype="string")
        return oracle.hires_by_quarter(frames, YEAR)

    def _drop(self, name: str, rows: list[tuple[str, ...]]) -> None:
        draft = self.stack.state_dir.with_name("draft.csv")
        draft.write_text("".join(",".join(row) + "\n" for row in rows))
        draft.replace(self.stack.landing / name)

    def _is_taken(self, body: bytes, key: str) -> bool:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.stack.ports['API_PORT']}/employees", body,
            {"content-type": "application/json", "x-api-key": self.stack.key, "idempotency-key": key},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return bool(answer.status == 201)
        except urllib.error.HTTPError as error:
            # Under way already, or the database is away.
            if error.code in (409, 503):
                return False
            raise
        except OSError:
            return False

    def _processes(self) -> dict[str, psutil.Process]:
        """Return what can be killed by name."""
        found: dict[str, psutil.Process] = {}
        with suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess, IndexError):
            lock = self.stack.state_dir / "postgres" / "postmaster.pid"
            found["postgres"] = psutil.Process(int(lock.read_text().splitlines()[0]))
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) != str(self.stack.state_dir) or process.pid == os.getpid():
                    continue
                if name := _name_of(process, int(self.stack.ports["CODE_PORT"])):
                    found[name] = process
            except psutil.Error:
                continue
        return found


def _name_of(process: psutil.Process, code_port: int) -> str | None:
    command = process.cmdline()
    is_leader = os.getpgid(process.pid) == process.pid
    if "orchestration.instance.run_server" in command:
        if is_leader:
            return "code-server"
        return None if any(each.laddr[1] == code_port for each in process.net_connections("tcp")) else "run"
    names = {"rclone": "s3", "dagster-webserver": "dagster-webserver", "dagster-daemon": "dagster-daemon"}
    if is_leader and command[-2:] == ["-m", "api"]:
        return "api"
    return next((name for part in command[:2] if is_leader and (name := names.get(Path(part).name))), None)


def _miscounted(found: Counter[int], sent: Counter[int]) -> list[str]:
    lost, more = sent - found, found - sent
    return [
        *([f"{lost.total()} ids are missing, such as {min(lost)}"] if lost else []),
        *([f"{more.total()} ids are there too often, such as {min(more)}"] if more else []),
    ]


def soak(
    minutes: Annotated[float, typer.Option(help="how long there are load and kills")] = 3,
    seed: Annotated[int, typer.Option(help="of the choice of what is killed")] = 0,
) -> None:
    """Kill random processes of a stack under load; exit with 1 if anything is lost, doubled, wrong or stuck."""
    folder = Path(tempfile.mkdtemp(prefix="chaos"))
    stack = start_stack(folder / "state")
    try:
        chaos = Chaos(stack, seed)
        chaos.drop_references()
        until = time.monotonic() + 60 * minutes
        with chaos.load():
            while time.monotonic() + KILL_INTERVAL_SECONDS < until:
                time.sleep(KILL_INTERVAL_SECONDS)
                out.print(f"  killed: {chaos.kill_any()}")
        found = chaos.differences()
        statuses = Counter(run["status"] for run in stack.runs())
    finally:
        end(stack.process, stack.state_dir)
        said = (folder / "state.out").read_text()
        shutil.rmtree(folder)
    out.print(f"\n{said}", markup=False)
    out.print(f"{chaos.kills.total()} kills: {dict(chaos.kills)}; runs: {dict(statuses)}")
    out.print(f"{len(chaos.sent.rows):,} hires, {chaos.sent.files} files, {chaos.sent.batches} batches, "
              f"{chaos.sent.retries} retries")  # fmt: skip
    for difference in found or ["everything is there once, the metrics are right, no run is stuck"]:
        out.print(f"  {difference}", markup=False)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    typer.run(soak)
