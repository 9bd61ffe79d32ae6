"""Queries of Dagster's tables for callers that cannot afford the time to import Dagster."""

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg


def sensor_heartbeat(connection: "psycopg.Connection") -> tuple[datetime, datetime | None]:
    """Return the server's time and the time of the sensor daemon's last heartbeat, both in UTC without a time zone.

    Raises:
        psycopg.errors.UndefinedTable: Dagster's tables have not been created yet.
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
    """Return how many runs are in progress according to Dagster; 0 if its tables do not exist yet."""
    (exists,) = connection.execute("select to_regclass('runs') is not null").fetchone() or (False,)
    if not exists:
        return 0
    (count,) = connection.execute(
        "select count(*) from runs where status in ('NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')"
    ).fetchone() or (0,)
    return int(count)
