"""A process of its own: marks runs as failed whose processes were killed together with the stack."""

import dagster as dg

from orchestration.arrivals.run_gate import UNDER_WAY
from orchestration.monitoring.failures import STACK_STOPPED


def main() -> None:
    """Fail every run that Dagster believes to be under way. No run's process is alive when the stack starts.

    Those in the queue have never had one: the daemon starts them.
    """
    with dg.DagsterInstance.get() as instance:
        cut_off = [status for status in UNDER_WAY if status != dg.DagsterRunStatus.QUEUED]
        for run in instance.get_runs(dg.RunsFilter(statuses=cut_off)):
            instance.report_run_failed(run, message=STACK_STOPPED)


if __name__ == "__main__":
    main()
