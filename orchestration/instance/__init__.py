"""Everything that relies on Dagster's internals: how its processes store and launch, its tables, its events' form.

`dagster._*` and SQL over Dagster's tables belong here and nowhere else (ruff's TID251 refuses the imports). What needs
names of `dagster` alone does not: that is in arrivals/, monitoring/, dbt/ and defs/, which call this package.
run_server.py alone imports all of orchestration; what dagster.yaml names imports nothing of it.
"""
