"""A restore brings back each load of an export completely or not at all, and does not change other loads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg.errors import InsufficientPrivilege, LockNotAvailable

from deploy.local.settings import Settings
from orchestration.archive.restoring import restore_raw
from orchestration.archive.store import ArchiveRefused
from orchestration.database import LockTimeout, connect
from orchestration.ingest.limits import RejectLimit
from orchestration.ingest.loader import Policy, load_object
from orchestration.ingest.objects import current_version
from orchestration.ingest.session import TableSession, acquire_table_lock
from orchestration.warehouse.build_lock import acquire_build_lock
from orchestration.warehouse.published import unpublished_loads
from tests.conftest import Database, environment
from tests.orchestration.archive.conftest import HIRED_EMPLOYEES, JOBS, Warehouse, bucket_of

PROJECT = Path(__file__).parents[3]
MARTS = ["departments_above_mean", "hires_by_quarter"]


def test_an_empty_database_is_fully_restored_and_new_loads_continue_after_it(filled: Warehouse) -> None:
    """The disaster: no backup of the database is left, only exports."""
    before = filled.content()
    filled.export()
    filled.empty()

    restored = filled.restore()

    assert restored.loads == 5
    assert filled.content() == before
    filled.load("jobs_later.csv", b"2,Judge\n")
    assert filled.database.rows("select load_id, completion from raw.loads where key = 'jobs_later.csv'") == [(6, 5)]


def test_lost_or_changed_records_are_restored_and_later_loads_are_kept(filled: Warehouse) -> None:
    before = filled.content()
    filled.export()
    filled.load("departments_later.csv", b"7,Archives\n")
    filled.post()
    later = filled.content("{} > 5")
    filled.database.execute("delete from raw.departments where _load_id = 1")
    filled.database.execute("update raw.hired_employees set name = 'Eve' where _load_id = 4")
    filled.database.execute("insert into raw.hired_employees values (4, 1, '9')")
    filled.database.execute("delete from raw.rejected_records where load_id = 5")
    filled.database.execute("delete from raw.invalid_records where load_id = 4")
    filled.database.execute("update raw.corrections set corrected_record = 3 where load_id = 4")
    filled.database.execute("delete from raw.corrections where load_id is null")
    filled.database.execute("update raw.loads set records = null, status = 'failed' where load_id = 2")

    filled.restore()

    assert filled.content("{} <= 5") == before
    assert filled.content("{} > 5") == later


def test_a_later_load_keeps_its_corrections_of_a_restored_load(filled: Warehouse) -> None:
    """Otherwise somebody would have to correct it again."""
    filled.export()
    filled.load("jobs_corrected.csv", b"_load_id,_record,id,job\n3,2,2,Judge\n")
    before = filled.content()

    filled.restore()

    assert filled.content() == before
    assert [row[:4] for row in before["corrections"] if row[2] == 6] == [(3, 2, 6, 1)]


def test_one_table_comes_back_with_its_part_of_the_ledger_and_the_others_stay(filled: Warehouse) -> None:
    before = filled.content()
    filled.export()
    lost = ("jobs", "departments", "load_chunks", "rejected_records", "invalid_records", "corrections")
    filled.database.execute(f"truncate {', '.join(f'raw.{table}' for table in lost)}")

    restored = filled.restore(tables=[JOBS])

    assert restored.loads == 2
    now = filled.content()
    assert now["jobs"] == before["jobs"]
    assert now["departments"] == []
    assert {row[0] for row in now["load_chunks"]} == {2, 3}
    assert {row[0] for row in now["rejected_records"]} == {3}
    assert now["invalid_records"] == []
    assert [(row[0], row[4]) for row in now["corrections"]] == [(3, "nobody has this job")]
    filled.restore()


def test_a_failed_load_that_was_retried_since_is_not_changed(filled: Warehouse) -> None:
    """Taking it back to failed would take its records out of the metrics."""
    filled.export()
    client, bucket = filled.landing.client, filled.landing.name
    with TableSession(filled.database.conninfo("hiring_loader"), JOBS, 0) as session:
        item = current_version(client, bucket, "jobs_bad.csv")
        load_object(session, client, item, Policy(RejectLimit(1.0), give_up_seconds=0))
    now = filled.content()
    assert ("complete",) in filled.database.rows("select status from raw.loads where load_id = 3")

    restored = filled.restore()

    assert restored.retried == [3]
    assert filled.content() == now


def test_marts_count_as_not_built_until_the_next_build_which_is_a_full_one(filled: Warehouse) -> None:
    filled.export()
    for model in MARTS:
        filled.database.execute(
            "insert into staging.watermarks values (%s, 'loads', 4), (%s, 'builds', 7)", model, model
        )
    filled.database.execute("insert into staging.watermarks values ('project', 'digest', 1)")
    with filled.database.connect("hiring_transformer") as connection:
        assert unpublished_loads(connection, MARTS) == []

        filled.restore()

        assert len(unpublished_loads(connection, MARTS)) == 4
    # Numbers of builds only grow: a model that starts over would be dropped under its readers.
    assert sorted(filled.database.rows("select * from staging.watermarks")) == [(each, "builds", 7) for each in MARTS]


@pytest.mark.parametrize("table", ["jobs", "rejected_records", "invalid_records", "corrections", "loads"])
def test_a_flipped_bit_is_found_before_anything_is_written(filled: Warehouse, table: str) -> None:
    manifest = filled.export()
    filled.database.execute("update raw.departments set department = 'changed'")
    before = filled.content()
    (file,) = manifest.tables[table]
    content = bytearray(filled.get(manifest.export, file.name))
    content[len(content) // 2] ^= 1
    filled.put(manifest.export, file.name, bytes(content))

    with pytest.raises(ArchiveRefused, match=rf"/{manifest.export}/{file.name} is damaged: .*nothing was changed"):
        filled.restore()

    assert filled.content() == before
    assert filled.told == [f"Verifying the files of {filled.store.address(manifest.export)}"]


def test_a_missing_file_is_found_before_anything_is_written(filled: Warehouse) -> None:
    manifest = filled.export()
    filled.database.execute("update raw.departments set department = 'changed'")
    before = filled.content()
    filled.bucket.client.delete_object(
        Bucket=filled.bucket.name, Key=f"raw/{manifest.export}/hired_employees/00001.parquet"
    )

    with pytest.raises(ArchiveRefused, match=r"hired_employees/00001\.parquet is missing: nothing was changed"):
        filled.restore()

    assert filled.content() == before


def test_a_damaged_manifest_is_named(filled: Warehouse) -> None:
    export = filled.export().export
    text = filled.get(export, "manifest.json")
    for damaged, complaint in (
        (text[:-20], "JSON: Invalid JSON"),
        (text.replace(b'"rows": 1', b'"rows": "x"'), "tables.jobs.0.rows: Input should be a valid integer"),
        (text.replace(b'"format": 1', b'"format": 2'), "format: Input should be 1"),
    ):
        filled.put(export, "manifest.json", damaged)
        with pytest.raises(ArchiveRefused, match=f"{export}/manifest.json cannot be read: {complaint}"):
            filled.restore()


def test_an_export_of_a_later_schema_requires_the_migrations_first(filled: Warehouse) -> None:
    export = filled.export()
    text = filled.get(export.export, "manifest.json")
    filled.put(export.export, "manifest.json", text.replace(export.revision.encode(), b"9999"))

    with pytest.raises(ArchiveRefused, match=r"has schema 9999, the database .*orchestration\.migrations"):
        filled.restore()


def test_a_column_that_was_added_since_is_null_in_what_comes_back(database: Database, s3: Settings) -> None:
    warehouse = Warehouse(database, bucket_of(s3), bucket_of(s3))
    warehouse.load("jobs.csv", b"1,Clerk\n")
    warehouse.post()
    warehouse.export()
    database.execute("alter table raw.jobs add column level text")
    database.execute("alter table raw.hired_employees add column email text")
    database.execute("update raw.jobs set level = 'Senior'")
    warehouse.empty()

    warehouse.restore()

    assert database.rows("select * from raw.jobs") == [(1, 1, "1", "Clerk", None)]
    assert database.rows("select id, email from raw.hired_employees") == [("1", None)]
    assert database.rows("select * from raw.discrepancies") == []


def test_an_export_with_a_column_that_the_database_lacks_requires_the_migrations_first(
    database: Database, s3: Settings
) -> None:
    warehouse = Warehouse(database, bucket_of(s3), bucket_of(s3))
    database.execute("alter table raw.jobs add column level text")
    warehouse.load("jobs.csv", b"1,Clerk\n")
    warehouse.export()
    database.execute("alter table raw.jobs drop column level")

    with pytest.raises(
        ArchiveRefused, match=r"/00001\.parquet has level, which raw\.jobs does not have: run the migrations"
    ):
        warehouse.restore()


def without(warehouse: Warehouse, *tables: str, revision: str | None = None) -> None:
    """Make an export, and take tables out of its manifest: as if they had not been there, as at a revision."""
    made = warehouse.export()
    manifest = json.loads(warehouse.get(made.export, "manifest.json"))
    for table in tables:
        del manifest["tables"][table]
    manifest["revision"] = revision or made.revision
    warehouse.put(made.export, "manifest.json", json.dumps(manifest).encode())


def test_an_export_made_before_the_contract_had_a_table_restores_the_others(warehouse: Warehouse) -> None:
    warehouse.load("departments.csv", b"1,Legal\n")
    before = warehouse.content()
    without(warehouse, "jobs")
    warehouse.load("jobs.csv", b"1,Clerk\n")
    warehouse.database.execute("delete from raw.departments")

    warehouse.restore()

    now = warehouse.content()
    assert now["departments"] == before["departments"]
    assert len(now["jobs"]) == 1
    with pytest.raises(ArchiveRefused, match="does not contain jobs: use another export"):
        warehouse.restore(tables=[JOBS])


def test_an_export_made_before_invalid_records_were_kept_restores_what_there_was(filled: Warehouse) -> None:
    """And nothing stays of the loads that it puts back which their ledger does not have."""
    without(filled, "invalid_records", "corrections", revision="0011")
    filled.load("departments_later.csv", b"7,Archives\n8,\n")
    before = filled.content()
    filled.database.execute("delete from raw.departments where _load_id = 1")
    # What that revision knew of these loads, and how an export of it has them.
    filled.database.execute("update raw.loads set malformed = null, invalid = null, rejected = malformed")

    filled.restore()

    now = filled.content()
    assert now["departments"] == before["departments"]
    assert now["rejected_records"] == before["rejected_records"]
    assert now["corrections"] == []
    assert {row[0] for row in now["invalid_records"]} == {6}
    filled.empty()


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("invalid_records", "does not contain invalid_records: use another export"),
        ("corrections", "does not contain corrections: use another export"),
        ("jobs", "has loads of jobs but not their records: use another export"),
        ("load_chunks", "does not contain load_chunks: use another export"),
        ("loads", "does not contain loads: use another export"),
    ],
)
def test_an_export_that_lacks_records_of_its_ledger_is_refused(filled: Warehouse, table: str, complaint: str) -> None:
    without(filled, table)
    before = filled.content()

    with pytest.raises(ArchiveRefused, match=complaint):
        filled.restore()

    assert filled.content() == before


def test_a_database_that_has_loaded_something_else_under_the_same_numbers_is_refused(filled: Warehouse) -> None:
    """As a new one has whose sensors were faster than the restore."""
    filled.export()
    filled.empty()
    filled.post()
    before = filled.content()

    with pytest.raises(
        ArchiveRefused,
        match=r"load 1 of the export \(departments, departments.csv\) differs from load 1 of the database "
        r"\(hired_employees, a batch over HTTP\)",
    ):
        filled.restore()

    assert filled.content() == before


def test_a_deleted_load_that_was_loaded_again_is_not_restored_as_a_duplicate(filled: Warehouse) -> None:
    filled.export()
    for table, column in [("jobs", "_load_id"), ("load_chunks", "load_id"), ("loads", "load_id")]:
        filled.database.execute(f"delete from raw.{table} where {column} = 2")
    filled.load("any.csv", b"")
    before = filled.content()

    with pytest.raises(
        ArchiveRefused, match=r"load 2 of the export was removed, .* as load 6 \(jobs, jobs.csv\).*remove load 6"
    ):
        filled.restore()

    assert filled.content() == before


def test_it_waits_for_loads_and_builds(filled: Warehouse) -> None:
    filled.export()
    with filled.restorer() as connection, connect(filled.database.conninfo("hiring_loader")) as loader:
        acquire_table_lock(loader, HIRED_EMPLOYEES, wait_seconds=0)

        with pytest.raises(LockTimeout, match=r"raw\.hired_employees .* pid \d+, hiring_loader"):
            restore_raw(connection, filled.store, lock_wait_seconds=0.1)
        connection.execute("set lock_timeout = '100ms'")

        for each in (connection, loader):
            each.execute("select pg_advisory_unlock_all()")
        acquire_build_lock(loader, filled.told.append)
        with pytest.raises(LockNotAvailable):
            restore_raw(connection, filled.store, on_progress=filled.told.append)
        assert filled.told[-1] == (
            "Another run is building the models; waiting for that to end: "
            f"session {loader.info.backend_pid} (hiring_loader, hiring_loader) has locked the models."
        )


# As the last table is written, the process is gone.
KILLED = """
import os, signal
from orchestration.archive import __main__, restoring

write = restoring.write

def write_until_the_last(connection, relation, *arguments):
    write(connection, relation, *arguments)
    if "corrections" in str(relation):
        os.kill(os.getpid(), signal.SIGKILL)

restoring.write = write_until_the_last
__main__.restore()
"""


def test_one_that_was_killed_changed_nothing_and_the_next_one_finishes(filled: Warehouse) -> None:
    original = filled.content()
    filled.export()
    filled.database.execute("update raw.departments set department = 'changed'")
    before = filled.content()
    with environment(filled.variables):
        killed = subprocess.run([sys.executable, "-c", KILLED], cwd=PROJECT, check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    assert filled.content() == before

    filled.restore()

    assert filled.content() == original


ALLOWED = [
    "delete from raw.jobs where _load_id = 1",
    "delete from raw.load_chunks",
    "delete from raw.rejected_records",
    "delete from raw.invalid_records",
    "delete from raw.corrections",
    "insert into raw.jobs values (1, 1, '1', 'Clerk')",
    "update raw.loads set status = 'failed'",
    "select raw.continue_numbers_after(0, 0)",
    "create temporary table mine (id int)",
]
FORBIDDEN = [
    "delete from raw.loads",
    "truncate raw.jobs",
    "update raw.jobs set job = ''",
    "drop table raw.jobs",
    "select * from raw.batch_answers",
    "select setval('raw.completions', 1)",
    "select setval('raw.loads_load_id_seq', 1)",
    "alter table raw.loads disable trigger all",
    "insert into staging.watermarks values ('m', 'i', 1)",
    "update staging.watermarks set watermark = 0",
    "select * from marts.publications",
    "create table raw.more (id int)",
    "create table public.more (id int)",
    "create table marts.more (id int)",
    "create role more",
    "set role postgres",
]


def test_the_role_may_do_only_its_work(warehouse: Warehouse) -> None:
    with warehouse.restorer() as connection:
        for statement in ALLOWED:
            with connection.transaction(force_rollback=True):
                connection.execute(statement)
        for statement in FORBIDDEN:
            with pytest.raises(InsufficientPrivilege), connection.transaction(force_rollback=True):
                connection.execute(statement)
    for other in ("hiring_loader", "hiring_transformer", "hiring_api"):
        with warehouse.database.connect(other) as connection, pytest.raises(InsufficientPrivilege):
            connection.execute("select raw.continue_numbers_after(0, 0)")


def test_numbers_only_go_forwards(filled: Warehouse) -> None:
    """One that is given out twice would mix two loads up."""
    with filled.restorer() as connection:
        connection.execute("select raw.continue_numbers_after(3, 2)")
    filled.load("jobs_later.csv", b"2,Judge\n")
    assert filled.database.rows("select max(load_id), max(completion) from raw.loads") == [(6, 5)]
