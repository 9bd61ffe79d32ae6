"""A loader that waits for its table names the session that holds it, repeatedly, and gives up in the end."""

import logging
import re
import threading
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from orchestration import database as database_module
from orchestration.database import Connection, LockTimeout, connect
from orchestration.ingest.session import TableSession, acquire_table_lock
from tests.conftest import Database
from tests.orchestration.ingest.conftest import DEPARTMENTS, JOBS

HOLDER = "hiring_loader of-run-1"
WAITING = "select true from pg_locks where locktype = 'advisory' and not granted"


@pytest.fixture
def _reports_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "LOCK_REPORT_INTERVAL_SECONDS", 0.05)


@pytest.fixture
def holder(conninfo: str) -> Iterator[Connection]:
    """A session that loads into raw.jobs and has got stuck."""
    with connect(make_conninfo(conninfo, application_name=HOLDER)) as opened:
        acquire_table_lock(opened, JOBS, wait_seconds=0)
        yield opened


@pytest.mark.usefixtures("_reports_often")
def test_after_the_time_limit_it_ends_and_names_who_has_the_table(
    holder: Connection, conninfo: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A loader that waits for ever for another one seems to hang itself, night after night."""
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(LockTimeout) as raised,
        TableSession(conninfo, JOBS, give_up_seconds=20, lock_wait_seconds=0.3),
    ):
        pass
    who = (
        rf"^raw\.jobs is being loaded by another session, pid {holder.info.backend_pid}, {HOLDER}, "
        r"connected since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    )
    assert re.match(who + r", for longer than 0\.3 s \(LOCK_WAIT_SECONDS\)", str(raised.value))
    assert len(caplog.messages) > 2
    assert all(re.match(who + "; waiting for that to end, for 0 s at most$", message) for message in caplog.messages)


@pytest.mark.usefixtures("_reports_often")
def test_it_acquires_the_table_as_soon_as_it_is_free_even_after_many_reports(
    holder: Connection, conninfo: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    said_twice = threading.Event()

    class Count(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
            if len(caplog.messages) >= 2:
                said_twice.set()

    def end_the_holder() -> None:
        assert said_twice.wait(20)
        database.execute("select pg_terminate_backend(%s)", holder.info.backend_pid)

    handler = Count()
    logging.getLogger("orchestration.ingest").addHandler(handler)
    ending = threading.Thread(target=end_the_holder)
    ending.start()
    try:
        with TableSession(conninfo, JOBS, give_up_seconds=20) as session, connect(conninfo) as other:
            with pytest.raises(LockTimeout):
                acquire_table_lock(other, JOBS, wait_seconds=0.05)
            # Waiting has not left a timeout for other locks.
            assert session.connection.execute("show lock_timeout").fetchone() == ("0",)
    finally:
        ending.join()
        logging.getLogger("orchestration.ingest").removeHandler(handler)


def test_the_holder_is_named_across_roles(conninfo: str, database: Database) -> None:
    """Postgres hides the start of other roles' sessions, but not their names."""
    restorer = database.conninfo("hiring_restorer")
    with connect(restorer) as opened:
        acquire_table_lock(opened, JOBS, wait_seconds=0)
        with pytest.raises(LockTimeout, match=rf"session, pid {opened.info.backend_pid}, hiring_restorer, for longer"):
            TableSession(conninfo, JOBS, give_up_seconds=0, lock_wait_seconds=0.05).connect()


@pytest.mark.usefixtures("holder")
def test_the_lock_of_another_table_does_not_matter(conninfo: str) -> None:
    with TableSession(conninfo, DEPARTMENTS, give_up_seconds=0, lock_wait_seconds=0.05) as session:
        assert not session.connection.closed


def test_a_session_is_named_after_its_role_unless_its_connection_string_says_otherwise(database: Database) -> None:
    for conninfo, name in [
        (database.conninfo("hiring_transformer"), "hiring_transformer"),
        (make_conninfo(database.conninfo("hiring_loader"), application_name="by hand"), "by hand"),
    ]:
        with connect(conninfo) as opened:
            assert opened.execute("select current_setting('application_name')").fetchone() == (name,)


@pytest.mark.usefixtures("holder")
def test_a_cancelled_wait_is_no_timeout(conninfo: str, database: Database) -> None:
    """After the waiting statement is canceled, the loader has to retry, as after any outage."""
    with connect(conninfo) as waiting, connect(database.conninfo()) as other:

        def cancel() -> None:
            while not other.execute(WAITING).fetchone():
                pass
            other.execute("select pg_cancel_backend(%s)", [waiting.info.backend_pid])

        cancelling = threading.Thread(target=cancel)
        cancelling.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            acquire_table_lock(waiting, JOBS, wait_seconds=60)
        cancelling.join()
