"""The only session that writes to a table: it holds the table's lock, and reconnects after outages of the database."""

import functools
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import psycopg

from contracts import Table
from orchestration.database import LOCK_WAIT_SECONDS, Connection, acquire_lock, connect, is_outage
from orchestration.ingest.retry import retry_transient

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


class DatabaseUnavailable(RuntimeError):
    """Postgres was unavailable for too long; committed chunks are kept, and the next load continues after them."""


class TableSession:
    """The only session that writes to a table while the block runs.

    Args:
        conninfo: libpq's connection string; libpq's variables supply what it omits.
        table: the table.
        give_up_seconds: how long to retry while the database is unavailable.
        lock_wait_seconds: how long to wait for another session that loads into the table.

    Attributes:
        committed: the current function's progress, for example in committed records: see retry_transient.

    Raises:
        psycopg.OperationalError: on entering, when the server cannot be reached or refuses the login.
        LockTimeout: on entering or reconnecting, when another session holds the table's lock for too long.
    """

    def __init__(
        self, conninfo: str, table: Table, give_up_seconds: float, lock_wait_seconds: float = LOCK_WAIT_SECONDS
    ) -> None:
        self.table = table
        self.give_up_seconds = give_up_seconds
        self._lock_wait_seconds = lock_wait_seconds
        self.committed = 0
        self._conninfo = conninfo
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connection(self) -> Connection:
        """The connection that holds the table's lock. It never reconnects by itself."""
        assert self._connection is not None, "used outside of its block"
        return self._connection

    def connect(self) -> None:
        """Connect and wait for the table's lock, unless there is a connection that holds it."""
        if self._connection is not None and not self._connection.closed:
            return
        connection = connect(self._conninfo)
        try:
            acquire_table_lock(connection, self.table, self._lock_wait_seconds)
        except BaseException:
            connection.close()
            raise
        # Assigned only now: a session without the lock must never write.
        self._connection = connection

    def close(self) -> None:
        """Close the connection, which releases the lock."""
        if self._connection is not None:
            self._connection.close()


def acquire_table_lock(connection: Connection, table: Table, wait_seconds: float) -> None:
    """Acquire the lock for loading into a table, for the rest of the session; a second loader waits for the first.

    A loader writes only with the session that holds the lock: when it loses the lock, it has lost the connection and
    cannot commit anything.

    Args:
        connection: the session.
        table: the table.
        wait_seconds: how long to wait for another session that holds it.

    Raises:
        LockTimeout: the other session still holds it after that time.
    """
    name = f"raw.{table.name}"
    acquire_lock(connection, name, f"{name} is being loaded by another session", wait_seconds, log.warning)


def retry_outages(
    work: Callable[Concatenate[TableSession, Arguments], Result],
) -> Callable[Concatenate[TableSession, Arguments], Result]:
    """Make a function that uses a session start over, on a new connection, after an outage of the database.

    It raises DatabaseUnavailable if the outage lasts for too long.
    """

    @functools.wraps(work)
    def retrying(session: TableSession, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        def attempt() -> Result:
            try:
                session.connect()
                return work(session, *args, **kwargs)
            except psycopg.Error as error:
                # A connection that broke during a COPY may seem open, but be unusable.
                if is_outage(error):
                    session.close()
                raise

        session.committed = 0
        retries = retry_transient(session.give_up_seconds, is_outage, lambda: session.committed)
        try:
            return retries(attempt)
        except psycopg.Error as error:
            if not is_outage(error):
                raise
            raise DatabaseUnavailable(
                f"Postgres accepted nothing for {session.give_up_seconds:g} s: {_in_one_line(error)}; "
                "committed records are kept, and the next load continues after them"
            ) from error

    return retrying


def _in_one_line(error: psycopg.Error) -> str:
    return " ".join((error.diag.message_primary or str(error)).split()).rstrip(".")
