"""A batch that is sent again with its Idempotency-Key is stored once, and gets the same response."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import httpx
import pytest

from api.keys import ApiKey, digest
from tests.api.conftest import KEY, serving, settings_for
from tests.api.test_employees import hire
from tests.conftest import Database
from tests.faults.tcp_faults import postgres_proxy


def send(client: httpx.Client, key: str, batch: list[Any], query: str = "", api_key: str = KEY) -> httpx.Response:
    headers = {"X-API-Key": api_key, "Idempotency-Key": key, "Content-Type": "application/json"}
    return client.post(f"/employees{query}", content=json.dumps(batch), headers=headers)


def loads(database: Database) -> int:
    return int(database.rows("select count(*) from raw.loads")[0][0])


def test_a_retry_gets_the_first_response_and_stores_nothing(client: httpx.Client, module_database: Database) -> None:
    batch = [hire(id=7), hire(id=8, name=" "), "no record", hire(id=7)]
    first = send(client, "one", batch, "?on_error=continue")
    before = loads(module_database)
    again = send(client, "one", batch, "?on_error=continue")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert loads(module_database) == before


def test_without_a_key_of_its_own_a_batch_sent_twice_is_two_loads(client: httpx.Client) -> None:
    headers = {"X-API-Key": KEY}
    first, second = (client.post("/employees", json=[hire()], headers=headers).json() for _ in range(2))
    assert first["load_id"] != second["load_id"]


def test_another_request_under_the_same_key_is_refused(client: httpx.Client, module_database: Database) -> None:
    assert send(client, "two", [hire()]).status_code == 201
    before = loads(module_database)
    for answer in (send(client, "two", [hire(id=2)]), send(client, "two", [hire()], "?on_error=continue")):
        assert answer.status_code == 422
        assert answer.json()["errors"] == [{"parameter": "Idempotency-Key", "detail": "belongs to another request"}]
    assert loads(module_database) == before


def test_a_batch_that_was_refused_leaves_its_key_free_for_the_corrected_one(client: httpx.Client) -> None:
    assert send(client, "three", [hire(job_id=0)]).status_code == 422
    assert send(client, "three", [hire(job_id=1)]).status_code == 201


def test_while_the_first_request_is_in_progress_its_retry_is_asked_to_wait(
    client: httpx.Client, module_database: Database
) -> None:
    with ThreadPoolExecutor(1) as threads, module_database.connect() as blocker, blocker.transaction():
        blocker.execute("lock table raw.hired_employees in access exclusive mode")
        first = threads.submit(send, client, "four", [hire()])
        waiting = "select count(*) from pg_stat_activity where usename = 'hiring_api' and wait_event_type = 'Lock'"
        while module_database.rows(waiting) != [(1,)]:
            pass
        retry = send(client, "four", [hire()])
        assert retry.status_code == 409
        assert int(retry.headers["retry-after"]) > 0
    assert first.result().status_code == 201
    assert send(client, "four", [hire()]).content == first.result().content


def test_one_of_many_concurrent_requests_to_several_processes_is_stored(database: Database) -> None:
    """Two servers are two pools and two event loops: only the database can tell which of the requests is the first."""
    with serving(settings_for(database)) as one, serving(settings_for(database)) as other:
        start = threading.Barrier(8)

        def post(client: httpx.Client) -> httpx.Response:
            start.wait()
            return send(client, "same", [hire()])

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(post, [one, other] * 4))
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert database.rows("select count(*) from raw.loads") == [(1,)]
    assert database.rows("select count(*) from raw.hired_employees") == [(1,)]


def test_two_clients_may_use_the_same_idempotency_key(database: Database) -> None:
    keys = [ApiKey(name=name, sha256=digest(name.encode()), scopes=["write"]) for name in ("payroll", "agency")]
    with serving(settings_for(database, api_keys=keys)) as client:
        first = send(client, "1", [hire()], api_key="payroll")
        second = send(client, "1", [hire(id=2)], api_key="agency")
    assert (first.status_code, second.status_code) == (201, 201)


def test_the_name_of_a_key_goes_over_to_its_successor_and_with_it_the_retries(database: Database) -> None:
    keys = [ApiKey(name="payroll", sha256=digest(key), scopes=["write"]) for key in (b"old", b"new")]
    with serving(settings_for(database, api_keys=keys)) as client:
        first = send(client, "1", [hire()], api_key="old")
        assert send(client, "1", [hire()], api_key="new").content == first.content


def test_after_a_day_the_key_is_free_and_responses_are_deleted_in_batches_of_a_hundred(database: Database) -> None:
    """A batch never waits for a long cleanup: expired keys that are not deleted yet have no effect."""
    with serving(settings_for(database)) as client:
        first = send(client, "one", [hire()]).json()["load_id"]
        database.execute("update raw.batch_answers set answered_at = now() - interval '24 hours 1 second'")
        database.execute(
            "insert into raw.batch_answers select sender, 'old-' || n, request, load_id, answer, '2021-01-01' "
            "from raw.batch_answers, generate_series(1, 100) as n"
        )
        assert send(client, "one", [hire(id=2)]).json()["load_id"] > first
        left = database.rows("select idempotency_key, answered_at > now() - interval '1 hour' from raw.batch_answers")
        assert left == [("one", True)]


@pytest.mark.parametrize(
    ("key", "detail"),
    [
        ("", "String should have at least 1 character"),
        ("two words", "has characters that are not allowed"),
        ("x" * 256, "String should have at most 255 characters"),
        ("ü", "has characters that are not allowed"),
    ],
)
def test_an_idempotency_key_is_a_word_of_ascii(client: httpx.Client, key: str, detail: str) -> None:
    headers = [(b"X-API-Key", KEY.encode()), (b"Idempotency-Key", key.encode())]
    answer = client.post("/employees", json=[hire()], headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"parameter": "Idempotency-Key", "detail": detail}]


@pytest.mark.parametrize(("moment", "stored_at_first"), [("before", 0), ("after", 1)])
def test_a_connection_that_breaks_around_the_commit_costs_a_retry_and_no_record(
    database: Database, moment: Literal["before", "after"], stored_at_first: int
) -> None:
    """After a lost response it is unknown whether the commit took place: the retry finds out."""
    with postgres_proxy(database.postgres.host) as proxy:
        with serving(settings_for(database, pghost=str(proxy.folder))) as client:
            proxy.at_commit = {1: moment}
            assert send(client, "lost", [hire()]).status_code == 503
            while len(database.rows("select from raw.loads")) < stored_at_first:
                pass
            # Until the server has noticed that the connection is gone, the first request is under way to it.
            while (again := send(client, "lost", [hire()])).status_code == 409:
                pass
        assert again.status_code == 201
        assert ("idempotency-replayed" in again.headers) == bool(stored_at_first)
    assert database.rows("select load_id from raw.loads") == [(again.json()["load_id"],)]
    assert database.rows("select count(*) from raw.hired_employees") == [(1,)]


def test_the_first_response_outlives_its_process(database: Database) -> None:
    """The client's connection broke, so it cannot know whether its batch was stored: the retry returns that."""
    with serving(settings_for(database)) as client:
        batch = [hire()]
        first = send(client, "lost", batch)
    with serving(settings_for(database)) as restarted:
        again = send(restarted, "lost", batch)
    assert again.content == first.content
    assert database.rows("select count(*) from raw.loads") == [(1,)]
