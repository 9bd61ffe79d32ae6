"""The version of the marts that a response is made of, and the notifications that invalidate older responses."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Composed, Literal

from api.caching.conditional_requests import Validators
from api.caching.response_cache import ResponseCache

logger = logging.getLogger(__name__)

RETRY_INTERVAL_SECONDS = 0.25

# Of marts one of which was never published nothing is known.
VERSION = SQL("""
select
    string_agg(version::text, ' ' order by mart) as version,
    max(published_at) as published_at
from marts.publications
where mart = any({marts}::text[])
having count(*) = cardinality({marts}::text[])
""")


@dataclass(frozen=True)
class MartVersion:
    """The version of its marts that a response is made of, and when they were published."""

    version: str
    published_at: datetime

    @classmethod
    def of(cls, row: tuple[Any, ...] | None) -> "MartVersion | None":
        """Return the version that `version_query` has found, None for marts that were never published."""
        return cls(*row) if row and row[0] else None

    def validators(self, *representation: str) -> Validators:
        """Return what distinguishes a representation of something in this state from all others."""
        # Versions start again with a new database; the moment does not.
        parts = "\0".join((self.version, self.published_at.isoformat(), *representation))
        tag = hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()
        return Validators(f'"{tag}"'.encode(), self.published_at.astimezone(UTC).replace(microsecond=0))


def version_query(marts: Iterable[str]) -> Composed:
    """Return a query for the version of marts and when it was published; no row where one was never published."""
    return VERSION.format(marts=Literal(sorted({*marts})))


@asynccontextmanager
async def invalidating(conninfo: str, cache: ResponseCache) -> AsyncIterator[None]:
    """Invalidate the cache, for the length of a block, whenever Postgres notifies of a changed mart."""
    task = asyncio.create_task(_listen_for_ever(conninfo, cache))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _listen_for_ever(conninfo: str, cache: ResponseCache) -> None:
    while True:
        try:
            await _listen(conninfo, cache)
        except psycopg.Error:
            await asyncio.sleep(RETRY_INTERVAL_SECONDS)


async def _listen(conninfo: str, cache: ResponseCache) -> None:
    """Listen until the connection breaks.

    Raises:
        psycopg.Error: there is no connection, or none any more.
    """
    # Nothing is ever sent over it: without these, a server that vanished would be waited for in silence.
    with_keepalives = make_conninfo(conninfo, keepalives_idle=10, keepalives_interval=5, keepalives_count=3)
    async with await AsyncConnection.connect(with_keepalives, autocommit=True) as connection:
        await connection.execute("listen marts_changed")
        logger.info("listening for changes of the marts")
        cache.listen()
        try:
            async for _ in connection.notifies():
                cache.invalidate()
        finally:
            cache.stop_listening()
            logger.info("no longer listening for changes of the marts")
