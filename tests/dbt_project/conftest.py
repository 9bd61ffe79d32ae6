"""dbt in this process on a test's database: a build takes two seconds instead of seven."""

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt_common.behavior_flags import BehaviorFlagRendered
from psycopg.types.json import Jsonb

from contracts import TABLES
from orchestration.dbt.cli import drop_repeated_flags
from orchestration.dbt.project import (
    BUILD,
    PROFILE_PLACEHOLDERS,
    PROJECT,
    moved,
    parse_if_changed,
    parsed_in_database,
)
from orchestration.ingest.rejected import EXPORTED
from tests.conftest import Database, environment

Dbt = Callable[..., dbtRunnerResult]

# A row's fields as text, or the bytes of a malformed record.
Record = Sequence[str | None] | bytes

COLUMNS = {table.name: table.column_names for table in TABLES}

_numbers = itertools.count(1)

# dbt looks for it in the call stack, which is deep in a test: a tenth of each build, for warnings that nobody reads.
BehaviorFlagRendered._default_source = staticmethod(lambda: "dbt")  # type: ignore[method-assign]


@pytest.fixture
def dbt(database: Database, tmp_path: Path) -> Iterator[Dbt]:
    """Run a dbt command on this test's database and return its result; data tests count, unit tests do not."""
    with running_dbt(database, tmp_path) as run:
        yield run


@pytest.fixture(scope="module")
def module_dbt(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dbt]:
    """Run a dbt command on the database that the tests of a module share."""
    with running_dbt(module_database, tmp_path_factory.mktemp("dbt")) as run:
        yield run


@contextmanager
def running_dbt(database: Database, target: Path, project: Path = PROJECT.project_dir) -> Iterator[Dbt]:
    """Run dbt commands on a database; of a copy of the project, if that is given."""
    options = [
        # Writing the manifest each time takes as long as building a model, and so do unused log lines.
        *("--no-write-json", "--log-level", "none", "--log-level-file", "none"),
        *("--project-dir", str(project), "--profiles-dir", str(project)),
        *("--target-path", str(target), "--log-path", str(target)),
    ]
    manifest = parsed_in_database(database.name) if project == PROJECT.project_dir else parse_copy(database, options)

    def run(*arguments: str, listen: Callable[[Any], None] | None = None) -> dbtRunnerResult:
        drop_repeated_flags()
        result = dbtRunner(manifest=manifest, callbacks=[listen] if listen else []).invoke([*arguments, *options])
        if result.exception:
            raise result.exception
        return result

    with environment(database.environment):
        yield run


def parse_copy(database: Database, options: Sequence[str]) -> Manifest:
    """Parse what a copy of the project has changed, as its relations in a database."""
    parse_if_changed()
    # With the profile of that parse: with another one dbt parses everything again, which takes seconds.
    with environment(PROFILE_PLACEHOLDERS):
        kept = ["--partial-parse-file-path", str(PROJECT.manifest_path.with_name("partial_parse.msgpack"))]
        parsed = dbtRunner().invoke(["parse", *kept, *options]).result
    assert isinstance(parsed, Manifest)
    return moved(parsed, database.name)


def copy_of_project(parent: Path) -> Path:
    """Return a copy of the dbt project in a folder, without generated files."""
    folder = parent / "dbt_project"
    shutil.copytree(PROJECT.project_dir, folder, ignore=shutil.ignore_patterns("target", "logs", "generated"))
    return folder


def unsuccessful(result: dbtRunnerResult) -> dict[str, str]:
    """Return the models and tests of a dbt command that did not go well, with their status."""
    return {
        each.node.name: str(each.status)
        for each in result.result
        if each.node.resource_type != "exposure" and each.status not in ("success", "pass")
    }


def build(dbt: Dbt, *arguments: str) -> None:
    """Build the models and run their data tests; all of it has to go well."""
    result = dbt(*(arguments or BUILD))
    assert result.success, [each.message for each in result.result if each.status not in ("success", "pass")]


def deliver(
    database: Database,
    table: str,
    records: Sequence[Record],
    *,
    status: str = "complete",
    columns: Sequence[str] | None = None,
    key: str | None = None,
    source: str = "object",
    readable: Mapping[str, str] | None = None,
) -> int:
    """Store records as one load of an object would, numbered from 1, and return the load's id.

    The columns are those of the contract, if no others are given; without a key it is another object each time. The
    source "correction" is an object as well, a corrected export; with another source it is a batch over HTTP. Of a
    malformed record only the `readable` fields are known.
    """
    rows = [(number, record) for number, record in enumerate(records, 1) if not isinstance(record, bytes)]
    refused = [(number, record) for number, record in enumerate(records, 1) if isinstance(record, bytes)]
    with database.connect() as connection, connection.transaction(), connection.cursor() as cursor:
        counts = [len(records), len(rows), len(refused), len(refused)] if status == "complete" else [None] * 4
        version = ["landing", key or f"{table}/{next(_numbers)}.csv", str(next(_numbers))]
        left_out = None
        if source == "correction":
            source, left_out = "object", [*EXPORTED]
        if source != "object":
            version = []
        ((load_id,),) = cursor.execute(
            """
            insert into raw.loads
                (table_name, source, bucket, key, version, status, records, loaded, malformed, rejected,
                left_out_columns, completed_at)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, case when %s = 'complete' then now() end)
            returning load_id
            """,
            [table, source, *(version or [None] * 3), status, *counts, left_out, status],
        ).fetchall()
        with cursor.copy(
            f"copy raw.{table} (_load_id, _record, {', '.join(columns or COLUMNS[table])}) from stdin"
        ) as copy:
            for number, row in rows:
                copy.write_row((load_id, number, *row))
        cursor.executemany(
            """
            insert into raw.rejected_records
                (load_id, record, reason, message, byte_from, raw, line, raw_bytes, delivered)
            values (%s, %s, 'too_few_fields', 'has 1 field', 0, %s, %s, %s, %s)
            """,
            [
                (load_id, number, record, number, len(record), None if readable is None else Jsonb(readable))
                for number, record in refused
            ],
        )
    return int(load_id)


def empty(database: Database) -> None:
    """Delete every load with its records, and everything built from them."""
    database.execute("truncate raw.departments, raw.jobs, raw.hired_employees, raw.corrections, raw.loads cascade")
    forget_builds(database)


def forget_builds(database: Database) -> None:
    """Delete everything that was built: the next build is the first."""
    built = database.rows(
        "select format('%%I.%%I', schemaname, tablename) from pg_tables "
        "where schemaname in ('staging', 'marts') and tablename not in ('watermarks', 'publications')"
    )
    for (table,) in built:
        # With the views of it.
        database.execute(f"drop table {table} cascade")
    database.execute("truncate staging.watermarks, marts.publications")
