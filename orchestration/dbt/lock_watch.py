"""Whom a build waits for: sessions that have locked what dbt needs, in the run's log and in the error at the end."""

import time
from typing import TYPE_CHECKING

import dagster as dg
import psycopg

from orchestration.settings import BuildSettings
from orchestration.warehouse.locks import Session, blockers

if TYPE_CHECKING:
    from orchestration.database import Connection

LOOK_INTERVAL_SECONDS = 1.0


class LockWatch:
    """Names in a run's log the sessions that dbt waits for, each once."""

    def __init__(self, context: dg.AssetExecutionContext, connection: "Connection") -> None:
        self._context = context
        self._connection = connection
        self._next_look = time.monotonic() + LOOK_INTERVAL_SECONDS
        self._blockers: dict[int, Session] = {}

    def look(self) -> None:
        """Look whether dbt waits, if that has not been done just now."""
        if time.monotonic() < self._next_look:
            return
        for session in blockers(self._connection):
            if session.pid not in self._blockers:
                self._context.log.warning(f"The build waits: {session}.")
            self._blockers[session.pid] = session
        self._next_look = time.monotonic() + LOOK_INTERVAL_SECONDS

    def explained(self, error: psycopg.Error) -> psycopg.Error:
        """Return the error, or for a lock that was not to be had one that says whose it is."""
        if not isinstance(error, psycopg.errors.LockNotAvailable) or not self._blockers:
            return error
        waited = BuildSettings.read().build_lock_timeout_seconds
        whose = "; ".join(map(str, self._blockers.values()))
        return type(error)(
            f"the build has waited {waited:g} s for a lock, and in vain: {whose}; "
            "end its transaction or that session, for example with pg_terminate_backend"
        )
