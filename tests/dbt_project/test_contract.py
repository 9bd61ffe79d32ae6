"""A contract with more tables and columns goes through every layer without another edit of the dbt project."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import TABLES, Column, LogicalType, Table
from contracts.tables import CONTRACT, ContractError, read_contract
from orchestration.dbt.generated import write_generated
from orchestration.dbt.project import BUILD
from orchestration.warehouse.build_lock import acquire_build_lock
from orchestration.warehouse.published import unpublished_loads
from tests.conftest import Database
from tests.dbt_project.conftest import (
    COLUMNS,
    Dbt,
    Record,
    build,
    copy_of_project,
    deliver,
    forget_builds,
    running_dbt,
    unsuccessful,
)

EMAIL = Column("email", description="Address of the person.", required=False, personal=True)
SALARIES = Table(
    "salaries",
    (
        Column("id", LogicalType.INTEGER, "Number of the salary.", primary_key=True),
        Column("employee_id", LogicalType.INTEGER, "Number of the hire.", references=("hired_employees", "id")),
        Column("amount", LogicalType.NUMBER, "What is paid in a year.", minimum=0),
        Column("bonus", LogicalType.NUMBER, "What is paid on top.", required=False),
        Column("since", LogicalType.TIMESTAMP, "When that began.", required=False, formats=("%d/%m/%Y",)),
    ),
    "What people are paid.",
)
MORE = [
    *(replace(each, columns=(*each.columns, EMAIL)) if each.name == "hired_employees" else each for each in TABLES),
    SALARIES,
]
HIRES = (*COLUMNS["hired_employees"], "email")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project, without generated files."""
    return copy_of_project(tmp_path)


def add_to_raw(database: Database) -> None:
    """Add to schema raw what the contract has more, as the migrations do."""
    database.execute("alter table raw.hired_employees add column email text")
    columns = ", ".join(f"{name} text" for name in SALARIES.column_names)
    database.execute(f"create table raw.salaries (_load_id bigint not null, _record bigint not null, {columns})")
    database.execute("create index on raw.salaries using brin (_load_id) with (pages_per_range = 32)")
    database.execute("grant select on raw.salaries to hiring_transformer")


@pytest.fixture
def more(database: Database, tmp_path: Path, copy: Path) -> Iterator[Dbt]:
    """Run dbt with the contract that has more."""
    add_to_raw(database)
    write_generated(copy, MORE)
    with running_dbt(database, tmp_path / "target", copy) as run:
        yield run


def salaries(database: Database, records: list[Record]) -> int:
    return deliver(database, "salaries", records, columns=SALARIES.column_names)


def dispositions(database: Database) -> list[Any]:
    return database.rows("select id, amount, disposition from staging.checked_salaries order by _load_id, _record")


def test_a_new_personal_column_is_left_out_of_what_bi_tools_see_and_a_new_table_is_not(
    database: Database, more: Dbt
) -> None:
    """A person who adds an address to the contract does not think of dashboards."""
    deliver(database, "departments", [("1", "Sales")])
    build(more)
    assert database.rows(
        """
        select table_name, column_name from information_schema.columns
        where
            table_schema in ('staging', 'marts') and column_name in ('email', 'bonus')
            and has_column_privilege(
                'hiring_reader', format('%%I.%%I', table_schema, table_name), column_name, 'select'
            )
        order by table_name
        """
    ) == [("checked_salaries", "bonus"), ("salaries", "bonus")]


def test_a_new_table_is_checked_waits_for_its_references_and_lists_its_wrong_fields(
    database: Database, more: Dbt
) -> None:
    """And records that refer to a hire wait again when that hire does: its later record is of an unknown job."""
    deliver(database, "departments", [("1", "Sales")])
    deliver(database, "jobs", [("1", "Clerk")])
    deliver(database, "hired_employees", [("1", "Ada", "2021-01-01", "1", "1", "ada@example.org")], columns=HIRES)
    load = salaries(
        database,
        [
            ("1", "1.0", "1000.50", None, "7/12/2021"),
            ("2", "9", "7", " 1.5 ", None),
            ("3", "1", "a lot", "nothing", "12/13/2021"),
            ("4", "x", "-1", None, ""),
            ("5", "1", "5", "", "N/A"),
            ("5.0", "1", "6\u00a0", "2", "\u00a02021-07-27T16:02:08Z"),
            ("6", "1", "1", "NaN", "NULL"),
        ],
    )
    build(more)
    assert [(id_, str(amount), fate) for id_, amount, fate in dispositions(database)] == [
        (1, "1000.50", "accepted"), (2, "7", "waiting"), (3, "None", "rejected"), (4, "None", "rejected"),
        (5, "5", "superseded"), (5, "6", "accepted"), (6, "1", "accepted"),
    ]  # fmt: skip
    accepted = "select id, employee_id, bonus, (since at time zone 'UTC')::text from staging.salaries order by id"
    assert database.rows(accepted) == [
        (1, 1, None, "2021-12-07 00:00:00"), (5, 1, 2, "2021-07-27 16:02:08"), (6, 1, None, None)
    ]  # fmt: skip
    rejected = database.rows("select load_id, record, field, reason, value from staging.rejected_fields order by 2, 3")
    assert rejected == [
        (load, 3, "amount", "not_a_number", "a lot"),
        (load, 3, "bonus", "not_a_number", "nothing"),
        (load, 3, "since", "not_a_datetime", "12/13/2021"),
        (load, 4, "amount", "out_of_range", "-1"),
        (load, 4, "employee_id", "not_an_integer", "x"),
    ]

    deliver(database, "hired_employees", [("9", "Bob", "2021-01-01", "1", "1", "")], columns=HIRES)
    deliver(database, "hired_employees", [("1", "Ada", "2021-01-01", "1", "7", None)], columns=HIRES)
    build(more)
    fates = [fate for *_, fate in dispositions(database)]
    assert fates == ["waiting", "accepted", "rejected", "rejected", "superseded", "waiting", "waiting"]
    deliver(database, "jobs", [("7", "Cook")])
    build(more)
    by_increments = dispositions(database)
    assert [fate for *_, fate in by_increments] == [
        "accepted", "accepted", "rejected", "rejected", "superseded", "accepted", "accepted"
    ]  # fmt: skip
    forget_builds(database)
    build(more)
    assert dispositions(database) == by_increments


def test_what_the_contract_has_more_passes_unit_tests_and_is_described(more: Dbt) -> None:
    build(more)
    unit_tests = more("test", "--select", "test_type:unit")
    assert unit_tests.success, unsuccessful(unit_tests)
    catalog = more("docs", "generate").result
    for name in ("source.hiring.raw.salaries", "model.hiring.checked_salaries", "model.hiring.salaries"):
        stored = (catalog.sources | catalog.nodes)[name]
        assert {"employee_id", "amount"} <= {*stored.columns}
        assert [column.name for column in stored.columns.values() if not column.comment] == (
            list(stored.columns) if name.startswith("source") else []
        )


def test_a_new_column_fails_an_incremental_build_with_a_message_and_is_added_by_a_full_refresh(
    database: Database, dbt: Dbt, tmp_path: Path, copy: Path
) -> None:
    """An error of SQL would not say what to do; a build that passed would leave the column out of all old records."""
    deliver(database, "hired_employees", [("1", "Ada", "2021-01-01", "1", "1"), ("2", "Bob", "2021-01-01", "1", "1")])
    build(dbt)
    add_to_raw(database)
    database.execute("update raw.hired_employees set email = 'ada@example.org' where id = '1'")
    write_generated(copy, MORE)
    with running_dbt(database, tmp_path / "target", copy) as run:
        failed = run(*BUILD, "--select", "checked_hired_employees")
        assert not failed.success
        (message,) = [each.message for each in failed.result if each.status == "error"]
        sentence = "staging.checked_hired_employees has other columns than its model (email is new): launch the job"
        assert f"{sentence} rebuild_marts" in " ".join(message.split())
        build(run, *BUILD, "--full-refresh")
    assert database.rows("select id, email from staging.checked_hired_employees order by id") == [
        (1, "ada@example.org"), (2, None)
    ]  # fmt: skip


def test_a_new_mart_leaves_every_load_unpublished_until_it_is_built(
    database: Database, dbt: Dbt, tmp_path: Path, copy: Path
) -> None:
    """Were it forgotten, gates and models would pass over loads that it does not show."""
    load = deliver(database, "departments", [("1", "Sales")])
    build(dbt)
    old, new = ["departments_above_mean", "hires_by_quarter"], ["departments_above_mean", "hires", "hires_by_quarter"]

    def unpublished(marts: list[str]) -> list[tuple[int, str]]:
        with database.connect("hiring_transformer") as connection:
            return unpublished_loads(connection, marts)

    assert unpublished(old) == []
    assert unpublished(new) == [(load, "departments")]
    write_generated(copy)
    marts = copy / "models" / "marts"
    (marts / "hires.sql").write_text(
        "select year, sum(hired)::bigint as hired from {{ ref('quarterly_hires') }} group by year"
    )
    (marts / "hires.yml").write_text(
        "{version: 2, models: [{name: hires, description: Hires, config: {meta: {published: true}},"
        " constraints: [{type: primary_key, columns: [year]}], columns: ["
        "{name: year, data_type: integer, constraints: [{type: not_null}]}, {name: hired, data_type: bigint}]}]}"
    )
    with running_dbt(database, tmp_path / "target", copy) as run:
        build(run)
        assert unpublished(new) == []
        later = deliver(database, "departments", [("2", "Legal")])
        assert unpublished(new) == [(later, "departments")]
        build(run, *BUILD, "--exclude", "hires")
        assert unpublished(new) == [(later, "departments")]
        build(run)
    assert unpublished(new) == []
    # A mart without rows is published, too.
    assert database.rows("select mart, version from marts.publications where mart = 'hires'") == [("hires", 1)]


def files(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_text())
        for path in (folder / "generated").rglob("*")
        if path.is_file()
    }


def test_several_processes_write_the_same_files_and_only_if_they_differ(copy: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: write_generated(copy, MORE), range(16)))
    first = files(copy)
    assert "generated/models/staging/checked_salaries.sql" in first
    write_generated(copy, MORE)
    assert files(copy) == first


def test_files_of_a_removed_table_are_deleted_and_a_handwritten_model_is_kept(copy: Path) -> None:
    """A generated model of a removed table would fail every build; a handwritten one must not exist twice."""
    write_generated(copy, MORE)
    (copy / "models" / "staging" / "checked_jobs.sql").write_text("{{ checked('jobs') }}")
    write_generated(copy)
    assert not [name for name in files(copy) if "salaries" in name]
    assert "generated/models/staging/checked_jobs.yml" in files(copy)
    assert "generated/models/staging/checked_jobs.sql" not in files(copy)
    assert (copy / "models" / "staging" / "checked_jobs.sql").exists()


def test_a_contract_whose_tables_refer_to_each_other_in_a_circle_is_refused(tmp_path: Path) -> None:
    """dbt would report it in terms of its models, after everything else was done."""
    declared = yaml.safe_load(CONTRACT.read_text())
    (jobs,) = [table for table in declared["schema"] if table["name"] == "jobs"]
    manager = {"name": "manager_id", "logicalType": "integer", "relationships": [{"to": "hired_employees.id"}]}
    jobs["properties"].append(manager)
    (tmp_path / "contract.yaml").write_text(yaml.safe_dump(declared))
    with pytest.raises(ContractError, match=r"circular, .*(jobs to hired_employees|hired_employees to jobs)"):
        read_contract(tmp_path / "contract.yaml")


def test_manual_dbt_waits_for_a_build_in_progress(database: Database) -> None:
    """Tests of one build would see another build's unfinished work."""
    command = [sys.executable, "-m", "orchestration.dbt", "--quiet", "run", "-s", "loads"]
    with database.connect() as other:
        acquire_build_lock(other, lambda _: None)
        holder_pid = other.info.backend_pid
        with subprocess.Popen(command, env=os.environ | database.environment, stderr=subprocess.PIPE, text=True) as dbt:
            assert dbt.stderr
            said = dbt.stderr.readline()
            assert dbt.poll() is None
            assert database.rows("select to_regclass('staging.loads')") == [(None,)]
            other.close()
            assert dbt.wait(120) == 0
    holder = rf"session {holder_pid} \(\w+\) has locked the models"
    assert re.fullmatch(f"Another run is building the models; waiting for that to end: {holder}.\n", said)
    assert database.rows("select count(*) from staging.loads") == [(0,)]
