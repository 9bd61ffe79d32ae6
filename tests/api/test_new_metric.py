"""A new metric is one module of the API: its address, formats, pages, documentation and readiness follow from it."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import yaml

from api.metrics.hires_by_quarter import HIRES_BY_QUARTER
from api.metrics.metric import Metric
from api.metrics.registry import METRICS, discover
from tests.api.conftest import DBT_PROJECT, build_marts, eventually, publish, serving, settings_for
from tests.conftest import Database

MODULES = {
    "leavers_by_month": '''
        """Leavers of a year by month."""

        from pydantic import BaseModel

        from api.metrics.metric import Metric
        from api.metrics.schemas import YearQuery, YearResponse


        class MonthlyLeavers(BaseModel):
            """Leavers of a month."""

            month: int
            people: int


        EXAMPLE = {"year": 2021, "items": [{"month": 1, "people": 45}, {"month": 2, "people": 38}]}


        class LeaversByMonth(YearResponse[MonthlyLeavers], json_schema_extra={"example": EXAMPLE}):
            """The leavers of a year by month."""


        LEAVERS_BY_MONTH = Metric(
            slug="leavers-by-month",
            summary="Leavers by month",
            description="Count the leavers of each month of a year, in order.",
            marts=("leavers_by_month",),
            query=YearQuery,
            response=LeaversByMonth,
            rows="select month, people from marts.leavers_by_month where year = %(year)s",
            order="month",
        )
    ''',
    # No year, pages, a filter, an aggregate, and an order by a text column alone.
    "allowances": '''
        from typing import Annotated

        from pydantic import BaseModel, Field

        from api.metrics.metric import Metric
        from api.metrics.schemas import MetricQuery, MetricResponse, Names, PagedResponse


        class AllowanceQuery(MetricQuery):
            department: Names = Field([], description="Exact name of a department.")


        class Allowance(BaseModel):
            department: str
            note: str | None
            change: Annotated[float, Field(ge=-10)] | None


        EXAMPLE = {
            "items": [{"department": "Staff", "note": None, "change": -1.5}],
            "most": 2.5, "total": 1, "limit": 100, "offset": 0,
        }


        class Most(BaseModel):
            most: float


        class AllowancesPage(PagedResponse, Most, MetricResponse[Allowance], json_schema_extra={"example": EXAMPLE}):
            """One page of what departments allow."""


        ALLOWANCES = Metric(
            slug="allowances",
            summary="Allowances",
            description="Tell what departments allow.",
            marts=("allowances", "leavers_by_month"),
            query=AllowanceQuery,
            response=AllowancesPage,
            rows="""
                select department, note, change from marts.allowances
                where cardinality(%(department)s::text[]) = 0 or department = any(%(department)s::text[])
            """,
            order="department",
            aggregates={"most": "coalesce(max(change), 0)"},
        )
    ''',
}
MONTHS = "/metrics/leavers-by-month"
ALLOWANCES = "/metrics/allowances"
BUILD = """
    create table marts.leavers_by_month (year integer, month integer, people integer);
    create table marts.allowances (department text collate "C", note text, change double precision);
    insert into marts.leavers_by_month values (2021, 2, 20), (2021, 1, 10), (2020, 1, 5);
    insert into marts.allowances
    values ('Zoo', null, -1.5), ('=1+1', '-', null), ('sales', 'a', 2), ('(Sales)', '', 0.25);
    grant select on marts.leavers_by_month, marts.allowances to hiring_api
"""


@pytest.fixture(scope="module")
def new_metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Metric, ...]]:
    """The metrics of a package by other authors."""
    folder = tmp_path_factory.mktemp("packages")
    with pytest.MonkeyPatch.context() as patch:
        yield found_in(folder, "new_metrics", MODULES, patch)


def found_in(folder: Path, name: str, modules: dict[str, str], patch: pytest.MonkeyPatch) -> tuple[Metric, ...]:
    package = folder / name
    package.mkdir()
    for module, text in {"__init__": "", **modules}.items():
        (package / f"{module}.py").write_text(dedent(text))
    patch.syspath_prepend(str(folder))
    return discover(importlib.import_module(name))


@pytest.fixture(scope="module")
def client(module_database: Database, new_metrics: tuple[Metric, ...]) -> Iterator[httpx.Client]:
    build_marts(module_database)
    module_database.execute(BUILD)
    publish(module_database, names=["leavers_by_month", "allowances"])
    with serving(settings_for(module_database), metrics=(*METRICS, *new_metrics)) as client:
        yield client


def test_it_returns_the_rows_of_a_year_in_order(client: httpx.Client) -> None:
    assert client.get(MONTHS).json() == {
        "year": 2021,
        "items": [{"month": 1, "people": 10}, {"month": 2, "people": 20}],
    }
    assert client.get(MONTHS, params={"year": 1999}).json() == {"year": 1999, "items": []}
    assert not {"x-total-count", "link"} & set(client.get(MONTHS).headers)


def test_it_has_csv_head_validators_and_refuses_parameters_that_it_does_not_know(client: httpx.Client) -> None:
    file = client.get(MONTHS, headers={"Accept": "text/csv"})
    assert file.text == "year,month,people\r\n2021,1,10\r\n2021,2,20\r\n"
    assert file.headers["content-disposition"] == 'attachment; filename="leavers-by-month-2021.csv"'
    file = client.get(MONTHS, params={"format": "csv", "year": "all"})
    assert file.text == "year,month,people\r\n2020,1,5\r\n2021,1,10\r\n2021,2,20\r\n"
    for address in (MONTHS, f"{MONTHS}?format=csv"):
        get, head = client.get(address), client.head(address)
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", get.headers["etag"])
        assert client.get(address, headers={"If-None-Match": get.headers["etag"]}).status_code == 304
    for name, value in (("year", "1899"), ("limit", "1"), ("month", "1")):
        answer = client.get(MONTHS, params={name: value})
        assert (answer.status_code, [error["parameter"] for error in answer.json()["errors"]]) == (422, [name])


def test_it_has_pages_when_its_response_is_one(client: httpx.Client) -> None:
    first = client.get(ALLOWANCES, params={"limit": 3})
    assert first.json() == {
        "items": [
            {"department": "(Sales)", "note": "", "change": 0.25},
            {"department": "=1+1", "note": "-", "change": None},
            {"department": "Zoo", "note": None, "change": -1.5},
        ],
        "most": 2,
        "total": 4,
        "limit": 3,
        "offset": 0,
    }
    assert first.headers["x-total-count"] == "4"
    assert [row["department"] for row in client.get(first.links["next"]["url"]).json()["items"]] == ["sales"]
    chosen = client.get(ALLOWANCES, params={"department": ["Zoo", "none"]}).json()
    assert (chosen["total"], chosen["most"]) == (1, -1.5)


def test_its_text_is_no_formula_in_csv_its_numbers_stay_numbers_and_both_keep_the_order(client: httpx.Client) -> None:
    file = client.get(ALLOWANCES, params={"format": "csv", "limit": 1})
    assert file.text == "department,note,change\r\n(Sales),\"\",0.25\r\n'=1+1,'-,\r\nZoo,,-1.5\r\nsales,a,2\r\n"
    assert file.headers["content-disposition"] == 'attachment; filename="allowances.csv"'


def test_it_changes_with_any_of_its_marts_and_with_no_other(client: httpx.Client, module_database: Database) -> None:
    def tag(address: str) -> str:
        return str(client.get(address).headers["etag"])

    months, allowances, csv = tag(MONTHS), tag(ALLOWANCES), tag(f"{ALLOWANCES}?format=csv")
    publish(module_database, names=["allowances"])
    eventually(lambda: tag(ALLOWANCES) != allowances)
    assert tag(MONTHS) == months
    assert tag(f"{ALLOWANCES}?format=csv") != csv
    allowances = tag(ALLOWANCES)
    publish(module_database, names=["leavers_by_month"])
    eventually(lambda: tag(ALLOWANCES) != allowances)
    assert tag(MONTHS) != months


def test_it_is_documented_with_its_example(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"][MONTHS]["get"]
    assert (operation["operationId"], operation["summary"]) == ("leavers_by_month", "Leavers by month")
    assert [parameter["name"] for parameter in operation["parameters"]] == ["year", "format", "bom"]
    content = operation["responses"]["200"]["content"]
    assert content["text/csv"]["example"] == "year,month,people\r\n2021,1,45\r\n"
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/LeaversByMonth"}
    assert document["components"]["schemas"]["LeaversByMonth"]["example"]["items"][1] == {"month": 2, "people": 38}
    paged = document["paths"][ALLOWANCES]["get"]
    assert [parameter["name"] for parameter in paged["parameters"]] == [
        "department",
        "limit",
        "offset",
        "format",
        "bom",
    ]
    assert {"Link", "X-Total-Count"} <= set(paged["responses"]["200"]["headers"])


def test_the_api_is_not_ready_before_its_mart_can_be_read(database: Database, new_metrics: tuple[Metric, ...]) -> None:
    build_marts(database)
    with serving(settings_for(database), metrics=(*METRICS, *new_metrics)) as client:
        assert client.get(MONTHS).status_code == 503
        assert client.get("/health/ready").status_code == 503
        database.execute(BUILD)
        assert client.get(MONTHS).status_code == 200
        assert client.get("/health/ready").status_code == 200
        database.execute("revoke select on marts.allowances from hiring_api")
        assert client.get("/health/ready").status_code == 503


def test_two_modules_with_the_same_path_do_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twins = {"one": MODULES["leavers_by_month"], "two": MODULES["leavers_by_month"]}
    with pytest.raises(ValueError, match=r"two: another metric has the slug leavers-by-month"):
        found_in(tmp_path, "twins", twins, monkeypatch)


@pytest.mark.parametrize(
    ("written", "instead", "words"),
    [
        ("aggregates=", "# ", "metric allowances: no aggregate and no parameter for most"),
        ('"example": EXAMPLE', "", "metric allowances: .* has no example"),
    ],
)
def test_missing_columns_of_a_metric_are_named_before_the_first_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, instead: str, words: str
) -> None:
    incomplete = MODULES["allowances"].replace(written, instead)
    with pytest.raises(ValueError, match=words):
        found_in(tmp_path, f"incomplete_{len(words)}", {"allowances": incomplete}, monkeypatch)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.slug)
def test_every_example_is_a_response(metric: Metric) -> None:
    example = dict(metric.example)
    assert example["items"]
    assert list(metric.response.model_validate(example, strict=True).model_dump()) == list(example)
    assert list(example["items"][0]) == list(metric.columns)


def exposures() -> dict[str, dict[str, Any]]:
    """Return dbt's exposures that are addresses of metrics, by address, wherever in the project they stand."""
    found = [
        exposure
        for path in (DBT_PROJECT / "models").rglob("*.yml")
        for exposure in (yaml.safe_load(path.read_text()) or {}).get("exposures", ())
    ]
    addresses = {exposure["label"].removeprefix("GET "): exposure for exposure in found}
    addresses |= {urlsplit(exposure.get("url", "")).path: exposure for exposure in found}
    served = {metric.path for metric in METRICS}
    return {
        address: exposure
        for address, exposure in addresses.items()
        if address in served or address.startswith("/metrics/")
    }


def test_each_metric_is_an_exposure_of_exactly_its_marts() -> None:
    """Otherwise a mart's lineage ends before the address that breaks when the mart changes."""
    reads = {
        address: {re.sub(r"\W*ref\(['\"](\w+)['\"]\)\W*", r"\1", ref) for ref in exposure["depends_on"]}
        for address, exposure in exposures().items()
    }
    assert reads == {metric.path: set(metric.marts) for metric in METRICS}


def test_the_marts_of_a_metric_are_those_that_its_sql_reads() -> None:
    """One that is not named could change without a new tag, and lack without the API being unready."""
    for metric in METRICS:
        read = {mart for query in (metric.json_query, metric.csv_query) for mart in re.findall(rb"marts\.(\w+)", query)}
        assert {mart.decode() for mart in read} - {"publications"} == set(metric.marts)


@pytest.mark.usefixtures("client")
def test_a_page_is_read_from_the_index_and_only_rows_of_its_departments_are_sorted(module_database: Database) -> None:
    """Materialized or in another order, each page would cost as much as all of them."""
    parameters = HIRES_BY_QUARTER.parameters().model_dump() | {"year": 2021}
    with module_database.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("""
            truncate marts.hires_by_quarter;
            create index on marts.hires_by_quarter (year, left(department, 300) collate "C");
            insert into marts.hires_by_quarter
            select year, d, 'Department ' || d, j, 'Job ' || j, 1, 0, 0, 0
            from generate_series(2012, 2021) as year, generate_series(1, 20) as d, generate_series(1, 100) as j;
            analyze marts.hires_by_quarter
        """)
        cursor = psycopg.ClientCursor(connection)
        cursor.execute(b"explain (costs off) " + HIRES_BY_QUARTER.json_query, parameters)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    page = plan.partition("Limit")[2].partition("Aggregate")[0]
    assert re.match(r"\s*->  Incremental Sort(\s*\w+ Key: .*)*\s*->  Index Scan using \w+ on hires_by_quarter", page), (
        plan
    )
    assert "CTE matching" not in plan
