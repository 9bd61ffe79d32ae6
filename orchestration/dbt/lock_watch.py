"""Reports sessions whose locks block a build, in the run's log and in the error of a lock timeout."""

import time
from typing import TYPE_CHECKING

import dagster as dg
import psycopg

from orchestration.settings import BuildSettings
from orchestration.warehouse.locks import Session, blockers

if TYPE_CHECKING:
    from orchestration.database import Connection

POLL_INTERVAL_SECONDS = 1.0


class LockWatch:
    """Logs the sessions that dbt waits for, each once."""

    def __init__(self, context: dg.AssetExecutionContext, connection: "Connection") -> None:
        self._context = context
        self._connection = connection
        self._next_poll = time.monotonic() + POLL_INTERVAL_SECONDS
        self._blockers: dict[int, Session] = {}

    def poll(self) -> None:
        """Log new blockers, at most once per POLL_INTERVAL_SECONDS."""
        if time.monotonic() < self._next_poll:
            return
        for session in blockers(self._connection):
            if session.pid not in self._blockers:
                self._context.log.warning(f"The build waits: {session}.")
            self._blockers[session.pid] = session
        self._next_poll = time.monotonic() + POLL_INTERVAL_SECONDS

    def explained(self, error: psycopg.Error) -> psycopg.Error:
        """Return the error; a lock timeout is replaced by one that names the sessions that held the lock."""
        if not isinstance(error, psycopg.errors.LockNotAvailable) or not self._blockers:
            return error
        timeout = BuildSettings.read().build_lock_timeout_seconds
        holders = "; ".join(map(str, self._blockers.values()))
        return type(error)(
            f"the build waited {timeout:g} s for a lock in vain: {holders}; "
            "end its transaction or that session, for example with pg_terminate_backend"
        )
