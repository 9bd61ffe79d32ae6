"""Limits of size, content and duration of requests, and the responses to requests that exceed them."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest

from api.employees import receipts
from api.employees.receipts import Judged
from api.keys import ApiKey, digest
from tests.api.conftest import KEY, serving, settings_for
from tests.api.test_employees import hire
from tests.conftest import Database

BODY = json.dumps([hire()]).encode()
LIMIT = 2**22


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
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;Charset="UTF-8"',
        "application/json;charset=utf8",
        'application/json; charset="Utf8"',
        "application/json; charset=csUTF8",
    ],
)
def test_json_in_utf_8_is_accepted_however_it_is_declared(client: httpx.Client, declared: str) -> None:
    assert post(client, BODY, **{"Content-Type": declared}).status_code == 201


@pytest.mark.parametrize(
    "declared",
    [
        f"application/json; x={'x' * 1000}; charset=latin-1",
        "", "text/plain", "text/csv", "application/x-www-form-urlencoded", "application/json; charset=latin-1",
        "application/jsonl", "application/problem+json", "json", "multipart/form-data; boundary=x",
    ],
)  # fmt: skip
def test_any_other_content_type_is_a_415(client: httpx.Client, declared: str) -> None:
    answer = post(client, BODY, **{"Content-Type": declared})
    assert (answer.status_code, answer.headers["content-type"]) == (415, "application/problem+json")


def test_a_charset_that_is_not_read_is_named(client: httpx.Client) -> None:
    answer = post(client, BODY, **{"Content-Type": "application/json; charset=UTF-16"})
    assert answer.status_code == 415
    assert "utf-16" in answer.json()["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_a_content_encoding_that_is_not_read_is_named(client: httpx.Client, encoding: str) -> None:
    answer = post(client, BODY, **{"Content-Encoding": encoding})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    assert encoding in answer.json()["detail"]
    assert post(client, BODY, **{"Content-Encoding": "identity"}).status_code == 201


MANY = "has more values than a batch can have"
DEEP = "is nested too deeply"
UNREADABLE = "cannot be read as JSON in UTF-8"
TOO_MUCH = {
    "arrays": (b"[]," * 1_300_000, MANY),
    "objects": (b"{}," * 1_300_000, MANY),
    "numbers": (b"1," * 2_000_000, MANY),
    "strings": (b'"",' * 1_300_000, MANY),
    "strings alone": (b'"" ' * 1_300_000, MANY),
    "fields": (b"{" + b",".join(b'"%x":0' % number for number in range(300_000)) + b"},", MANY),
    "fields of arrays": (b"[" * 500 + b"]" * 500 + b",", None),
    "arrays in arrays": (b"[" * 30_000, DEEP),
    "endless arrays in arrays": (b"[" * 4_000_000, MANY),
    "broken": (b'"' * 33_001, UNREADABLE),
}


@pytest.mark.parametrize(("inside", "detail"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_no_batch_can_be_is_refused_for_its_size_or_its_depth(
    client: httpx.Client, inside: bytes, detail: str | None
) -> None:
    answer = post(client, b"[" + inside + b"1]")
    assert answer.status_code == 422
    (error,) = answer.json()["errors"][:1]
    assert detail is None or error == {"pointer": "", "detail": detail}


@pytest.mark.parametrize("name", ["," * 4000, "[{" * 2000, '"' * 1900, "\\" * 1900])
def test_long_names_are_no_values(client: httpx.Client, name: str) -> None:
    assert (
        post(client, json.dumps([hire(id=number, name=name) for number in range(1, 1001)]).encode()).status_code == 201
    )


INTEGER = "must be an integer from 1 to 2147483647"


@pytest.mark.parametrize(
    "number", ["1e999999", "-1e999999", "1e-999999", "1E" + "9" * 100, "9" * 100_000, "9" * 4300, "9" * 130_000 + ".0"]
)
def test_a_number_of_any_size_is_refused_with_its_location(client: httpx.Client, number: str) -> None:
    answer = post(client, BODY.replace(b'"id": 1', b'"id": ' + number.encode()))
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"pointer": "/0/id", "detail": INTEGER}])
    answer = client.post(
        "/employees?on_error=continue",
        content=BODY.replace(b'"id": 1', b'"id": ' + number.encode()),
        headers={"X-API-Key": KEY, "Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()["rejected"][0]["errors"][0]["detail"]) == (201, INTEGER)


SLOW = {
    "arrays": b"[" + b"[]," * 1_300_000 + b"1]",
    "digits": json.dumps([hire()] * 800).encode().replace(b'"id": 1', b'"id": ' + b"9" * 4310 + b".0"),
}


@pytest.mark.parametrize("body", SLOW.values(), ids=SLOW)
def test_no_request_body_keeps_others_waiting(client: httpx.Client, body: bytes) -> None:
    """Parsed in one go, each of these takes a second or more, in which no other request is served."""
    begin = time.perf_counter()
    records = json.loads(body, parse_float=lambda digits: int(Decimal(digits)))
    taken_at_once = time.perf_counter() - begin
    assert records
    waited = [0.0]
    with ThreadPoolExecutor(1) as threads, httpx.Client(base_url=client.base_url) as other:
        sent = threads.submit(post, client, body)
        while not sent.done():
            begin = time.perf_counter()
            assert other.get("/health/live").status_code == 200
            waited.append(time.perf_counter() - begin)
    assert sent.result().status_code == 422
    assert max(waited) < taken_at_once / 2


def test_others_get_responses_while_a_batch_is_read(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, is_begun, may_end = receipts.judge, threading.Event(), threading.Event()

    def judge_slowly(*arguments: Any) -> Judged:
        is_begun.set()
        assert may_end.wait(10)
        return judge(*arguments)

    monkeypatch.setattr(receipts, "judge", judge_slowly)
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(post, client, BODY)
        assert is_begun.wait(10)
        assert client.get("/health/live").status_code == 200
        may_end.set()
        assert sent.result().status_code == 201


def test_a_body_of_more_than_4_mib_is_too_large_however_it_is_sent(client: httpx.Client) -> None:
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


def test_a_body_with_too_large_a_content_length_is_refused_before_it_is_sent(client: httpx.Client) -> None:
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


def test_requests_beyond_a_keys_rate_get_the_time_to_retry(database: Database) -> None:
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
