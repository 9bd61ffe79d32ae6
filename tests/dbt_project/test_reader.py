"""hiring_reader, the role of BI tools, can read the models, but no person's name anywhere."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, QueryCanceled, ReadOnlySqlTransaction

from contracts import TABLES
from orchestration.dbt.project import BUILD
from tests.conftest import Database
from tests.dbt_project.conftest import Dbt, build, deliver, forget_builds

# Part of each name that is delivered here, in every way in which a record can end.
NAME = "Ysolde"
READER = "hiring_reader"
COLUMNS = """
    select c.oid, c.oid::regclass::text, a.attname
    from pg_class as c
    inner join pg_attribute as a on c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
    where
        c.relkind in ('r', 'p', 'v', 'm', 'f')
        and has_schema_privilege(c.relnamespace, 'usage')
        and has_column_privilege(c.oid, a.attnum, 'select')
        and c.relnamespace <> 'pg_toast'::regnamespace
"""


@pytest.fixture(scope="module")
def built(module_database: Database, module_dbt: Dbt) -> Database:
    """Hires that are accepted, superseded, waiting, rejected, malformed and dismissed, of files and over HTTP."""
    deliver(module_database, "departments", [("1", "Staff"), ("x", "Own")])
    deliver(module_database, "jobs", [("1", "Recruiter")])
    load = deliver(
        module_database,
        "hired_employees",
        [
            ("1", f"{NAME} Accepted", "2021-01-01T00:00:00Z", "1", "1"),
            ("2", f"{NAME} Superseded", "2021-01-01T00:00:00Z", "1", "1"),
            ("2", f"{NAME} Later", "2021-01-01T00:00:00Z", "1", "1"),
            ("3", f"{NAME} Waiting", "2021-01-01T00:00:00Z", "9", "1"),
            ("4", f"{NAME} Rejected", "yesterday", "1", "1"),
            f"5;{NAME} Malformed".encode(),
        ],
        key="hired_employees.csv",
    )
    deliver(
        module_database,
        "hired_employees",
        [("6", f"{NAME} Http", "2021-01-01T00:00:00Z", "1", "1")],
        source="api",
    )
    module_database.execute(
        "insert into raw.corrections (corrected_load_id, corrected_record, note) values (%s, 5, %s)",
        load,
        f"{NAME} has left",
    )
    module_database.execute(
        "update raw.rejected_records set message = %s, delivered = jsonb_build_object('name', %s::text)",
        f"has 1 field, {NAME}",
        NAME,
    )
    build(module_dbt)
    return module_database


@pytest.fixture
def reader(built: Database) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with built.connect(READER) as connection:
        yield connection


def finds(connection: psycopg.Connection[tuple[object, ...]], text: str) -> set[tuple[str, str]]:
    """Return each relation and column that a role can read and that has a text somewhere."""
    found = set()
    for _, relation, column in connection.execute(COLUMNS).fetchall():
        # As bytes say it, too.
        query = f'select count(*) from {relation} where "{column}"::text ~ %s or "{column}"::text ~ %s'
        try:
            (rows,) = connection.execute(query, [text, text.encode().hex()]).fetchone() or (0,)
        except psycopg.Error:
            # Some views of the catalog are only for superusers, regardless of their grants.
            assert str(relation).startswith(("pg_", "information_schema."))
            continue
        if rows:
            found.add((str(relation), str(column)))
    return found


def readable(built: Database) -> dict[str, set[str]]:
    """Return the columns that the reader can read of each relation of staging and marts."""
    with built.connect(READER) as connection:
        rows = connection.execute(f"{COLUMNS} and c.relnamespace::regnamespace::text in ('staging', 'marts')")
        columns: dict[str, set[str]] = {}
        for _, relation, column in rows.fetchall():
            columns.setdefault(str(relation), set()).add(str(column))
    return columns


def test_it_can_read_no_name_anywhere(built: Database, reader: psycopg.Connection[tuple[object, ...]]) -> None:
    """A column that accidentally exposes names is visible to everybody with a dashboard, without an error."""
    with built.connect() as superuser:
        everywhere = finds(superuser, NAME)
    assert {
        ("raw.hired_employees", "name"),
        ("raw.rejected_records", "raw"),
        ("raw.corrections", "note"),
        ("staging.hired_employees", "name"),
        ("staging.checked_hired_employees", "name"),
        ("staging.checked_records", "delivered"),
        ("staging.rejected_records", "name"),
        ("staging.rejected_records", "message"),
        ("staging.rejected_records", "note"),
        ("staging.rejected_fields", "value"),
    } <= everywhere
    # The statement that searches for it contains it itself.
    assert {each for each in finds(reader, NAME) if each[0] != "pg_stat_activity"} == set()


def test_it_reads_every_column_but_those(built: Database) -> None:
    relations = built.rows(
        "select format('%%I.%%I', table_schema, table_name), array_agg(column_name::text) "
        "from information_schema.columns where table_schema in ('staging', 'marts') "
        # What a build hands to the next model.
        "and table_name <> 'hire_changes' group by 1"
    )
    reads = readable(built)
    left_out = {
        f"{relation}.{column}" for relation, columns in relations for column in columns if column not in reads[relation]
    }
    assert left_out == {
        "staging.checked_records.delivered",
        *(f"staging.checked_{table.name}.delivered" for table in TABLES),
        "staging.checked_hired_employees.name",
        "staging.hired_employees.name",
        *(f"staging.rejected_records.{column}" for column in ("name", "message", "delivered", "note")),
        "staging.rejected_fields.value",
    }


def test_it_reads_marts_and_staging_with_the_hires_in_them(reader: psycopg.Connection[tuple[object, ...]]) -> None:
    assert reader.execute("select * from marts.hires_by_quarter").fetchall()
    assert reader.execute("select id, department_id from staging.hired_employees where id = 1").fetchall() == [(1, 1)]
    assert reader.execute("select count(*) from staging.rejected_fields").fetchone() == (3,)
    for statement in ("select name from staging.hired_employees", "select h from staging.hired_employees as h"):
        with pytest.raises(InsufficientPrivilege):
            reader.execute(statement)


def test_it_still_reads_the_same_after_another_build_and_after_one_of_everything(
    built: Database, module_dbt: Dbt
) -> None:
    before = readable(built)
    deliver(built, "jobs", [("2", "Driver")])
    build(module_dbt)
    assert readable(built) == before
    build(module_dbt, *BUILD, "--full-refresh")
    assert readable(built) == before
    forget_builds(built)
    build(module_dbt)
    assert readable(built) == before


def test_an_additional_grant_is_revoked_by_the_next_build(built: Database, module_dbt: Dbt) -> None:
    before = readable(built)
    built.execute(f"grant select on staging.hired_employees to {READER}")
    assert readable(built) != before
    build(module_dbt)
    assert readable(built) == before


def test_it_can_neither_write_nor_read_what_was_delivered(reader: psycopg.Connection[tuple[object, ...]]) -> None:
    with pytest.raises(ReadOnlySqlTransaction):
        reader.execute("create table marts.mine (id integer)")
    reader.execute("set default_transaction_read_only = off")
    for statement in (
        "create table marts.mine (id integer)",
        "create table public.mine (id integer)",
        "delete from marts.hires_by_quarter",
        "update staging.checked_jobs set job = ''",
        "select * from raw.hired_employees",
        "select * from raw.loads",
        "set role hiring_transformer",
    ):
        with pytest.raises(InsufficientPrivilege):
            reader.execute(statement)


def test_a_statement_without_an_end_is_ended(reader: psycopg.Connection[tuple[object, ...]]) -> None:
    assert reader.execute("show statement_timeout").fetchone() == ("5min",)
    assert reader.execute("show idle_in_transaction_session_timeout").fetchone() == ("5min",)
    reader.execute("set statement_timeout = '10ms'")
    with pytest.raises(QueryCanceled):
        reader.execute("select pg_sleep(60)")
