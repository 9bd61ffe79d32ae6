"""Figures of the dbt models: next to one plain statement, as history grows, and with nothing to do."""

import time
from functools import cache
from statistics import median

from benchmarks.builds import DEPARTMENTS, JOBS, add_load, build, filled, first_build
from benchmarks.figures import Figure
from benchmarks.load import GROWTH, ROUNDS
from benchmarks.servers import Servers
from orchestration.dbt.project import build_arguments, manifest

NEW_RECORDS = 1_000
# What a build cannot do without: types, and one row per id.
PLAIN = """
create table staging.plain as
select distinct on (id::integer)
    id::integer, name, datetime::timestamptz as hired_at, department_id::integer, job_id::integer
from raw.hired_employees
order by id::integer, _load_id desc, _record desc
"""


def full_vs_ctas(servers: Servers, records: int) -> float:
    """Return the SQL time of a full build as a multiple of that of one statement that casts and dedupes."""
    with filled(servers, records):
        return median(first_build(servers) / _plain_statement(servers) for _ in range(ROUNDS))


@cache
def growth(servers: Servers, records: int) -> tuple[float, float]:
    """Return by how much a full build per record, and a small load's build, take longer onto twenty times as many."""
    full, increment = zip(*(_builds(servers, size) for size in (records * GROWTH, records)), strict=True)
    return full[0] / GROWTH / full[1], increment[0] / increment[1]


def full_growth(servers: Servers, records: int) -> float:
    """Return the SQL time per record of a full build of many, as a multiple of that of a twentieth of them."""
    return growth(servers, records)[0]


def increment_growth(servers: Servers, records: int) -> float:
    """Return the SQL time for a small load onto many records, as a multiple of that onto a twentieth of them."""
    return growth(servers, records)[1]


def noop(servers: Servers, records: int) -> float:
    """Return how many rows a build with nothing new writes to the tables of dbt."""
    with filled(servers, records // 100):
        first_build(servers)
        before = _rows_written(servers)
        build(servers, build_arguments(manifest()))
        return _rows_written(servers) - before


FIGURES = (
    Figure(
        "dbt_full_vs_ctas", full_vs_ctas, "SQL time of a full build / one statement that casts, dedupes", bar="<= 4"
    ),
    Figure(
        "dbt_full_growth",
        full_growth,
        "SQL time per hire of a full build of 20,000,000 / of 1,000,000",
        bar="<= 1.2",
    ),
    Figure(
        "dbt_increment_growth",
        increment_growth,
        "SQL time for 1,000 hires onto 20,000,000 / onto 1,000,000",
        bar="<= 1.3",
    ),
    Figure("dbt_noop", noop, "rows written by a build with nothing new", unit="rows", bar="0"),
)


def _builds(servers: Servers, records: int) -> tuple[float, float]:
    """Return the SQL time of a build of all the records, and that of a build after a small load."""
    with filled(servers, records):
        return first_build(servers), median(_next_build(servers) for _ in range(ROUNDS))


def _next_build(servers: Servers) -> float:
    """Return the SQL time of the build after a small load of hires, half of them new and half of known ids."""
    first = servers.value("select coalesce(max(id), 0) from staging.checked_hired_employees")
    assert isinstance(first, int)
    fields = (
        f"{first} - {NEW_RECORDS // 2} + i, 'Given Family', "
        "to_char(timestamp '2021-01-01' + i * interval '8 hours', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "
        f"1 + i % {DEPARTMENTS}, 1 + i % {JOBS}"
    )
    add_load(servers, "hired_employees", fields, NEW_RECORDS)
    return build(servers, build_arguments(manifest(), {"hired_employees"}))


def _plain_statement(servers: Servers) -> float:
    """Return the seconds that the plain statement takes, in a session with dbt's settings."""
    servers.execute("drop table if exists staging.plain", "checkpoint")
    started = time.perf_counter()
    servers.execute_as("hiring_transformer", PLAIN)
    seconds = time.perf_counter() - started
    servers.execute("drop table staging.plain")
    return seconds


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
