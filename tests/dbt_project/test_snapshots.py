"""Snapshots: ids that the newest object lacks are withdrawn, and return with a later object that has them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import TABLES, Delivery
from orchestration.dbt.generated import write_generated
from tests.conftest import Database
from tests.dbt_project.conftest import (
    COLUMNS,
    Dbt,
    Record,
    build,
    copy_of_project,
    deliver,
    empty,
    forget_builds,
    running_dbt,
)
from tests.dbt_project.expected import Load, dispositions
from tests.dbt_project.test_records import became, hire

SNAPSHOTS = ("departments", "hired_employees")


@pytest.fixture(scope="module")
def whole_deliveries(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dbt]:
    """Run dbt with a contract that says of departments and hires that each object is all of them."""
    folder = copy_of_project(tmp_path_factory.mktemp("copy"))
    tables = [replace(each, delivery=Delivery.SNAPSHOT) if each.name in SNAPSHOTS else each for each in TABLES]
    write_generated(folder, tables)
    with running_dbt(module_database, tmp_path_factory.mktemp("target"), folder) as run:
        yield run


@pytest.fixture(autouse=True)
def no_records(module_database: Database) -> None:
    empty(module_database)


def fates(database: Database, table: str) -> list[tuple[Any, ...]]:
    return database.rows(f"select id, disposition from staging.checked_{table} order by _load_id, _record")


def test_what_the_newest_object_lacks_is_withdrawn_and_counts_again_when_it_is_delivered_again(
    module_database: Database, whole_deliveries: Dbt
) -> None:
    deliver(module_database, "departments", [("1", "Sales"), ("2", "Legal")])
    deliver(module_database, "jobs", [("1", "Clerk")])
    deliver(module_database, "hired_employees", [hire(1), hire(2, department=2), hire(3)])
    build(whole_deliveries)
    assert [fate for _, fate in fates(module_database, "hired_employees")] == ["accepted"] * 3

    # 2 is in it, although wrongly; 3 is not.
    deliver(module_database, "hired_employees", [hire(1, "Grace"), ("2", "", "", "", "")])
    build(whole_deliveries)
    assert fates(module_database, "hired_employees") == [
        (1, "superseded"), (2, "accepted"), (3, "withdrawn"), (1, "accepted"), (2, "rejected")
    ]  # fmt: skip
    hired = "select department, job, q3 from marts.hires_by_quarter order by department"
    assert module_database.rows(hired) == [("Legal", "Clerk", 1), ("Sales", "Clerk", 1)]
    withdrawn = "select table_name, withdrawn from marts.completeness where withdrawn > 0"
    assert module_database.rows(withdrawn) == [("hired_employees", 1)]

    # A hire of a department that is withdrawn waits.
    deliver(module_database, "departments", [("1", "Sales")])
    build(whole_deliveries)
    assert fates(module_database, "hired_employees")[1] == (2, "waiting")
    assert module_database.rows(hired) == [("Sales", "Clerk", 1)]

    deliver(module_database, "departments", [("1", "Sales"), ("2", "Legal")])
    deliver(module_database, "hired_employees", [hire(3, "Ada"), hire(2, department=2)])
    build(whole_deliveries)
    assert fates(module_database, "hired_employees")[2:] == [
        (3, "superseded"), (1, "withdrawn"), (2, "rejected"), (3, "accepted"), (2, "accepted")
    ]  # fmt: skip


def test_a_batch_counts_until_a_later_object_lacks_it(module_database: Database, whole_deliveries: Dbt) -> None:
    deliver(module_database, "departments", [("1", "Sales")])
    deliver(module_database, "jobs", [("1", "Clerk")])
    deliver(module_database, "hired_employees", [hire(1)])
    deliver(module_database, "hired_employees", [hire(2)], source="api")
    build(whole_deliveries)
    assert fates(module_database, "hired_employees") == [(1, "accepted"), (2, "accepted")]
    deliver(module_database, "hired_employees", [hire(1)])
    build(whole_deliveries)
    assert fates(module_database, "hired_employees") == [(1, "superseded"), (2, "withdrawn"), (1, "accepted")]


def test_a_correction_counts_until_a_later_object_lacks_it_and_withdraws_nothing(
    module_database: Database, whole_deliveries: Dbt
) -> None:
    """A corrected export has only the records that were rejected: all others would go."""
    deliver(module_database, "departments", [("1", "Sales"), ("2", ""), ("3", "Legal")])
    build(whole_deliveries)
    deliver(module_database, "departments", [("2", "Finance")], source="correction")
    build(whole_deliveries)
    assert fates(module_database, "departments") == [(1, "accepted"), (2, "rejected"), (3, "accepted"), (2, "accepted")]
    # The line of 3 is there, although it is malformed.
    deliver(module_database, "departments", [("1", "Sales"), b'3,"Legal"s'], readable={"id": " 3"})
    build(whole_deliveries)
    assert fates(module_database, "departments")[2:] == [(3, "accepted"), (2, "withdrawn"), (1, "accepted")]


Delivered = tuple[str, str, list[Record]]

numbers = st.sampled_from(["1", "2", "3", "04", "x", ""])
names = st.sampled_from(["Sales", "Legal", ""])
references: st.SearchStrategy[list[Record]] = st.lists(st.tuples(numbers, names) | st.just(b"x"), max_size=4)
hires: st.SearchStrategy[list[Record]] = st.lists(
    st.tuples(st.integers(1, 8).map(str) | numbers, names, st.sampled_from(["2021-01-01", "soon"]), numbers, numbers),
    max_size=8,
)


def deliveries(table: str) -> st.SearchStrategy[Delivered]:
    sources = ["object", "object", "correction"] + ["api"] * (table == "hired_employees")
    return st.tuples(st.just(table), st.sampled_from(sources), hires if table == "hired_employees" else references)


steps = st.lists(st.sampled_from([*COLUMNS, "hired_employees"]).flatmap(deliveries), min_size=1, max_size=4)


@settings(max_examples=3, deadline=None)
@given(history=st.lists(steps, min_size=3, max_size=5))
def test_any_history_follows_the_rules_in_increments_and_in_one_build(
    module_database: Database, whole_deliveries: Dbt, history: list[list[Delivered]]
) -> None:
    empty(module_database)
    loads: list[Load] = []
    for step in history:
        loads += [
            Load(deliver(module_database, table, records, source=source), table, records, source=source)
            for table, source, records in step
        ]
        build(whole_deliveries)
        assert became(module_database) == dispositions(loads, SNAPSHOTS)
    forget_builds(module_database)
    build(whole_deliveries)
    assert became(module_database) == dispositions(loads, SNAPSHOTS)
