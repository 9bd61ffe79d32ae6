"""dbt in Dagster's runs: the project as files, its builds, and what is shown of them; `python -m orchestration.dbt`.

The models are in dbt_project, what the database shows of their state in orchestration/warehouse. Assets, jobs and
sensors are in orchestration/defs.
"""
