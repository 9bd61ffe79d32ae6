"""`python -m orchestration.instance.run_server SOCKET COMMAND…`: serve code by a command of Dagster's, fork for runs.

A run of a few records would otherwise spend most of its time importing what it needs. A fork has that already, shares
its memory, and is a process of its own all the same: it can be killed, and leaves nothing behind.
"""

import gc
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import orchestration.instance.storage  # noqa: F401 - Dagster finds it by its name, when a run is there already
from orchestration.dbt import project
from orchestration.definitions import defs
from orchestration.defs.resources import landing
from orchestration.instance.forks import serve
from orchestration.settings import RunSettings

# Loaded here, and not by each fork for itself.
PROGRAM = entry_points(group="console_scripts")["dagster"].load()


def dagster(command: Sequence[str]) -> None:
    """Be the program `dagster`."""
    sys.argv = ["dagster", *command]
    PROGRAM()


def warm() -> None:
    """Load into memory what importing has not: the definitions' jobs, dbt's project, the S3 client's model."""
    defs.get_repository_def().load_all_definitions()
    project.parsed()
    landing().client.close()


def main() -> None:
    """Warm up and serve."""
    path, *code_server = sys.argv[1:]
    warm()
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    # A fork has only the thread that forked: what another one holds at that moment is held for ever.
    assert not others, f"there are threads: {others}"
    gc.collect()
    gc.freeze()
    sys.exit(serve(Path(path), code_server, dagster, RunSettings.read().run_stop_seconds))


if __name__ == "__main__":
    main()
