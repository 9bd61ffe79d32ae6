"""From the bucket to a run: scans for new objects, decisions whether to start a run, and what Dagster shows of loads.

Loading belongs to ingest/, the sensors and jobs themselves to defs/.
"""
