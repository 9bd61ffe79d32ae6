"""Dagster's own instance with the forking launcher: the status of a run in Dagster according to its process."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from orchestration.settings import RunSettings
from tests.orchestration.instance.test_forks import Server, eventually, freeze

INSTANCE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "deploy" / "dagster.yaml").read_text())


@dg.job
def anything() -> None:
    pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.process.terminate()
    running.process.join()


@pytest.fixture
def instance(server: Server) -> Iterator[dg.DagsterInstance]:
    """An instance with deploy/dagster.yaml, except for a shorter timeout of cancellations."""
    launcher = INSTANCE["run_launcher"] | {"config": {"socket": str(server.path)}}
    monitoring = INSTANCE["run_monitoring"] | {"cancel_timeout_seconds": 2}
    with dg.DagsterInstance.local_temp(overrides={"run_launcher": launcher, "run_monitoring": monitoring}) as opened:
        yield opened


def test_a_frozen_run_that_is_terminated_ends_as_canceled(server: Server, instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(anything)
    process = server.ask("start", run.run_id, "wait").number
    for kind in (DagsterEventType.RUN_STARTING, DagsterEventType.RUN_START):
        instance.report_dagster_event(DagsterEvent(kind.value, run.job_name), run.run_id)
    freeze(process)

    assert instance.run_coordinator.cancel_run(run.run_id)
    assert server.ended(run.run_id) == -signal.SIGKILL

    def is_canceled() -> bool:
        # What the daemon does every few seconds.
        context: Any = SimpleNamespace(instance=instance, create_request_context=lambda: None)
        list(execute_run_monitoring_iteration(context, logging.getLogger("test")))
        now = instance.get_run_by_id(run.run_id)
        return now is not None and now.status == dg.DagsterRunStatus.CANCELED

    eventually(is_canceled)


def test_a_run_counts_as_canceled_only_after_its_process_must_have_ended() -> None:
    longest = RunSettings.model_fields["run_stop_seconds"].metadata
    (limit,) = (each.le for each in longest if hasattr(each, "le"))
    assert limit < INSTANCE["run_monitoring"]["cancel_timeout_seconds"]
