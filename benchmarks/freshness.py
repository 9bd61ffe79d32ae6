"""Figures of the whole stack: how soon delivered hires are in the metrics, and its CPU and memory when idle."""

import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure
from benchmarks.servers import Servers
from benchmarks.stack import RunningStack, running_stack
from orchestration.dbt.project import PROJECT

DBT = str(Path(sys.executable).with_name("dbt"))
ROUNDS = 5
DELIVERED = 1000
# Number of files with DELIVERED records each.
BACKLOG = 500
IDLE_SECONDS = 300
# A stack is still busy for a while after its last run.
SETTLE_SECONDS = 20


def freshness_vs_dbt(servers: Servers, _records: int) -> float:
    """Return the ratio of the time from an S3 PUT until the API shows its hires to that of a `dbt build`."""
    with running_stack(servers.scratch) as stack:
        _dbt_build(stack)
        ours, dbt = [], []
        for round_number in range(ROUNDS):
            ours.append(_until_fresh(stack, round_number))
            dbt.append(_dbt_build(stack))
            # So that each round starts at a different time between the sensors' ticks.
            time.sleep(1.3 * round_number)
    return median(ours) / median(dbt)


def backlog(servers: Servers, _records: int) -> float:
    """Return the ratio of the time until many files are in the metrics to that of one file with as many records."""
    with running_stack(servers.scratch) as stack:
        landing = stack.settings.landing_folder
        durations = []
        for name, files in (("one", 1), ("many", BACKLOG)):
            # Outside of the bucket, so that all of them arrive at the same time.
            staged = landing.with_name(name)
            staged.mkdir()
            for index in range(files):
                text = stack.next_hires(BACKLOG * DELIVERED // files)
                (staged / f"hired_employees_{index}.csv").write_bytes(text)
            started = time.monotonic()
            staged.rename(landing / name)
            stack.wait_until_shown()
            durations.append(time.monotonic() - started)
            time.sleep(SETTLE_SECONDS)
    one, many = durations
    return many / one


def idle(servers: Servers, _records: int) -> float:
    """Return the share of one core that an idle stack uses, in percent."""
    return _idle(servers.scratch)[0]


def idle_memory(servers: Servers, _records: int) -> float:
    """Return the memory (PSS) that an idle stack uses, in GB."""
    return _idle(servers.scratch)[1]


FIGURES = (
    Figure(
        "freshness_vs_dbt",
        freshness_vs_dbt,
        "time from a PUT of 1,000 hires until the API shows them / of `dbt build`",
        bar="<= 2",
    ),
    Figure(
        "freshness_backlog",
        backlog,
        "time until 500 files of 1,000 hires are in the metrics / one file of 500,000",
        bar="<= 1.5",
    ),
    Figure("idle_cpu", idle, "CPU of the whole idle stack over 5 minutes, of one core", unit="%", bar="<= 25"),
    Figure("idle_memory", idle_memory, "memory (PSS) of the whole idle stack", unit="GB", bar="<= 1.5"),
)


def _until_fresh(stack: RunningStack, round_number: int) -> float:
    """Return the seconds from the end of a PUT until the API shows its hires."""
    stack.put_hires(f"hired_employees_{round_number}.csv", DELIVERED)
    started = time.monotonic()
    stack.wait_until_shown()
    return time.monotonic() - started


def _dbt_build(stack: RunningStack) -> float:
    """Return the seconds that the command takes without unit tests, which the pipeline's runs exclude, too."""
    target = str(stack.settings.state_dir / "bare-dbt")
    command = [DBT, "--quiet", "build", "--exclude-resource-type", "unit_test", "--target-path", target]
    started = time.monotonic()
    subprocess.run(  # noqa: S603
        [*command, "--log-path", target], cwd=PROJECT.project_dir, env=stack.environment(), check=True
    )
    return time.monotonic() - started


@cache
def _idle(scratch: Path) -> tuple[float, float]:
    """Return an idle stack's CPU in percent of a core, and its memory in GB."""
    with running_stack(scratch) as stack:
        time.sleep(SETTLE_SECONDS)
        before, started = _seconds_of_cpu(stack), time.monotonic()
        time.sleep(IDLE_SECONDS)
        share = (_seconds_of_cpu(stack) - before) / (time.monotonic() - started)
        memory = sum(process.memory_full_info().pss for process in stack.processes())
    return share * 100, memory / 1e9


def _seconds_of_cpu(stack: RunningStack) -> float:
    """Return the CPU time of all processes of a stack and of their ended children, in seconds."""
    return sum(
        times.user + times.system + times.children_user + times.children_system
        for times in (process.cpu_times() for process in stack.processes())
    )
