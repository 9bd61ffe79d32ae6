"""Loading a million hires from S3 into raw, beside psql's own copy command and pandas' to_sql of the same file."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import psycopg
import sqlalchemy

from benchmarks.figures import Figure
from benchmarks.servers import Servers
from orchestration.ingest.loader import Loaded, connect, load_pending
from orchestration.ingest.tables import TABLES

RECORDS = 1_000_000
ROUNDS = 5
HIRES = next(table for table in TABLES if table.name == "hired_employees")
RAW_TABLES = "raw.loads, raw.load_chunks, raw.rejected_records, raw.hired_employees"
PLAIN_TABLE = f"create table plain ({', '.join(f'{column} text' for column in HIRES.columns)})"


def measure(servers: Servers) -> Iterator[Figure]:
    """Yield how the load engine compares. The rounds are interleaved, since the machine's speed drifts."""
    path = servers.folder / "hired_employees.csv"
    write_hires(path, RECORDS)
    copy, ours = [], []
    for _ in range(ROUNDS):
        copy.append(timed(servers, lambda: servers.psql(f"\\copy plain from '{path}' csv")))
        ours.append(timed(servers, lambda: load(servers)))
    yield Figure(
        "load_vs_copy",
        median(own / other for own, other in zip(ours, copy, strict=True)),
        "our time / psql \\copy in one transaction",
    )
    pandas = timed(servers, lambda: load_with_pandas(servers, path))
    yield Figure("load_vs_pandas", pandas / median(ours), "read_csv(chunksize=1000) + to_sql time / ours")


def write_hires(path: Path, records: int) -> None:
    """Write valid hires of 2021, about 57 bytes each: the same ones each time."""
    random = np.random.default_rng(2021)
    moments = np.datetime64("2021-01-01T00:00:00") + random.integers(0, 365 * 86_400, records).astype("timedelta64[s]")
    frame = pd.DataFrame(
        {
            "id": np.arange(1, records + 1),
            "name": [f"Given{number % 997} Family{number % 9973}" for number in range(records)],
            "datetime": np.char.add(np.datetime_as_string(moments), "Z"),
            "department_id": random.integers(1, 13, records),
            "job_id": random.integers(1, 184, records),
        }
    )
    frame.to_csv(path, header=False, index=False, lineterminator="\r\n")


def timed(servers: Servers, work: Callable[[], None]) -> float:
    """Return the seconds that some work takes on empty tables, after a checkpoint."""
    servers.execute(f"truncate {RAW_TABLES}", "drop table if exists plain", PLAIN_TABLE, "checkpoint")
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def load(servers: Servers) -> None:
    """Load the bucket as the pipeline does, accounting included."""
    with connect(servers.conninfo("hiring_loader")) as connection:
        (outcome,) = load_pending(connection, servers.s3, servers.bucket, HIRES)
    assert isinstance(outcome, Loaded)
    assert (outcome.records, outcome.rejected) == (RECORDS, 0)


def load_with_pandas(servers: Servers, path: Path) -> None:
    """Load the file as most solutions of this exercise do."""
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(servers.conninfo()))
    names = list(HIRES.columns)
    for chunk in pd.read_csv(path, header=None, names=names, dtype=str, chunksize=1000):
        chunk.to_sql("plain", engine, if_exists="append", index=False)
    engine.dispose()
