"""What the connections may do, and for how long."""

import asyncio

import pytest
from psycopg.errors import QueryCanceled, ReadOnlySqlTransaction

from api.database import Database, Row
from tests.api.conftest import build_marts, serving, settings_for
from tests.conftest import Database as Server

STORE = "select raw.store_batch('[{}]', '[]', null, null, null, null)"


def test_a_read_cannot_write_not_even_after_a_write_on_the_same_connection(database: Server) -> None:
    async def write_then_read() -> Row:
        async with Database(settings_for(database, api_pool_size=1)) as api:
            await api.write(STORE, {})
            return await api.read(STORE, {})

    with pytest.raises(ReadOnlySqlTransaction):
        asyncio.run(write_then_read())
    assert database.rows("select count(*) from raw.hired_employees") == [(1,)]


def test_the_server_cancels_a_statement_that_takes_too_long(database: Server) -> None:
    async def sleep() -> Row:
        async with Database(settings_for(database, api_database_timeout_seconds=0.2)) as api:
            return await api.read("select pg_sleep(5)", {})

    with pytest.raises(QueryCanceled):
        asyncio.run(sleep())


def test_a_metric_that_is_locked_for_too_long_is_a_503_and_comes_back(database: Server) -> None:
    build_marts(database)
    with serving(settings_for(database, api_database_timeout_seconds=0.3)) as client:
        with database.connect() as blocker, blocker.transaction():
            blocker.execute("lock table marts.hires_by_quarter in access exclusive mode")
            answer = client.get("/metrics/hires-by-quarter")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert client.get("/metrics/hires-by-quarter").status_code == 200
