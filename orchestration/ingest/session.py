"""The one session that writes into a table: it holds the table's lock, and reconnects after the database was away."""

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
    """Postgres stayed away for longer than a loader waits; what was committed stays, the next load continues there."""


class TableSession:
    """A table's sole session, from entering the block to its end.

    Args:
        conninfo: libpq's connection string; what it leaves out comes from libpq's variables.
        table: the table.
        give_up_seconds: how long to wait for a database that has gone away.
        lock_wait_seconds: how long to wait for another session that loads into the table.

    Attributes:
        committed: how much of the work at hand is committed, in whatever grows with it: see retry_transient.

    Raises:
        psycopg.OperationalError: on entering, when the server cannot be reached or refuses the login.
        LockTimeout: on entering or reconnecting, when another session kept the table.
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
        """Connect and wait for the table's lock, unless there is a connection that has it."""
        if self._connection is not None and not self._connection.closed:
            return
        connection = connect(self._conninfo)
        try:
            acquire_table_lock(connection, self.table, self._lock_wait_seconds)
        except BaseException:
            connection.close()
            raise
        # Kept only now: a session without the lock must never be written with.
        self._connection = connection

    def close(self) -> None:
        """Close the connection, and give up the lock with it."""
        if self._connection is not None:
            self._connection.close()


def acquire_table_lock(connection: Connection, table: Table, wait_seconds: float) -> None:
    """Take the right to load into a table, for as long as the session lasts; a second loader waits for the first.

    A loader writes with the session that holds the lock and with no other: one that has lost it has also lost what it
    could have committed with.

    Args:
        connection: the session.
        table: the table.
        wait_seconds: how long to wait for another session that has it.

    Raises:
        LockTimeout: it has it still.
    """
    name = f"raw.{table.name}"
    acquire_lock(connection, name, f"{name} is being loaded by another session", wait_seconds, log.warning)


def retry_outages(
    work: Callable[Concatenate[TableSession, Arguments], Result],
) -> Callable[Concatenate[TableSession, Arguments], Result]:
    """Let a function that works with a session start over, on a new connection, while the database is away.

    It raises DatabaseUnavailable when the database stays away.
    """

    @functools.wraps(work)
    def persistent(session: TableSession, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        def attempt() -> Result:
            try:
                session.connect()
                return work(session, *args, **kwargs)
            except psycopg.Error as error:
                # A session that was cut in the middle of a COPY may look alive, and never be of use again.
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
                f"Postgres took nothing for {session.give_up_seconds:g} s: {_in_one_line(error)}; "
                "what was committed stays, and the next load goes on after it"
            ) from error

    return persistent


def _in_one_line(error: psycopg.Error) -> str:
    return " ".join((error.diag.message_primary or str(error)).split()).rstrip(".")
