"""Dagster's run launcher for the run server: it has a run forked off, stopped, and asked how it is doing."""

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
    """Launches runs as forks of the process that serves the code; `socket` is where that one listens."""

    def __init__(self, socket: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._socket = Path(socket)
        self._inst_data = inst_data
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What dagster.yaml says."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return what dagster.yaml may say."""
        return {"socket": StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Make one of what dagster.yaml says."""
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
        """Ask a run to stop; return whether there was one."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return send(self._socket, Request("interrupt", run_id)).name == "running"

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether Dagster's run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Tell run monitoring how the process of a run is doing."""
        try:
            state = send(self._socket, Request("look", run.run_id))
        except OSError as error:
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, f"the run server does not reply: {error}", transient=True)
        return _health(state)


def _health(state: State) -> CheckRunHealthResult:
    match state.name, state.number:
        case "running", _:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        case "ended", 0:
            return CheckRunHealthResult(WorkerStatus.SUCCESS)
        case "ended", number:
            how = f"signal {-number}" if number < 0 else f"status {number}"
            return CheckRunHealthResult(WorkerStatus.FAILED, f"its process ended by {how}")
        case _:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its process is gone")
