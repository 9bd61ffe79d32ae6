"""The response to a batch links to its state: how many records count, and how many do not."""

from datetime import datetime

import httpx
import pytest

from api.keys import ApiKey, digest
from tests.api.conftest import KEY, build_marts, publish, serving, settings_for
from tests.api.test_employees import hire
from tests.conftest import Database

NUMBERS = ("accepted", "superseded", "withdrawn", "waiting", "rejected")


def post(client: httpx.Client, *records: object, key: str = KEY) -> httpx.Response:
    answer = client.post("/employees?on_error=continue", json=records, headers={"X-API-Key": key})
    assert answer.status_code == 201
    return answer


def see(database: Database, load_id: int, *, is_published: bool) -> None:
    """Let a build see a batch: of five records two count, and of each other kind there is one but no withdrawn one."""
    publish(database, f"insert into marts.batches values ({load_id}, {is_published}, 2, 1, 0, 1, 1)")


def test_until_a_build_shows_it_a_batch_is_stored_and_then_published(
    client: httpx.Client, module_database: Database
) -> None:
    answer = post(client, hire(), hire(id=0), "no record", hire(id=2), hire(id=3))
    load_id = answer.json()["load_id"]
    # The URL is relative to the requested one.
    address = answer.url.join(answer.headers["location"])
    stored = client.get(address)
    assert (stored.status_code, address.path) == (200, f"/loads/{load_id}")
    found = stored.json()
    received_at = datetime.fromisoformat(found.pop("received_at"))
    assert received_at.utcoffset() is not None
    assert module_database.rows("select completed_at from raw.loads where load_id = %s", load_id) == [(received_at,)]
    nothing = dict.fromkeys(NUMBERS)
    assert found == {**nothing, "load_id": load_id, "status": "stored", "records": 5, "rejected": 2}

    see(module_database, load_id, is_published=False)
    assert client.get(address).content == stored.content
    publish(module_database, f"update marts.batches set is_published = true where load_id = {load_id}")
    found = client.get(address).json()
    assert [found[name] for name in ("status", "records", *NUMBERS)] == ["published", 5, 2, 1, 0, 1, 1]
    assert datetime.fromisoformat(found["received_at"]) == received_at


def test_a_response_is_never_older_than_the_build(client: httpx.Client, module_database: Database) -> None:
    """A client that waits for its hires to count must not get an old response."""
    load_id = post(client, hire()).json()["load_id"]
    before = client.get(f"/loads/{load_id}")
    assert before.headers["cache-control"] == "no-cache"
    conditional = {"If-None-Match": before.headers["etag"]}
    known = client.get(f"/loads/{load_id}", headers=conditional)
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", before.headers["etag"])
    assert client.get(f"/loads/{load_id}", headers={"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}).content
    module_database.execute(f"insert into marts.batches values ({load_id}, true, 1, 0, 0, 0, 0)")
    after = client.get(f"/loads/{load_id}", headers=conditional)
    assert (after.status_code, after.json()["status"]) == (200, "published")
    head = client.head(f"/loads/{load_id}")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", after.headers["etag"])


def test_nothing_is_said_about_files_or_about_numbers_that_no_batch_has(
    client: httpx.Client, module_database: Database
) -> None:
    ((of_a_file,),) = module_database.rows("""
        insert into raw.loads
            (table_name, source, bucket, key, version, status, records, loaded, malformed, rejected, completed_at)
        values ('jobs', 'object', 'b', 'k', 'v', 'complete', 1, 1, 0, 0, now())
        returning load_id
    """)
    for number in (of_a_file, 0, 10**9, 2**63 - 1, 2**63, 10**30):
        answer = client.get(f"/loads/{number}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert answer.json()["detail"] == "There is no batch over HTTP with this number."


@pytest.mark.parametrize("number", ["x", "1.0", "-1", "+1", "%201", "1_0", "٣", "9" * 5000, "latest"])
def test_a_value_that_is_not_a_number_is_named(client: httpx.Client, number: str) -> None:
    answer = client.get(f"/loads/{number}")
    assert answer.status_code == 422
    assert [error["parameter"] for error in answer.json()["errors"]] == ["load_id"]


def test_a_parameter_is_refused_here_as_everywhere(client: httpx.Client) -> None:
    load_id = post(client, hire()).json()["load_id"]
    answer = client.get(f"/loads/{load_id}?verbose=1")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"parameter": "verbose", "detail": "is not a known field"}]


def test_before_the_first_build_a_batch_is_stored(database: Database) -> None:
    with serving(settings_for(database)) as client:
        load_id = post(client, hire()).json()["load_id"]
        assert client.get(f"/loads/{load_id}").json()["status"] == "stored"
        build_marts(database)
        database.execute("revoke select on marts.batches from hiring_api")
        assert client.get(f"/loads/{load_id}").json()["status"] == "stored"


def test_a_write_only_key_can_read_the_state_of_loads_and_nothing_else(database: Database) -> None:
    build_marts(database)
    keys = [
        ApiKey(name=scope, sha256=digest(scope.encode()), scopes=[scope])  # type: ignore[list-item]
        for scope in ("read", "write")
    ]
    with serving(settings_for(database, api_open_reads=False, api_keys=keys)) as client:
        address = f"/loads/{post(client, hire(), key='write').json()['load_id']}"
        for key, status in (("write", 200), ("read", 200), ("other", 401), ("", 401)):
            assert client.get(address, headers={"X-API-Key": key}).status_code == status
        for closed in ("/completeness", "/metrics/hires-by-quarter", "/"):
            assert client.get(closed, headers={"X-API-Key": "write"}).status_code == 403
        assert client.delete(address, headers={"X-API-Key": "read"}).status_code == 403


def test_the_role_of_the_api_cannot_read_the_ledger_itself(database: Database) -> None:
    rights = database.rows("""
        select
            has_table_privilege('hiring_api', 'raw.loads', 'select'),
            has_function_privilege('hiring_api', 'raw.find_batch(bigint)', 'execute'),
            has_function_privilege('hiring_transformer', 'raw.find_batch(bigint)', 'execute')
    """)
    assert rights == [(False, True, False)]
