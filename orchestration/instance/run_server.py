"""`python -m orchestration.instance.run_server SOCKET COMMAND…`: run Dagster's code server, and fork a process per run.

A run of a few records would otherwise spend most of its time importing modules. A fork has them already and shares
their memory, but is a separate process that can be killed without affecting others.
"""

import gc
import logging
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import orchestration.instance.storage  # noqa: F401 - Dagster imports it by name, then already in a run
from orchestration.dbt.cli import InProcessDbt
from orchestration.dbt.project import PROJECT, parsed, session_variables
from orchestration.definitions import defs
from orchestration.defs.resources import landing
from orchestration.instance.forks import serve
from orchestration.settings import RunSettings

log = logging.getLogger(__name__)

# Loaded here, so that the forks need not load it.
PROGRAM = entry_points(group="console_scripts")["dagster"].load()


def dagster(command: Sequence[str]) -> None:
    """Run the program `dagster`."""
    sys.argv = ["dagster", *command]
    PROGRAM()


def warm() -> None:
    """Load what imports do not load: the definitions' jobs, the S3 client's service model, dbt's templates.

    Without a database, builds are slower, but start.
    """
    defs.get_repository_def().load_all_definitions()
    landing().client.close()
    try:
        # A build in a process that has compiled the project takes a third less.
        InProcessDbt(PROJECT, session_variables(), parsed()).cli(["compile"]).wait()
    except Exception as error:
        log.warning("builds take a second longer, because dbt could not compile the project: %s", error)


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
