"""Runs Dagster's refresh job in a process of its own, and writes the reasons of a failure to REFRESH_ERRORS."""

import os
import sys
from pathlib import Path

import dagster as dg

from orchestration.definitions import defs
from orchestration.defs.arrivals import arrivals
from orchestration.instance.run_events import reason

ARRIVALS_STEP = arrivals.op.name


def main() -> None:
    """Run the job on the instance of DAGSTER_HOME; exit with status 1 unless everything was built.

    A job that only met files that failed counts as built: its last step fails, and the report names the files.
    """
    with dg.DagsterInstance.get() as instance:
        job = defs.resolve_job_def("refresh")
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    # A job's own failure only repeats which steps failed, unless it failed before its first step.
    steps = [reason(event) for event in result.all_events if event.is_step_failure]
    reasons = steps or [reason(event) for event in result.all_events if event.is_job_failure]
    Path(os.environ["REFRESH_ERRORS"]).write_text("\n".join(dict.fromkeys(filter(None, reasons))))
    is_built = {event.step_key for event in result.all_events if event.is_step_failure} == {ARRIVALS_STEP}
    sys.exit(0 if result.success or is_built else 1)


if __name__ == "__main__":
    main()
