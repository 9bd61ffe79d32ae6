"""`python -m orchestration.instance.run_server SOCKET COMMAND…`: run Dagster's code server, and fork a process per run.

A run of a few records would otherwise spend most of its time importing modules. A fork has them already and shares
their memory, but is a separate process that can be killed without affecting others.
"""

import gc
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import orchestration.instance.storage  # noqa: F401 - Dagster imports it by name, then already in a run
from orchestration.dbt import project
from orchestration.definitions import defs
from orchestration.defs.resources import landing
from orchestration.instance.forks import serve
from orchestration.settings import RunSettings

# Loaded here, so that the forks need not load it.
PROGRAM = entry_points(group="console_scripts")["dagster"].load()


def dagster(command: Sequence[str]) -> None:
    """Run the program `dagster`."""
    sys.argv = ["dagster", *command]
    PROGRAM()


def warm() -> None:
    """Load what imports do not load: the definitions' jobs, dbt's project, the S3 client's service model."""
    defs.get_repository_def().load_all_definitions()
    project.parsed()
    landing().client.close()


def main() -> None:
    """Warm up and serve."""
    path, *code_server = sys.argv[1:]
    warm()
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    # A fork has only the thread that forked: a lock held by another thread would never be released.
    assert not others, f"other threads are running: {others}"
    gc.collect()
    gc.freeze()
    sys.exit(serve(Path(path), code_server, dagster, RunSettings.read().run_stop_seconds))


if __name__ == "__main__":
    main()
