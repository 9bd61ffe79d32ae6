"""A database with history and dbt's builds of it: what the figures of the models and of the API begin with."""

import contextlib
import os
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

from dbt.cli.main import dbtRunner
from dbt_common.events.functions import msg_to_dict

from benchmarks.hires import hires
from benchmarks.load import HIRED
from benchmarks.servers import Servers
from orchestration.dbt.project import PROJECT, build_arguments, manifest, parse_if_changed
from orchestration.ingest.loader import Loaded, load_pending

DEPARTMENTS, JOBS = 12, 183
DATA = "raw.loads, raw.departments, raw.jobs, raw.hired_employees cascade"


@contextlib.contextmanager
def filled(servers: Servers, records: int) -> Iterator[None]:
    """Have so many hires loaded, with their departments and jobs, and nothing built; nothing is left of it."""
    servers.execute(f"truncate {DATA}")
    source = hires(servers, records)
    (outcome,) = load_pending(servers.conninfo("hiring_loader"), servers.s3, source.bucket, HIRED)
    assert isinstance(outcome, Loaded), outcome
    for table, name, count in (("departments", "department", DEPARTMENTS), ("jobs", "job", JOBS)):
        add_load(servers, table, f"i, '{name} ' || i", count)
    # As autovacuum does by and by.
    servers.execute("vacuum analyze")
    yield
    servers.execute(f"truncate {DATA}", *_drop(servers))


def add_load(servers: Servers, table: str, fields: str, count: int) -> None:
    """Add a complete load.

    Args:
        servers: the measured servers.
        table: a table of the contract.
        fields: SQL for the columns of record i.
        count: the number of records.
    """
    servers.execute(
        f"""
        with load as (
            insert into raw.loads (table_name, source, status, records, loaded, rejected, completed_at)
            values ('{table}', 'api', 'complete', {count}, {count}, 0, now()) returning load_id
        )
        insert into raw.{table} select load.load_id, i, {fields} from load, generate_series(1, {count}) as i
        """  # noqa: S608
    )


def first_build(servers: Servers) -> float:
    """Return the SQL time of a build of everything in the place of nothing."""
    servers.execute(*_drop(servers))
    seconds = build(servers, build_arguments(manifest(), full_refresh=True))
    servers.execute("vacuum analyze")
    return seconds


def build(servers: Servers, arguments: list[str]) -> float:
    """Run dbt in this process and return the seconds in which Postgres ran any of its statements."""
    statements: list[tuple[float, float]] = []

    def listen(event: Any) -> None:
        if event.info.name == "SQLQueryStatus":
            now = time.perf_counter()
            statements.append((now - float(msg_to_dict(event)["data"]["elapsed"]), now))

    target = str(servers.scratch / "dbt")
    with _environment(servers):
        result = dbtRunner(manifest=_parsed(target), callbacks=[listen]).invoke([*arguments, *_options(target)])
    assert result.success, result.exception or result.result
    return _covered(statements)


def _drop(servers: Servers) -> list[str]:
    """Return the statements that take everything away that dbt has made."""
    tables = servers.value("""
        select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_tables
        where schemaname in ('staging', 'marts') and tablename not in ('watermarks', 'publications')
    """)
    drop = [f"drop table {tables} cascade"] if tables else []
    return [*drop, "truncate staging.watermarks, marts.publications", "checkpoint"]


@cache
def _parsed(target: str) -> Any:
    parse_if_changed()
    return dbtRunner().invoke(["parse", *_options(target)]).result


def _options(target: str) -> list[str]:
    folder = str(PROJECT.project_dir)
    return [
        *("--quiet", "--no-write-json", "--log-level-file", "none", "--project-dir", folder),
        *("--profiles-dir", folder, "--target-path", target, "--log-path", target),
    ]


def _covered(spans: list[tuple[float, float]]) -> float:
    """Return the length of some spans of time, what several of them cover counted once."""
    covered, reached = 0.0, 0.0
    for begin, end in sorted(spans):
        covered += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return covered


@contextlib.contextmanager
def _environment(servers: Servers) -> Iterator[None]:
    """Have dbt's profile find the database."""
    values = {
        "PGHOST": str(servers.postgres.host),
        "PGPORT": "5432",
        "PGDATABASE": "hiring",
        "HIRING_TRANSFORMER_PASSWORD": "hiring_transformer",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
