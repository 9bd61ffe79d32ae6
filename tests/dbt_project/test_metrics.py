"""The metrics compared with pandas on the same records, for every year, in any time zone of the server."""

import json
import os
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.metrics.departments_above_mean import DEPARTMENTS_ABOVE_MEAN
from api.metrics.hires_by_quarter import HIRES_BY_QUARTER
from tests import oracle
from tests.conftest import CHALLENGE, Database
from tests.dbt_project.conftest import COLUMNS, Dbt, Record, build, deliver, empty

Delivery = tuple[str, list[Record]]


@pytest.fixture(scope="module", autouse=True)
def far_from_utc(module_database: Database) -> None:
    """Sessions in New York: a quarter that follows the session begins there four hours late."""
    module_database.execute(f"alter database {module_database.name} set timezone to 'America/New_York'")


def frames(deliveries: list[Delivery]) -> dict[str, pd.DataFrame]:
    return {
        table: pd.DataFrame(
            [record for of, records in deliveries if of == table for record in records],
            columns=list(columns),
            dtype="string",
        )
        for table, columns in COLUMNS.items()
    }


def assert_metrics_equal(database: Database, delivered: dict[str, pd.DataFrame]) -> None:
    years = sorted(oracle.counted(*(delivered[table] for table in COLUMNS))["year"].unique())
    by_quarter, by_month, above_mean = (
        f"select distinct year from marts.{mart}"
        for mart in ("hires_by_quarter", "hires_by_month", "departments_above_mean")
    )
    assert sorted(year for (year,) in database.rows(by_quarter)) == years
    assert sorted(year for (year,) in database.rows(by_month)) == years
    assert {year for (year,) in database.rows(above_mean)} <= set(years)
    for year in years:
        mean, items = oracle.departments_above_mean(delivered, year)
        above = database.dicts(
            "select id, department, hired, mean from marts.departments_above_mean where year = %s "
            "order by hired desc, id",
            year,
        )
        assert [row.pop("mean") for row in above] == [pytest.approx(mean)] * len(items)
        assert above == items
        hires = database.dicts(
            'select department, job, q1 as "Q1", q2 as "Q2", q3 as "Q3", q4 as "Q4" from marts.hires_by_quarter '
            'where year = %s order by department collate "C", job collate "C", department_id, job_id',
            year,
        )
        assert hires == oracle.hires_by_quarter(delivered, year)
        months = database.dicts(
            "select month, department_id, department, hired from marts.hires_by_month where year = %s "
            "order by month, department_id",
            year,
        )
        assert months == oracle.hires_by_month(delivered, year)


names = st.sampled_from(["Sales", "sales", "Ärzte", "Null", "A+B", "\U0001f600", "\uffee", "e\u0301", " Sales\t"])
numbers = st.sampled_from(["1", "2", "3", "4", "5", "+1", "02", " 3 ", "4.0", "\u00a05", "NaN", "x", "0", ""])
moments = st.builds(
    "{}-{}{}".format,
    st.sampled_from(["2020", "2021", "2021", "2021", "1899", "2100"]),
    st.sampled_from(["01-01T00:00:00", "03-31T23:59:59.999999", "04-01T03:59:59", "06-30T20:00:00", "07-01T00:00"])
    | st.sampled_from(["09-30T23:59:59", "10-01T00:00:00", "12-31T19:00:00", "12-31T23:59:59.999999", "02-29T12:00"]),
    st.sampled_from(["Z", "", "+00:00", "-05:00", "+05:30", "z", " UTC", " +0000"]),
)
references = st.lists(st.tuples(numbers, names), min_size=3, max_size=8)
hires = st.lists(
    st.tuples(st.integers(1, 60).map(str), st.just("Ada"), moments, numbers, numbers), min_size=40, max_size=80
)
random_deliveries = st.tuples(
    st.tuples(st.just("departments"), references),
    st.tuples(st.just("jobs"), references),
    st.tuples(st.just("hired_employees"), hires),
    st.tuples(st.just("departments"), references),
    st.tuples(st.just("hired_employees"), hires),
).map(list)


def hired(first: int, last: int, year: int, department: int, job: int) -> list[Record]:
    return [(str(number), "Ada", f"{year}-05-05", str(department), str(job)) for number in range(first, last + 1)]


# 2021: the mean of four departments is 2, which one has, one passes, and two do not reach, one of them without a hire.
# 2022: three hires over four departments. 2023: everybody is at the mean.
TIES: list[Delivery] = [
    ("departments", [("1", "Sales"), ("2", "Sales"), ("3", "Zoo"), ("4", "Empty")]),
    ("jobs", [("1", "Clerk"), ("2", "Clerk")]),
    ("hired_employees", [*hired(1, 5, 2021, 1, 1), *hired(6, 7, 2021, 2, 2), *hired(8, 8, 2021, 3, 1)]),
    ("hired_employees", hired(11, 13, 2022, 3, 1)),
    ("hired_employees", [hire for d in (1, 2, 3, 4) for hire in hired(20 + d, 20 + d, 2023, d, 1)]),
]


@settings(max_examples=2, deadline=None)
@example(deliveries=TIES)
@given(deliveries=random_deliveries)
def test_both_metrics_are_what_pandas_makes_of_the_same_records(
    module_database: Database, module_dbt: Dbt, deliveries: list[Delivery]
) -> None:
    empty(module_database)
    for table, records in deliveries:
        deliver(module_database, table, records)
    build(module_dbt)
    assert_metrics_equal(module_database, frames(deliveries))


def test_the_edges_of_years_and_quarters_are_those_of_utc_where_the_session_is_in_new_york(
    module_database: Database, module_dbt: Dbt
) -> None:
    """Quarters in the session's time zone are wrong for five hours, four times a year, and seem right otherwise."""
    empty(module_database)
    deliver(module_database, "departments", [("1", "Sales")])
    deliver(module_database, "jobs", [("1", "Clerk")])
    edges = {
        (1900, 1): ["1900-01-01T00:00:00Z", "1899-12-31T23:00-01:00"],
        (2020, 4): ["2020-12-31T23:59:59.999999999Z", "2020-12-31T23:59:59"],
        (2021, 1): ["2021-01-01", "2021-01-01T00:00:00", "2020-12-31T19:00-05:00", "2021-03-31T23:59:59.9999999"],
        (2021, 2): ["2021-04-01T00:00Z", "2021-06-30T23:59:59"],
        (2021, 3): ["2021-07-01", "2021-07-01T03:59:59Z", "2021-09-30T23:59:59.5"],
        (2021, 4): ["2021-10-01", "2021-12-31T23:59:59Z", "2022-01-01T00:59+01:00"],
        (2100, 4): ["2100-12-31T23:59:59.9999999Z", "2101-01-01T00:00+00:01"],
    }
    moments = [moment for quarter in edges.values() for moment in quarter]
    records: list[Record] = [(str(n), "Ada", moment, "1", "1") for n, moment in enumerate(moments, 1)]
    deliver(module_database, "hired_employees", records)
    build(module_dbt)
    counted = {
        (row["year"], quarter): row[f"q{quarter}"]
        for row in module_database.dicts("select year, q1, q2, q3, q4 from marts.hires_by_quarter")
        for quarter in (1, 2, 3, 4)
        if row[f"q{quarter}"]
    }
    assert counted == {quarter: len(moments) for quarter, moments in edges.items()}


def test_the_api_orders_by_code_point(module_database: Database, module_dbt: Dbt) -> None:
    """An order by the server's locale would change with the server, and pages with it."""
    empty(module_database)
    # Longer than what fits into an entry of an index, even compressed, and different at the end only.
    long = os.urandom(4000).hex()
    words = ["b", "a", "B", "A", "Z", "z", "_", "ä", "é", "e\u0301", "\uffee", "\U0001f600", "a b", "ab", "a-b"]
    words += [long + "b", long + "a"]
    references: list[Record] = [(str(number), word) for number, word in enumerate(words, 1)]
    records: list[Record] = [
        (str(100 * d + j), "Ada", "2021-02-03", str(d), str(j)) for d, _ in enumerate(words, 1) for j in (1, 2, 3, d)
    ]
    deliveries = [("departments", references), ("jobs", references), ("hired_employees", records)]
    for table, delivered in deliveries:
        deliver(module_database, table, delivered)
    build(module_dbt)
    parameters: dict[str, Any] = {"year": 2021, "department": [], "job": [], "limit": 1000, "offset": 0}
    with module_database.connect("hiring_api") as connection:
        (row,) = connection.execute(HIRES_BY_QUARTER.json_query, parameters).fetchall()
        (above,) = connection.execute(DEPARTMENTS_ABOVE_MEAN.json_query, {"year": 2021}).fetchall()
    items = json.loads(row[-1])["items"]
    assert [item["department"] for item in items] == sorted(item["department"] for item in items)
    assert items == oracle.hires_by_quarter(frames(deliveries), 2021)
    mean, departments = oracle.departments_above_mean(frames(deliveries), 2021)
    assert json.loads(above[-1]) == {"year": 2021, "mean": pytest.approx(mean), "items": departments}


@pytest.mark.skipif(not CHALLENGE.exists(), reason="the delivered files are not here")
def test_the_delivered_files_give_the_known_figures(module_database: Database, module_dbt: Dbt) -> None:
    empty(module_database)
    files = oracle.frames(CHALLENGE, {table: [f"{table}.csv"] for table in COLUMNS})
    for table, frame in files.items():
        deliver(module_database, table, list(frame.itertuples(index=False, name=None)))
    build(module_dbt)
    assert_metrics_equal(module_database, files)
    assert module_database.rows("select table_name, records from staging.loads order by records") == [
        ("departments", 12), ("jobs", 183), ("hired_employees", 1999)
    ]  # fmt: skip
    ((rejected,),) = module_database.rows("select count(distinct (load_id, record)) from staging.rejected_records")
    assert rejected == 70
    reasons = "select field, reason, count(*) from staging.rejected_fields group by field, reason order by count(*), 1"
    assert module_database.rows(reasons) == [
        ("datetime", "missing", 14), ("job_id", "missing", 16), ("name", "missing", 19),
        ("department_id", "missing", 21),
    ]  # fmt: skip
