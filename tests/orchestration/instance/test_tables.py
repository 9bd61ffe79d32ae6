"""The contents of those of Dagster's tables that are read without Dagster."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from deploy.local.postgres import EmbeddedPostgres
from deploy.probes import daemon_is_alive
from orchestration.instance.tables import sensor_heartbeat, unfinished_runs

Books = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def books(postgres: EmbeddedPostgres, instance: dg.DagsterInstance) -> Iterator[Books]:
    """Dagster's database, as a process without Dagster reads it."""
    assert instance.is_persistent
    with psycopg.connect(postgres.conninfo("instance"), autocommit=True) as connection:
        connection.execute("delete from daemon_heartbeats")
        yield connection


def beat(instance: dg.DagsterInstance, daemon: str, seconds_ago: float) -> None:
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - seconds_ago, daemon, None))


def test_dagster_writes_the_time_of_each_daemons_heartbeat_in_utc(
    instance: dg.DagsterInstance, books: Books, postgres: EmbeddedPostgres
) -> None:
    conninfo = postgres.conninfo("instance")
    beat(instance, "SCHEDULER", 1)
    assert sensor_heartbeat(books)[1] is None
    assert not daemon_is_alive(conninfo)
    beat(instance, "SENSOR", 100)
    now, last = sensor_heartbeat(books)
    assert isinstance(last, datetime)
    assert 100 <= (now - last).total_seconds() < 140
    assert daemon_is_alive(conninfo)
    beat(instance, "SENSOR", 200)
    assert not daemon_is_alive(conninfo)


def test_dagster_writes_the_states_of_runs_by_their_names(instance: dg.DagsterInstance, books: Books) -> None:
    # One in the queue has no process either, and cannot be made without a code location.
    for status in set(dg.DagsterRunStatus) - {dg.DagsterRunStatus.QUEUED}:
        instance.add_run(dg.DagsterRun("refresh", status=status))
    assert unfinished_runs(books) == 4


def test_before_dagster_has_made_its_tables_no_run_is_unfinished(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.conninfo("template_migrated")) as elsewhere:
        assert unfinished_runs(elsewhere) == 0
