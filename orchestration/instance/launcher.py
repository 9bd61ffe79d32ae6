"""Dagster's run launcher for the run server: it requests to start, stop and monitor the process of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

from dagster import DagsterRun, StringSource, serialize_value
from dagster._core.errors import DagsterLaunchFailedError
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._core.origin import JobPythonOrigin
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from orchestration.instance.protocol import Request, State, send


class ForkingRunLauncher(RunLauncher[Any], ConfigurableClass):
    """Launches runs as forks of the run server, which listens on `socket`."""

    def __init__(self, socket: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._socket = Path(socket)
        self._inst_data = inst_data
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """The options of dagster.yaml."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the schema of dagster.yaml's options."""
        return {"socket": StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Create a launcher from dagster.yaml's options."""
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a run.

        Raises:
            DagsterLaunchFailedError: the run server does not reply.
        """
        run = context.dagster_run
        arguments = ExecuteRunArgs(
            job_origin=cast(JobPythonOrigin, run.job_code_origin),
            run_id=run.run_id,
            instance_ref=self._instance.get_ref(),
        )
        command = ["api", "execute_run", serialize_value(arguments)]
        try:
            state = send(self._socket, Request("start", run.run_id, command))
        except OSError as error:
            what = f"the run server at {self._socket} does not reply: {error}"
            raise DagsterLaunchFailedError(what) from None  # type: ignore[no-untyped-call]
        self._instance.report_engine_event(f"Forked off as process {state.number}.", run, cls=type(self))

    def terminate(self, run_id: str) -> bool:
        """Ask a run to stop; return whether it was running."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return send(self._socket, Request("interrupt", run_id)).name == "running"

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether Dagster's run monitoring may call `check_run_worker_health`."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Return the state of a run's process for Dagster's run monitoring."""
        try:
            state = send(self._socket, Request("state", run.run_id))
        except OSError as error:
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, f"the run server does not reply: {error}", transient=True)
        return _health(state)


def _health(state: State) -> CheckRunHealthResult:
    match state.name, state.number:
        case "running", _:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        case "ended", 0:
            return CheckRunHealthResult(WorkerStatus.SUCCESS)
        case "ended", status:
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
            return CheckRunHealthResult(WorkerStatus.FAILED, f"its process ended {how}")
        case _:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its process is gone")
