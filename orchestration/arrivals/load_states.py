"""The state of each object, as the ledger has it: that of its latest load."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from contracts import Table
from orchestration.ingest.ledger import LoadStatus
from orchestration.ingest.objects import FILES

if TYPE_CHECKING:
    from orchestration.database import Connection


@dataclass(frozen=True)
class LoadState:
    """What the ledger has about the newest load of an object."""

    load_id: int
    key: str
    version: str
    status: str
    bytes: int | None
    last_modified: datetime | None
    records: int | None
    rejected: int | None
    malformed: int | None
    invalid: int | None
    seconds: float | None
    completed_at: datetime | None
    error: str | None

    @property
    def stamp(self) -> str:
        """What tells this state from every other that the object had."""
        parts = (self.status, self.records, self.rejected, self.completed_at, self.error)
        return f"load {self.load_id}, {hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"


def newest_states(connection: "Connection", table: Table, limit: int, also: Collection[int] = ()) -> list[LoadState]:
    """Return what the ledger has about a table's objects, the latest loads first, without those under way.

    Args:
        connection: of a role that reads schema raw.
        table: whose objects; files that were loaded by hand are none.
        limit: how many of the latest loads to take into account.
        also: load_ids to take into account besides.
    """
    states = (
        connection.cursor(row_factory=class_row(LoadState))
        .execute(
            """
            select distinct on (key)
                load_id, key, version, status, bytes, last_modified, records, rejected, malformed, invalid,
                extract(epoch from completed_at - started_at)::float as seconds, completed_at, error
            from raw.loads
            where load_id = any(%(also)s) or load_id in (
                select load_id
                from raw.loads
                where table_name = %(table)s and source = 'object' and bucket <> %(files)s
                order by load_id desc
                limit %(limit)s
            )
            order by key, load_id desc
            """,
            {"also": list(also), "table": table.name, "files": FILES, "limit": limit},
        )
        .fetchall()
    )
    return sorted(
        # A load that is under way has nothing to tell yet.
        (state for state in states if state.status != LoadStatus.LOADING or state.error),
        key=lambda state: state.load_id,
        reverse=True,
    )
