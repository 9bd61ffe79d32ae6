"""Incremental builds have the same result as a full build, and write no more rows than necessary."""

import threading
import time
from typing import Any

import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from orchestration.dbt.project import BUILD, build_arguments, manifest, published_marts
from orchestration.warehouse.published import unpublished_loads
from tests.conftest import Database, environment
from tests.dbt_project.conftest import COLUMNS, Dbt, Record, build, deliver, empty, forget_builds
from tests.dbt_project.expected import Load, dispositions
from tests.dbt_project.test_records import became

# By layer and name; _build describes the history of a table, not its content.
CONTENT = {
    "staging.loads": "*",
    "staging.checked_departments": "_load_id, _record, id, department, reasons, disposition, delivered",
    "staging.checked_jobs": "_load_id, _record, id, job, reasons, disposition, delivered",
    "staging.checked_hired_employees": "_load_id, _record, id, name, hired_at, hired_year, hired_quarter, "
    "hired_month, department_id, job_id, reasons, disposition, delivered",
    "staging.departments": "id, department, _load_id",
    "staging.jobs": "id, job, _load_id",
    "staging.hired_employees": "*",
    "staging.rejected_records": "*",
    "staging.quarterly_hires": "year, quarter, department_id, job_id, hired, month_1, month_2, month_3",
    "marts.hires_by_quarter": "*",
    "marts.hires_by_month": "*",
    "marts.departments_above_mean": "*",
    "marts.completeness": "*",
    "marts.missing_references": "*",
    "marts.known_departments": "*",
    "marts.known_jobs": "*",
}
few = st.sampled_from(["1", "2", "3.0", "4", "05", "x"])
references = st.lists(st.tuples(few, st.sampled_from(["Sales", "Legal", "Staff", ""])), max_size=4)
moments = st.sampled_from(["2021-01-01", "2021-06-30T23:59:59-01:00", "2021-12-31", "2022-04-04T04:04Z", "soon"])
hires = st.lists(st.tuples(st.integers(1, 12).map(str), st.just("Ada"), moments, few, few), max_size=12)
deliveries = st.sampled_from([*COLUMNS, "hired_employees"]).flatmap(
    lambda table: st.tuples(
        st.just(table),
        hires if table == "hired_employees" else references,
        # After how many builds the load is complete: it may be overtaken by loads that began after it.
        st.sampled_from([0, 0, 0, 1, 2]),
    )
)
histories = st.lists(st.lists(deliveries, min_size=1, max_size=3), min_size=3, max_size=4)


def content(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    return {
        relation: sorted(database.rows(f"select {columns} from {relation}"), key=repr)
        for relation, columns in CONTENT.items()
    }


def refresh(database: Database, dbt: Dbt) -> None:
    """Build incrementally, like the job refresh."""
    with database.connect("hiring_transformer") as connection:
        touched = {table for _, table in unpublished_loads(connection, published_marts(manifest()))}
    build(dbt, *build_arguments(manifest(), touched))


def complete(database: Database, load: Load) -> None:
    database.execute(
        "update raw.loads set status = 'complete', records = %s, loaded = %s, rejected = 0, completed_at = now() "
        "where load_id = %s",
        *[len(load.records)] * 2,
        load.load_id,
    )


# Each step takes a second: failing histories are not shrunk.
@settings(max_examples=2, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(history=histories)
def test_incremental_builds_have_the_same_result_as_one_full_build(
    module_database: Database, module_dbt: Dbt, history: list[list[tuple[str, list[Record], int]]]
) -> None:
    """A record that was skipped once would stay out of the metrics until the next full build."""
    database = module_database
    empty(database)
    build(module_dbt)
    loads: list[Load] = []
    late: list[tuple[int, Load]] = []
    for step, delivered in enumerate([*history, [], []]):
        for table, records, delay in delivered:
            status = "loading" if delay else "complete"
            load = Load(deliver(database, table, records, status=status), table, records)
            loads.append(load)
            if delay:
                late.append((step + delay, load))
        for due, load in late:
            if due == step:
                complete(database, load)
        refresh(database, module_dbt)
    assert became(database) == dispositions(loads)
    by_increments = content(database)
    forget_builds(database)
    build(module_dbt)
    assert content(database) == by_increments


def written(database: Database) -> dict[str, int]:
    """Return how many rows were ever written to each table of dbt's."""
    database.execute("select pg_stat_force_next_flush()")
    return dict(
        database.rows(
            "select relname, n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables "
            "where schemaname in ('staging', 'marts')"
        )
    )


def settled(database: Database) -> dict[str, int]:
    """Return the same once the sessions of a build have reported what they wrote."""
    before = None
    while (now := written(database)) != before:
        before = now
        time.sleep(0.3)
    return now


@pytest.fixture
def built(module_database: Database, module_dbt: Dbt) -> Database:
    """A database with a few hires, built."""
    empty(module_database)
    deliver(module_database, "departments", [("1", "Sales"), ("2", "Legal"), ("3", "Nobody")])
    deliver(module_database, "jobs", [("1", "Clerk")])
    people = [(str(n), "Ada", "2021-05-05", str(1 + n % 2), "1") for n in range(1, 41)]
    deliver(module_database, "hired_employees", [*people, ("50", "Zoe", "2021-05-05", "9", "1"), ("", "", "", "", "")])
    build(module_dbt)
    return module_database


@pytest.mark.parametrize("arguments", [[], ["--full-refresh"]])
def test_a_build_with_nothing_new_writes_no_row(built: Database, module_dbt: Dbt, arguments: list[str]) -> None:
    before = settled(built)
    assert sum(before.values()) > 0
    build(module_dbt, *BUILD, *arguments)
    assert settled(built) == before


def test_a_build_writes_the_records_that_are_new_and_what_they_touch(built: Database, module_dbt: Dbt) -> None:
    before = settled(built)
    # One replaces another with the same quarter, department and job; one is of a department's that is new.
    deliver(built, "hired_employees", [("1", "Bob", "2021-05-05", "2", "1"), ("41", "Eve", "2021-09-09", "4", "1")])
    deliver(built, "departments", [("4", "Press")])
    refresh(built, module_dbt)
    now = settled(built)
    assert {table: now[table] - before.get(table, 0) for table in now if now[table] != before.get(table, 0)} == {
        "loads": 2,
        "checked_departments": 1,
        # The two new ones, and the one that is superseded.
        "checked_hired_employees": 3,
        # The quarter of the one, that of the other, and the build: logged, added up, deleted.
        "hire_changes": 6,
        "quarterly_hires": 1,
        "hires_by_quarter": 1,
        "hires_by_month": 1,
        # The mean is another one, of four departments.
        "departments_above_mean": 2,
        # Of the tables that something came of.
        "completeness": 2,
        "known_departments": 1,
        "watermarks": now["watermarks"] - before["watermarks"],
        "publications": 5,
    }


def test_the_index_of_version_1_0_0_that_fails_on_long_names_is_dropped(built: Database, module_dbt: Dbt) -> None:
    columns = '(year, department collate "C", job collate "C", department_id, job_id)'
    built.execute(f"create index on marts.hires_by_quarter {columns}")
    build(module_dbt, "run", "--select", "hires_by_quarter")
    indexes = built.rows("select indexdef from pg_indexes where tablename = 'hires_by_quarter'")
    assert not [index for (index,) in indexes if index.endswith(columns.replace("collate", "COLLATE"))]


def test_a_changed_mart_notifies_with_its_commit_and_an_unchanged_one_does_not(
    built: Database, module_dbt: Dbt
) -> None:
    def heard(connection: psycopg.Connection[Any]) -> list[str]:
        return sorted(each.payload for each in connection.notifies(timeout=0.5))

    versions = "select mart, version from marts.publications order by mart"
    at_first = dict.fromkeys(published_marts(manifest()), 1)
    # No record waits, and an empty table is a first version, too.
    assert dict(built.rows(versions)) == at_first
    with built.connect("hiring_api") as listener:
        listener.execute("listen marts_changed")
        build(module_dbt)
        assert heard(listener) == []
        # Renames a job: in one mart, not in the other.
        deliver(built, "jobs", [("1", "Writer")])
        refresh(built, module_dbt)
        assert heard(listener) == ["completeness", "hires_by_quarter", "known_jobs"]
        deliver(built, "hired_employees", [("60", "Eve", "2021-09-09", "1", "1")])
        refresh(built, module_dbt)
        assert heard(listener) == ["completeness", "departments_above_mean", "hires_by_month", "hires_by_quarter"]
        changed = {
            "completeness": 3,
            "departments_above_mean": 2,
            "hires_by_month": 2,
            "hires_by_quarter": 3,
            "known_jobs": 2,
        }
        assert dict(listener.execute(versions).fetchall()) == at_first | changed


def statements_of(dbt: Dbt, *arguments: str) -> list[str]:
    """Build hires_by_quarter and return the statements of its transaction."""
    statements: list[str] = []

    def listen(event: Any) -> None:
        if event.info.name == "SQLQuery" and event.data.node_info.node_name == "hires_by_quarter":
            statements.append(event.data.sql)

    assert dbt("run", "--select", "hires_by_quarter", *arguments, listen=listen).success
    assert any("is distinct from" in statement for statement in statements)
    return [each for each in statements if each.split("*/")[-1].strip().strip(";").lower() not in ("begin", "commit")]


def test_readers_see_a_whole_metric_and_never_wait_while_it_is_built_fifty_times(
    built: Database, module_dbt: Dbt
) -> None:
    """Each build moves everybody to another job: of a reader's rows all are of before or all of after."""
    over, torn, waits, read = threading.Event(), [], [], [0]

    def reading() -> None:
        with built.connect("hiring_api") as connection:
            connection.execute("set lock_timeout = '50ms'")
            while not over.is_set():
                try:
                    rows = connection.execute("select distinct job, q2 from marts.hires_by_quarter").fetchall()
                except psycopg.errors.LockNotAvailable as error:
                    waits.append(error)
                    continue
                read[0] += 1
                if len(rows) != 1 or rows[0][1] != 20:
                    torn.append(rows)

    def rename(number: int) -> None:
        # As a build of the jobs would leave it, for the mart alone is built here.
        built.execute("update staging.checked_jobs set job = %s, _build = 2", f"Job {number}")

    rename(0)
    of_what_is_new = statements_of(module_dbt)
    rename(1)
    of_everything = statements_of(module_dbt, "--full-refresh")
    readers = [threading.Thread(target=reading) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        # dbt takes much longer to begin than these statements do: from here on they are repeated without it.
        with built.connect("hiring_transformer") as connection:
            for number in range(2, 52):
                rename(number)
                with connection.transaction():
                    for statement in of_everything if number % 10 == 0 else of_what_is_new:
                        connection.execute(statement.encode())
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert built.rows("select distinct job from marts.hires_by_quarter") == [("Job 51",)]
    assert (torn, waits) == ([], [])
    assert read[0] > 50


COUNTED = "select department_id, job_id, quarter, hired from staging.quarterly_hires where hired > 0 order by 1, 2, 3"


def test_hires_that_move_between_two_counts_are_added_up_once(built: Database, module_dbt: Dbt) -> None:
    """A count that missed a build, or took one twice, would be wrong until the night."""
    for department in ("2", "3", "2", "3"):
        hires = [("1", "Ada", "2021-05-05", department, "1"), ("60", "Eve", "2021-08-08", "1", "1")]
        deliver(built, "hired_employees", hires)
        build(module_dbt, "run", "--select", "loads", "checked_hired_employees")
    deliver(built, "departments", [("9", "Late")])
    build(module_dbt, "run", "--select", "loads", "checked_departments", "checked_hired_employees")
    counted = [(1, 1, 2, 20), (1, 1, 3, 1), (2, 1, 2, 19), (3, 1, 2, 1), (9, 1, 2, 1)]
    for _ in range(2):
        build(module_dbt)
        assert built.rows(COUNTED) == counted
    assert built.rows("select * from staging.hire_changes") == []


def test_after_a_build_without_a_log_the_next_one_counts_everything(built: Database, module_dbt: Dbt) -> None:
    """Like a manual one with an earlier version: its changes would be missing from every later count."""
    for number in (1, 2):
        deliver(built, "hired_employees", [(str(60 + number), "Eve", "2021-08-08", "1", "1")])
        build(module_dbt, "run", "--select", "loads", "checked_hired_employees")
        if number == 1:
            built.execute("delete from staging.hire_changes")
    build(module_dbt)
    assert built.rows(COUNTED) == [(1, 1, 2, 20), (1, 1, 3, 2), (2, 1, 2, 20)]


def test_a_count_waits_for_a_build_of_the_model_that_it_counts(built: Database, module_dbt: Dbt) -> None:
    """Changes that are committed while it counts would be in this count, and be added to the next one again."""
    deliver(built, "hired_employees", [("61", "Eve", "2021-08-08", "1", "1")])
    build(module_dbt, "run", "--select", "loads", "checked_hired_employees")
    with built.connect("hiring_transformer") as other, environment({"PGOPTIONS": "-c lock_timeout=200"}):
        other.execute("select pg_advisory_lock(hashtextextended('staging.checked_hired_employees', 0))")
        result = module_dbt("run", "--select", "quarterly_hires")
    assert "lock timeout" in result.result[0].message
    build(module_dbt)
    assert built.rows(COUNTED) == [(1, 1, 2, 20), (1, 1, 3, 1), (2, 1, 2, 20)]
