"""A copy of the project whose contract has another table and another optional column, without any other edit."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from deploy.local.postgres import EmbeddedPostgres
from deploy.local.settings import Settings
from orchestration.archive.manifest import LOAD_COLUMNS
from tests.conftest import Bucket, Database
from tests.orchestration.archive.conftest import bucket_of, s3  # noqa: F401 - a fixture

REPOSITORY = Path(__file__).parents[2]
IDENTIFIER = {"minimum": 1, "maximum": 2_147_483_647}
EMAIL = {"name": "email", "logicalType": "string", "required": False, "description": "Address of the person."}
SALARIES = {
    "name": "salaries",
    "logicalType": "object",
    "physicalType": "table",
    "description": "What people earn.",
    "properties": [
        {
            "name": "id", "logicalType": "integer", "description": "Number of the salary.", "required": True,
            "primaryKey": True, "primaryKeyPosition": 1, "logicalTypeOptions": IDENTIFIER,
        },
        {
            "name": "employee_id", "logicalType": "integer", "description": "Number of the hire.", "required": True,
            "logicalTypeOptions": IDENTIFIER,
            "relationships": [{"type": "foreignKey", "to": "hired_employees.id"}],
        },
        {"name": "amount", "logicalType": "number", "description": "How much a month.", "required": True},
    ],
}  # fmt: skip
HIRES = """
select * from raw.store_batch(
    '[{"id": 1, "name": "Ada", "datetime": "2021-01-01", "department_id": 1, "job_id": 1},
      {"id": 2, "name": "Bo", "datetime": "2021-01-01", "department_id": 1, "job_id": 1, "email": "bo@example.com"}]',
    '[]', null, null, null, '{}'
)
"""
BUILD = """
import sys
from dbt.cli.main import dbtRunner
from orchestration.dbt.project import BUILD, PROJECT, parse_if_changed

parse_if_changed()
folder = str(PROJECT.project_dir)
sys.exit(not dbtRunner().invoke([*BUILD, "--project-dir", folder, "--profiles-dir", folder]).success)
"""


@dataclass(frozen=True)
class Copy:
    """A copy of the project in front of an empty database and empty buckets, for landing and for exports."""

    folder: Path
    database: Database
    landing: Bucket
    archive: Bucket

    def run(self, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run Python in the copy, as `python -m` does there."""
        folder = folder or self.folder
        credentials = self.landing.client._request_signer._credentials  # type: ignore[attr-defined]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "HIRING_"))}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=inherited
            | self.database.environment
            | {"PGUSER": "postgres", "PGPASSWORD": self.database.postgres.password, "PYTHONPATH": str(folder)}
            | {"S3_ENDPOINT_URL": self.landing.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
            | {"AWS_ACCESS_KEY_ID": credentials.access_key, "AWS_SECRET_ACCESS_KEY": credentials.secret_key}
            | {"S3_BUCKET": self.landing.name, "S3_ARCHIVE_BUCKET": self.archive.name},
            check=False,
            capture_output=True,
            text=True,
        )

    def deliver(self, key: str, *lines: str) -> None:
        """Put an object into the bucket that is loaded from."""
        content = "".join(f"{line}\r\n" for line in lines)
        self.landing.client.put_object(Bucket=self.landing.name, Key=key, Body=content.encode())

    def do(self, *arguments: str) -> str:
        """Run Python in the copy, which has to succeed; return its output."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def content(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table that is exported."""
        return {
            table: self.database.rows(f"select * from raw.{table} order by 1, 2")
            for table in (*LOAD_COLUMNS, "salaries")
        }

    def is_put_back_by_a_restore(self) -> bool:
        """Export, empty raw, restore, and compare."""
        before = self.content()
        self.do("-m", "orchestration.archive", "export")
        self.database.execute(f"truncate {', '.join(f'raw.{table}' for table in before)} restart identity")
        self.do("-m", "orchestration.archive", "restore")
        return self.content() == before


def declare_more(contract: Path) -> None:
    """Add the column and the table to a contract."""
    declared = yaml.safe_load(contract.read_text())
    (hires,) = (table for table in declared["schema"] if table["name"] == "hired_employees")
    hires["properties"].append(EMAIL)
    declared["schema"].append(SALARIES)
    contract.write_text(yaml.safe_dump(declared, sort_keys=False))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's packages, with more in its contract."""
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "target", "logs", ".terraform*")
    for package in ("contracts", "orchestration", "api", "dbt_project", "deploy"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=ignored)
    declare_more(folder / "contracts" / "hiring.odcs.yaml")
    return folder


@pytest.fixture
def copy(folder: Path, postgres: EmbeddedPostgres, s3: Settings) -> Iterator[Copy]:  # noqa: F811
    """The copy, whose migrations have migrated an empty database."""
    name = "copied"
    postgres.create_database(name)
    copy = Copy(folder, Database(postgres, name), bucket_of(s3), bucket_of(s3))
    copy.do("-m", "orchestration.migrations")
    yield copy
    with psycopg.connect(postgres.conninfo(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


def test_the_contract_of_the_copy_is_valid(copy: Copy) -> None:
    copy.do("-m", "contracts")


def test_what_the_contract_has_more_is_stored_exported_and_restored(copy: Copy) -> None:
    with copy.database.connect("hiring_api") as connection:
        connection.execute(HIRES)
    with copy.database.connect("hiring_loader") as connection:
        connection.execute("""
            insert into raw.loads
                (table_name, source, bucket, key, version, bytes, status, records, loaded, rejected, completed_at)
            values ('salaries', 'object', 'landing', 'salaries.csv', '1', 20, 'complete', 1, 1, 0, now())
        """)
        connection.execute("insert into raw.load_chunks values (2, 0, 1, 1, 0, 0, 20)")
        connection.execute("insert into raw.salaries values (2, 1, '1', '2', '1000.50')")
    assert copy.database.rows("select id, email from raw.hired_employees") == [("1", None), ("2", "bo@example.com")]
    assert copy.database.rows("select * from raw.discrepancies") == []

    assert copy.is_put_back_by_a_restore()


def test_the_project_without_what_the_contract_has_more_is_refused_in_one_line(copy: Copy) -> None:
    refused = copy.run("-m", "orchestration.migrations", folder=REPOSITORY)

    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "cannot migrate the database: hiring.odcs.yaml lacks column email of table hired_employees"
    )
    assert refused.stderr.count("\n") == 1
    assert copy.database.rows("select * from raw.salaries") == []


def test_what_the_contract_has_more_is_loaded_checked_and_rejected(copy: Copy) -> None:
    copy.deliver("departments.csv", "1,Legal")
    copy.deliver("jobs.csv", "1,Clerk")
    copy.deliver("hired_employees_a.csv", "1,Ada,2021-01-01T00:00:00Z,1,1")
    copy.deliver("hired_employees_b.csv", "id,name,datetime,department_id,job_id", "2,Bo,2021-01-01T00:00:00Z,1,1")
    copy.deliver(
        "hired_employees_c.csv",
        "email,id,name,datetime,department_id,job_id",
        "cy@example.com,3,Cy,2021-01-01T00:00:00Z,1,1",
        ",4,Di,2021-01-01T00:00:00Z,1,1",
    )
    copy.deliver("salaries.csv", "id,employee_id,amount", "1,1,1000.50", "2,2,a lot", "3,3", "4,3,900")

    copy.do("-m", "orchestration.ingest", "load")
    copy.do("-c", BUILD)

    assert copy.database.rows("select id, nullif(email, '') from raw.hired_employees order by id") == [
        ("1", None), ("2", None), ("3", "cy@example.com"), ("4", None)
    ]  # fmt: skip
    assert copy.database.rows("select distinct disposition from staging.checked_hired_employees") == [("accepted",)]
    assert copy.database.rows("select _record, id, disposition from staging.checked_salaries order by _record") == [
        (1, 1, "accepted"), (2, 2, "rejected"), (4, 4, "accepted")
    ]  # fmt: skip
    assert copy.database.rows("select record, field, reason from staging.rejected_fields order by record") == [
        (2, "amount", "not_a_number"), (3, None, "too_few_fields")
    ]  # fmt: skip
    assert copy.is_put_back_by_a_restore()
