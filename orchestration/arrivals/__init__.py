"""From the bucket to a run: scanning for new objects, deciding whether to start a run, reporting loads to Dagster.

Loading belongs in ingest/, sensors and jobs themselves in defs/.
"""
