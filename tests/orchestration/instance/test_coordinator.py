"""However many runs are requested, only a few run at the same time, and a single one starts immediately."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test, create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from deploy.local.postgres import EmbeddedPostgres
from orchestration.instance.run_server import dagster
from tests.conftest import environment
from tests.orchestration.instance import test_forks
from tests.orchestration.instance.test_forks import Server, eventually

BOUND = 3
RUNS = 12
INSTANCE = Path(__file__).parents[3] / "deploy"
CODE = """
import os
import time
import dagster as dg

@dg.op
def nothing():
    while not os.path.exists(os.environ["MAY_END"]):
        time.sleep(0.05)

@dg.job(executor_def=dg.in_process_executor)
def idle():
    nothing()

defs = dg.Definitions(jobs=[idle])
"""


def run_dagster(command: Sequence[str]) -> None:
    """What a fork becomes here: Dagster's own program, for a run; the code server only waits."""
    if command[0] == "wait":
        test_forks.program(command)
    dagster(command)


@pytest.fixture
def instance(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance as deploy/dagster.yaml says, and the server that forks its runs."""
    postgres.create_database("bounded")
    given = {
        "DAGSTER_PG_URL": f"postgresql://postgres:{postgres.password}@/bounded?host={postgres.host}&port=5432",
        "DAGSTER_STORAGE": str(tmp_path / "storage"),
        "RUN_SERVER_SOCKET": str(tmp_path / "runs.sock"),
        "MAX_CONCURRENT_RUNS": str(BOUND),
        "MAY_END": str(tmp_path / "may_end"),
    }
    with environment(given):
        server = Server(tmp_path, run_dagster)
        with dg.DagsterInstance.from_config(str(INSTANCE)) as opened:
            yield opened
            server.process.terminate()
            server.process.join()
            opened.wipe()


@pytest.fixture
def workspace(instance: dg.DagsterInstance, tmp_path: Path) -> Iterator[WorkspaceProcessContext]:
    code = tmp_path / "code.py"
    code.write_text(CODE)
    target = PythonFileTarget(str(code), attribute=None, working_directory=None, location_name="code")
    with create_test_daemon_workspace_context(target, instance) as context:
        yield context


@pytest.fixture
def let_runs_end(tmp_path: Path) -> Callable[[], None]:
    """Until this is called, no run ends, so that tests do not depend on the machine's speed."""
    return (tmp_path / "may_end").touch


def submit(workspace: WorkspaceProcessContext) -> str:
    """Request a run, like a sensor, a person or a backfill."""
    context = workspace.create_request_context()
    job = context.get_code_location("code").get_repository("__repository__").get_full_job("idle")
    run = create_run_for_test(
        workspace.instance,
        "idle",
        job_snapshot=job.job_snapshot,
        remote_job_origin=job.get_remote_origin(),
        job_code_origin=job.get_python_origin(),
    )
    return workspace.instance.submit_run(run.run_id, context).run_id


def test_a_backfill_runs_a_few_at_a_time_and_all_of_it(
    instance: dg.DagsterInstance, workspace: WorkspaceProcessContext, let_runs_end: Callable[[], None]
) -> None:
    """Each is a process: as many as a backfill has files, on a machine with memory for a few, end all of them."""
    with ThreadPoolExecutor(4) as submitters:
        run_ids = list(submitters.map(submit, [workspace] * RUNS))
    daemon_iteration(workspace)
    let_runs_end()

    def all_have_succeeded() -> bool:
        daemon_iteration(workspace)
        return succeeded(instance) == RUNS

    eventually(all_have_succeeded, seconds=120)
    under_way = [instance.get_run_stats(run_id) for run_id in run_ids]
    changes = [(stats.launch_time, 1) for stats in under_way] + [(stats.end_time, -1) for stats in under_way]
    assert max(accumulate(change for _, change in sorted(changes))) == BOUND


def daemon_iteration(workspace: WorkspaceProcessContext) -> None:
    """Check the queue, like the daemon does each second."""
    list(QueuedRunCoordinatorDaemon(1).run_iteration(workspace))


def test_a_single_run_starts_without_the_daemon(
    instance: dg.DagsterInstance, workspace: WorkspaceProcessContext, let_runs_end: Callable[[], None]
) -> None:
    """A load would wait for the daemon's next check even on an idle system."""
    run = instance.get_run_by_id(submit(workspace))
    assert run is not None
    assert run.status in {dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED}
    let_runs_end()
    eventually(lambda: succeeded(instance) == 1)


def test_a_run_in_the_queue_can_be_canceled(
    instance: dg.DagsterInstance, workspace: WorkspaceProcessContext, let_runs_end: Callable[[], None]
) -> None:
    run_ids = [submit(workspace) for _ in range(BOUND + 1)]
    queued = instance.get_run_by_id(run_ids[-1])
    assert queued is not None
    assert queued.status == dg.DagsterRunStatus.QUEUED
    assert instance.run_coordinator.cancel_run(queued.run_id)
    assert instance.get_runs_count(dg.RunsFilter([queued.run_id], statuses=[dg.DagsterRunStatus.CANCELED])) == 1
    let_runs_end()
    eventually(lambda: succeeded(instance) == BOUND)


def succeeded(instance: dg.DagsterInstance) -> int:
    return instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))
