"""The response to a batch says which hires do not count yet, because their department or job is unknown.

Without it they would wait in silence: a batch that is stored looks like one that counts.
"""

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.employees.hires import HireModel
from api.employees.references import find_waiting
from contracts import Column, LogicalType, table_named
from tests.api.conftest import KEY, build_marts, eventually, publish, serving, settings_for
from tests.api.test_employees import hire, send
from tests.conftest import Database

STORED = "Stored. The metrics follow with the pipeline's next build"
NOT_KNOWN = (
    f"{STORED}, but for hires that wait for their department or job; whether there are any is not known right now."
)
OTHERS = " The others follow with the pipeline's next build."
KNOWN = """
    insert into marts.known_departments select n, 'Department ' || n from generate_series(1, 3) as n;
    insert into marts.known_jobs select n, 'Job ' || n from generate_series(1, 3) as n
"""


@pytest.fixture(scope="module")
def client(module_database: Database) -> Iterator[httpx.Client]:
    """A running API for which the last build knows three departments and three jobs."""
    build_marts(module_database)
    publish(module_database, KNOWN)
    with serving(settings_for(module_database)) as client:
        yield client


def told(answer: httpx.Response) -> tuple[int | None, str]:
    assert answer.status_code == 201, answer.text
    return answer.json()["waiting"], answer.json()["note"]


@pytest.mark.parametrize(
    ("references", "waiting", "note"),
    [
        ([(1, 1), (2, 3)], 0, f"{STORED}."),
        (
            [(99, 1), (1, 1), (99, 7)],
            2,
            "Stored. 2 of these hires wait for department 99 and job 7, which are not known yet; "
            f"they count as soon as these arrive.{OTHERS}",
        ),
        (
            [(1, 7.0)],
            1,
            "Stored. 1 of these hires waits for job 7, which is not known yet; it counts as soon as that arrives.",
        ),
        (
            [(10, 1), (9, 8), (8, 9)],
            3,
            "Stored. 3 of these hires wait for department 8, department 9, department 10, job 8 and job 9, "
            "which are not known yet; they count as soon as these arrive.",
        ),
        (
            [(n, n) for n in range(101, 601)],
            500,
            f"Stored. 500 of these hires wait for {', '.join(f'department {n}' for n in range(101, 111))} "
            "and 990 more, which are not known yet; they count as soon as these arrive.",
        ),
    ],
)
def test_the_response_says_how_many_hires_wait_and_for_what(
    client: httpx.Client, references: list[tuple[Any, Any]], waiting: int, note: str
) -> None:
    batch = [hire(id=n, department_id=one, job_id=other) for n, (one, other) in enumerate(references, 1)]
    assert told(send(client, batch)) == (waiting, note)


def test_a_record_that_is_kept_apart_does_not_wait(client: httpx.Client) -> None:
    answer = client.post(
        "/employees?on_error=continue",
        content=json.dumps([hire(department_id=99, job_id=0), None, hire(job_id=8, department_id=1)]),
        headers={"X-API-Key": KEY, "Content-Type": "application/json"},
    )
    assert told(answer)[0] == 1
    assert "department 99" not in told(answer)[1]


def test_a_retry_gets_the_first_response_whatever_has_arrived_since(
    client: httpx.Client, module_database: Database
) -> None:
    def post(key: str) -> httpx.Response:
        headers = {"X-API-Key": KEY, "Idempotency-Key": key}
        return client.post("/employees", json=[hire(department_id=50, job_id=1)], headers=headers)

    first = post("first")
    assert told(first)[0] == 1
    publish(module_database, "insert into marts.known_departments values (50, 'Arrived')")
    eventually(lambda: told(send(client, [hire(department_id=50, job_id=1)]))[0] == 0)
    again = post("first")
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert told(post("another"))[0] == 0


def test_while_no_mart_changes_known_responses_need_no_query(client: httpx.Client, module_database: Database) -> None:
    """A query for each batch would make each as slow as the tables of departments and jobs are long."""
    departments = itertools.count(1000)

    def waits(department: int) -> bool:
        return told(send(client, [hire(department_id=department, job_id=1)]))[0] == 1

    def is_kept() -> bool:
        department = next(departments)
        assert waits(department)
        module_database.execute(f"insert into marts.known_departments values ({department}, 'Nobody is told of it')")
        return waits(department)

    # Changes that earlier tests have made may not all have been heard of.
    eventually(is_kept)
    assert all(is_kept() for _ in range(5))
    publish(module_database)
    eventually(lambda: not waits(1000))


def test_before_the_first_build_a_batch_is_stored_and_it_is_unknown_which_hires_wait(database: Database) -> None:
    with serving(settings_for(database)) as client:
        assert told(send(client, [hire()])) == (None, NOT_KNOWN)
        build_marts(database)
        publish(database, KNOWN)
        eventually(lambda: told(send(client, [hire(department_id=1, job_id=1)]))[0] == 0)


@pytest.mark.parametrize(
    ("trouble", "repair"),
    [
        ("alter table marts.known_jobs rename id to number", "alter table marts.known_jobs rename number to id"),
        ("revoke select on marts.known_jobs from hiring_api", "grant select on marts.known_jobs to hiring_api"),
    ],
)
def test_marts_that_cannot_be_read_keep_no_batch_out(database: Database, trouble: str, repair: str) -> None:
    build_marts(database)
    database.execute(trouble)
    with serving(settings_for(database)) as client:
        assert [told(send(client, [hire()])) for _ in range(3)] == [(None, NOT_KNOWN)] * 3
        # Without a notification.
        database.execute(repair)
        eventually(lambda: told(send(client, [hire()]))[0] == 1)


def test_a_mart_that_is_locked_holds_no_batch_up_for_long(database: Database) -> None:
    build_marts(database)
    limit = 8
    settings = settings_for(database, api_database_timeout_seconds=limit, api_pool_size=1)
    with serving(settings) as client, database.connect() as connection:
        started = time.monotonic()
        with connection.transaction():
            connection.execute("lock table marts.known_jobs in access exclusive mode")
            assert [told(send(client, [hire()])) for _ in range(3)] == [(None, NOT_KNOWN)] * 3
        # Nor does the query continue on the only connection.
        assert time.monotonic() - started < limit
        eventually(lambda: told(send(client, [hire()]))[0] == 1)


def test_a_reference_is_compared_by_its_meaning_and_may_be_missing_where_it_is_not_required() -> None:
    """For any contract: text keys are trimmed as in dbt, and a missing value waits for nothing."""
    table = table_named("hired_employees")
    column = Column("region", LogicalType.STRING, required=False, references=("jobs", "id"))
    hires = HireModel(replace(table, columns=(*table.columns, column)))
    known = {"departments": frozenset([1]), "jobs": frozenset([1, "north"])}
    batch = [
        {"department_id": 1, "job_id": 1, **more}
        for more in ({}, {"region": None}, {"region": " \t"}, {"region": "\u00a0north "}, {"region": " south"})
    ]
    assert find_waiting(batch, hires.references, known) == (1, ["job south"])


def test_no_name_of_a_person_is_ever_in_the_note(client: httpx.Client) -> None:
    answer = send(client, [hire(name="Ada Lovelace", department_id=99)])
    assert "Ada" not in answer.text
