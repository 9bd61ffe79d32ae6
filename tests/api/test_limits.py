"""How much, of what and for how long a client may send, and what it is told when it is too much."""

import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from api.keys import ApiKey, digest
from tests.api.conftest import KEY, serving, settings_for
from tests.api.test_employees import hire
from tests.conftest import Database

BODY = json.dumps([hire()]).encode()
LIMIT = 2**24


@pytest.fixture(scope="module")
def hasty_client(module_database: Database) -> Iterator[httpx.Client]:
    """A running API that waits for a body no longer than a moment."""
    with serving(settings_for(module_database, api_body_timeout_seconds=0.2)) as client:
        yield client


def post(client: httpx.Client, content: bytes | Iterator[bytes], **headers: str) -> httpx.Response:
    given = {"X-API-Key": KEY, "Content-Type": "application/json"} | headers
    return client.post("/employees", content=content, headers=given)


@pytest.mark.parametrize(
    "declared",
    ["application/json", "application/json; charset=utf-8", 'Application/JSON;Charset="UTF-8"'],
)
def test_json_in_utf_8_is_taken_however_it_is_declared(client: httpx.Client, declared: str) -> None:
    assert post(client, BODY, **{"Content-Type": declared}).status_code == 201


@pytest.mark.parametrize(
    "declared",
    [
        "", "text/plain", "text/csv", "application/x-www-form-urlencoded", "application/json; charset=latin-1",
        "application/jsonl", "application/problem+json", "json", "multipart/form-data; boundary=x",
    ],
)  # fmt: skip
def test_what_is_declared_as_anything_else_is_a_415(client: httpx.Client, declared: str) -> None:
    answer = post(client, BODY, **{"Content-Type": declared})
    assert (answer.status_code, answer.headers["content-type"]) == (415, "application/problem+json")


def test_a_body_of_more_than_16_mib_is_too_large_however_it_is_sent(client: httpx.Client) -> None:
    def in_parts(size: int) -> Iterator[bytes]:
        yield BODY
        for _ in range((size - len(BODY)) // 65536):
            yield b" " * 65536
        yield b" " * ((size - len(BODY)) % 65536)

    assert post(client, BODY.ljust(LIMIT)).status_code == 201
    assert post(client, in_parts(LIMIT)).status_code == 201
    for answer in (post(client, BODY.ljust(LIMIT + 1)), post(client, in_parts(LIMIT + 1))):
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


def raw_request(client: httpx.Client, head: str, body: bytes = b"") -> socket.socket:
    connection = socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10)
    lines = ["POST /employees HTTP/1.1", "Host: x", f"X-API-Key: {KEY}", "Content-Type: application/json", head]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return connection


def test_a_body_that_says_that_it_is_too_large_is_refused_before_it_is_sent(client: httpx.Client) -> None:
    with raw_request(client, f"Content-Length: {LIMIT + 1}") as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_trickles_in_is_not_waited_for(hasty_client: httpx.Client, module_database: Database) -> None:
    before = module_database.rows("select count(*) from raw.loads")
    with raw_request(hasty_client, f"Content-Length: {len(BODY)}") as connection:
        received = b""
        for byte in BODY:
            connection.sendall(bytes([byte]))
            connection.settimeout(0.02)
            try:
                received += connection.recv(65536)
            except TimeoutError:
                continue
            break
        connection.settimeout(10)
        while part := connection.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in received
    assert module_database.rows("select count(*) from raw.loads") == before


def test_more_requests_than_a_key_may_make_are_told_when_to_come_back(database: Database) -> None:
    keys = [ApiKey(name="other", sha256=digest(b"other"), scopes=["write"])]
    with serving(settings_for(database, api_rate_limit="3/second", api_keys=keys)) as client:
        # A window may end in between: of any six at once, at least one is beyond the third of its window.
        answers = [post(client, BODY) for _ in range(12)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert {answer.status_code for answer in answers} == {201, 429}
        assert post(client, BODY, **{"X-API-Key": "other"}).status_code == 201
        assert client.get("/health/live").status_code == 200
        time.sleep(int(refused[-1].headers["retry-after"]))
        assert post(client, BODY).status_code == 201
    assert database.rows("select count(*) from raw.loads") == [(14 - len(refused),)]
