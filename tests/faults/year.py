"""`python -m tests.faults.year`: simulates a year in Dagster's database, and reports tables that keep growing.

A day has a few runs, ticks, objects that are loaded or fail, and results of checks outside of runs: less than a real
one, but more objects than are offered as partitions. After each half comes the nightly maintenance. A table whose rows
are not those of the days that are kept has more of them after the year than after half of it.
"""

import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import yaml
from dagster._core.definitions.run_request import InstigatorType
from psycopg import Connection, sql
from rich.console import Console
from rich.table import Table as RichTable

from deploy.local.postgres import running_postgres
from deploy.local.settings import PROJECT
from orchestration.arrivals import partitions
from orchestration.migrations import migrate
from orchestration.monitoring.maintenance import prune, republish

HALF_DAYS = 182
KEEP_DAYS = 90
RUNS_PER_DAY, OBJECTS_PER_DAY, CHECKS_PER_DAY, TICKS_PER_DAY = 2, 40, 5, 200
SENSOR = "sensor"
# More rows than this after the second half than after the first are growth, not chance.
GROWTH = 1.1

out = Console(soft_wrap=True, width=100)


@dg.asset(check_specs=[dg.AssetCheckSpec("is_fine", asset="made")])
def made() -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Be made and checked, as the models are."""
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@contextmanager
def servers(state: Path) -> Iterator[tuple[dg.DagsterInstance, Connection, Connection]]:
    """Run a Postgres; yield Dagster's instance on it, and connections to its database and to that of the hires."""
    retention = yaml.safe_load((PROJECT / "deploy" / "dagster.yaml").read_text())["retention"]
    with running_postgres(state / "postgres", "superuser") as postgres:
        for name in ("dagster", "hiring"):
            postgres.create_database(name)
        migrate(postgres.conninfo("hiring"))
        url = f"postgresql://postgres:superuser@/dagster?host={postgres.host}&port=5432"
        overrides = {"storage": {"postgres": {"postgres_url": url}}, "retention": retention}
        with (
            dg.DagsterInstance.local_temp(str(state), overrides=overrides) as instance,
            psycopg.connect(postgres.conninfo("dagster"), autocommit=True) as books,
            psycopg.connect(postgres.conninfo("hiring"), autocommit=True) as hires,
        ):
            yield instance, books, hires


def live(instance: dg.DagsterInstance, books: Connection, hires: Connection, first: datetime) -> None:
    """Write what half a year leaves, beginning with a day."""

    def times(per_day: float) -> dict[str, object]:
        return {"first": first, "copies": int(HALF_DAYS * per_day), "step": timedelta(days=1 / per_day)}

    run_id = dg.materialize([made], instance=instance).run_id
    books.execute(RUNS, {"run_id": run_id, **times(RUNS_PER_DAY)})
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(asset_key=made.key, check_name="is_fine", passed=True, metadata={})
    )
    books.execute(CHECKS, times(CHECKS_PER_DAY))
    books.execute(TICKS, {"sensor": SENSOR, **times(TICKS_PER_DAY)})
    hires.execute(LOADS, times(OBJECTS_PER_DAY))
    (newest,) = books.execute("select coalesce(max(id), 0) from event_logs").fetchone() or (0,)
    republish(instance, hires)
    # It was reported now, and would have been day by day.
    (events,) = books.execute("select count(*) from event_logs where id > %s", [newest]).fetchone() or (0,)
    books.execute(SPREAD, {"newest": newest, **times(events / HALF_DAYS)})


# Rows of one run, copied to each day with new ids.
RUNS = """
    with copies as (
        select
            gen_random_uuid()::text as run_id,
            %(first)s::timestamptz + n * %(step)s as moment
        from generate_series(0, %(copies)s::int - 1) as n
    ),
    runs_copied as (
        insert into runs (
            run_id, snapshot_id, pipeline_name, status, run_body,
            create_timestamp, update_timestamp, start_time, end_time
        )
        select
            c.run_id, r.snapshot_id, r.pipeline_name, r.status, replace(r.run_body, r.run_id, c.run_id),
            c.moment at time zone 'UTC', c.moment at time zone 'UTC',
            extract(epoch from c.moment), extract(epoch from c.moment)
        from copies as c inner join runs as r on r.run_id = %(run_id)s
    ),
    tags_copied as (
        insert into run_tags (run_id, key, value)
        select c.run_id, 'dagster/job', 'refresh' from copies as c
    ),
    checks_copied as (
        insert into asset_check_executions (
            asset_key, check_name, run_id, execution_status, evaluation_event, evaluation_event_timestamp,
            create_timestamp
        )
        select
            e.asset_key, e.check_name, c.run_id, e.execution_status, e.evaluation_event,
            c.moment at time zone 'UTC', c.moment at time zone 'UTC'
        from copies as c inner join asset_check_executions as e on e.run_id = %(run_id)s
    )
    insert into event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key)
    select
        c.run_id, replace(e.event, e.run_id, c.run_id), e.dagster_event_type, c.moment at time zone 'UTC',
        e.step_key, e.asset_key
    from copies as c inner join event_logs as e on e.run_id = %(run_id)s
    order by c.moment, e.id
"""
# What sensors report of checks belongs to no run.
CHECKS = """
    with last as (select * from event_logs order by id desc limit 1),
    copies as (
        select (%(first)s::timestamptz + n * %(step)s) at time zone 'UTC' as moment
        from generate_series(0, %(copies)s::int - 1) as n
    )
    insert into event_logs (run_id, event, dagster_event_type, timestamp, asset_key)
    select l.run_id, l.event, l.dagster_event_type, c.moment, l.asset_key from copies as c cross join last as l
"""
TICKS = """
    insert into job_ticks (job_origin_id, selector_id, status, type, timestamp, tick_body)
    select
        %(sensor)s, %(sensor)s, case when n %% 50 = 0 then 'SUCCESS' else 'SKIPPED' end, 'SENSOR',
        (%(first)s::timestamptz + n * %(step)s) at time zone 'UTC',
        repeat('x', 800)
    from generate_series(0, %(copies)s::int - 1) as n
"""
LOADS = """
    insert into raw.loads (
        table_name, source, bucket, key, version, bytes, status, records, loaded, rejected, error,
        started_at, completed_at
    )
    select
        'hired_employees', 'object', 'landing', format('hired_employees_%%s.csv', gen_random_uuid()), 'v1', 1000,
        case when n %% 20 = 0 then 'failed' else 'complete' end, 10, 10, 0,
        case when n %% 20 = 0 then 'a damaged file' end, moment, moment
    from
        generate_series(0, %(copies)s::int - 1) as n,
        lateral (select %(first)s::timestamptz + n * %(step)s as moment) as m
"""
SPREAD = """
    with reported as (
        select id, row_number() over (order by id) as n from event_logs where id > %(newest)s
    )
    update event_logs
    set timestamp = (%(first)s::timestamptz + n * %(step)s) at time zone 'UTC'
    from reported where reported.id = event_logs.id
"""


def maintain(instance: dg.DagsterInstance, hires: Connection, now: datetime) -> None:
    """Do what the night does, and what the daemon does with each tick."""
    partitions.prune(instance)
    prune(instance, KEEP_DAYS, now)
    republish(instance, hires)
    for status, days in instance.get_tick_retention_settings(InstigatorType.SENSOR).items():
        if days > 0:
            instance.purge_ticks(SENSOR, SENSOR, (now - timedelta(days=days)).timestamp(), [status])


def counts(books: Connection) -> dict[str, int]:
    """Return the rows of each table."""
    tables = books.execute("select tablename from pg_tables where schemaname = 'public' order by 1").fetchall()
    return {name: _count(books, name) for (name,) in tables}


def _count(books: Connection, table: str) -> int:
    (rows,) = books.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchone() or (0,)
    return int(rows)


def simulate() -> list[tuple[str, int, int, int, int]]:
    """Return of each table that is written: rows before and after the first night, before and after the second."""
    state = Path(tempfile.mkdtemp(prefix="year"))
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    seen: list[dict[str, int]] = []
    try:
        with servers(state) as (instance, books, hires):
            for half in range(2):
                first = begin + timedelta(days=half * HALF_DAYS)
                live(instance, books, hires, first)
                seen.append(counts(books))
                maintain(instance, hires, first + timedelta(days=HALF_DAYS))
                seen.append(counts(books))
    finally:
        shutil.rmtree(state)
    return [(name, *(each[name] for each in seen)) for name in seen[0] if any(each[name] > 100 for each in seen)]


def grows(rows: tuple[str, int, int, int, int]) -> bool:
    """Return whether a table has more rows after the year than after half of it."""
    _, _, after_half, _, after_year = rows
    return after_year > GROWTH * after_half


def main() -> None:
    """Print the year; exit with 1 if anything grows."""
    logging.disable()
    found = simulate()
    table = RichTable("table", "half a year", "after its night", "year", "after its night", "")
    for rows in found:
        table.add_row(rows[0], *(f"{count:,}" for count in rows[1:]), "grows" if grows(rows) else "")
    out.print(table)
    sys.exit(1 if any(map(grows, found)) else 0)


if __name__ == "__main__":
    main()
