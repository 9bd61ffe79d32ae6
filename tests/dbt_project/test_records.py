"""Dispositions of records: one record counts per id, some wait, and none is lost or counted twice."""

import io
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json
from rich.console import Console

from api.employees.hires import HIRES
from api.employees.receipts import by_record, find_errors
from deploy.local.report import print_report
from orchestration.warehouse.rejected import rejected_fields
from tests.conftest import Database
from tests.dbt_project.conftest import COLUMNS, Dbt, Record, build, deliver, empty
from tests.dbt_project.expected import Load, RecordKey, dispositions
from tests.dbt_project.test_rules import any_text, nearly_identifiers, nearly_moments

DAY = "2021-07-27T16:02:08Z"


@pytest.fixture(autouse=True)
def no_records(module_database: Database) -> None:
    empty(module_database)


def hire(number: int | str, name: str = "Ada", at: str = DAY, department: int = 1, job: int = 1) -> Record:
    return str(number), name, at, str(department), str(job)


def became(database: Database) -> dict[RecordKey, str | list[tuple[str, str]]]:
    """Return each record's disposition according to the models, like `dispositions`; a duplicate record fails."""
    rows = [
        row
        for table in COLUMNS
        for row in database.rows(
            f"select '{table}', _load_id, _record, disposition, reasons from staging.checked_{table}"
        )
    ]
    told: dict[RecordKey, str | list[tuple[str, str]]] = {
        (table, load_id, record): disposition if disposition != "rejected" else [tuple(r.split(":")) for r in reasons]
        for table, load_id, record, disposition, reasons in rows
    }
    refused = database.rows(
        "select loads.table_name, load_id, record, 'no_row' from raw.rejected_records join raw.loads using (load_id) "
        "where loads.status = 'complete'"
    )
    told |= {(table, load_id, record): reason for table, load_id, record, reason in refused}
    assert len(told) == len(rows) + len(refused)
    return told


def names(database: Database, table: str, column: str) -> dict[int, str]:
    return dict(database.rows(f"select id, {column} from staging.{table}"))


def test_a_later_load_replaces_an_earlier_one_and_a_later_record_one_before_it(
    module_database: Database, module_dbt: Dbt
) -> None:
    for table in ("departments", "jobs"):
        # The first record of a late load is later than the last one of an early load.
        deliver(module_database, table, [("1", "early load"), ("2", "early record"), ("2", "late record")])
        deliver(module_database, table, [(" +01 ", "late load"), ("3", "only")])
    deliver(module_database, "hired_employees", [hire(9), hire(1, "early load"), hire(2, "early"), hire(2, "late")])
    # As many digits as a field can have, and more than a numeric of Postgres.
    deliver(module_database, "hired_employees", [hire("0" * 200_000 + "1." + "0" * 20_000, "late load")])
    build(module_dbt)
    expected = {1: "late load", 2: "late record", 3: "only"}
    assert names(module_database, "departments", "department") == expected
    assert names(module_database, "jobs", "job") == expected
    assert names(module_database, "hired_employees", "name") == {1: "late load", 2: "late", 9: "Ada"}


def test_an_invalid_record_and_a_load_that_is_not_complete_replace_nothing(
    module_database: Database, module_dbt: Dbt
) -> None:
    """If half a file counted, the metrics could not be traced to any delivery."""
    for table in ("departments", "jobs"):
        deliver(module_database, table, [("1", "valid"), ("2", "valid")])
        deliver(module_database, table, [("1", " "), (None, "no id"), ("2.5", "no integer"), b"1"])
        for status in ("loading", "failed", "abandoned"):
            deliver(module_database, table, [("1", "unseen"), ("3", "unseen"), b"4"], status=status)
    deliver(module_database, "hired_employees", [hire(1, "valid"), hire(2, "valid")])
    deliver(module_database, "hired_employees", [hire(1, at="2021-02-29"), hire(2, department=0), hire(1, name="\v")])
    for status in ("loading", "failed", "abandoned"):
        deliver(module_database, "hired_employees", [hire(1, "unseen"), hire(3, "unseen"), b"x"], status=status)
    build(module_dbt)
    assert names(module_database, "departments", "department") == {1: "valid", 2: "valid"}
    assert names(module_database, "jobs", "job") == {1: "valid", 2: "valid"}
    assert names(module_database, "hired_employees", "name") == {1: "valid", 2: "valid"}
    seen = (
        "select distinct status from raw.loads join (select load_id from staging.rejected_records union all "
        "select _load_id from staging.checked_hired_employees) as records using (load_id)"
    )
    assert module_database.rows(seen) == [("complete",)]


def test_a_hire_waits_for_its_department_and_job_and_counts_with_the_next_build(
    module_database: Database, module_dbt: Dbt
) -> None:
    deliver(module_database, "departments", [("1", "Sales")])
    deliver(module_database, "jobs", [("1", "Clerk")])
    deliver(
        module_database,
        "hired_employees",
        [
            hire(1),
            hire(2, department=2),
            hire(3, job=2),
            hire(4, department=2, job=2),
            # Its latest record counts, and that one waits: no older one replaces it.
            hire(5),
            hire(5, department=3),
        ],
    )
    build(module_dbt)
    waiting = "select id from staging.checked_hired_employees where disposition = 'waiting' order by id"
    hired = "select department, job, q3 from marts.hires_by_quarter order by department_id, job_id"
    assert module_database.rows(waiting) == [(2,), (3,), (4,), (5,)]
    assert module_database.rows(hired) == [("Sales", "Clerk", 1)]
    assert module_database.rows("select department, hired, mean from marts.departments_above_mean") == []
    missing = "select table_name, column_name, missing_from, id, waiting from marts.missing_references order by 2, 4"
    assert module_database.rows(missing) == [
        ("hired_employees", "department_id", "departments", "2", 2),
        ("hired_employees", "department_id", "departments", "3", 1),
        ("hired_employees", "job_id", "jobs", "2", 2),
    ]
    since = "select count(*) from marts.missing_references join raw.loads on waiting_since = completed_at"
    assert module_database.rows(since) == [(3,)]
    counted = "select table_name, loads, open_records, waiting, withdrawn from marts.completeness order by 1"
    assert module_database.rows(counted) == [
        ("departments", 1, 0, 0, 0), ("hired_employees", 1, 0, 4, 0), ("jobs", 1, 0, 0, 0)
    ]  # fmt: skip

    deliver(module_database, "departments", [("2", "Support")])
    deliver(module_database, "jobs", [("2", "Manager")])
    build(module_dbt)
    assert module_database.rows(waiting) == [(5,)]
    assert module_database.rows(missing) == [("hired_employees", "department_id", "departments", "3", 1)]
    assert module_database.rows(hired) == [
        ("Sales", "Clerk", 1), ("Sales", "Manager", 1), ("Support", "Clerk", 1), ("Support", "Manager", 1)
    ]  # fmt: skip


def test_a_rejected_record_is_listed_by_field_with_its_value_as_delivered(
    module_database: Database, module_dbt: Dbt
) -> None:
    jobs = deliver(module_database, "jobs", [("1", "Clerk"), b"\xff,2", (" x ", "\t")])
    hires = deliver(module_database, "hired_employees", [("0", None, " soon ", "1", "9999999999")])
    build(module_dbt)
    listed = "select record, field, reason, value, object from staging.rejected_fields where load_id = %s"
    ((key,),) = module_database.rows("select key from raw.loads where load_id = %s", jobs)
    assert sorted(module_database.rows(listed, jobs), key=str) == [
        (2, None, "too_few_fields", "has 1 field", key),
        (3, "id", "not_an_integer", " x ", key),
        (3, "job", "missing", "\t", key),
    ]
    assert sorted(row[:4] for row in module_database.rows(listed, hires)) == [
        (1, "datetime", "not_a_datetime", " soon "),
        (1, "id", "out_of_range", "0"),
        (1, "job_id", "out_of_range", "9999999999"),
        (1, "name", "missing", None),
    ]


def test_invisible_characters_of_a_value_are_stored_as_delivered_and_shown_escaped(
    module_database: Database, module_dbt: Dbt
) -> None:
    """A reader of 1000 and not_an_integer would suspect an error in the pipeline."""
    deliver(module_database, "jobs", [("1\u00a0000", "Clerk"), ("\u00a07\ufeff", "\u200bCook\u3000")])
    build(module_dbt)

    stored = module_database.rows("select id, job from raw.jobs order by _record")
    assert stored == [("1\u00a0000", "Clerk"), ("\u00a07\ufeff", "\u200bCook\u3000")]
    assert module_database.rows("select id, job from staging.jobs") == [(7, "Cook")]
    assert module_database.rows("select value from staging.rejected_fields") == [("1\u00a0000",)]
    report = Console(file=io.StringIO(), width=120, record=True)
    with module_database.connect() as connection:
        ((rejected,), _) = rejected_fields(connection)
        print_report(report, connection, 2021)
    assert (rejected["field"], rejected["reason"], rejected["value"]) == ("id", "not_an_integer", r"1\u00a0000")
    assert r"1\u00a0000" in report.export_text()


few_numbers = st.sampled_from(["1", "2", "3", "+2", " 03 ", "3.0", "\u00a01\ufeff"])
numbers = few_numbers | few_numbers | nearly_identifiers | st.none()
words = any_text | st.sampled_from(["Sales", "Clerk"])
moments = st.just(DAY) | st.just(DAY) | nearly_moments
references = st.tuples(numbers, words | st.none())
hires = st.tuples(numbers, words, moments, few_numbers | st.just("4"), few_numbers) | st.tuples(
    numbers, words | st.none(), moments, numbers, numbers
)


def loads_of(table: str) -> st.SearchStrategy[tuple[str, str, list[Record]]]:
    records = hires | hires | hires if table == "hired_employees" else references | references
    statuses = ["complete", "complete", "complete", "loading", "failed"]
    return st.tuples(st.just(table), st.sampled_from(statuses), st.lists(records | st.binary(max_size=3), max_size=25))


@settings(max_examples=3, deadline=None)
@given(history=st.lists(st.sampled_from([*COLUMNS, "hired_employees"]).flatmap(loads_of), min_size=6, max_size=10))
def test_every_record_of_every_complete_load_ends_in_one_place_which_is_the_right_one(
    module_database: Database, module_dbt: Dbt, history: list[tuple[str, str, list[Record]]]
) -> None:
    empty(module_database)
    loads = [
        Load(deliver(module_database, table, records, status=status), table, records, status)
        for table, status, records in history
    ]
    build(module_dbt)
    expected = dispositions(loads)
    assert became(module_database) == expected
    assert len(expected) == sum(len(load.records) for load in loads if load.status == "complete")
    listed = module_database.rows("select table_name, load_id, record, field, reason from staging.rejected_fields")
    reasons = {place: [(None, "too_few_fields")] if fate == "no_row" else fate for place, fate in expected.items()}
    assert sorted(listed, key=str) == sorted(
        [(*place, *pair) for place, pairs in reasons.items() if isinstance(pairs, list) for pair in pairs], key=str
    )


near_edges = st.sampled_from([1, 1, 1, 2, Decimal("1.0"), 2**31 - 1, Decimal("2147483647.00"), 2**31, 0])
near_the_years = st.datetimes(datetime(1899, 12, 31), datetime(2101, 1, 1, 23)).map(datetime.isoformat)
sent = st.fixed_dictionaries(
    {
        "id": st.integers(1, 40) | near_edges,
        "name": any_text | st.sampled_from(["\v", "v", "\u00a0", "\ufeffAda", "Null"]),
        "datetime": near_the_years | nearly_moments,
        "department_id": near_edges,
        "job_id": near_edges,
    }
)


@settings(max_examples=2, deadline=None)
@given(records=st.lists(sent, min_size=50, max_size=300))
def test_no_hire_that_the_api_took_is_rejected(
    module_database: Database, module_dbt: Dbt, records: list[dict[str, Any]]
) -> None:
    """The sender has a confirmation: nobody would search for the hire among the rejected records."""
    empty(module_database)
    deliver(module_database, "departments", [("1", "Sales"), ("2147483647", "Last")])
    deliver(module_database, "jobs", [("1", "Clerk")])
    wrong = by_record(find_errors(records, HIRES))
    assert wrong is not None
    batch = [record for index, record in enumerate(records) if index not in wrong]
    store = "select raw.store_batch(%s, '[]', null, null, null, '{}')"
    with module_database.connect("hiring_api") as connection:
        connection.execute(store, [to_json(batch).decode()])
    build(module_dbt)
    fates = module_database.rows("select disposition, reasons from staging.checked_hired_employees")
    assert len(fates) == len(batch)
    assert [reasons for disposition, reasons in fates if disposition == "rejected"] == []
