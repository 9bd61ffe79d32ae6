"""CSV: when it is returned, and that it is complete, safe to open, and blocks nobody."""

import asyncio
import codecs
import csv
import io
import itertools
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from api import database as api
from tests.api.conftest import build_marts, publish, serving, settings_for, settings_without_database
from tests.conftest import Database

HIRES = "/metrics/hires-by-quarter"
ABOVE = "/metrics/departments-above-mean"
NAMES = [
    "Sales",
    'R&D, "new"',
    "two\nlines",
    "two\r\nlines",
    "\U0001f600 Ärzte",
    "",
    "\\.",
    "a=b",
    " padded ",
    "'quoted'",
]
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://evil.example","x")']


@pytest.fixture(scope="module")
def client(module_database: Database) -> Iterator[httpx.Client]:
    build_marts(module_database)
    with module_database.connect() as connection:
        cursor = connection.cursor()
        for number, name in enumerate([*NAMES, *FORMULAS]):
            cursor.execute(
                "insert into marts.hires_by_quarter values (2021, %s, %s, 1, %s, %s, 0, 1, 2)",
                [number, name, name, number],
            )
            cursor.execute("insert into marts.departments_above_mean values (2021, %s, %s, 5, 2.5)", [number, name])
        cursor.execute("""
            insert into marts.hires_by_quarter
            select 2020, 1, 'Sales', job, 'A job with a name of some length, number ' || job, 1, 1, 1, 1
            from generate_series(1, 150000) as job
        """)
    publish(module_database)
    with serving(settings_for(module_database)) as client:
        yield client


def rows(answer: httpx.Response) -> list[list[str]]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    return list(csv.reader(io.StringIO(answer.content.decode(), newline=""), strict=True))


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", "text/csv"),
        ("TEXT/CSV; charset=utf-8", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv, */*;q=0.1", "text/csv"),
        ("application/json;q=0.5, text/csv;q=0.6", "text/csv"),
        ("application/json;q=0, */*", "text/csv"),
        ("application/json;q=0.6, text/csv;q=0.5", "application/json"),
        ("application/json, text/csv", "application/json"),
        ("text/csv;q=0, */*", "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("image/png", "application/json"),
        ("", "application/json"),
        ("nonsense", "application/json"),
        ("text/csv," * 5000, "application/json"),
    ],
)
def test_the_format_is_what_the_client_likes_best(client: httpx.Client, accept: str, kind: str) -> None:
    for path in (HIRES, ABOVE):
        answer = client.get(path, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)
        assert "accept" in answer.headers["vary"].lower()


@pytest.mark.parametrize(("parameter", "accept"), [("csv", "application/json"), ("json", "text/csv")])
def test_the_parameter_goes_before_the_header(client: httpx.Client, parameter: str, accept: str) -> None:
    answer = client.get(HIRES, params={"format": parameter}, headers={"Accept": accept})
    assert parameter in answer.headers["content-type"]


def test_it_has_the_columns_of_the_contract_and_comes_as_a_file(client: httpx.Client) -> None:
    hires, above = client.get(HIRES, params={"format": "csv"}), client.get(ABOVE, params={"format": "csv"})
    assert rows(hires)[0] == ["year", "department", "job", "Q1", "Q2", "Q3", "Q4"]
    assert rows(above)[0] == ["year", "id", "department", "hired"]
    assert hires.headers["content-disposition"] == 'attachment; filename="hires-by-quarter-2021.csv"'
    assert above.headers["content-disposition"] == 'attachment; filename="departments-above-mean-2021.csv"'
    assert hires.content.startswith(b"year,department,job,Q1,Q2,Q3,Q4\r\n")
    assert hires.content.endswith(b"\r\n")


def test_every_name_comes_through_and_none_is_a_formula(client: httpx.Client) -> None:
    ordered = sorted(enumerate([*NAMES, *FORMULAS]), key=lambda pair: pair[1])
    shown = [(str(number), "'" + name if name in FORMULAS else name) for number, name in ordered]
    assert rows(client.get(HIRES, params={"format": "csv"}))[1:] == [
        ["2021", name, name, number, "0", "1", "2"] for number, name in shown
    ]
    by_number = sorted(shown, key=lambda pair: int(pair[0]))
    assert rows(client.get(ABOVE, params={"format": "csv"}))[1:] == [
        ["2021", number, name, "5"] for number, name in by_number
    ]


def test_it_is_the_complete_result_of_a_selection_regardless_of_the_page(client: httpx.Client) -> None:
    chosen = {"format": "csv", "department": ["Sales", "a=b"], "limit": 1, "offset": 1}
    assert [row[1] for row in rows(client.get(HIRES, params=chosen))] == ["department", "Sales", "a=b"]
    many = rows(client.get(HIRES, params={"format": "csv", "year": 2020}))
    assert len(many) == 150_001


def test_a_year_without_data_is_a_header_alone(client: httpx.Client) -> None:
    assert len(rows(client.get(HIRES, params={"format": "csv", "year": 1999}))) == 1
    assert len(rows(client.get(ABOVE, params={"format": "csv", "year": 1999}))) == 1


def test_several_years_are_one_file_in_order_and_all_are_those_that_have_rows(client: httpx.Client) -> None:
    def file(address: str, *asked: int | str) -> httpx.Response:
        return client.get(address, params={"format": "csv", "year": asked})

    several, header = file(HIRES, 2021, 2020, 2021, 1999).content, file(HIRES, 1999).content
    assert several == file(HIRES, 2020).content + file(HIRES, 2021).content.removeprefix(header)
    assert file(HIRES, "all").content == several
    assert file(ABOVE, "all").content == file(ABOVE, 2021).content


def test_a_file_of_several_years_has_them_in_its_name_and_its_own_etag(client: httpx.Client) -> None:
    def file(*asked: int | str) -> tuple[str, str]:
        answer = client.head(ABOVE, params={"format": "csv", "year": asked})
        assert client.head(answer.url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        return answer.headers["content-disposition"].partition('filename="')[2].rstrip('"'), answer.headers["etag"]

    names, tags = zip(*[file(2021), file("all"), file(2021, 2019), file(2019, 2020, 2021)], strict=True)
    assert names == (
        "departments-above-mean-2021.csv",
        "departments-above-mean-all.csv",
        "departments-above-mean-2019-to-2021.csv",
        "departments-above-mean-2019-to-2021.csv",
    )
    assert len({*tags}) == 4
    assert file(2021, 2019) == file(2019, 2021)


@pytest.mark.parametrize(
    "year", ["1899", "2021.5", "+2021", "all,2021", ["2020", "x"], ["all", "2021"], "ALL", ""], ids=str
)
def test_a_year_of_several_that_is_wrong_is_refused_by_name(client: httpx.Client, year: str | list[str]) -> None:
    answer = client.get(HIRES, params={"format": "csv", "year": year})
    assert answer.status_code == 422
    assert {error["parameter"] for error in answer.json()["errors"]} == {"year"}


@pytest.mark.parametrize("year", ["all", ["2020", "2021"], ["2021", "2021"]], ids=str)
def test_several_years_are_only_for_csv(client: httpx.Client, year: str | list[str]) -> None:
    """The JSON of a metric says which year it is of: clients would take the first of several for all."""
    answer = client.get(ABOVE, params={"year": year})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"parameter": "year", "detail": "is one year for JSON; several years, or all, are for CSV: format=csv"}
    ]
    assert client.get(ABOVE, params={"year": year}, headers={"Accept": "text/csv"}).status_code == 200


def test_a_byte_order_mark_comes_first_only_if_it_is_requested(client: httpx.Client) -> None:
    plain = client.get(ABOVE, params={"format": "csv"})
    marked = client.get(ABOVE, params={"format": "csv", "bom": "true"})
    assert marked.content == codecs.BOM_UTF8 + plain.content
    assert marked.headers["content-length"] == str(len(marked.content))
    assert marked.headers["etag"] != plain.headers["etag"]
    assert client.get(ABOVE, params={"format": "csv", "bom": "false"}).content == plain.content
    assert client.get(ABOVE, params={"bom": "true"}).content == client.get(ABOVE).content
    assert client.get(ABOVE, params={"bom": "perhaps"}).status_code == 422


def test_a_client_that_reads_slowly_does_not_hold_up_a_build(client: httpx.Client, module_database: Database) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(f"GET {HIRES}?format=csv&year=2020 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert slow.recv(15) == b"HTTP/1.1 200 OK"
        with module_database.connect() as connection, connection.transaction():
            connection.execute("set local lock_timeout = '1s'")
            connection.execute("lock table marts.hires_by_quarter in access exclusive mode")


def test_an_error_on_the_way_is_an_error_and_not_a_file_that_looks_whole(database: Database) -> None:
    build_marts(database)
    database.execute("""
        drop table marts.hires_by_quarter;
        create view marts.hires_by_quarter as
        select 2021 as year, 1 as department_id, 'Sales' as department, id as job_id, 'Clerk' as job,
            1 / (50000 - id) as q1, 0 as q2, 0 as q3, 0 as q4
        from generate_series(1, 50000) as id;
        grant select on marts.hires_by_quarter to hiring_api
    """)
    with serving(settings_for(database)) as client:
        assert client.get(HIRES, params={"format": "csv"}).status_code == 500


ANOTHER_TABLE = """
    create table marts.draft (like marts.hires_by_quarter);
    insert into marts.draft
    select 2021, 1, 'Sales', job, 'Clerk', {number}, 0, 0, 0 from generate_series(1, 500) as job;
    grant select on marts.draft to hiring_api;
    alter table marts.hires_by_quarter rename to old;
    alter table marts.draft rename to hires_by_quarter;
    drop table marts.old
"""
THE_SAME_TABLE = "update marts.hires_by_quarter set q1 = {number}"


@pytest.mark.parametrize("build", [ANOTHER_TABLE, THE_SAME_TABLE], ids=["another table", "the same table"])
def test_every_file_is_of_one_build_while_builds_follow_each_other(database: Database, build: str) -> None:
    """The silent failure: a snapshot that is older than the table that replaced the mart sees no rows in it."""
    build_marts(database)
    publish(database, ANOTHER_TABLE.format(number=0))
    with serving(settings_for(database)) as client, ThreadPoolExecutor() as threads:
        building = threads.submit(lambda: [publish(database, build.format(number=number)) for number in range(1, 40)])
        of_tag: dict[str, str] = {}
        while not building.done():
            answer = client.get(HIRES, params={"format": "csv"})
            _, *data = rows(answer)
            assert len(data) == 500
            (number,) = {row[3] for row in data}
            assert of_tag.setdefault(answer.headers["etag"], number) == number
        building.result()
    assert len(of_tag) > 3
    assert len(set(of_tag.values())) == len(of_tag)


def test_it_may_take_as_long_as_rows_come(tmp_path: Path) -> None:
    written = itertools.count()

    async def copy() -> str:
        await asyncio.sleep(1.4)
        return "done"

    async def wait(progress: Callable[[], int]) -> str:
        settings = settings_without_database(tmp_path, api_database_timeout_seconds=0.1)
        return await api.Database(settings).in_time(copy(), progress)

    assert asyncio.run(wait(lambda: next(written))) == "done"
    with pytest.raises(psycopg.OperationalError):
        asyncio.run(wait(lambda: 0))


def test_a_table_that_is_locked_for_too_long_is_a_503(module_database: Database) -> None:
    with serving(settings_for(module_database, api_database_timeout_seconds=0.2)) as hasty:
        with module_database.connect() as blocker, blocker.transaction():
            blocker.execute("lock table marts.hires_by_quarter in access exclusive mode")
            assert hasty.get(HIRES, params={"format": "csv"}).status_code == 503
        assert hasty.get(HIRES, params={"format": "csv"}).status_code == 200
