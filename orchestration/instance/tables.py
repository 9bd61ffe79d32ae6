"""What Dagster's tables say, asked in SQL: importing Dagster takes longer than its answer may."""

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg


def sensor_heartbeat(connection: "psycopg.Connection") -> tuple[datetime, datetime | None]:
    """Return the server's time and when the daemon last said that its sensors tick, both in UTC without saying so.

    Raises:
        psycopg.errors.UndefinedTable: no process of Dagster's has made its tables yet.
    """
    now, last = connection.execute(
        """
        select clock_timestamp() at time zone 'UTC', max(timestamp)
        from daemon_heartbeats
        where daemon_type = 'SENSOR'
        """
    ).fetchone() or (None, None)
    assert now is not None, "an aggregate has one row"
    return now, last


def unfinished_runs(connection: "psycopg.Connection") -> int:
    """Return how many runs have a process, as far as Dagster knows; without its tables there are none."""
    (is_there,) = connection.execute("select to_regclass('runs') is not null").fetchone() or (False,)
    if not is_there:
        return 0
    (count,) = connection.execute(
        "select count(*) from runs where status in ('NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')"
    ).fetchone() or (0,)
    return int(count)
