"""Ensures one build of the models at a time: the tests of a build must not see another one in progress."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestration.warehouse.locks import Session

if TYPE_CHECKING:
    from orchestration.database import Connection

LOCK = {"name": "build of the models"}
HOLDER = """
    select holder.pid, holder.usename::text, holder.application_name, holder.backend_start, 'the models'
    from pg_locks
    inner join pg_stat_activity as holder on pg_locks.pid = holder.pid
    where
        pg_locks.locktype = 'advisory'
        and pg_locks.granted
        and pg_locks.database = (select oid from pg_database where datname = current_database())
        and (pg_locks.classid::bigint << 32 | pg_locks.objid::bigint) = hashtextextended(%(name)s, 0)
"""


def acquire_build_lock(connection: "Connection", on_wait: Callable[[str], None]) -> None:
    """Acquire the lock for building the models for the rest of the session, waiting while another session holds it.

    The session's end releases it, so that a killed build blocks nobody.

    Args:
        connection: of any role; to be closed after the build.
        on_wait: called with a message if another session holds the lock.
    """
    if connection.execute("select pg_try_advisory_lock(hashtextextended(%(name)s, 0))", LOCK).fetchone() != (True,):
        holders = "; ".join(str(Session(*row)) for row in connection.execute(HOLDER, LOCK))
        on_wait(f"Another run is building the models; waiting for that to end: {holders or 'it has just ended'}.")
        connection.execute("select pg_advisory_lock(hashtextextended(%(name)s, 0))", LOCK)
