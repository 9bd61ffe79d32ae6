"""The HTTP API: it serves the two metrics and takes hires in; it knows Postgres and nothing of the pipeline."""
