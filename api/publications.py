"""When marts change: what Postgres says of the last change, and the connection over which it tells of the next."""

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

from api.answers import Answers
from api.conditions import Validators

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_ATTEMPTS = 0.25

# Of marts one of which was never published nothing is known.
STATE = SQL("""
select
    string_agg(version::text, ' ' order by mart) as version,
    max(published_at) as published_at
from marts.publications
where mart = any({marts}::text[])
having count(*) = cardinality({marts}::text[])
""")


@dataclass(frozen=True)
class Publication:
    """Which state of its marts an answer is made of."""

    version: str
    published_at: datetime

    def validators(self, *representation: str) -> Validators:
        """Return what tells a representation of something in this state from all others."""
        # Versions begin anew with a database; the moment does not.
        state = "\0".join((self.version, self.published_at.isoformat(), *representation))
        tag = hashlib.blake2b(state.encode(), digest_size=16).hexdigest()
        return Validators(f'"{tag}"'.encode(), self.published_at.astimezone(UTC).replace(microsecond=0))


def state_of(marts: Iterable[str]) -> Composed:
    """Return a query for version and time of the publication of marts; no row where one was never published."""
    return STATE.format(marts=Literal(sorted({*marts})))


def published(row: tuple[Any, ...] | None) -> Publication | None:
    """Return what is known of a state of the marts: of marts that were never published as such, nothing."""
    return Publication(*row) if row and row[0] else None


@asynccontextmanager
async def listening(conninfo: str, answers: Answers) -> AsyncIterator[None]:
    """Let answers hear of it, for the length of a block, whenever Postgres tells that a mart has changed."""
    task = asyncio.create_task(_listen_for_ever(conninfo, answers))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _listen_for_ever(conninfo: str, answers: Answers) -> None:
    while True:
        try:
            await _listen(conninfo, answers)
        except psycopg.Error:
            await asyncio.sleep(SECONDS_BETWEEN_ATTEMPTS)


async def _listen(conninfo: str, answers: Answers) -> None:
    """Listen until the connection breaks.

    Raises:
        psycopg.Error: there is no connection, or none any more.
    """
    # Nothing is ever sent over it: without these, a server that vanished would be waited for in silence.
    patient = make_conninfo(conninfo, keepalives_idle=10, keepalives_interval=5, keepalives_count=3)
    async with await AsyncConnection.connect(patient, autocommit=True) as connection:
        await connection.execute("listen marts_changed")
        logger.info("listening for changes of the marts")
        answers.listen()
        try:
            async for _ in connection.notifies():
                answers.hear_of_change()
        finally:
            answers.stop_listening()
            logger.info("no longer listening for changes of the marts")
