"""The one session that writes into a table: it holds the table's lock, and comes back when the database was away."""

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar, cast

import psycopg

from contracts import Table
from orchestration.database import Connection, connect, is_outage
from orchestration.ingest.ledger import become_sole_writer
from orchestration.ingest.patience import patiently

Result = TypeVar("Result")


class DatabaseUnavailable(RuntimeError):
    """Postgres stayed away for longer than a loader waits; what was committed stays, the next load goes on there."""


class Interrupted(RuntimeError):
    """The database went away after some of the work had been committed: patience begins anew.

    Args:
        cause: what the database or the network said.
        progress: how far the work had come, in whatever grows with it.
    """

    def __init__(self, cause: Exception, progress: int) -> None:
        super().__init__(_in_one_line(cause))
        self.progress = progress


class Writer:
    """A table's sole writer, from entering the block to its end.

    Args:
        conninfo: libpq's connection string; what it leaves out comes from libpq's variables.
        table: the table.
        give_up_seconds: how long to wait for a database that has gone away.

    Raises:
        psycopg.OperationalError: on entering, when the server cannot be reached or refuses the login.
    """

    def __init__(self, conninfo: str, table: Table, give_up_seconds: float) -> None:
        self._conninfo = conninfo
        self._table = table
        self._give_up_seconds = give_up_seconds
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        self._session()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.close()

    def run(self, work: Callable[[Connection], Result]) -> Result:
        """Return what some work returns; do it again, in a new session if need be, while the database is away.

        Raises:
            DatabaseUnavailable: it stayed away.
        """
        furthest = -1
        while True:
            try:
                return cast("Result", patiently(self._give_up_seconds, is_outage)(self._once, work))
            except Interrupted as interrupted:
                # A server that crashes at the same place each time takes back what it had not yet written to disk.
                if interrupted.progress <= furthest:
                    raise DatabaseUnavailable(f"Postgres goes away at the same place again: {interrupted}") from None
                furthest = interrupted.progress
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                raise DatabaseUnavailable(
                    f"Postgres took nothing for {self._give_up_seconds:g} s: {_in_one_line(error)}; "
                    "what was committed stays, and the next load goes on after it"
                ) from error

    def _once(self, work: Callable[[Connection], Result]) -> Result:
        try:
            return work(self._session())
        except (psycopg.OperationalError, psycopg.InterfaceError, Interrupted):
            # A session that was cut in the middle of a COPY may look alive, and never be of use again.
            if self._connection is not None:
                self._connection.close()
            raise

    def _session(self) -> Connection:
        if self._connection is None or self._connection.closed:
            connection = connect(self._conninfo)
            try:
                become_sole_writer(connection, self._table)
            except BaseException:
                connection.close()
                raise
            # Kept only now: a session without the lock must never be written with.
            self._connection = connection
        return self._connection


def _in_one_line(error: Exception) -> str:
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return " ".join((primary or str(error)).split()).rstrip(".")
