"""Figures of the load engine: next to what people use instead, with bad records, and as objects grow."""

import time
from collections.abc import Callable
from statistics import median

import pandas as pd
import psycopg
import sqlalchemy

from benchmarks.children import load_with_dlt, peak_of_a_load
from benchmarks.figures import Figure
from benchmarks.hires import Hires, hires
from benchmarks.servers import Servers
from contracts import TABLES
from orchestration.ingest.loader import Loaded, load_pending

ROUNDS = 5
# A load of the large file takes many times as long as one of the small file, and varies less.
LARGE_ROUNDS = 2
GROWTH = 20
MEMORY_ROUNDS = 3
HIRED = next(table for table in TABLES if table.name == "hired_employees")
RAW_TABLES = "raw.loads, raw.hired_employees cascade"
PLAIN_TABLE = f"create table plain ({', '.join(f'{column} text' for column in HIRED.column_names)})"


def vs_copy(servers: Servers, records: int) -> float:
    """Return our time as a multiple of what psql takes for the same file."""
    source = hires(servers, records)
    return ratio(
        lambda: timed(servers, lambda: load(servers, source)),
        lambda: timed(servers, lambda: servers.psql(f"\\copy plain from '{source.path}' csv")),
    )


def vs_pandas(servers: Servers, records: int) -> float:
    """Return pandas' time as a multiple of ours."""
    source = hires(servers, records)
    pandas = timed(servers, lambda: load_with_pandas(servers, source))
    return pandas / median(timed(servers, lambda: load(servers, source)) for _ in range(ROUNDS))


def vs_dlt(servers: Servers, records: int) -> float:
    """Return the time of dlt as it comes as a multiple of ours."""
    source = hires(servers, records)
    dlt = dlt_load(servers, "default", hires(servers, records // 10), source)
    return dlt / median(timed(servers, lambda: load(servers, source)) for _ in range(ROUNDS))


def vs_tuned_dlt(servers: Servers, records: int) -> float:
    """Return the time of dlt in the fastest way it has as a multiple of ours."""
    # dlt makes its tables at its first load, as our migrations made ours; the small one's time does not count.
    first, source = hires(servers, records // 10), hires(servers, records)
    return ratio(
        lambda: dlt_load(servers, "tuned", first, source),
        lambda: timed(servers, lambda: load(servers, source)),
    )


def vs_plain(kind: str) -> Callable[[Servers, int], float]:
    """Return what measures our time for a file of some kind as a multiple of that for a plain one."""

    def measure(servers: Servers, records: int) -> float:
        other, plain = hires(servers, records, kind), hires(servers, records)
        return ratio(
            lambda: timed(servers, lambda: load(servers, other)),
            lambda: timed(servers, lambda: load(servers, plain)),
        )

    return measure


def growth(servers: Servers, records: int) -> float:
    """Return the time that a record takes in a file twenty times as large, as a multiple of that in the small one."""
    small, large = hires(servers, records), hires(servers, records * GROWTH)
    of_small, of_large = [], []
    for _ in range(LARGE_ROUNDS):
        of_small += [timed(servers, lambda: load(servers, small)) for _ in range(ROUNDS)]
        of_large.append(timed(servers, lambda: load(servers, large)))
    return (median(of_large) / large.records) / (median(of_small) / small.records)


def memory(servers: Servers, records: int) -> float:
    """Return by how many MB the peak of a process that loads is higher for a file fifty times as large."""
    differences = []
    for _ in range(MEMORY_ROUNDS):
        small, large = (peak(servers, hires(servers, size)) for size in (records // 10, records * 5))
        differences.append(large - small)
    return median(differences)


FIGURES = (
    Figure("load_vs_copy", vs_copy, "our time / psql \\copy of the same file in one transaction", bar="<= 1.6"),
    Figure("load_vs_pandas", vs_pandas, "read_csv(chunksize=1000) + to_sql time / ours"),
    Figure("load_vs_dlt", vs_dlt, "dlt's time (S3 to Postgres through Arrow, otherwise as it comes) / ours"),
    Figure(
        "load_vs_dlt_tuned",
        vs_tuned_dlt,
        "dlt's time with what makes it fastest (files of CSV and COPY) / ours",
        bar=">= 2",
    ),
    Figure("load_dirty", vs_plain("dirty"), "our time with 1 % bad records / our time without"),
    Figure("load_semicolon", vs_plain("semicolon"), "our time for a file with semicolons / with commas", bar="≤ 3"),
    Figure("load_reordered", vs_plain("reordered"), "our time with columns in another order / in our own", bar="≤ 3"),
    Figure("load_growth", growth, "our time per record at 20,000,000 records / at 1,000,000", bar="<= 1.1"),
    Figure("load_memory", memory, "peak memory at 5,000,000 records - peak at 100,000", unit="MB"),
)


def ratio(numerator: Callable[[], float], denominator: Callable[[], float]) -> float:
    """Return the median ratio of some rounds. They are interleaved, since the machine's speed drifts."""
    return median(numerator() / denominator() for _ in range(ROUNDS))


def empty_tables(servers: Servers) -> None:
    """Bring the tables to where every measurement begins."""
    servers.execute(f"truncate {RAW_TABLES}", "drop table if exists plain", PLAIN_TABLE, "checkpoint")


def timed(servers: Servers, work: Callable[[], None]) -> float:
    """Return the seconds that some work takes on empty tables, after a checkpoint."""
    empty_tables(servers)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def load(servers: Servers, source: Hires) -> None:
    """Load a bucket as the pipeline does, accounting included."""
    (outcome,) = load_pending(servers.conninfo("hiring_loader"), servers.s3, source.bucket, HIRED)
    assert isinstance(outcome, Loaded), outcome
    assert (outcome.totals.records, outcome.totals.rejected) == (source.records, source.rejected), outcome


def load_with_pandas(servers: Servers, source: Hires) -> None:
    """Load a file as most solutions of this exercise do."""
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(servers.conninfo()))
    names = list(HIRED.column_names)
    for chunk in pd.read_csv(source.path, header=None, names=names, dtype=str, chunksize=1000):
        chunk.to_sql("plain", engine, if_exists="append", index=False)
    engine.dispose()


def dlt_load(servers: Servers, manner: str, first: Hires, source: Hires) -> float:
    """Return the seconds that dlt takes for a bucket after another one, and make room for the next time."""
    empty_tables(servers)
    seconds = load_with_dlt(servers, manner, first, source)
    assert servers.value("select count(*) from dlt.hired_employees") == first.records + source.records
    servers.execute("truncate dlt.hired_employees")
    return seconds


def peak(servers: Servers, source: Hires) -> float:
    """Return the peak memory in MB of a process that loads a bucket into empty tables."""
    empty_tables(servers)
    megabytes = peak_of_a_load(servers, source)
    assert servers.value("select count(*) from raw.hired_employees") == source.records
    return megabytes
