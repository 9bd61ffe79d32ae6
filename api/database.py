"""The way to Postgres: a pool of connections as role hiring_api, and what its failures look like from outside."""

import asyncio
import logging
import math
import select
from collections.abc import Mapping
from types import TracebackType
from typing import Annotated, Any, LiteralString, Self

import psycopg
from fastapi import Depends, Request, Response
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege, UndefinedTable
from psycopg_pool import AsyncConnectionPool

from api import problems
from api.problems import Handler, problem
from api.settings import Settings

logger = logging.getLogger(__name__)

Row = tuple[Any, ...]
Parameters = Mapping[str, Any]


class Database:
    """A pool that opens without waiting for the server and lets go of connections that the server closed."""

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.api_database_timeout_seconds
        self._pool = AsyncConnectionPool(
            _conninfo(settings),
            kwargs={"autocommit": True},
            open=False,
            min_size=1,
            max_size=settings.api_pool_size,
            timeout=self._timeout,
            # An attempt to connect backs off for as long as this; after it, the next request starts afresh.
            reconnect_timeout=self._timeout,
            check=self._require_open,
        )

    async def __aenter__(self) -> Self:
        await self._pool.open(wait=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._pool.close()

    async def read(self, query: LiteralString, parameters: Parameters) -> Row:
        """Run a query that gives one row. The connection's default makes it a read-only transaction of its own.

        Raises:
            psycopg.OperationalError: the database cannot be reached or takes too long.
        """
        async with self._pool.connection() as connection:
            return await self._row(connection, query, parameters)

    async def write(self, statement: LiteralString, parameters: Parameters) -> Row:
        """Run a statement that gives one row in a transaction that may write.

        Raises:
            psycopg.OperationalError: the database cannot be reached or takes too long; nothing is written, unless
                the connection broke during the commit.
        """
        async with self._pool.connection() as connection:
            await connection.set_read_only(False)
            async with connection.transaction():
                return await self._row(connection, statement, parameters)

    async def _row(self, connection: AsyncConnection[Row], query: LiteralString, parameters: Parameters) -> Row:
        try:
            # The server cancels a slow statement itself, earlier; this is for a server that has gone silent.
            async with asyncio.timeout(self._timeout + 1):
                row = await (await connection.execute(query, parameters)).fetchone()
        except TimeoutError:
            raise psycopg.OperationalError("the server does not answer") from None
        if row is None:
            raise LookupError("the statement gave no row")
        return row

    async def _require_open(self, connection: AsyncConnection[Row]) -> None:
        """Refuse an idle connection that the server closed: there is something to read from it, the end.

        Asking the socket spares every request a round trip to the server. When one connection is dead its neighbours
        are, so that the pool is emptied at once: it would wait longer and longer between one dead one and the next.
        """
        socket = select.poll()
        socket.register(connection.fileno(), select.POLLIN)
        if socket.poll(0):
            await connection.close()
            await self._pool.drain()
            raise psycopg.OperationalError("the server closed the connection")


def _conninfo(settings: Settings) -> str:
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


async def _of_request(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


DatabaseOfRequest = Annotated[Database, Depends(_of_request)]


async def unavailable(_request: Request, error: psycopg.OperationalError) -> Response:
    """Ask the client to come back: the database is away, overloaded or too slow."""
    _log(error)
    return problem(503, "The database does not answer; try again later.", {"Retry-After": "5"})


async def not_built(_request: Request, error: psycopg.ProgrammingError) -> Response:
    """Ask the client to come back: the pipeline has not built, or not granted, what the request needs."""
    _log(error)
    detail = "The database answers, but the tables behind this are not built yet; try again later."
    return problem(503, detail, {"Retry-After": "30"})


async def unexpected(request: Request, error: psycopg.Error) -> Response:
    """Admit any other error of the database, without the traceback in the log, which would repeat its message."""
    _log(error)
    return await problems.unexpected(request, error)


def _log(error: psycopg.Error) -> None:
    # Not the message, which can repeat a record: the name of the error and of the table it is about.
    logger.error("%s (%s) %s", type(error).__name__, error.sqlstate, error.diag.table_name or "")


HANDLERS: dict[type[Exception], Handler] = {
    psycopg.OperationalError: unavailable,
    UndefinedTable: not_built,
    InsufficientPrivilege: not_built,
    psycopg.Error: unexpected,
}
