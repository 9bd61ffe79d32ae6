"""From the bucket to a run: what arrived, what became of it as Dagster shows it, and whether to start a run for it.

Loading is not here (ingest/), nor the sensors and jobs themselves (defs/).
"""
