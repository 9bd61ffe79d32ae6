"""Finds the sessions whose locks block a build of the models."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.database import Connection

# Only sessions of the current role are checked for waiting: a build has several. Postgres shows the user and the name
# of other roles' sessions to everybody, but the start of their transactions only to members of pg_read_all_stats.
BLOCKERS = """
    select distinct on (blocking.pid)
        blocking.pid,
        blocker.usename::text,
        blocker.application_name,
        blocker.xact_start,
        coalesce(wanted.relation::regclass::text, 'a ' || wanted.locktype)
    from pg_stat_activity as waiting
    inner join pg_locks as wanted on waiting.pid = wanted.pid and not wanted.granted
    cross join lateral unnest(pg_blocking_pids(waiting.pid)) as blocking (pid)
    left join pg_stat_activity as blocker on blocking.pid = blocker.pid
    where
        waiting.datname = current_database()
        and waiting.usename = current_user
        and waiting.application_name = 'dbt'
    order by blocking.pid, wanted.relation
"""


@dataclass(frozen=True)
class Session:
    """A session that holds a lock; `since` is None if Postgres does not show it."""

    pid: int
    user: str | None
    application: str | None
    since: datetime | None
    locks: str

    def __str__(self) -> str:
        who = ", ".join(part for part in (self.user, self.application) if part) or "a prepared transaction"
        since = f" since {self.since:%Y-%m-%d %H:%M:%S %Z}" if self.since else ""
        return f"session {self.pid} ({who}) has locked {self.locks}{since}"


def blockers(connection: "Connection") -> list[Session]:
    """Return the sessions that dbt's sessions are waiting for, each once.

    Args:
        connection: of the role that builds.
    """
    return [Session(*row) for row in connection.execute(BLOCKERS)]
