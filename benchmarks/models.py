"""Figures of the dbt models: beside one plain statement, as history grows, and with nothing to do."""

import contextlib
import os
import time
from collections.abc import Iterator
from functools import cache
from statistics import median
from typing import Any

from dbt.cli.main import dbtRunner
from dbt_common.events.functions import msg_to_dict

from benchmarks.figures import Figure
from benchmarks.hires import hires
from benchmarks.load import HIRED, ROUNDS
from benchmarks.servers import Servers
from orchestration.dbt import PROJECT, build_arguments, manifest, parse_if_changed
from orchestration.ingest.loader import Loaded, load_pending

DEPARTMENTS, JOBS = 12, 183
DATA = "raw.loads, raw.load_chunks, raw.rejected_records, raw.departments, raw.jobs, raw.hired_employees"
NEW_RECORDS = 1_000
# What a build cannot do without: types, and one row an id.
PLAIN = """
create table staging.plain as
select distinct on (id::integer)
    id::integer, name, datetime::timestamptz as hired_at, department_id::integer, job_id::integer
from raw.hired_employees
order by id::integer, _load_id desc, _record desc
"""


def full_vs_ctas(servers: Servers, records: int) -> float:
    """Return the SQL time of a full build as a multiple of that of one statement that casts and dedupes."""
    with _filled(servers, records):
        return median(_first_build(servers) / _plain_statement(servers) for _ in range(ROUNDS))


def increment_growth(servers: Servers, records: int) -> float:
    """Return the SQL time for a small load onto all the records, as a multiple of that onto a hundredth of them."""
    with _filled(servers, records):
        _first_build(servers)
        of_many = median(_next_build(servers) for _ in range(ROUNDS))
    with _filled(servers, records // 100):
        _first_build(servers)
        of_few = median(_next_build(servers) for _ in range(ROUNDS))
    return of_many / of_few


def noop(servers: Servers, records: int) -> float:
    """Return how many rows a build with nothing new writes to the tables of dbt."""
    with _filled(servers, records // 100):
        _first_build(servers)
        before = _rows_written(servers)
        _build(servers, build_arguments(manifest()))
        return _rows_written(servers) - before


FIGURES = (
    Figure(
        "dbt_full_vs_ctas", full_vs_ctas, "SQL time of a full build / one statement that casts, dedupes", bar="<= 4"
    ),
    Figure(
        "dbt_increment_growth", increment_growth, "SQL time for 1,000 hires onto 1,000,000 / onto 10,000", bar="<= 2"
    ),
    Figure("dbt_noop", noop, "rows written by a build with nothing new", unit="rows", bar="0"),
)


@contextlib.contextmanager
def _filled(servers: Servers, records: int) -> Iterator[None]:
    """Have so many hires loaded, with their departments and jobs, and nothing built; nothing is left of it."""
    servers.execute(f"truncate {DATA}")
    source = hires(servers, records)
    (outcome,) = load_pending(servers.conninfo("hiring_loader"), servers.s3, source.bucket, HIRED)
    assert isinstance(outcome, Loaded), outcome
    for table, name, count in (("departments", "department", DEPARTMENTS), ("jobs", "job", JOBS)):
        _add(servers, table, f"i, '{name} ' || i", count)
    # As autovacuum does by and by.
    servers.execute("vacuum analyze")
    yield
    servers.execute(f"truncate {DATA}", *_drop(servers))


def _add(servers: Servers, table: str, fields: str, count: int) -> None:
    """Add a complete load of so many records; `fields` is SQL over their number i."""
    servers.execute(
        f"""
        with load as (
            insert into raw.loads (table_name, source, status, records, loaded, rejected, completed_at)
            values ('{table}', 'api', 'complete', {count}, {count}, 0, now()) returning load_id
        )
        insert into raw.{table} select load.load_id, i, {fields} from load, generate_series(1, {count}) as i
        """  # noqa: S608
    )


def _drop(servers: Servers) -> list[str]:
    """Return the statements that take everything away that dbt has made."""
    tables = servers.value("""
        select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_tables
        where schemaname in ('staging', 'marts') and tablename not in ('progress', 'publications')
    """)
    drop = [f"drop table {tables} cascade"] if tables else []
    return [*drop, "truncate staging.progress, marts.publications", "checkpoint"]


def _first_build(servers: Servers) -> float:
    """Return the SQL time of a build of everything in the place of nothing."""
    servers.execute(*_drop(servers))
    seconds = _build(servers, build_arguments(manifest(), full_refresh=True))
    servers.execute("vacuum analyze")
    return seconds


def _next_build(servers: Servers) -> float:
    """Return the SQL time of the build after a small load of hires, half of them new and half of known ids."""
    first = servers.value("select coalesce(max(id), 0) from staging.checked_hired_employees")
    assert isinstance(first, int)
    fields = (
        f"{first} - {NEW_RECORDS // 2} + i, 'Given Family', "
        "to_char(timestamp '2021-01-01' + i * interval '8 hours', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "
        f"1 + i % {DEPARTMENTS}, 1 + i % {JOBS}"
    )
    _add(servers, "hired_employees", fields, NEW_RECORDS)
    return _build(servers, build_arguments(manifest(), {"hired_employees"}))


def _plain_statement(servers: Servers) -> float:
    """Return the seconds that the plain statement takes, in a session with dbt's settings."""
    servers.execute("drop table if exists staging.plain", "checkpoint")
    started = time.perf_counter()
    servers.execute_as("hiring_transformer", PLAIN)
    seconds = time.perf_counter() - started
    servers.execute("drop table staging.plain")
    return seconds


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


def _build(servers: Servers, arguments: list[str]) -> float:
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


def _rows_written(servers: Servers) -> int:
    """Return how many rows were ever written to the tables of dbt, once all sessions have told."""
    query = """
        select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint from pg_stat_user_tables
        where schemaname in ('staging', 'marts')
    """
    before, now = None, servers.value(query)
    while now != before:
        time.sleep(1)
        before, now = now, servers.value(query)
    assert isinstance(now, int)
    return now
