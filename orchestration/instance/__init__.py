"""How Dagster's own processes run: where they keep their books, and how runs are launched."""
