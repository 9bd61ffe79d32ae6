"""One build of the models at a time, whoever starts it: tests of one must not look at what another has half done."""

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


def acquire_build_lock(connection: "Connection", tell: Callable[[str], None]) -> None:
    """Take the right to build the models for as long as the session lasts; wait while another session has it.

    It goes with the session: a build whose process is killed keeps nobody waiting.

    Args:
        connection: of any role; to be closed when the build is over.
        tell: is told when there is somebody to wait for.
    """
    if connection.execute("select pg_try_advisory_lock(hashtextextended(%(name)s, 0))", LOCK).fetchone() != (True,):
        holders = "; ".join(str(Session(*row)) for row in connection.execute(HOLDER, LOCK))
        tell(f"Another run is building the models; waiting for that to end: {holders or 'it has just ended'}.")
        connection.execute("select pg_advisory_lock(hashtextextended(%(name)s, 0))", LOCK)
