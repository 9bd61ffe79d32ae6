"""The HTTP API: it serves the metrics and takes hires in; it knows Postgres and the contract, no pipeline."""
