"""The Dagster code location and the load engine that it drives."""
