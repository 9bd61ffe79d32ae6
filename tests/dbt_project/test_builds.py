"""Builds as a whole: without data, of new records only, and who can read the result."""

import psycopg
import pytest

from deploy.local.postgres import EmbeddedPostgres
from orchestration.dbt.project import build_arguments, manifest, published_marts
from orchestration.migrations import ROLES, migrate
from orchestration.warehouse.published import unpublished_loads
from tests.conftest import Database
from tests.dbt_project.conftest import Dbt, Record, build, deliver, unsuccessful

HIRE: Record = ("1", "Ada", "2021-07-27T16:02:08Z", "1", "1")


@pytest.fixture(scope="module")
def built(module_database: Database, module_dbt: Dbt) -> Database:
    """A database whose first build found nothing."""
    build(module_dbt)
    return module_database


def unpublished(database: Database) -> list[tuple[int, str]]:
    with database.connect("hiring_transformer") as connection:
        return unpublished_loads(connection, published_marts(manifest()))


def test_the_first_build_finds_nothing_and_leaves_every_model_empty(built: Database) -> None:
    models = [node for node in manifest()["nodes"].values() if node["resource_type"] == "model"]
    assert len(models) == 19
    # Completeness reports for every table that nothing was delivered.
    for model in [each for each in models if each["name"] != "completeness"]:
        assert built.rows(f"select count(*) from {model['schema']}.{model['name']}") == [(0,)]


@pytest.mark.usefixtures("built")
def test_the_models_unit_tests_pass(module_dbt: Dbt) -> None:
    result = module_dbt("test", "--select", "test_type:unit")
    assert result.success, unsuccessful(result)
    assert len(result.result) >= 11


@pytest.mark.parametrize("mart", ["hires_by_quarter", "departments_above_mean"])
def test_the_api_reads_both_metrics_and_changes_neither(built: Database, mart: str) -> None:
    with built.connect("hiring_api") as connection:
        assert connection.execute(f"select count(*) from marts.{mart}").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"delete from marts.{mart}")


def test_the_api_reads_nothing_that_names_a_person(built: Database) -> None:
    """A grant on schema staging would put the names of people one query away from the internet."""
    tables = built.rows("select schemaname, tablename from pg_tables where schemaname in ('staging', 'raw')")
    assert len(tables) > 8
    with built.connect("hiring_api") as connection:
        for schema, table in tables:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select * from {schema}.{table}")


def test_a_complete_load_is_unpublished_until_the_next_build(database: Database, dbt: Dbt) -> None:
    departments = deliver(database, "departments", [("1", "Sales")])
    jobs = deliver(database, "jobs", [])
    loading = deliver(database, "jobs", [("1", "Clerk")], status="loading")
    assert unpublished(database) == [(departments, "departments"), (jobs, "jobs")]
    build(dbt)
    assert unpublished(database) == []
    hires = deliver(database, "hired_employees", [HIRE])
    assert unpublished(database) == [(hires, "hired_employees")]
    database.execute(
        "update raw.loads set status = 'complete', records = 1, loaded = 1, rejected = 0, completed_at = now() "
        "where load_id = %s",
        loading,
    )
    # In the order of completion, whichever began first.
    assert unpublished(database) == [(hires, "hired_employees"), (loading, "jobs")]
    build(dbt)
    assert unpublished(database) == []
    assert database.rows("select department, job, q3 from marts.hires_by_quarter") == [("Sales", "Clerk", 1)]


def test_building_what_new_records_touch_gives_what_building_everything_gives(database: Database, dbt: Dbt) -> None:
    """A wrongly excluded model would show yesterday's records for ever, without an error."""
    deliveries: list[dict[str, list[Record]]] = [
        {"jobs": [("1", "Clerk")], "departments": [("1", "Sales"), ("9", "Nobody")], "hired_employees": [HIRE]},
        {"hired_employees": [("1", "Ada", "2022-01-01", "1", "1"), ("2", "Bob", "2022-04-01", "2", "2")]},
        {"departments": [("1", "Renamed"), ("2", "New")]},
        {"jobs": [("1", "Renamed"), ("2", "New"), ("x", "Wrong")]},
    ]
    by_quarter = "select * from marts.hires_by_quarter order by year, department_id, job_id"
    above_mean = "select year, id, department, hired, mean from marts.departments_above_mean order by year, id"
    shown, above = [], []
    for delivery in deliveries:
        for table, records in delivery.items():
            deliver(database, table, records)
        touched = {table for _, table in unpublished(database)}
        assert touched == set(delivery)
        build(dbt, *build_arguments(manifest(), touched))
        assert unpublished(database) == []
        shown.append(database.rows(by_quarter))
        above.append(database.rows(above_mean))
    assert shown == [
        [(2021, 1, "Sales", 1, "Clerk", 0, 0, 1, 0)],
        [(2022, 1, "Sales", 1, "Clerk", 1, 0, 0, 0)],
        [(2022, 1, "Renamed", 1, "Clerk", 1, 0, 0, 0)],
        [(2022, 1, "Renamed", 1, "Renamed", 1, 0, 0, 0), (2022, 2, "New", 2, "New", 0, 1, 0, 0)],
    ]
    assert above == [
        [(2021, 1, "Sales", 1, 1 / 2)],
        [(2022, 1, "Sales", 1, 1 / 2)],
        [(2022, 1, "Renamed", 1, 1 / 3)],
        [(2022, 1, "Renamed", 1, 2 / 3), (2022, 2, "New", 1, 2 / 3)],
    ]
    assert database.rows("select field, reason from staging.rejected_fields") == [("id", "not_an_integer")]


def test_a_full_refresh_replaces_a_table_that_was_made_in_another_way(database: Database, dbt: Dbt) -> None:
    """A mart of an earlier version would lack its key and indexes, and never notify of changes."""
    build(dbt)
    database.execute("truncate staging.watermarks, marts.publications")
    database.execute("alter table marts.hires_by_quarter drop constraint hires_by_quarter_pkey")
    deliver(database, "departments", [("1", "Sales")])
    deliver(database, "jobs", [("1", "Clerk")])
    deliver(database, "hired_employees", [HIRE])
    build(dbt, *build_arguments(manifest(), full_refresh=True))
    keys = database.rows(
        "select indexname from pg_indexes where tablename = 'hires_by_quarter' and indexname like '%%pkey'"
    )
    assert keys == [("hires_by_quarter_pkey",)]
    assert ("hires_by_quarter", 1) in database.rows("select mart, version from marts.publications")


def test_a_database_of_the_version_before_keeps_its_watermarks_and_serves_that_version_still(
    postgres: EmbeddedPostgres,
) -> None:
    """Its builds may continue until the new version's services have started, and people may query the old name."""
    postgres.create_database("before_watermarks")
    conninfo = postgres.conninfo("before_watermarks")
    migrate(conninfo, {role: role for role in ROLES}, "0008")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("insert into staging.progress values ('loads_of_old', 'loads', 7)")
    migrate(conninfo)
    with psycopg.connect(postgres.conninfo("before_watermarks", "hiring_transformer", "hiring_transformer")) as dbt:
        assert dbt.execute("select * from staging.watermarks").fetchall() == [("loads_of_old", "loads", 7)]
        for mark in (8, 9):
            dbt.execute(
                "insert into staging.progress (model, input, mark) values ('jobs', 'loads', %s) "
                "on conflict (model, input) do update set mark = excluded.mark where progress.mark <> excluded.mark",
                [mark],
            )
        assert dbt.execute("select watermark from staging.watermarks where model = 'jobs'").fetchall() == [(9,)]
