"""What a client may do to a connection, and that responses of the server itself look like any other."""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.protocol.server import MAX_HEAD_BYTES, MAX_PARAMETERS
from api.settings import Settings
from tests.api.conftest import KEY, eventually, serving, settings_without_database
from tests.api.test_employees import hire
from tests.api.test_process import Running, running
from tests.conftest import Database

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
HASTY = {"api_head_timeout_seconds": 0.3, "api_keep_alive_seconds": 0.6, "api_max_connections": 3}


@pytest.fixture(scope="module")
def api(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(module_database, tmp_path_factory.mktemp("server")) as api:
        yield api


@pytest.fixture(scope="module")
def hasty_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A running API that accepts three connections and waits only briefly for a request."""
    with serving(settings_without_database(tmp_path_factory.mktemp("hasty"), **HASTY)) as client:
        yield client


def connect(client: httpx.Client, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10)
    connection.sendall(sent)
    return connection


def received(connection: socket.socket) -> bytes:
    """Return everything up to the end of the connection."""
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


REFUSED = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
    "an unknown method": (b"BREW /health/live HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a malformed request line": (b"GET\r\n\r\n", 400),
    "a malformed header": (b"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n", 400),
    "a tunnel": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two content lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "no host": (b"GET /health/live HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /health/live HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "no name of a host": (b"GET /health/live HTTP/1.1\r\nHost: x y\r\n\r\n", 400),
    "a long address": (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * MAX_HEAD_BYTES), 414),
    "an endless address": (b"GET /" + b"x" * 2**20, 414),
    "many parameters": (b"GET /?%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x&" * MAX_PARAMETERS), 414),
    "a long header": (b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"x" * MAX_HEAD_BYTES), 431),
    "an endless header": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 2**20, 431),
    "endless headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: x\r\n" * 2**17, 431),
}


@pytest.mark.parametrize(("sent", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_the_server_refuses_by_itself_is_a_problem_with_an_id_and_a_line_in_the_log(
    api: Running, sent: bytes, expected: int
) -> None:
    with connect(api.client) as connection:
        connection.sendall(sent)
        head, _, body = received(connection).partition(b"\r\n\r\n")
    assert status(head) == expected
    assert b"content-type: application/problem+json" in head
    assert b"x-content-type-options: nosniff" in head
    assert b"connection: close" in head.lower()
    assert json.loads(body)["status"] == expected
    (request_id,) = re.findall(rb"x-request-id: ([0-9a-f]{16})\r", head + b"\r")

    def lines() -> list[int]:
        return [
            line["status"]
            for line in api.lines()
            if (line["event"], line.get("request_id")) == ("request", request_id.decode())
        ]

    eventually(lambda: lines() == [expected])


def test_http_1_0_does_not_require_a_host(api: Running) -> None:
    with connect(api.client, b"GET /health/live HTTP/1.0\r\n\r\n") as connection:
        assert status(received(connection)) == 200


def test_a_complete_request_gets_a_response_whatever_follows_it(api: Running) -> None:
    """A 400 in its place would say of a batch that is stored that it is not."""
    body = json.dumps([hire()]).encode()
    head = f"POST /employees HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
    sent = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body + b"\x00 no request \r\n\r\n"
    with connect(api.client, sent) as connection:
        answer = received(connection)
    assert status(answer) == 201
    assert answer.count(b"HTTP/1.1 ") == 1


def test_complete_requests_get_responses_in_order_whatever_follows_them(api: Running) -> None:
    with connect(api.client, LIVE * 3 + b"\x00 no request \r\n\r\n") as connection:
        answer = received(connection)
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert answer.count(b"HTTP/1.1 ") == 3


def test_a_body_that_breaks_off_in_the_middle_is_refused_once(api: Running) -> None:
    head = f"POST /employees HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
    with connect(api.client, head.encode() + b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\nno size\r\n") as connection:
        answer = received(connection)
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_request_to_become_a_websocket_is_a_request_like_others(api: Running) -> None:
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n"
    key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n"
    with connect(api.client, LIVE[:-2] + upgrade + key) as connection:
        answer = received(connection)
    assert status(answer) == 200
    assert b"x-request-id" in answer


def test_headers_that_never_end_are_a_408(hasty_client: httpx.Client) -> None:
    with connect(hasty_client, LIVE[:-2]) as connection:
        connection.settimeout(0.05)
        answer, deadline = b"", time.monotonic() + 10
        while not answer:
            assert time.monotonic() < deadline, "nobody minds"
            # A connection is not silent while a byte arrives now and then.
            connection.sendall(b"X: x\r\n")
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                continue
    assert status(answer) == 408
    assert b"application/problem+json" in answer


@pytest.mark.parametrize("sent", [b"", b"\r\n", LIVE + b"\r\n", LIVE], ids=["nothing", "a line", "a line after", "one"])
def test_a_connection_over_which_no_request_comes_is_closed(hasty_client: httpx.Client, sent: bytes) -> None:
    with connect(hasty_client, sent) as connection:
        assert received(connection).count(b"HTTP/1.1 200 ") == sent.count(b"GET")


def test_a_body_that_nobody_waits_for_does_not_keep_a_connection(hasty_client: httpx.Client) -> None:
    with connect(hasty_client, LIVE[:-2] + b"Content-Length: 1000000\r\n\r\n") as connection:
        connection.settimeout(0.05)
        parts: list[bytes] = []
        while not parts or parts[-1]:
            try:
                connection.sendall(b"x")
                parts.append(connection.recv(65536))
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert status(parts[0]) == 200


def test_a_connection_is_kept_for_longer_than_a_balancer_keeps_it(hasty_client: httpx.Client) -> None:
    """A balancer that sends a request over a connection that is just being closed returns a 502 to its client."""
    assert Settings.model_fields["api_keep_alive_seconds"].default > 60
    # Longer than uvicorn's own five seconds cannot be waited for here: longer than the time for a head.
    with connect(hasty_client, LIVE) as connection:
        assert status(connection.recv(65536)) == 200
        time.sleep(1.5 * HASTY["api_head_timeout_seconds"])
        connection.sendall(LIVE)
        assert status(connection.recv(65536)) == 200


def test_late_bodies_do_not_shorten_the_life_of_a_connection(hasty_client: httpx.Client) -> None:
    refused = b"POST /employees HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
    with connect(hasty_client, refused) as connection:
        assert status(connection.recv(65536)) == 401
        connection.sendall(b"x")
        time.sleep(1.5 * HASTY["api_head_timeout_seconds"])
        connection.sendall(LIVE)
        assert status(connection.recv(65536)) == 200


def test_the_connection_that_waits_longest_makes_room_for_a_new_one(hasty_client: httpx.Client) -> None:
    connections = [connect(hasty_client, LIVE[:-2]) for _ in range(3)]
    try:
        with connect(hasty_client, LIVE) as another:
            assert status(another.recv(65536)) == 200
        assert connections[0].recv(65536) == b""
        connections[2].sendall(b"\r\n")
        assert status(connections[2].recv(65536)) == 200
    finally:
        for connection in connections:
            connection.close()


def test_where_every_connection_has_a_request_under_way_a_new_one_is_a_503(tmp_path: Path) -> None:
    settings = settings_without_database(tmp_path, api_max_connections=2)
    head = f"POST /employees HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
    unfinished = head.encode() + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with serving(settings) as client, connect(client, unfinished) as one, connect(client, unfinished) as two:
        # Both wait for their bodies.
        assert one.recv(100).startswith(b"HTTP/1.1 100 ")
        assert two.recv(100).startswith(b"HTTP/1.1 100 ")
        with connect(client) as third:
            answer = received(third)
        assert status(answer) == 503
        assert b"application/problem+json" in answer
        one.sendall(b"[]")
        assert status(one.recv(65536)) == 422


def test_a_client_that_does_not_read_its_response_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.protocol.server.WRITE_SECONDS", 0.2)
    script = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(settings_without_database(tmp_path, api_max_connections=1)) as client, connect(client, script * 20):
        # Until it is left there is no room for another one.
        eventually(lambda: client.get("/health/live", headers={"Connection": "close"}).status_code == 200)
