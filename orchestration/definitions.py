"""The code location: everything in defs/, run in one process. Nothing else belongs here."""

from pathlib import Path

import dagster as dg

defs = dg.Definitions.merge(
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
    # A run's steps share one process: most of a short run would otherwise be spent on starting processes.
    dg.Definitions(executor=dg.in_process_executor),
)
