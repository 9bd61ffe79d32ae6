"""What hires refer to: which departments and jobs the last build knows, and which of a batch it does not.

A hire that refers to something unknown is stored all the same, and waits.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg.sql import SQL, Identifier

from api.caching.response_cache import ResponseCache
from api.database import Database
from api.employees.hires import Reference
from contracts.rules import parse

logger = logging.getLogger(__name__)

# A batch is not held up for long by what is only said about it, and a mart that cannot be read not asked all the time.
MAX_SECONDS = 0.5
RETRY_INTERVAL_SECONDS = 1

# By table, the ids that can be referred to; None where nobody can tell.
KnownIds = Mapping[str, frozenset[Any]]


class Waiting(NamedTuple):
    """How many hires wait, and what for, in words."""

    hires: int
    missing: list[str]


class References:
    """What the last build knows of the tables that hires refer to, kept in memory until a mart changes."""

    def __init__(self, references: Sequence[Reference], cache: ResponseCache) -> None:
        keys = {each.table: each.key for each in references}
        self._tables = tuple(keys)
        # In one statement, so that all of it is of one moment.
        self._query = (
            SQL("select {}")
            .format(
                SQL(", ").join(
                    SQL("array(select {} from {})").format(Identifier(key), Identifier("marts", f"known_{table}"))
                    for table, key in keys.items()
                )
            )
            .as_bytes()
        )
        # It is invalidated when a mart changes.
        self._cache = cache
        self._known: KnownIds | None = None
        self._read_at, self._generation = 0.0, -1

    async def known(self, database: Database) -> KnownIds | None:
        """Return the ids that the last build knows, by table, or None where the marts cannot be read."""
        if self._cache.is_fresh(self._read_at, self._generation) and (
            self._known is not None or time.monotonic() - self._read_at < RETRY_INTERVAL_SECONDS
        ):
            return self._known
        generation = self._cache.generation
        known = await self._read(database)
        self._known, self._read_at, self._generation = known, time.monotonic(), generation
        return known

    async def _read(self, database: Database) -> KnownIds | None:
        try:
            async with asyncio.timeout(MAX_SECONDS):
                row = await database.read(self._query, {})
        except (psycopg.Error, TimeoutError) as error:
            logger.warning("it is not known what hires may refer to: %s", type(error).__name__)
            return None
        return {table: frozenset(ids) for table, ids in zip(self._tables, row, strict=True)}


def find_waiting(hires: Sequence[Mapping[str, Any]], references: Sequence[Reference], known: KnownIds) -> Waiting:
    """Return how many valid hires refer to something that is not known, and what that is.

    Args:
        hires: with their fields as they were sent.
        references: the columns that refer to other tables.
        known: the ids of these tables.
    """
    missing = {each: _unknown(hires, each, known[each.table]) for each in references}
    waiting = 0
    if any(missing.values()):
        waiting = sum(any(hire.get(each.column.name) in values for each, values in missing.items()) for hire in hires)
    names = [f"{each.noun} {key}" for each, values in missing.items() for key in sorted({*values.values()})]
    return Waiting(waiting, list(dict.fromkeys(names)))


def _unknown(hires: Sequence[Mapping[str, Any]], reference: Reference, known: frozenset[Any]) -> dict[Any, Any]:
    """Return the values of a reference that are not known as they were sent, each with what it means as a key."""
    # Nearly always nothing is left: a value like 8.0 is equal to what it means.
    left = {hire.get(reference.column.name) for hire in hires} - known
    keys = {value: parse(reference.column, str(value)) for value in left - {None}}
    return {value: key for value, key in keys.items() if key is not None and key not in known}
