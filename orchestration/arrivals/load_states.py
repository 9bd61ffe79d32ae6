"""The state of each object according to the ledger: that of its latest load."""

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
    """The ledger's entry of an object's newest load."""

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
        """An identifier of this state among all states of the object."""
        parts = (self.status, self.records, self.rejected, self.completed_at, self.error)
        return f"load {self.load_id}, {hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"


def newest_states(connection: "Connection", table: Table, limit: int, also: Collection[int] = ()) -> list[LoadState]:
    """Return the states of a table's objects, latest loads first, without loads in progress.

    Args:
        connection: of a role that reads schema raw.
        table: whose objects; files that were loaded from a shell are left out.
        limit: how many of the latest loads to consider.
        also: further load_ids to consider.
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
        # A load in progress has no result yet.
        (state for state in states if state.status != LoadStatus.LOADING or state.error),
        key=lambda state: state.load_id,
        reverse=True,
    )
