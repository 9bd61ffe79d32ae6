"""What no number includes is shown with the numbers: as JSON for programs, on the page for people."""

import httpx
import pytest

from api.pipeline.completeness import Completeness
from tests.api.conftest import build_marts, eventually, publish, serving, settings_for
from tests.conftest import Database

TABLES = """
    truncate marts.completeness, marts.missing_references;
    insert into marts.completeness
        (table_name, loads, last_load_id, last_completed_at, open_records, waiting, withdrawn)
    values
        ('jobs', 0, null, null, 0, 0, 0),
        ('hired_employees', 2, 7, '2021-07-27T18:02:08+02:00', 3, 8, 1);
    insert into marts.missing_references
        (table_name, column_name, missing_from, id, waiting, waiting_since)
    values
        ('hired_employees', 'job_id', 'jobs', '10', 1, '2021-07-27T16:00:00Z'),
        ('hired_employees', 'job_id', 'jobs', '9', 1, '2021-07-27T16:00:00Z'),
        ('hired_employees', 'department_id', 'departments', '99', 6, '2021-01-01T00:00:00Z')
"""


def test_it_reports_missing_records_by_table_and_the_most_awaited_ids_first(
    client: httpx.Client, module_database: Database
) -> None:
    publish(module_database, TABLES)
    eventually(lambda: client.get("/completeness").json()["tables"] != [])
    assert client.get("/completeness").json() == {
        "tables": [
            {
                "table_name": "hired_employees", "loads": 2, "last_load_id": 7,
                "last_completed_at": "2021-07-27T16:02:08Z", "open_records": 3, "waiting": 8, "withdrawn": 1,
            },
            {
                "table_name": "jobs", "loads": 0, "last_load_id": None, "last_completed_at": None,
                "open_records": 0, "waiting": 0, "withdrawn": 0,
            },
        ],
        "missing_references": [
            {
                "table_name": "hired_employees", "column_name": column, "missing_from": table,
                "id": id_, "waiting": waiting, "waiting_since": since,
            }
            for column, table, id_, waiting, since in (
                ("department_id", "departments", "99", 6, "2021-01-01T00:00:00Z"),
                ("job_id", "jobs", "9", 1, "2021-07-27T16:00:00Z"),
                ("job_id", "jobs", "10", 1, "2021-07-27T16:00:00Z"),
            )
        ],
        "total_missing_references": 3,
    }  # fmt: skip


def test_it_is_cached_until_a_build_changes_it_and_then_forgotten(database: Database) -> None:
    build_marts(database)
    publish(database, TABLES)
    with serving(settings_for(database)) as client:
        # The API has received all notifications of its start.
        eventually(lambda: client.get("/metrics/hires-by-quarter").status_code == 200)
        before = client.get("/completeness")
        assert {"etag", "last-modified", "cache-control"} <= set(before.headers)
        conditional = {"If-None-Match": before.headers["etag"]}
        assert client.get("/completeness", headers=conditional).status_code == 304
        head = client.head("/completeness")
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", before.headers["etag"])
        publish(database, "update marts.completeness set waiting = 9", names=["completeness"])
        eventually(lambda: client.get("/completeness", headers=conditional).status_code == 200)
        assert {table["waiting"] for table in client.get("/completeness").json()["tables"]} == {9}


def test_of_any_number_of_missing_ids_those_that_most_wait_for_are_listed(
    client: httpx.Client, module_database: Database
) -> None:
    publish(
        module_database,
        """
        truncate marts.missing_references;
        insert into marts.missing_references
            (table_name, column_name, missing_from, id, waiting, waiting_since)
        select 'hired_employees', 'job_id', 'jobs', n::text, n, now() from generate_series(1, 1500) as n
        """,
    )
    eventually(lambda: client.get("/completeness").json()["total_missing_references"] == 1500)
    listed = client.get("/completeness").json()["missing_references"]
    assert [each["waiting"] for each in listed] == [*range(1500, 500, -1)]


def test_without_built_marts_it_asks_to_retry(database: Database) -> None:
    with serving(settings_for(database)) as client:
        answer = client.get("/completeness")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")


def test_a_parameter_is_refused_here_as_everywhere(client: httpx.Client) -> None:
    answer = client.get("/completeness?year=2021")
    assert answer.status_code == 422
    assert [error["parameter"] for error in answer.json()["errors"]] == ["year"]


@pytest.mark.parametrize("missing", ["open_records", "waiting", "withdrawn"])
def test_a_single_record_is_enough_to_be_incomplete(missing: str) -> None:
    table = {"table_name": "jobs", "loads": 1, "last_load_id": 1, "last_completed_at": "2021-01-01T00:00:00Z"}
    zeros = {"open_records": 0, "waiting": 0, "withdrawn": 0}
    for changes, is_whole in (({}, True), ({missing: 1}, False)):
        found = Completeness.model_validate(
            {"tables": [table | zeros | changes], "missing_references": [], "total_missing_references": 0}
        )
        assert found.is_whole == is_whole
