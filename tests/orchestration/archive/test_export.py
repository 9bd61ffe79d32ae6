"""An export has all of raw at one point in time, or does not exist."""

import hashlib
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestration.archive import exporting
from orchestration.archive.exporting import TableStatistics
from orchestration.archive.store import ArchiveRefused
from orchestration.ingest.objects import BucketRefused
from tests.conftest import environment
from tests.orchestration.archive.conftest import Warehouse

PROJECT = Path(__file__).parents[3]


def test_it_has_every_row_of_every_table_and_a_manifest_that_describes_them(filled: Warehouse) -> None:
    manifest = filled.export()

    assert set(manifest.tables) == set(filled.content())
    for table, rows in filled.content().items():
        (file,) = manifest.tables[table]
        content = filled.get(manifest.export, file.name)
        assert (file.rows, file.bytes, file.sha256) == (len(rows), len(content), hashlib.sha256(content).hexdigest())
        found = pq.read_table(io.BytesIO(content))
        assert sorted(found.column(1).to_pylist()) == sorted(row[1] for row in rows)
    assert manifest.highest_load_id == 5
    assert manifest.revision == filled.database.rows("select version_num from alembic_version")[0][0]
    assert manifest == filled.store.manifest("latest")


def test_what_comes_in_meanwhile_is_not_in_it(filled: Warehouse) -> None:
    """Half a load would be: its records of a table that is read later."""
    before = filled.content()
    ((highest,),) = filled.database.rows("select max(load_id) from raw.loads")

    def tell(figures: TableStatistics) -> None:
        if figures.table == "departments":
            filled.load("jobs_meanwhile.csv", b"9,Judge\n")
            filled.post()

    manifest = filled.export(tell)

    assert {table: sum(file.rows for file in files) for table, files in manifest.tables.items()} == {
        table: len(rows) for table, rows in before.items()
    }
    assert manifest.highest_load_id == highest
    assert filled.content() != before


def test_a_load_that_is_under_way_is_left_out(filled: Warehouse) -> None:
    before = filled.export()
    filled.database.execute("insert into raw.loads (table_name, source) values ('jobs', 'api')")
    filled.database.execute("insert into raw.jobs values (6, 1, '1', 'Clerk')")

    manifest = filled.export()

    assert manifest.unfinished == [6]
    assert manifest.highest_load_id == 5
    assert [file.rows for file in manifest.tables["jobs"]] == [file.rows for file in before.tables["jobs"]]
    assert [file.rows for file in manifest.tables["loads"]] == [5]
    filled.database.execute("delete from raw.jobs where _load_id = 6")


def test_a_large_table_is_exported_to_many_small_files(filled: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "FILE_BYTES", 1)
    monkeypatch.setattr("orchestration.archive.rows.BLOCK_BYTES", 1)

    manifest = filled.export()

    assert [file.name for file in manifest.tables["departments"]] == [
        f"departments/0000{number}.parquet" for number in (1, 2, 3)
    ]
    before = filled.content()
    filled.empty()
    filled.restore()
    assert filled.content() == before


def test_an_empty_database_can_be_exported(warehouse: Warehouse) -> None:
    manifest = warehouse.export()

    assert manifest.highest_load_id is None
    assert {file.rows for files in manifest.tables.values() for file in files} == {0}
    assert warehouse.restore().loads == 0


def test_a_bucket_that_is_not_there_is_named_with_its_setting(warehouse: Warehouse) -> None:
    warehouse.bucket = replace(warehouse.bucket, name="nowhere")

    with pytest.raises(BucketRefused, match=r"bucket 'nowhere' does not exist: .*S3_ARCHIVE_BUCKET$"):
        warehouse.export()


# As the second file is stored, the process is gone.
KILLED = """
import os, signal
from orchestration.archive import __main__
from orchestration.archive.store import Store

put, done = Store.put, []

def put_once(*arguments):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(put(*arguments))
    return done[-1]

Store.put = put_once
__main__.export()
"""


def test_one_that_was_killed_does_not_exist_and_the_next_one_does(filled: Warehouse) -> None:
    first = filled.export().export
    with environment(filled.variables):
        killed = subprocess.run([sys.executable, "-c", KILLED], cwd=PROJECT, check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr

    broken = [export for export in filled.store.exports() if export != first]
    assert len(broken) == 1
    assert filled.store.manifest("latest").export == first
    with pytest.raises(
        ArchiveRefused, match=f"there is no complete export {broken[0]} in .* or not: {broken[0]}, {first}$"
    ):
        filled.store.manifest(broken[0])
    next_one = filled.export().export
    assert filled.store.manifest("latest").export == next_one


def test_without_any_export_the_message_names_the_job(warehouse: Warehouse) -> None:
    with pytest.raises(
        ArchiveRefused, match=r"there is no complete export in s3://.*/raw/; the newest ones, complete or not: none"
    ):
        warehouse.restore()
