"""From the bucket to a run: what arrived, what became of it, and whether to start a run for it."""
