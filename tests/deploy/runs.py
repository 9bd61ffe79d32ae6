"""Runs as the daemon asks for them, to be launched on a platform."""

import sys
from typing import Any, cast

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin


def new_run(instance: DagsterInstance, job: str, image: str, **tags: str) -> DagsterRun:
    """Create a run of one of the code server's jobs.

    Args:
        instance: where it is stored.
        job: the job's name.
        image: the code server's image.
        tags: of the run.
    """
    pointer = ModuleCodePointer("orchestration.definitions", "defs", working_directory=None)
    python = RepositoryPythonOrigin(sys.executable, pointer, image, [sys.executable, "-m", "dagster"], {})
    location = GrpcServerCodeLocationOrigin(host="code.hiring.internal", port=4000, location_name="hiring")
    return instance.create_run(
        job_name=job,
        run_id=None,
        run_config={},
        status=DagsterRunStatus.NOT_STARTED,
        tags=tags,
        root_run_id=None,
        parent_run_id=None,
        step_keys_to_execute=None,
        execution_plan_snapshot=None,
        job_snapshot=None,
        parent_job_snapshot=None,
        asset_selection=None,
        asset_check_selection=None,
        resolved_op_selection=None,
        op_selection=None,
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job),
        job_code_origin=JobPythonOrigin(job, python),
        asset_graph=cast(Any, None),
    )
