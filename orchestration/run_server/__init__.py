"""One process that has imported everything, and of which Dagster's code server and every run are forks."""
