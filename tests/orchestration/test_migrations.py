"""The database schema and the privileges of each role, tested on a real server."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege, UniqueViolation

from contracts import TABLES, Column, LogicalType, Table
from contracts.tables import ContractError
from deploy.local.postgres import EmbeddedPostgres
from orchestration import migrations
from orchestration.database import LockTimeout
from orchestration.migrations import ROLES, migrate, newest_version, version_of
from orchestration.migrations.contract import follow_contract, follows_newer_contract, missing_columns
from orchestration.migrations.objects import NAMES, replace_objects
from tests.conftest import Database

REPOSITORY = Path(__file__).parents[2]
VERSIONS = sorted(path.name[:4] for path in (REPOSITORY / "orchestration/migrations/versions").glob("0*.py"))
DEPARTMENTS, JOBS, HIRED_EMPLOYEES = TABLES
EMAIL = Column("email", description="Where the person's mail goes.", required=False)
SALARIES = Table(
    "salaries",
    (
        Column("id", LogicalType.INTEGER, primary_key=True),
        Column("amount", LogicalType.NUMBER, description="How much a month."),
    ),
    "What people earn.",
)
# The contract with a table and an optional column more.
LARGER = (DEPARTMENTS, JOBS, replace(HIRED_EMPLOYEES, columns=(*HIRED_EMPLOYEES.columns, EMAIL)), SALARIES)


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A database without migrations."""
    name = "empty"
    postgres.create_database(name)
    yield Database(postgres, name)
    with psycopg.connect(postgres.conninfo(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


def follow(database: Database, tables: Sequence[Table], version: str = "1.1.0") -> None:
    """Migrate a database as a project would whose contract has these tables."""
    with psycopg.connect(database.conninfo()) as connection:
        follow_contract(connection, tables, version)
        replace_objects(connection, tables)


def missing(database: Database, role: str | None = None) -> list[str]:
    """What a database lacks of the larger contract."""
    with database.connect(role) as connection:
        return missing_columns(connection, LARGER)


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


def test_two_concurrent_processes_migrate_once(empty_database: Database, database: Database) -> None:
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
def test_the_command_reports_a_failure_in_one_line(
    database: Database, variables: dict[str, str], complaint: str
) -> None:
    process = command(database, **variables)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1), err
    assert err.startswith("cannot migrate the database: ")
    assert complaint in err


EVERY_TABLE = [
    "raw.departments", "raw.jobs", "raw.hired_employees", "raw.loads", "raw.load_chunks", "raw.rejected_records",
    "raw.invalid_records", "raw.corrections", "raw.batch_answers", "raw.contract_columns", "raw.replaceable_objects",
]  # fmt: skip
RECORD_TABLES = EVERY_TABLE[:3]
LEDGER = EVERY_TABLE[:8]
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
    "update raw.invalid_records set reasons = '{}'",
    "update raw.corrections set note = ''",
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
        *(f"select 1 from {table}" for table in [*EVERY_TABLE, "raw.discrepancies"]),
        *(f"select 1 from staging.{name}" for name in ("watermarks", "progress")),
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
        "insert into raw.invalid_records values (1, 1, 1, '{}')",
        "insert into raw.corrections values (1, 1, 1, 1)",
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
    "hiring_reader": [
        *(f"select 1 from {table}" for table in [*EVERY_TABLE, "raw.discrepancies", "raw.batch_answers"]),
        *(f"insert into {table} (_load_id, _record) values (1, 1)" for table in RECORD_TABLES),
        "delete from marts.publications",
        "delete from staging.watermarks",
        "create table staging.more (id int)",
        "create table marts.more (id int)",
        STORE_BATCH,
    ],
    "hiring_transformer": [
        *(f"insert into {table} (_load_id, _record) values (1, 1)" for table in RECORD_TABLES),
        "insert into raw.loads (table_name, source) values ('jobs', 'api')",
        "insert into raw.load_chunks values (1, 0, 1, 1, 0, 0, 1)",
        "insert into raw.rejected_records values (1, 1, '', '', 0, '', 1, 0)",
        "insert into raw.invalid_records values (1, 1, 1, '{}')",
        "insert into raw.corrections values (1, 1, 1, 1)",
        "update raw.loads set status = 'complete'",
        STORE_BATCH,
        "select 1 from raw.batch_answers",
    ],
}  # fmt: skip


@pytest.mark.parametrize("role", FORBIDDEN)
def test_a_role_may_not_do_what_it_does_not_need(module_database: Database, role: str) -> None:
    allowed = []
    with module_database.connect(role) as connection:
        # What a role's sessions begin with, it can change.
        connection.read_only = False
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


def test_a_stored_batch_is_a_separate_load_whatever_the_arguments(database: Database) -> None:
    """No argument of the API can change another load's records, or count missing records."""
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


def test_no_search_path_misleads_the_function(database: Database) -> None:
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
    """A build that processes everything up to a number would otherwise skip later commits below it for ever."""
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
        # Later updates of its entry do not make it new.
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


def test_a_database_migrated_by_a_newer_version_is_not_changed(empty_database: Database) -> None:
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


def columns(database: Database, table: str) -> list[str]:
    """The columns of a table of raw, in their order."""
    return [
        name
        for (name,) in database.rows(
            "select attname::text from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped "
            "order by attnum",
            f"raw.{table}",
        )
    ]


def test_new_tables_and_columns_of_the_contract_are_added_and_nothing_else_changes(database: Database) -> None:
    database.execute(STORE_BATCH)
    assert missing(database) == [
        "raw.hired_employees.email", "raw.salaries.id", "raw.salaries.amount"
    ]  # fmt: skip

    follow(database, LARGER)

    assert missing(database, "hiring_loader") == []
    assert columns(database, "salaries") == ["_load_id", "_record", "id", "amount"]
    assert columns(database, "hired_employees")[-2:] == ["job_id", "email"]
    assert database.rows("select id, name, email from raw.hired_employees") == [("1", "Ada", None)]
    once = shape(database)
    follow(database, LARGER)
    assert shape(database) == once


def test_a_new_table_has_the_comments_index_and_rights_of_the_others(database: Database) -> None:
    """Without the index by load, each build would read all of it."""
    follow(database, LARGER)

    text = shape(database)
    for kind, thing in [("TABLE", "salaries"), ("COLUMN", "salaries._load_id"), ("COLUMN", "hired_employees.email")]:
        assert f"COMMENT ON {kind} raw.{thing} IS '" in text
    assert "COMMENT ON COLUMN raw.salaries.amount IS 'How much a month.';" in text
    for line in text.splitlines():
        if line.startswith(("GRANT", "CREATE INDEX")) and "raw.jobs" in line:
            assert line.replace("jobs", "salaries") in text
    with database.connect("hiring_transformer") as connection:
        connection.execute("select raw.summarize_new_records('salaries')")
    for role in ("hiring_api", "hiring_transformer"):
        with database.connect(role) as connection, pytest.raises(InsufficientPrivilege):
            connection.execute("insert into raw.salaries (_load_id, _record) values (1, 1)")


def test_discrepancies_are_found_in_tables_of_the_contract_that_came_later(database: Database) -> None:
    follow(database, LARGER)
    with database.connect("hiring_loader") as connection:
        connection.execute("insert into raw.salaries (_load_id, _record) values (7, 1)")
    assert ("is of no load of its table",) in database.rows("select complaint from raw.discrepancies")


def test_a_batch_may_lack_an_optional_column_and_columns_added_by_hand_keep_their_defaults(database: Database) -> None:
    """A session that stored batches before the migration stores them after it, too."""
    database.execute("alter table raw.hired_employees add column seen_on date not null default '2021-01-01'")
    with database.connect("hiring_api") as connection:
        connection.execute(STORE_BATCH)
        follow(database, LARGER)
        connection.execute(STORE_BATCH)
        batch = '[{"id": "2", "email": "a@b.c"}, {"id": "3", "email": null, "seen_on": "2022-02-02"}]'
        connection.execute("select raw.store_batch(%s, '[]', null, null, null, '{}')", [batch])
    assert database.rows("select id, email, seen_on::text from raw.hired_employees order by _load_id, _record") == [
        ("1", None, "2021-01-01"),
        ("1", None, "2021-01-01"),
        ("2", "a@b.c", "2021-01-01"),
        ("3", None, "2021-01-01"),
    ]


@pytest.mark.parametrize(
    ("tables", "complaint"),
    [
        (LARGER[:3], "lacks table salaries, whose records are in raw.salaries: declare it again"),
        ((*TABLES, SALARIES), "lacks column email of table hired_employees, whose values are in raw.hired_employees"),
        (
            (*LARGER[:3], replace(SALARIES, columns=(SALARIES.columns[0], Column("pay")))),
            "lacks column amount of table salaries, .* synonyms for other names in headers",
        ),
    ],
    ids=["table dropped", "column dropped", "column renamed"],
)
def test_a_contract_that_drops_or_renames_something_is_refused(
    database: Database, tables: Sequence[Table], complaint: str
) -> None:
    follow(database, LARGER)
    before = shape(database)

    with pytest.raises(ContractError, match=complaint):
        follow(database, tables)

    assert shape(database) == before


def test_a_manually_dropped_column_may_leave_the_contract_and_is_added_again_if_it_does_not(database: Database) -> None:
    follow(database, LARGER)
    database.execute("alter table raw.hired_employees drop column email")
    database.execute("drop table raw.salaries cascade")

    follow(database, TABLES)
    assert database.rows("select * from raw.discrepancies") == []
    assert "email" not in columns(database, "hired_employees")

    follow(database, LARGER)
    assert missing(database) == []


def test_a_manually_added_column_is_not_part_of_the_contract_until_it_is_declared(database: Database) -> None:
    database.execute("alter table raw.hired_employees add column email text, add column age integer")
    migrate(database.conninfo())

    with_age = replace(HIRED_EMPLOYEES, columns=(*HIRED_EMPLOYEES.columns, Column("age")))
    with pytest.raises(ContractError, match=r"raw\.hired_employees\.age is integer, not text: rename or drop that"):
        follow(database, [DEPARTMENTS, JOBS, with_age])
    follow(database, LARGER)

    assert columns(database, "hired_employees").count("email") == 1
    with pytest.raises(ContractError, match="lacks column email"):
        follow(database, TABLES)


@pytest.mark.parametrize("name", ["loads", "batch_answers", "discrepancies"])
def test_a_table_of_the_contract_does_not_become_one_of_the_ledgers(database: Database, name: str) -> None:
    with pytest.raises(ContractError, match=rf"declares table {name}, but raw\.{name} is another table"):
        follow(database, [*TABLES, replace(SALARIES, name=name)])


def test_a_database_that_follows_a_newer_contract_is_not_changed(database: Database) -> None:
    """A roll-back runs the older version's migrations first: refused, the older version could not start."""
    follow(database, LARGER, "1.10.0")
    with database.connect() as connection:
        assert [follows_newer_contract(connection, version) for version in ("1.9", "1.10.0", "2.0.0")] == [
            True, False, False
        ]  # fmt: skip
    newer = shape(database)
    migrate(database.conninfo())
    assert shape(database) == newer


def test_a_migration_that_needs_what_others_have_locked_ends_soon_and_names_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A psql that was left in a transaction would stop an upgrade without a word, and every reader behind it."""
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_SECONDS", 0.1)
    database.execute("update raw.replaceable_objects set digest = '' where name = 'discrepancies'")
    with database.connect("hiring_transformer") as reader, reader.transaction():
        reader.execute("set application_name = 'DBeaver'")
        reader.execute("select from raw.discrepancies")
        with pytest.raises(LockTimeout, match=r"session \d+ \(DBeaver\) has locked .*raw\.discrepancies.* since 20"):
            migrate(database.conninfo())
    migrate(database.conninfo())
    assert database.rows("select count(*) from raw.replaceable_objects where digest = ''") == [(0,)]


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_every_earlier_version_is_migrated_to_the_same(
    empty_database: Database, database: Database, version: str
) -> None:
    migrate(empty_database.conninfo(), revision=version)
    migrate(empty_database.conninfo())
    assert shape(empty_database) == shape(database)


def test_a_filled_database_keeps_all_of_its_rows_and_adds_up(empty_database: Database) -> None:
    migrate(empty_database.conninfo(), revision="0007")
    empty_database.execute("""
        insert into raw.loads
            (table_name, source, bucket, key, version, bytes, status, records, loaded, rejected, completed_at)
        values ('jobs', 'object', 'landing', 'jobs.csv', '1', 20, 'complete', 2, 1, 1, now())
    """)
    empty_database.execute("insert into raw.jobs values (1, 1, '1', 'Clerk')")
    empty_database.execute(
        "insert into raw.rejected_records values (1, 2, 'too_few_fields', 'has 1 field', 8, 'broken', 2, 6)"
    )
    empty_database.execute("insert into raw.load_chunks values (1, 0, 1, 2, 1, 0, 20, now(), 1, 2)")
    empty_database.execute(STORE_BATCH)
    before = {table: empty_database.rows(f"select * from {table}") for table in [*LEDGER[:6], "raw.batch_answers"]}

    migrate(empty_database.conninfo())

    for table, rows in before.items():
        # An added column is after the others.
        after = empty_database.rows(f"select * from {table}")
        assert [row[: len(old)] for row, old in zip(after, rows, strict=True)] == rows
    assert empty_database.rows("select * from raw.discrepancies") == []
    with empty_database.connect("hiring_api") as connection:
        assert connection.execute(STORE_BATCH).fetchone() == ("stored", 3, {})
    assert empty_database.rows("select completion from raw.loads order by load_id") == [(1,), (2,), (3,)]
    assert empty_database.rows("select * from raw.discrepancies") == []


def test_no_index_of_ours_depends_on_the_order_of_a_locale(database: Database) -> None:
    """With another C library such an index accepts a key twice: an object would be loaded again."""
    ordered_otherwise = database.rows("""
        select indrelid::regclass::text, attname
        from pg_index inner join pg_class as relation on relation.oid = indrelid
        cross join unnest(indcollation) with ordinality as ordered (collation_id, position)
        inner join pg_attribute on attrelid = indexrelid and attnum = position
        inner join pg_collation on pg_collation.oid = collation_id
        where relation.relnamespace in ('raw'::regnamespace, 'staging'::regnamespace, 'marts'::regnamespace)
            and collname <> 'C'
    """)
    assert ordered_otherwise == []


def test_migrating_collations_writes_no_table_again_and_keeps_the_ledger_unique(empty_database: Database) -> None:
    """A table of millions of loads would be locked for minutes."""
    migrate(empty_database.conninfo(), revision="0011")
    empty_database.execute("""
        insert into raw.loads (table_name, source, bucket, key, version, bytes)
        select 'jobs', 'object', 'landing', 'jobs/' || number || '.csv', 'v', 1 from generate_series(1, 1000) as number
    """)
    tables = "('loads', 'watermarks', 'publications')"
    files = f"select relname, relfilenode from pg_class where relname in {tables} order by relname"
    before = empty_database.rows(files)

    migrate(empty_database.conninfo())

    assert empty_database.rows(files) == before
    assert empty_database.rows("select count(*) from raw.loads where bucket = 'landing' and key = 'jobs/7.csv'") == [
        (1,)
    ]
    with pytest.raises(UniqueViolation):
        empty_database.execute("""
            insert into raw.loads (table_name, source, bucket, key, version, bytes)
            values ('jobs', 'object', 'landing', 'jobs/7.csv', 'v', 1)
        """)


def test_a_view_that_blocks_a_migration_is_named_and_nothing_is_changed(empty_database: Database) -> None:
    migrate(empty_database.conninfo(), revision="0011")
    empty_database.execute("create view public.ours as select key from raw.loads")
    failed = command(empty_database)
    _, err = failed.communicate(timeout=60)
    assert failed.returncode == 1
    assert "view ours depends on column" in err
    assert "drop them, migrate, and create them again" in err
    assert empty_database.rows("select version_num from alembic_version") == [("0011",)]


# What the version before writes about a load, in its order: it knows no invalid records.
BEGUN_BY_THE_VERSION_BEFORE = """
    insert into raw.loads (table_name, source, bucket, key, version, bytes, last_modified, reload)
    values ('jobs', 'object', 'landing', %s, '1', 20, now(), 0)
    returning load_id
"""
WRITTEN_BY_THE_VERSION_BEFORE = (
    "insert into raw.jobs (_load_id, _record, id, job) values (%(load)s, 1, '1', 'Clerk'), (%(load)s, 2, '0', '')",
    """
    insert into raw.load_chunks (load_id, chunk, first_record, first_line, byte_from, records, rejected, lines, byte_to)
    values (%(load)s, 0, 1, 1, 0, 3, 1, 3, 20)
    """,
    """
    insert into raw.rejected_records (load_id, record, line, byte_from, reason, message, raw, raw_bytes)
    values (%(load)s, 3, 3, 18, 'too_few_fields', 'has 1 field', 'x', 1)
    """,
    """
    update raw.loads
    set
        status = %(status)s, error = null, records = total.records, loaded = total.records - total.rejected,
        rejected = total.rejected, completed_at = case %(status)s when 'complete' then clock_timestamp() end
    from (
        select coalesce(sum(records), 0) as records, coalesce(sum(rejected), 0) as rejected
        from raw.load_chunks
        where load_id = %(load)s
    ) as total
    where loads.load_id = %(load)s
    """,
)
COUNTS = "select records, loaded, malformed, invalid, rejected from raw.loads order by load_id"


def load_as_the_version_before(database: Database, key: str, status: str = "complete") -> None:
    with database.connect("hiring_loader") as connection:
        ((load_id,),) = connection.execute(BEGUN_BY_THE_VERSION_BEFORE, [key])
        for statement in WRITTEN_BY_THE_VERSION_BEFORE:
            connection.execute(statement.encode(), {"load": load_id, "status": status})


def test_migrating_counts_the_malformed_records_of_earlier_loads_and_what_the_models_found_invalid(
    empty_database: Database,
) -> None:
    migrate(empty_database.conninfo(), {"hiring_loader": "hiring_loader"}, revision="0011")
    for key in ("jobs_a.csv", "jobs_b.csv", "jobs_c.csv"):
        load_as_the_version_before(empty_database, key)
    load_as_the_version_before(empty_database, "jobs_bad.csv", "failed")
    # The third is not built yet.
    empty_database.execute("create table staging.loads as select load_id from raw.loads where load_id in (1, 2)")
    empty_database.execute("""
        create view staging.checked_records as
        select * from (values (1, 1, 'accepted'), (1, 2, 'rejected'), (2, 1, 'accepted'), (2, 2, 'superseded'))
            as checked (_load_id, _record, disposition)
    """)

    migrate(empty_database.conninfo())

    assert empty_database.rows(COUNTS) == [(3, 2, 1, 1, 2), (3, 2, 1, 0, 1), (3, 2, 1, None, 1), (3, 2, 1, None, 1)]
    assert empty_database.rows("select * from raw.discrepancies") == []


def test_migrating_before_the_first_build_counts_malformed_records(empty_database: Database) -> None:
    migrate(empty_database.conninfo(), {"hiring_loader": "hiring_loader"}, revision="0011")
    load_as_the_version_before(empty_database, "jobs.csv")
    migrate(empty_database.conninfo())
    assert empty_database.rows(COUNTS) == [(3, 2, 1, None, 1)]


def test_the_version_before_still_loads_into_a_migrated_database(database: Database) -> None:
    """A roll-back starts it, and so does each deployment until its last process is replaced."""
    load_as_the_version_before(database, "jobs.csv")
    load_as_the_version_before(database, "jobs_bad.csv", "failed")
    assert database.rows(COUNTS) == [(3, 2, None, None, 1), (3, 2, None, None, 1)]
    assert database.rows("select * from raw.discrepancies") == []


@pytest.mark.parametrize(
    "claim",
    [
        "records = 3, loaded = 2, malformed = 0, invalid = 1, rejected = 1",
        "records = 3, loaded = 3, malformed = 0, invalid = 1, rejected = 0",
        "records = 3, loaded = 2, malformed = 1, invalid = 1, rejected = 1",
        "records = 3, loaded = 1, malformed = 1, invalid = 1, rejected = 2",
    ],
)
def test_a_load_whose_rejected_records_do_not_add_up_is_refused(database: Database, claim: str) -> None:
    """Invalid records are rows, malformed ones are not."""
    load_as_the_version_before(database, "jobs.csv")
    with database.connect("hiring_loader") as connection, pytest.raises(CheckViolation):
        connection.execute(f"update raw.loads set {claim}".encode())


def test_a_function_or_view_is_replaced_when_its_text_has_changed_or_when_it_is_gone(database: Database) -> None:
    """Replacing a view waits for its readers: an unchanged one is not replaced."""
    versions = "select oid::regproc::text, xmin::text from pg_proc where pronamespace = 'raw'::regnamespace"
    before = dict(database.rows(versions))
    current = shape(database)
    database.execute("drop view raw.discrepancies")
    database.execute(
        "create or replace function raw.summarize_new_records(table_name text) returns integer language sql return 0"
    )
    database.execute("update raw.replaceable_objects set digest = 'older' where name = 'summarize_new_records'")

    migrate(database.conninfo())

    assert shape(database) == current
    assert {name for name, version in database.rows(versions) if version != before[name]} == {
        "raw.summarize_new_records"
    }


def test_every_file_of_an_object_is_applied(database: Database) -> None:
    files = {path.stem for path in (REPOSITORY / "orchestration/migrations/objects").glob("*.sql")}
    assert files == set(NAMES) == {name for (name,) in database.rows("select name from raw.replaceable_objects")}
