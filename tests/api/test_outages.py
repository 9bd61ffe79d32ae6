"""Postgres is down, silent or out of connections: responses arrive in time, and no restart is needed afterwards."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import KEY, build_marts, serving, settings_for, settings_without_database
from tests.api.test_employees import hire
from tests.conftest import Database
from tests.faults.tcp_faults import SOCKET_NAME, postgres_proxy

OF_THE_API = "from pg_stat_activity where usename = 'hiring_api' and datname = current_database()"


def post(client: httpx.Client) -> httpx.Response:
    return client.post("/employees", json=[hire()], headers={"X-API-Key": KEY})


def is_asked_to_come_back(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["retry-after"]) > 0


def wait_until_ready(client: httpx.Client) -> None:
    while client.get("/health/ready").status_code != 200:
        time.sleep(0.01)


def test_while_postgres_is_known_to_be_down_no_request_waits_for_it(database: Database) -> None:
    build_marts(database)
    limit = 8
    with (
        postgres_proxy(database.postgres.host) as proxy,
        serving(settings_for(database, pghost=str(proxy.folder), api_database_timeout_seconds=limit)) as client,
    ):
        assert post(client).status_code == 201
        for _ in range(2):
            proxy.leave()
            started = time.monotonic()
            for _ in range(20):
                assert is_asked_to_come_back(post(client))
                assert is_asked_to_come_back(client.get("/health/ready"))
                assert client.get("/health/live").status_code == 200
            # One request that waited for as long as it may would already take longer.
            assert time.monotonic() - started < limit
            proxy.come_back()
            wait_until_ready(client)
            assert post(client).status_code == 201


@contextmanager
def mute_server(folder: Path) -> Iterator[Path]:
    """A server that accepts connections and never sends anything."""
    taken = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / SOCKET_NAME))
        listener.listen()

        def accept() -> None:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield folder
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


def test_a_silent_server_keeps_nobody_waiting(tmp_path: Path) -> None:
    with mute_server(tmp_path), serving(settings_without_database(tmp_path)) as client:
        assert client.get("/health/live").status_code == 200
        for _ in range(3):
            assert is_asked_to_come_back(post(client))


@pytest.fixture
def frozen_backends() -> Iterator[list[int]]:
    """Stopped server processes, which have to be continued, or their server could not exit."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def test_a_server_that_falls_silent_in_between_is_not_waited_for_beyond_the_limit(
    database: Database, frozen_backends: list[int]
) -> None:
    build_marts(database)
    with serving(settings_for(database, api_database_timeout_seconds=0.3)) as client:
        wait_until_ready(client)
        # The one that listens for changes serves no requests anyway.
        frozen_backends.extend(
            pid for (pid,) in database.rows(f"select pid {OF_THE_API} and query not ilike 'listen%%'")
        )
        for pid in frozen_backends:
            os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        assert is_asked_to_come_back(client.get("/health/ready"))
        # psycopg itself would wait ten seconds for a server that does not take the cancellation.
        assert time.monotonic() - started < 10
        wait_until_ready(client)


def test_a_pool_without_a_free_connection_is_a_503_and_no_queue(database: Database) -> None:
    build_marts(database)
    limit, requests = 1, 6
    settings = settings_for(database, api_database_timeout_seconds=limit, api_pool_size=1)
    with serving(settings) as client, ThreadPoolExecutor(requests) as threads:
        with database.connect() as blocker, blocker.transaction():
            blocker.execute("lock table raw.hired_employees in access exclusive mode")
            started = time.monotonic()
            answers = list(threads.map(post, [client] * requests))
        assert all(is_asked_to_come_back(answer) for answer in answers)
        # One after the other they would take as long as the sum of their limits.
        assert time.monotonic() - started < requests * limit
        assert post(client).status_code == 201
    assert database.rows("select count(*) from raw.hired_employees") == [(1,)]
