"""`make soak`: a thousand loaders are killed on separate servers, without one missing, additional or changed record."""

import gzip
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.local import services
from deploy.local.postgres import running_postgres
from deploy.local.settings import Settings
from deploy.local.supervisor import Supervisor
from orchestration.migrations import ROLES, migrate
from tests.faults.kills import Job, Killing, Tally, fork_server
from tests.faults.texts import hires_text

DATABASE = "soak"
BUCKET = "soak"
KILLS_PER_FILE = 50
CHUNKS = 60

out = Console(soft_wrap=True)


@contextmanager
def running_servers(state: Path) -> Iterator[tuple[Job, str, Path]]:
    """Run both servers; yield what a loader is to load, the superuser's connection string, the bucket's folder."""
    with socket.socket() as probe:
        probe.bind((services.LOOPBACK, 0))
        port = probe.getsockname()[1]
    settings = Settings(state_dir=state, s3_port=port, s3_bucket=BUCKET, landing=None)
    supervisor = Supervisor(state, settings.logs)
    try:
        with running_postgres(state / "postgres", settings.secrets.postgres) as postgres:
            postgres.create_database(DATABASE)
            migrate(postgres.conninfo(DATABASE), {role: role for role in ROLES})
            # A listing is never kept: each round has another file.
            supervisor.start(services.s3(settings, postgres.host, listing_seconds=0))
            job = Job(
                postgres.conninfo(DATABASE, "hiring_loader", "hiring_loader"),
                f"http://{services.LOOPBACK}:{port}",
                settings.secrets.s3_access_key,
                settings.secrets.s3_secret_key,
                BUCKET,
            )
            yield job, postgres.conninfo(DATABASE), settings.landing_folder
    finally:
        supervisor.stop()


def soak(
    kills: Annotated[int, typer.Argument(help="how many loaders to kill")] = 1000,
    minutes: Annotated[float, typer.Option(help="stop after these, whatever was reached")] = 15,
    seed: Annotated[int, typer.Option(help="of the first file and its kills; the next has the next")] = 0,
) -> None:
    """Kill loaders at random moments; exit with 1 if any load leaves anything else than an undisturbed one."""
    began = time.monotonic()
    tally = Tally()
    state = Path(tempfile.mkdtemp(prefix="soak"))
    try:
        with running_servers(state) as (job, conninfo, folder), fork_server():
            while tally.kills < kills and time.monotonic() - began < 60 * minutes and not tally.differences:
                round_ = one_file(
                    job, conninfo, folder, seed, min(KILLS_PER_FILE, kills - tally.kills), began + 60 * minutes
                )
                tally.add(round_)
                out.print(f"  seed {seed}: {round_.kills} kills, {round_.loads} loads")
                seed += 1
    finally:
        shutil.rmtree(state)
    report(tally, time.monotonic() - began)
    sys.exit(1 if tally.differences or not tally.loads else 0)


def one_file(job: Job, conninfo: str, folder: Path, seed: int, kills: int, deadline: float) -> Tally:
    """Load one file, plain or packed in turn, under so many kills."""
    packed = seed % 2 == 1
    text = hires_text(CHUNKS * 1000 - seed % 1000, seed)
    path = folder / ("employees.csv.gz" if packed else "employees.csv")
    path.write_bytes(gzip.compress(text, 1) if packed else text)
    killing = Killing(job, conninfo, packed, seed)
    try:
        return killing.run(kills, deadline)
    finally:
        killing.close()
        path.unlink()


def report(tally: Tally, seconds: float) -> None:
    """Print the kills and the differences."""
    out.print(f"\n{tally.kills:,} loaders killed, {tally.loads:,} loads complete, {seconds:.0f} s")
    out.print(f"{tally.in_flight:,} of them in a transaction that Postgres had yet to commit, and did")
    out.print("Chunks committed when a kill fell, and how many did:")
    for first in range(0, CHUNKS + 1, 10):
        count = sum(kills for chunks, kills in tally.fell.items() if first <= chunks < first + 10)
        out.print(f"  {first:3} to {min(first + 9, CHUNKS):3}  {count:5,}")
    out.print(f"{len(tally.differences):,} differences from undisturbed loads")
    for difference in tally.differences:
        out.print(f"  {difference}", markup=False)


if __name__ == "__main__":
    typer.run(soak)
