"""The database's shape and who may do what in it, asked as each role on a real server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege, UniqueViolation

from deploy.local.postgres import EmbeddedPostgres
from orchestration.migrations import ROLES, migrate, newest_version, version_of
from tests.conftest import Database

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A database that no migration has seen."""
    name = "empty"
    postgres.create_database(name)
    yield Database(postgres, name)
    with psycopg.connect(postgres.conninfo(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


def shape(database: Database) -> str:
    """The database as pg_dump writes it, rights included, and the version that it is at."""
    dump = subprocess.run(
        [str(database.postgres.bin / "pg_dump"), "--schema-only", "--dbname", database.conninfo()],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    # A random key guards a dump against what could be hidden in it.
    lines = [line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
    return "\n".join([*lines, str(database.rows("select * from alembic_version"))])


def command(database: Database, **variables: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "HIRING_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "orchestration.migrations"],
        cwd=REPOSITORY,
        env=inherited
        | {"PGHOST": database.postgres.host, "PGPORT": "5432", "PGDATABASE": database.name}
        | {"PGUSER": "postgres", "PGPASSWORD": database.postgres.password}
        | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_migrating_again_changes_nothing(empty_database: Database) -> None:
    migrate(empty_database.conninfo())
    once = shape(empty_database)
    migrate(empty_database.conninfo())
    assert shape(empty_database) == once
    assert "CREATE TABLE raw.loads" in once


def test_two_processes_at_once_migrate_once(empty_database: Database, database: Database) -> None:
    passwords = {f"{role.upper()}_PASSWORD": role for role in ROLES}
    processes = [command(empty_database, **passwords) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert shape(empty_database) == shape(database)


def test_passwords_of_roles_that_are_not_named_stay(empty_database: Database) -> None:
    migrate(empty_database.conninfo(), {"hiring_api": "a 'new' one"})
    try:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            empty_database.connect("hiring_api")
        empty_database.connect("hiring_loader").close()
        psycopg.connect(empty_database.postgres.conninfo(empty_database.name, "hiring_api", "a 'new' one")).close()
    finally:
        migrate(empty_database.conninfo(), {"hiring_api": "hiring_api"})


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"PGPASSWORD": "wrong"}, "password authentication failed"),
        ({"PGHOST": "/nowhere"}, "No such file or directory"),
        ({"PGDATABASE": "absent"}, 'database "absent" does not exist'),
    ],
)
def test_the_command_says_in_one_line_why_it_failed(
    database: Database, variables: dict[str, str], complaint: str
) -> None:
    process = command(database, **variables)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1), err
    assert err.startswith("cannot migrate the database: ")
    assert complaint in err


EVERY_TABLE = [
    "raw.departments", "raw.jobs", "raw.hired_employees", "raw.loads", "raw.load_chunks", "raw.rejected_records",
    "raw.batch_answers",
]  # fmt: skip
RECORD_TABLES = EVERY_TABLE[:3]
LEDGER = EVERY_TABLE[:6]
STORE_BATCH = """
select * from raw.store_batch(
    '[{"id": "1", "name": "Ada", "datetime": "2021-01-01", "department_id": "1", "job_id": "1"}]', '[]',
    null, null, null, '{}'
)
"""

FORBIDDEN_TO_ALL = [
    *(f"delete from {table}" for table in EVERY_TABLE),
    *(f"truncate {table}" for table in EVERY_TABLE),
    *(f"drop table {table}" for table in EVERY_TABLE),
    *(f"update {table} set _load_id = 1" for table in RECORD_TABLES),
    "update raw.load_chunks set records = 0",
    "update raw.rejected_records set reason = ''",
    "alter table raw.loads disable trigger all",
    "create table raw.more (id int)",
    "create table public.more (id int)",
    "create schema more",
    "drop schema marts",
    "alter schema staging rename to other",
    "create role more",
    "set role postgres",
    "copy raw.loads to program 'true'",
]
FORBIDDEN = {
    "hiring_api": [
        *(f"select 1 from {table}" for table in [*EVERY_TABLE, "raw.discrepancies", "staging.progress"]),
        "select load_id from raw.loads",
        "select * from raw.loads",
        "select key from raw.loads",
        "select count(*) from raw.loads where status = 'complete'",
        "update raw.loads set status = 'complete'",
        *(
            f"insert into raw.loads (table_name, source, {column}) values ('jobs', 'object', {value})"
            for column, value in [
                ("bucket", "'b'"), ("key", "'k'"), ("version", "'v'"), ("bytes", "1"), ("columns", "'{id}'"),
                ("started_at", "now()"), ("error", "''"), ("last_modified", "now()"),
            ]
        ),
        "insert into raw.loads (table_name, source, load_id) overriding system value values ('jobs', 'api', 1)",
        "insert into raw.loads (table_name, source, status, records, loaded, rejected, completed_at)"
        " values ('hired_employees', 'api', 'complete', 1, 1, 0, now())",
        *(f"insert into {table} (_load_id, _record) values (1, 1)" for table in RECORD_TABLES),
        "insert into raw.batch_answers values ('', '', '', 1, '{}', now())",
        "update raw.batch_answers set answer = '{}'",
        "select raw.summarize_new_records('jobs')",
        "update marts.publications set version = 1",
        "delete from marts.publications",
        "insert into marts.publications values ('jobs', 1, now())",
        "insert into raw.load_chunks values (1, 0, 1, 1, 0, 0, 1)",
        "insert into raw.rejected_records values (1, 1, '', '', 0, '', 1, 0)",
        "create table staging.more (id int)",
        "create table marts.more (id int)",
    ],
    "hiring_loader": [
        "create table staging.more (id int)",
        "create table marts.more (id int)",
        STORE_BATCH,
        "select 1 from raw.batch_answers",
        "select raw.summarize_new_records('jobs')",
        "select 1 from marts.publications",
    ],
    "hiring_transformer": [
        *(f"insert into {table} (_load_id, _record) values (1, 1)" for table in RECORD_TABLES),
        "insert into raw.loads (table_name, source) values ('jobs', 'api')",
        "insert into raw.load_chunks values (1, 0, 1, 1, 0, 0, 1)",
        "insert into raw.rejected_records values (1, 1, '', '', 0, '', 1, 0)",
        "update raw.loads set status = 'complete'",
        STORE_BATCH,
        "select 1 from raw.batch_answers",
    ],
}  # fmt: skip


@pytest.mark.parametrize("role", FORBIDDEN)
def test_a_role_may_not_do_what_is_not_its_work(module_database: Database, role: str) -> None:
    allowed = []
    with module_database.connect(role) as connection:
        for statement in [*FORBIDDEN_TO_ALL, *FORBIDDEN[role]]:
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute(statement)
                allowed.append(statement)
            except InsufficientPrivilege:
                pass
    assert allowed == []


ALLOWED = {
    "hiring_api": [STORE_BATCH, "select * from marts.publications", "listen marts_changed"],
    "hiring_loader": [
        "insert into raw.loads (table_name, source, bucket, key, version) values ('jobs', 'object', 'b', 'k', 'v')",
        "update raw.loads set status = 'failed'",
        *(f"insert into {table} (_load_id, _record) values (1, 1)" for table in RECORD_TABLES),
        *(f"select * from {table}" for table in LEDGER),
    ],
    "hiring_transformer": [
        *(f"select * from {table}" for table in LEDGER),
        "create table staging.more (id int)",
        "create table marts.more (id int)",
    ],
}


@pytest.mark.parametrize("role", ALLOWED)
def test_a_role_may_do_its_work(module_database: Database, role: str) -> None:
    with module_database.connect(role) as connection:
        for statement in ALLOWED[role]:
            with connection.transaction(force_rollback=True):
                connection.execute(statement)


def test_what_the_api_stores_is_a_load_of_its_own_whatever_it_is_told(database: Database) -> None:
    """Nothing that the API can say reaches another load's records, or counts records that are not there."""
    with database.connect("hiring_api") as connection:
        for _ in range(2):
            connection.execute(
                "select raw.store_batch(%s, %s, null, null, null, '{}')",
                [
                    '[{"id": "1", "_load_id": 1, "_record": 7}, {"id": "2"}]',
                    '[{"load_id": 1, "record": 2, "reason": "r", "message": "m", "byte_from": 0, "raw": "",'
                    ' "raw_bytes": 0}]',
                ],
            )
    assert database.rows("select load_id, source, records, loaded, rejected from raw.loads order by 1") == [
        (1, "api", 2, 1, 1), (2, "api", 2, 1, 1)
    ]  # fmt: skip
    assert database.rows("select _load_id, _record, id from raw.hired_employees order by 1") == [
        (1, 1, "1"),
        (2, 1, "1"),
    ]
    assert database.rows("select load_id, record from raw.rejected_records order by 1") == [(1, 2), (2, 2)]
    assert database.rows("select * from raw.discrepancies") == []


def test_nobodys_search_path_leads_the_function_astray(database: Database) -> None:
    database.execute("create schema decoy authorization hiring_api")
    with database.connect("hiring_api") as connection:
        connection.execute("create function decoy.json_array_length(json) returns integer language sql as 'select 99'")
        connection.execute("set search_path = decoy, pg_catalog")
        connection.execute("select raw.store_batch('[]', '[]', null, null, null, '{}')")
    assert database.rows("select records from raw.loads") == [(0,)]


@pytest.mark.parametrize(
    "claim",
    [
        "('jobs', 'api', 'complete', 2, 1, 0, now())",
        "('jobs', 'api', 'complete', null, null, null, now())",
        "('jobs', 'api', 'complete', 1, 1, 0, null)",
        "('jobs', 'api', 'done', 1, 1, 0, now())",
        "('jobs', 'post', 'complete', 1, 1, 0, now())",
    ],
)
def test_a_load_whose_figures_cannot_be_true_is_refused(module_database: Database, claim: str) -> None:
    with module_database.connect() as connection, pytest.raises(CheckViolation):
        connection.execute(
            "insert into raw.loads (table_name, source, status, records, loaded, rejected, completed_at) values "
            + claim
        )


STORED_LOAD = "select batch_load_id from raw.store_batch('[]', '[]', null, null, null, '{}')"


def test_completions_are_numbered_in_the_order_of_the_commits(database: Database) -> None:
    """A build that takes everything up to a number would otherwise pass over, for ever, what commits behind it."""
    with database.connect("hiring_api") as early, database.connect("hiring_api") as late:
        early.execute("begin")
        late.execute("begin")
        first = early.execute(STORED_LOAD).fetchone()
        second = late.execute(STORED_LOAD).fetchone()
        late.execute("commit")
        early.execute("commit")
    in_order = database.rows("select load_id from raw.loads order by completion")
    assert in_order == [second, first]


def test_a_load_has_its_number_from_the_moment_when_it_is_complete(database: Database) -> None:
    begin = """
        insert into raw.loads (table_name, source, bucket, key, version)
        values ('jobs', 'object', 'landing', 'jobs.csv', '1')
    """
    complete = "update raw.loads set status = 'complete', records = 0, loaded = 0, rejected = 0, completed_at = now()"
    with database.connect("hiring_loader") as connection:
        connection.execute(begin)
        assert database.rows("select completion from raw.loads") == [(None,)]
        connection.execute(complete)
        ((number,),) = database.rows("select completion from raw.loads")
        assert number is not None
        # What is written about it later does not make it new.
        connection.execute(complete)
    assert database.rows("select completion from raw.loads") == [(number,)]


def test_migrating_numbers_the_loads_that_were_complete_before(empty_database: Database) -> None:
    migrate(empty_database.conninfo(), revision="0002")
    for status in ("complete", "failed", "complete"):
        empty_database.execute(
            "insert into raw.loads (table_name, source, status, records, loaded, rejected, completed_at) "
            "values ('hired_employees', 'api', %s, 0, 0, 0, now())",
            status,
        )
    migrate(empty_database.conninfo())
    assert empty_database.rows("select load_id, completion from raw.loads order by load_id") == [
        (1, 1), (2, None), (3, 2)
    ]  # fmt: skip


def test_migrating_counts_no_load_as_a_reload_and_keeps_versions_apart(empty_database: Database) -> None:
    migrate(empty_database.conninfo(), revision="0004")
    columns = "(table_name, source, bucket, key, version, status)"
    for status in ("abandoned", "abandoned", "failed"):
        empty_database.execute(
            f"insert into raw.loads {columns} values ('jobs', 'object', 'landing', 'jobs.csv', '1', %s)", status
        )
    migrate(empty_database.conninfo())
    assert empty_database.rows("select status, reload from raw.loads order by load_id") == [
        ("abandoned", 0), ("abandoned", 0), ("failed", 0)
    ]  # fmt: skip
    again = (
        f"insert into raw.loads {columns[:-1]}, reload) "
        "values ('jobs', 'object', 'landing', 'jobs.csv', '1', 'failed', %s)"
    )
    empty_database.execute(again, 1)
    with pytest.raises(UniqueViolation):
        empty_database.execute(again, 1)


def test_a_database_that_a_newer_version_migrated_stays_as_it_is(empty_database: Database) -> None:
    """A roll-back runs the older version's migrations first, as every start does."""
    migrate(empty_database.conninfo())
    empty_database.execute("update alembic_version set version_num = '9999'")
    newer = shape(empty_database)
    migrate(empty_database.conninfo())
    assert shape(empty_database) == newer


def test_every_role_may_ask_for_the_version(database: Database) -> None:
    for role in ROLES:
        with database.connect(role) as connection:
            assert version_of(connection) == newest_version()


def test_a_database_without_migrations_has_no_version(empty_database: Database) -> None:
    with empty_database.connect() as connection:
        assert version_of(connection) is None
