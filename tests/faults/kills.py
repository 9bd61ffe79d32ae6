"""Kills loaders (kill -9) at random moments, again and again, until a load is complete nevertheless.

Each loader is a process of its own. After each kill the ledger has to be what it was plus whole chunks; the next
loader has to begin its reading at the first one that is missing; what is complete in the end has to be row for row
what a load leaves that nobody disturbs.
"""

import multiprocessing
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection as pipes
from multiprocessing import forkserver
from typing import Any

import boto3
import psycopg

from contracts import TABLES
from orchestration.ingest import loader
from tests.faults.outcome import Left, discrepancies, forget, what_counts

HIRED_EMPLOYEES = TABLES[2]
CHUNKS_PER_TRANSACTION = 2
MAX_SECONDS = 60
# Of a load's time: to log in, to take the table, to list the bucket; and some more, so that loads do end.
SHARE_OF_BEGINNING = 0.5
BACKENDS = "select count(*) from pg_stat_activity where datname = current_database() and application_name = %s"

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.faults.warm", "tests.faults.kills"])


@dataclass(frozen=True)
class Job:
    """What a loader is to load: the one object of a bucket into raw.hired_employees."""

    conninfo: str
    endpoint: str
    access_key: str
    secret_key: str
    bucket: str


def load(job: Job, reports: "pipes.Connection[Any, Any]") -> None:
    """Load in a separate process; report its start, the Range of each read, and errors."""
    loader.CHUNKS_PER_TRANSACTION = CHUNKS_PER_TRANSACTION
    lock = threading.Lock()

    def report(*what: object) -> None:
        with lock:
            reports.send(what)

    def note(request: Any, **_: object) -> None:
        report("read", request.headers["Range"].decode() if "Range" in request.headers else None)

    try:
        client = boto3.client(
            "s3",
            endpoint_url=job.endpoint,
            aws_access_key_id=job.access_key,
            aws_secret_access_key=job.secret_key,
            region_name="us-east-1",
        )
        client.meta.events.register("before-send.s3.GetObject", note)
        report("begin")
        for outcome in loader.load_pending(job.conninfo, client, job.bucket, HIRED_EMPLOYEES):
            report("outcome", type(outcome).__name__, str(outcome))
    except Exception:
        report("error", traceback.format_exc())
        raise


class Loader:
    """A loader's process."""

    def __init__(self, job: Job) -> None:
        self._reports, end = _processes.Pipe(duplex=False)
        self._process = _processes.Process(target=load, args=(job, end), daemon=True)
        self._process.start()
        end.close()
        self._heard: list[tuple[Any, ...]] = []

    def begun(self) -> None:
        """Wait until it begins to load."""
        if self._reports.poll(MAX_SECONDS):
            self._heard.append(self._reports.recv())

    def ended(self, seconds: float = MAX_SECONDS) -> bool:
        """Return whether it ends by itself within some seconds."""
        return bool(pipes.wait([self._process.sentinel], seconds))

    def kill(self) -> None:
        """Kill it, and do not wait for its sessions on the servers."""
        self._process.kill()
        self._process.join()

    def close(self) -> list[tuple[Any, ...]]:
        """Return its messages up to its end."""
        self._process.join()
        with closing(self._reports):
            try:
                while True:
                    self._heard.append(self._reports.recv())
            except (EOFError, OSError):
                pass
        self._process.close()
        return self._heard


@dataclass
class Tally:
    """The kills and their results.

    Attributes:
        kills: how many loaders were killed.
        loads: how many loads came to their end.
        fell: how many chunks were committed at the moment of a kill, and how often.
        in_flight: how many kills left a transaction that the server still committed.
        differences: what is not as it has to be.
    """

    kills: int = 0
    loads: int = 0
    fell: Counter[int] = field(default_factory=Counter)
    in_flight: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take over another one's counts."""
        self.kills += other.kills
        self.loads += other.loads
        self.fell += other.fell
        self.in_flight += other.in_flight
        self.differences += other.differences


class Killing:
    """One object, loaded again and again by loaders that are killed.

    Args:
        job: what to load, with the rights of a loader.
        conninfo: the database, as superuser.
        packed: whether the object is packed with gzip, which can be read from its beginning only.
        seed: of the moments of the kills.
    """

    def __init__(self, job: Job, conninfo: str, packed: bool, seed: int) -> None:
        self._job = job
        self._conninfo = conninfo
        self._packed = packed
        self._seed = seed
        self._chance = random.Random(seed)  # noqa: S311
        self._watcher = psycopg.connect(conninfo, autocommit=True)
        self.tally = Tally()
        self.expected, self.seconds = self._undisturbed()

    def close(self) -> None:
        """Close the connection with which the database is watched."""
        self._watcher.close()

    def run(self, kills: int, deadline: float = float("inf")) -> Tally:
        """Kill so many loaders, or as many as there is time for, and let the last load come to its end."""
        while self.tally.kills < kills and time.monotonic() < deadline:
            self._one_load(kills)
        # If all rows are as expected, the ledger is consistent, too, so one expensive check is enough.
        if found := discrepancies(self._conninfo):
            self._complain(f"raw.discrepancies has {found[:3]}")
        return self.tally

    def _undisturbed(self) -> tuple[Left, float]:
        forget(self._conninfo)
        process = Loader(self._job)
        process.begun()
        before = time.monotonic()
        ended = process.ended()
        seconds = time.monotonic() - before
        told = process.close()
        left = what_counts(self._conninfo, HIRED_EMPLOYEES.name)
        if not ended or len(left["loads"]) != 1:
            raise AssertionError(f"an undisturbed load does not come to its end: {told}")
        return left, seconds

    def _one_load(self, kills: int) -> None:
        forget(self._conninfo)
        committed: dict[int, tuple[object, int]] = {}
        is_complete, in_vain = False, 0
        while not is_complete:
            process = Loader(self._job)
            process.begun()
            # Less is left to do than at first, so that lives as long as then would mostly miss it.
            left = 1 - len(committed) / len(self.expected["load_chunks"])
            # On a busy machine, no loader would ever get further than that.
            longest = self.seconds * (SHARE_OF_BEGINNING + 0.7 * left) * (1 + in_vain / 4)
            life = self._chance.uniform(0, longest)
            spared = self.tally.kills >= kills
            if not process.ended(MAX_SECONDS if spared else life):
                at_kill = self._chunks()
                process.kill()
                self._await_end_of_session()
                after = self._chunks()
                self.tally.kills += 1
                self.tally.fell[len(after)] += 1
                self.tally.in_flight += len(after) > len(at_kill)
            told = process.close()
            after = self._chunks()
            self._check_told(told, committed)
            if committed.items() - after.items():
                self._complain("committed chunks were lost or loaded again")
            in_vain = 0 if len(after) > len(committed) else in_vain + 1
            committed = after
            is_complete = (
                self._watcher.execute("select from raw.loads where status = 'complete'").fetchone() is not None
            )
            if spared and not is_complete:
                self._complain(f"a load that nobody disturbs does not come to its end: {told}")
                break
        self.tally.loads += 1
        if what_counts(self._conninfo, HIRED_EMPLOYEES.name) != self.expected:
            self._complain("the load has left other records than an undisturbed one")

    def _check_told(self, told: list[tuple[Any, ...]], committed: dict[int, tuple[object, int]]) -> None:
        reads = [each[1] for each in told if each[0] == "read"]
        for each in told:
            if each[0] == "error" or each[:2] == ("outcome", "Failed"):
                self._complain(f"a loader failed: {each}")
        end = max((byte_to for _, byte_to in committed.values()), default=0)
        if self._packed:
            allowed: list[list[str | None]] = [[], [None]]
        elif len(committed) == len(self.expected["load_chunks"]):
            allowed = [[]]
        else:
            allowed = [[], [f"bytes={end}-" if end else None]]
        if reads not in allowed:
            self._complain(f"after {len(committed)} chunks up to byte {end} the reading was {reads}")

    def _chunks(self) -> dict[int, tuple[object, int]]:
        rows = self._watcher.execute("select chunk, loaded_at, byte_to from raw.load_chunks").fetchall()
        return {chunk: (loaded_at, byte_to) for chunk, loaded_at, byte_to in rows}

    def _await_end_of_session(self) -> None:
        """Wait until the server has noticed: it may still commit what the loader had sent."""
        deadline = time.monotonic() + MAX_SECONDS
        while self._watcher.execute(BACKENDS, ["hiring_loader"]).fetchone() != (0,):
            if time.monotonic() > deadline:
                raise AssertionError("the session of a killed loader does not end")
            time.sleep(0.002)

    def _complain(self, what: str) -> None:
        self.tally.differences.append(f"seed {self._seed}, kill {self.tally.kills}: {what}")


@contextmanager
def fork_server() -> Iterator[None]:
    """Run the processes' fork server while the block runs."""
    try:
        yield
    finally:
        # It would end with this process; a test must not leave it running that long.
        forkserver._forkserver._stop()
