"""Builds of the models while the server is down or read-only, or while another session holds a lock."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import psycopg
import pytest

from deploy.local.postgres import EmbeddedPostgres
from orchestration.defs import retries
from orchestration.defs.models import BuildConfig, dbt_models
from orchestration.defs.resources import Warehouse
from tests.conftest import Database, environment, fresh_database
from tests.dbt_project.conftest import deliver
from tests.faults.tcp_faults import PostgresProxy, postgres_proxy

WAREHOUSE = Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer")  # noqa: S106


@pytest.fixture(scope="module")
def built(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A database with a complete load, and every model of it."""
    with fresh_database(postgres) as fresh:
        deliver(fresh, "jobs", [("1", "Clerk")])
        assert build(fresh, "").success
        yield fresh


@pytest.fixture
def database(built: Database) -> Database:
    """The same for every test here; not the one of this folder, which has loads only."""
    return built


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.2)


def build(database: Database, select: str = "loads", **variables: str) -> dg.ExecuteInProcessResult:
    """Build some of the models, or all, in a run of Dagster's, as a full refresh."""
    with (
        dg.DagsterInstance.ephemeral() as instance,
        environment(database.environment | {"BUILD_LOCK_TIMEOUT_SECONDS": "2", **variables}),
    ):
        return dg.materialize(
            [dbt_models],
            instance=instance,
            selection=[dg.AssetKey(["staging", name]) for name in select.split()] or None,
            resources={"warehouse": WAREHOUSE},
            run_config=dg.RunConfig(ops={"dbt_models": BuildConfig(full_refresh=True)}),
            raise_on_error=False,
        )


def attempts(result: dg.ExecuteInProcessResult) -> int:
    return 1 + sum(event.event_type_value == "STEP_RESTARTED" for event in result.all_events)


def reason(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert event.step_failure_data.user_failure_data
    return str(event.step_failure_data.user_failure_data.description)


@contextmanager
def idle_in_transaction(database: Database, statement: str) -> Iterator[psycopg.Connection[Any]]:
    """Keep a session open while the block runs, as a client would that forgot it."""
    with psycopg.connect(database.conninfo(), application_name="forgotten") as connection:
        connection.execute(statement)
        yield connection
        connection.rollback()


def after_failures(number: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Act before the attempt that follows so many failed ones."""
    retry = retries._retry

    def then(context: Any, why: str) -> dg.RetryRequested:
        if context.retry_number + 1 == number:
            act()
        return retry(context, why)

    monkeypatch.setattr(retries, "_retry", then)


def test_a_build_with_nothing_to_change_waits_for_no_reader(database: Database) -> None:
    """A session left open on a view kept the night's build waiting for ever, and every reader after it."""
    reads = "select from staging.jobs, staging.checked_jobs, staging.loads"
    with idle_in_transaction(database, reads):
        result = build(database, "loads checked_jobs jobs")
    assert result.success
    assert attempts(result) == 1


def test_a_build_blocked_by_a_lock_names_its_holders_and_fails_with_one_sentence(
    database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    with idle_in_transaction(database, "lock table staging.loads in access exclusive mode") as other:
        result = build(database)
        named = rf"session {other.info.backend_pid} \(\w+, forgotten\) has locked staging.loads"
    assert attempts(result) == 1 + retries.RETRIES
    assert re.fullmatch(f"the build waited 2 s for a lock in vain: {named}; end its transaction .*", reason(result))
    assert re.search(f"The build waits: {named}", capfd.readouterr().err)
    assert database.rows("select count(*) from pg_locks where not granted") == [(0,)]


def test_readers_go_first_while_a_build_waits_and_it_continues_once_the_lock_is_released(database: Database) -> None:
    """Sessions that request a lock after the build would wait for the session that blocks the build."""
    database.execute("create or replace view staging.jobs as select id, job, _load_id from staging.checked_jobs")
    read = []
    with idle_in_transaction(database, "select from staging.jobs") as other, database.connect() as reader:
        reader.execute("set statement_timeout = '60s'")

        def read_while_the_build_waits() -> None:
            while not database.rows("select from pg_locks where not granted"):
                time.sleep(0.05)
            read.extend(reader.execute("select job from staging.jobs").fetchall())
            other.rollback()

        reading = threading.Thread(target=read_while_the_build_waits)
        reading.start()
        result = build(database, "jobs")
        reading.join()
    assert read == [("Clerk",)]
    assert result.success
    assert attempts(result) > 1
    assert "accepted" in database.rows("select pg_get_viewdef('staging.jobs'::regclass)")[0][0]


def set_read_only(database: Database, *, is_on: bool) -> None:
    """Let new sessions write, or not, as those of a standby cannot."""
    with database.connect() as connection:
        connection.execute("set default_transaction_read_only = off")
        connection.execute(f"alter database {database.name} set default_transaction_read_only = {is_on}")


def test_a_build_waits_while_the_server_is_read_only(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failover the old primary is a standby, until the address points to the new one."""
    set_read_only(database, is_on=True)
    after_failures(2, lambda: set_read_only(database, is_on=False), monkeypatch)
    result = build(database)
    assert result.success
    assert attempts(result) == 3


def test_a_server_that_stays_read_only_ends_the_build_in_its_words(database: Database) -> None:
    set_read_only(database, is_on=True)
    result = build(database)
    set_read_only(database, is_on=False)
    assert attempts(result) == 1 + retries.RETRIES
    assert "read-only transaction" in reason(result)


@pytest.fixture
def proxy(database: Database) -> Iterator[PostgresProxy]:
    with postgres_proxy(database.postgres.host) as running:
        yield running


def test_a_build_is_tried_again_when_the_server_goes_down_under_it(
    database: Database, proxy: PostgresProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_failures(2, proxy.come_back, monkeypatch)
    with idle_in_transaction(database, "lock table staging.loads in access exclusive mode") as other:

        def leave() -> None:
            while not database.rows("select from pg_locks where not granted"):
                time.sleep(0.05)
            proxy.leave()
            other.rollback()

        leaving = threading.Thread(target=leave)
        leaving.start()
        result = build(database, PGHOST=str(proxy.folder), BUILD_LOCK_TIMEOUT_SECONDS="60")
        leaving.join()
    assert result.success
    assert attempts(result) == 3


CHILD = """
import sys
from tests.faults.test_builds import build_here
build_here()
"""


def build_here() -> None:
    """Build in this process, on the database that the environment names."""
    dg.materialize(
        [dbt_models],
        selection=[dg.AssetKey(["staging", "loads"])],
        resources={"warehouse": WAREHOUSE},
        run_config=dg.RunConfig(ops={"dbt_models": BuildConfig(full_refresh=True)}),
    )


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_terminated_run_leaves_no_statement_running(database: Database, ending: signal.Signals) -> None:
    """The next build would run concurrently with a statement of the previous one, which nobody can see or end."""
    ours = "from pg_stat_activity where datname = current_database() and usename = 'hiring_transformer'"
    variables = os.environ | database.environment | {"BUILD_LOCK_TIMEOUT_SECONDS": "600"}
    with idle_in_transaction(database, "lock table staging.loads in access exclusive mode"):
        with subprocess.Popen([sys.executable, "-c", CHILD], env=variables, stderr=subprocess.DEVNULL) as run:
            while not database.rows(f"select {ours} and wait_event_type = 'Lock'"):
                assert run.poll() is None
                time.sleep(0.1)
            run.send_signal(ending)
            run.wait(60)
        deadline = time.monotonic() + 30
        while database.rows(f"select {ours}"):
            assert time.monotonic() < deadline, "a session of the run is still there"
            time.sleep(0.2)
