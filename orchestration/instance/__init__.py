"""How Dagster's own processes run: where they store runs and events, and how runs are launched.

The program that serves the code (run_server.py) imports all of orchestration; what dagster.yaml names imports nothing
of it.
"""
