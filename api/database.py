"""The way to Postgres: a pool of connections as role hiring_api, and what its failures look like from outside."""

import asyncio
import logging
import math
import select
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Literal, LiteralString, Self, TypeVar

import psycopg
from fastapi import Request, Response
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction, UndefinedTable
from psycopg_pool import AsyncConnectionPool

from api.protocol import problems
from api.protocol.problems import Handler, problem
from api.settings import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")
Row = tuple[Any, ...]
Connection = AsyncConnection[Row]
Pool = AsyncConnectionPool[Connection]
Parameters = Mapping[str, Any]
Statement = LiteralString | bytes

RETRY_INTERVAL_SECONDS = 0.25


# The version of the database, as migrations count it, that this code was written for. A newer one serves it as well.
SCHEMA_VERSION = "0014"


class NotMigrated(psycopg.OperationalError):
    """The database is of an older version than this code."""


class NotWritable(psycopg.OperationalError):
    """The server can be read and takes no writes: it is a standby that has not been promoted."""


class Database:
    """A connection pool that fails fast while Postgres is down and reconnects in the background."""

    def __init__(self, settings: Settings) -> None:
        self._conninfo = conninfo(settings)
        self._timeout = settings.api_database_timeout_seconds
        self._size = settings.api_pool_size
        self._pool: Pool | None = None
        self._lost = asyncio.Event()
        self._met_standby = asyncio.Event()
        self._running: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        tried = asyncio.Event()
        self._keepers = {
            asyncio.create_task(self._keep_connected(tried)),
            asyncio.create_task(self._leave_standbys()),
        }
        # Asked too early, it would say that Postgres is away before anybody has looked.
        await tried.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.wait(self._keepers)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection, whose default is a read-only transaction for each statement.

        Raises:
            psycopg.OperationalError: the database is away, or every connection was in use for too long.
        """
        if self._pool is None:
            raise psycopg.OperationalError("the database is known to be away")
        async with self._pool.connection() as connection:
            if _is_to_standby(connection):
                self._met_standby.set()
            yield connection

    def require_writable(self) -> None:
        """Refuse what would write while connections lead to a standby, as after a failover.

        Raises:
            NotWritable: the last connections that were lent did.
        """
        if self._met_standby.is_set():
            raise NotWritable("the server is a standby")

    async def require_schema(self) -> None:
        """Require a database that was migrated to the version that this code was written for.

        Raises:
            NotMigrated: it was not.
            psycopg.OperationalError: the database cannot be reached or takes too long.
        """
        (version,) = await self.read("select coalesce(max(version_num), '') from public.alembic_version", {})
        # Versions order as their texts do.
        if version < SCHEMA_VERSION:
            raise NotMigrated(f"the database is at version {version}")

    async def read(self, query: Statement, parameters: Parameters) -> Row:
        """Run a query that gives one row, in a read-only transaction of its own.

        Raises:
            psycopg.OperationalError: the database cannot be reached or takes too long.
        """
        return await self.in_time(self._read(query, parameters))

    async def write(self, statement: Statement, parameters: Parameters) -> Row:
        """Run a statement that gives one row in a transaction that may write.

        Raises:
            psycopg.OperationalError: the database cannot be reached, takes no writes or takes too long; nothing is
                written, unless the connection broke during the commit.
        """
        return await self.in_time(self._write(statement, parameters))

    async def _read(self, query: Statement, parameters: Parameters) -> Row:
        async with self.connection() as connection:
            return await _one_row(connection, query, parameters)

    async def _write(self, statement: Statement, parameters: Parameters) -> Row:
        async with self.connection() as connection:
            self.require_writable()
            await connection.set_read_only(False)
            async with connection.transaction():
                return await _one_row(connection, statement, parameters)

    async def in_time(self, work: Coroutine[Any, Any, T], progress: Callable[[], int] = lambda: 0) -> T:
        """Wait for work as long as the time limit says, and a second for the server to say itself that it is over.

        With each progress the time starts again. A server that has gone silent does not even take a
        cancellation: what waits for it is left behind, and ends when psycopg gives the connection up.

        Raises:
            psycopg.OperationalError: it took longer.
        """
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            while not task.done():
                before = progress()
                await asyncio.wait({task}, timeout=self._timeout + 1)
                if not task.done() and progress() == before:
                    raise psycopg.OperationalError("the server does not answer")
        finally:
            # It may not be waited for any longer by those who asked, either.
            task.cancel()
        return task.result()

    async def _keep_connected(self, tried: asyncio.Event) -> None:
        """Have a pool whenever the server lets us in: closing it fails those who wait for one of its connections."""
        while True:
            while (failure := await self._failure_to_connect()) is not None:
                if not tried.is_set():
                    logger.error("no connection: %s", failure)
                    tried.set()
                await asyncio.sleep(RETRY_INTERVAL_SECONDS)
            self._lost.clear()
            async with self._new_pool() as pool:
                self._pool = pool
                tried.set()
                logger.info("connected")
                try:
                    await self._lost.wait()
                finally:
                    self._pool = None
            logger.error("the connection is lost")

    async def _leave_standbys(self) -> None:
        """Replace all connections as soon as new ones lead to a server that takes writes.

        A connection to a standby is never cut when the address comes to lead to another server, and does not say by
        itself that its own has been promoted. Meanwhile it still serves reads.
        """
        while True:
            await self._met_standby.wait()
            logger.error("the server is a standby: no writes until there is a primary")
            while await self._failure_to_connect("primary") is not None:
                await asyncio.sleep(RETRY_INTERVAL_SECONDS)
            if self._pool is not None:
                await self._pool.drain()
            self._met_standby.clear()
            logger.info("the server takes writes")

    async def _failure_to_connect(self, to: Literal["any", "primary"] = "any") -> str | None:
        try:
            async with asyncio.timeout(self._timeout):
                await (await AsyncConnection.connect(self._conninfo, target_session_attrs=to)).close()
        except psycopg.Error as error:
            return str(error)
        except TimeoutError:
            return "the server does not answer"
        return None

    def _new_pool(self) -> Pool:
        return AsyncConnectionPool(
            self._conninfo,
            kwargs={"autocommit": True},
            open=False,
            min_size=1,
            max_size=self._size,
            timeout=self._timeout,
            # It does not try again by itself, further and further apart: that is the keeper's work.
            reconnect_timeout=0,
            reconnect_failed=self._note_failure,
            check=self._require_open,
        )

    async def _note_failure(self, pool: Pool) -> None:
        # A pool that cannot grow still has what it has.
        if pool.get_stats()["pool_size"] == 0:
            self._lost.set()

    async def _require_open(self, connection: Connection) -> None:
        """Refuse an idle connection that the server closed: there is something to read from it, the end.

        Asking the socket spares every request a round trip to the server. When one connection is dead its neighbours
        are, so that the pool is emptied at once: it would wait longer and longer between one dead one and the next.
        """
        socket = select.poll()
        socket.register(connection.fileno(), select.POLLIN)
        if socket.poll(0):
            await connection.close()
            if self._pool is not None:
                await self._pool.drain()
            raise psycopg.OperationalError("the server closed the connection")


def conninfo(settings: Settings) -> str:
    """Return how to connect as role hiring_api."""
    seconds = settings.api_database_timeout_seconds
    return make_conninfo(
        host=settings.pghost,
        port=settings.pgport,
        dbname=settings.pgdatabase,
        user="hiring_api",
        password=settings.hiring_api_password.get_secret_value(),
        application_name="hiring-api",
        connect_timeout=math.ceil(seconds),
        options=f"-c default_transaction_read_only=on -c statement_timeout={math.ceil(seconds * 1000)}",
    )


def _is_to_standby(connection: Connection) -> bool:
    # The server reports it with each connection: nobody has to ask.
    return connection.info.parameter_status("in_hot_standby") == "on"


async def _one_row(connection: Connection, query: Statement, parameters: Parameters) -> Row:
    row = await (await connection.execute(query, parameters)).fetchone()
    if row is None:
        raise LookupError("the statement gave no row")
    return row


async def unavailable(_request: Request, error: psycopg.OperationalError) -> Response:
    """Ask the client to come back: the database is away, overloaded or too slow."""
    _log(error)
    return problem(503, "The database does not answer; try again later.", {"Retry-After": "5"})


async def not_writable(_request: Request, error: psycopg.Error) -> Response:
    """Ask the client to come back: what can be read cannot be written at present."""
    _log(error)
    return problem(503, "The database is not ready for writes; try again later.", {"Retry-After": "5"})


async def not_migrated(_request: Request, error: NotMigrated) -> Response:
    """Ask the client to come back: this version of the API has started before its migration."""
    logger.error("%s, and this is for %s: run the migration, or go back to the version before", error, SCHEMA_VERSION)
    return problem(503, "The database is not migrated to this version yet; try again later.", {"Retry-After": "30"})


async def not_built(_request: Request, error: psycopg.ProgrammingError) -> Response:
    """Ask the client to come back: the pipeline has not built, or not granted, what the request needs."""
    _log(error)
    detail = "The database answers, but the tables behind this are not built yet; try again later."
    return problem(503, detail, {"Retry-After": "30"})


async def unexpected(_request: Request, error: psycopg.Error) -> Response:
    """Admit any other error of the database."""
    _log(error)
    return problem(500, problems.FAILED)


def _log(error: psycopg.Error) -> None:
    # Not the message, which can repeat a record: the name of the error and of the table it is about.
    logger.error("%s (%s) %s", type(error).__name__, error.sqlstate, error.diag.table_name or "")


HANDLERS: dict[type[Exception], Handler] = {
    NotMigrated: not_migrated,
    NotWritable: not_writable,
    ReadOnlySqlTransaction: not_writable,
    psycopg.OperationalError: unavailable,
    UndefinedTable: not_built,
    InsufficientPrivilege: not_built,
    psycopg.Error: unexpected,
}
