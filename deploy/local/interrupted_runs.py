"""Marks runs as failed whose processes were killed together with the stack; runs in a process of its own."""

import dagster as dg

from orchestration.arrivals.run_gate import UNDER_WAY
from orchestration.monitoring.failures import STACK_STOPPED


def main() -> None:
    """Mark every run as failed that Dagster believes to be in progress: no run's process survives a stop of the stack.

    Queued runs have no process yet: the daemon launches them.
    """
    with dg.DagsterInstance.get() as instance:
        interrupted = [status for status in UNDER_WAY if status != dg.DagsterRunStatus.QUEUED]
        for run in instance.get_runs(dg.RunsFilter(statuses=interrupted)):
            instance.report_run_failed(run, message=STACK_STOPPED)


if __name__ == "__main__":
    main()
