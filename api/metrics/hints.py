"""What is said of a filter's value that is nobody's name: that it is none, and which names are near.

A misspelled name otherwise looks like a department without hires. A name that is known gets no hint, whatever it hired.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from psycopg.errors import InsufficientPrivilege, UndefinedTable
from psycopg.sql import SQL, Identifier, Literal
from pydantic import BaseModel, Field

from api.database import Database

# The filters that are names, and the marts whose column of the same name has all that are known.
KNOWN = {"department": "known_departments", "job": "known_jobs"}

# What a request can make us look for: so many names that are not known, of such a length, among so many that are.
MAX_HINTS = 5
MAX_NAME_CHARACTERS = 100
MAX_COMPARED = 2000
MAX_NEAR = 3

# Those that differ by case alone come first, so that they are among those that are compared.
NAMES = SQL("""
select array(
    select {name}
    from marts.{mart}
    group by {name}
    order by lower({name}) = any(select lower(unnest(%(unknown)s::text[]))) desc, {name} collate "C"
    limit {limit}
)
""")
UNKNOWN = SQL("""array(
    select value
    from unnest(%({parameter})s::text[]) with ordinality as given (value, place)
    where not exists (select from marts.{mart} where {name} = value)
    order by place
    limit {limit}
)""")


HEADER = "X-Hint"


class Hint(BaseModel):
    """A value that is nobody's name."""

    parameter: str = Field(description="The filter.")
    value: str = Field(description="The value that no department, or no job, has as its name.")
    did_you_mean: list[str] = Field(description="Known names that are nearest, if any.")

    @property
    def sentence(self) -> str:
        """What a header says, in ASCII: names are JSON strings."""
        near = f"; did you mean {' or '.join(map(json.dumps, self.did_you_mean))}?" if self.did_you_mean else "."
        return f"There is no {self.parameter} {json.dumps(self.value)}{near}"


def headers_for(hints: Sequence[Hint]) -> dict[str, str]:
    """Return the header with what the hints say; none without any."""
    return {HEADER: " ".join(hint.sentence for hint in hints)} if hints else {}


async def hints_for(database: Database, parameters: Mapping[str, Any]) -> list[Hint]:
    """Return a hint for each value of a filter that is not known, for the first few of them.

    Nothing is asked of the database where nothing is filtered by name.

    Raises:
        psycopg.OperationalError: the database cannot be reached or takes too long.
    """
    given = [name for name in KNOWN if parameters.get(name)]
    if not given:
        return []
    unknown = SQL(", ").join(
        UNKNOWN.format(
            parameter=SQL(name), mart=Identifier(KNOWN[name]), name=Identifier(name), limit=Literal(MAX_HINTS)
        )
        for name in given
    )  # fmt: skip
    try:
        found = await database.read(SQL("select {}").format(unknown).as_bytes(), parameters)
        return [
            hint
            for name, values in zip(given, found, strict=True)
            if values
            for hint in await _hints(database, name, values)
        ]
    except (UndefinedTable, InsufficientPrivilege):
        # The marts were built before names were published.
        return []


async def _hints(database: Database, parameter: str, unknown: Sequence[str]) -> list[Hint]:
    query = NAMES.format(name=Identifier(parameter), mart=Identifier(KNOWN[parameter]), limit=Literal(MAX_COMPARED))
    (names,) = await database.read(query.as_bytes(), {"unknown": list(unknown)})
    # It takes milliseconds for each, in which others are to be answered.
    near = await asyncio.to_thread(lambda: [near_names(value, names) for value in unknown])
    return [
        Hint(parameter=parameter, value=value[:MAX_NAME_CHARACTERS], did_you_mean=names)
        for value, names in zip(unknown, near, strict=True)
    ]


def near_names(value: str, names: Sequence[str]) -> list[str]:
    """Return the names that are a value but for case and white space; without any, those that look most like it."""
    if len(value) > MAX_NAME_CHARACTERS:
        return []
    by_folded: dict[str, list[str]] = {}
    for name in names:
        by_folded.setdefault(_folded(name), []).append(name)
    wanted = _folded(value)
    near = [wanted] if wanted in by_folded else get_close_matches(wanted, by_folded, MAX_NEAR)
    return [name for folded in near for name in by_folded[folded]][:MAX_NEAR]


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())
