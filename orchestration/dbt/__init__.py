"""Runs dbt in Dagster's runs or from a shell (`python -m orchestration.dbt`), and collects metadata of its models.

The models are in dbt_project, queries about their state in orchestration/warehouse, and assets, jobs and sensors in
orchestration/defs.
"""
