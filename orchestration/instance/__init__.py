"""Everything that relies on Dagster's internals: storage, run coordinator and launcher, tables, the form of events.

Only code here imports `dagster._*` (ruff's TID251 enforces it) or queries Dagster's tables. Code that needs only
Dagster's public API belongs in arrivals/, monitoring/, dbt/ and defs/, which use this package. Only run_server.py
imports all of orchestration; the classes that dagster.yaml names import only its settings.
"""
