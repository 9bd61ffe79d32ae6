"""Liveness and readiness differ: without Postgres the API is alive, but not ready."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from api.database import SCHEMA_VERSION
from orchestration.migrations import newest_version
from tests.api.conftest import KEY, build_marts, serving, settings_for, settings_without_database
from tests.conftest import Database


def test_it_is_ready_when_the_marts_of_every_metric_can_be_read(client: httpx.Client) -> None:
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


def test_health_without_more_is_readiness_and_open_to_all(database: Database) -> None:
    """A monitor would report that everything is fine while no request can be served."""
    with serving(settings_for(database, api_open_reads=False)) as client:
        assert (client.get("/health").status_code, client.head("/health").status_code) == (503, 503)
        build_marts(database)
        assert client.get("/health").json() == client.get("/health/ready").json()
        assert (client.head("/health").status_code, client.head("/health").content) == (200, b"")


def test_it_is_alive_but_not_ready_while_a_mart_is_missing(database: Database) -> None:
    with serving(settings_for(database)) as client:
        assert client.get("/health/live").status_code == 200
        for address in ("/health/ready", "/metrics/hires-by-quarter", "/metrics/departments-above-mean"):
            answer = client.get(address)
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert "not built" in answer.json()["detail"]
        build_marts(database)
        assert client.get("/health/ready").status_code == 200
        database.execute("drop table marts.departments_above_mean")
        assert client.get("/health/ready").status_code == 503


def test_a_version_that_starts_before_its_migration_is_neither_ready_nor_started(database: Database) -> None:
    """ECS adds it to the load balancer only after it has started, and rolls it back if that takes too long."""
    build_marts(database)
    ((migrated,),) = database.rows("select version_num from public.alembic_version")
    with serving(settings_for(database)) as client:
        database.execute("update public.alembic_version set version_num = '0001'")
        for address in ("/health/ready", "/health/started"):
            answer = client.get(address)
            assert (answer.status_code, "not migrated" in answer.json()["detail"]) == (503, True)
        assert client.get("/health/live").status_code == 200
        database.execute("update public.alembic_version set version_num = %s", migrated)
        assert client.get("/health/ready").status_code == 200
        assert client.get("/health/started").json() == {"status": "started"}
        # A newer version has migrated: this one serves on.
        database.execute("update public.alembic_version set version_num = '9999'")
        assert client.get("/health/ready").status_code == 200


def test_what_has_started_stays_started_when_the_database_goes_away(database: Database) -> None:
    """Otherwise ECS would stop every task in an outage, and their cached responses would be lost."""
    with serving(settings_for(database)) as client:
        assert client.get("/health/started").status_code == 200
        database.execute("alter table public.alembic_version rename to elsewhere")
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/started").status_code == 200


def test_the_required_version_of_the_database_is_the_newest_one() -> None:
    assert newest_version() == SCHEMA_VERSION


def test_a_mart_that_may_not_be_read_is_not_ready(database: Database) -> None:
    build_marts(database)
    database.execute("revoke select on marts.hires_by_quarter from hiring_api")
    with serving(settings_for(database)) as client:
        assert client.get("/health/ready").status_code == 503


def test_without_postgres_it_starts_is_alive_and_asks_to_retry(tmp_path: Path) -> None:
    with serving(settings_without_database(tmp_path)) as client:
        assert client.get("/health/live").status_code == 200
        employee = {"id": 1, "name": "n", "datetime": "2021-01-01", "department_id": 1, "job_id": 1}
        for answer in (
            client.get("/health/ready"),
            client.get("/metrics/hires-by-quarter"),
            client.get("/metrics/departments-above-mean"),
            client.post("/employees", json=[employee], headers={"X-API-Key": KEY}),
        ):
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert answer.headers["content-type"] == "application/problem+json"
            assert str(tmp_path) not in answer.text
        assert client.get("/health/live").status_code == 200


def test_it_recovers_without_a_restart_when_postgres_comes_back(database: Database, tmp_path: Path) -> None:
    build_marts(database)
    sockets = tmp_path / "sockets"
    sockets.symlink_to(tmp_path)
    settings = settings_for(database, pghost=str(sockets), api_database_timeout_seconds=0.3)
    with serving(settings) as client:
        # Long enough for a pool with exponential backoff to be seconds late.
        assert [client.get("/health/ready").status_code for _ in range(4)] == [503] * 4
        sockets.unlink()
        sockets.symlink_to(database.postgres.host)
        back = time.monotonic()
        while client.get("/health/ready").status_code != 200:
            assert time.monotonic() < back + 1


def test_no_request_notices_that_every_pooled_connection_was_closed(database: Database) -> None:
    """A pool that serves dead connections fails one request for each of them after every restart of Postgres."""
    build_marts(database)
    of_the_api = "from pg_stat_activity where usename = 'hiring_api' and datname = current_database()"
    with serving(settings_for(database, api_pool_size=4)) as client, ThreadPoolExecutor(4) as threads:
        with database.connect() as blocker, blocker.transaction():
            blocker.execute("lock table marts.hires_by_quarter in access exclusive mode")
            # Each another question: the same one would be put to Postgres once.
            waiting = [threads.submit(client.get, f"/metrics/hires-by-quarter?limit={n}") for n in range(1, 5)]
            while database.rows(f"select count(*) {of_the_api} and wait_event_type = 'Lock'") != [(4,)]:
                time.sleep(0.01)
        assert [request.result().status_code for request in waiting] == [200] * 4

        database.rows(f"select pg_terminate_backend(pid, 5000) {of_the_api}")
        assert [client.get("/health/ready").status_code for _ in range(8)] == [200] * 8
