"""Dagster's definitions: assets, checks, jobs, sensors, schedules and resources, with descriptions of when to use them.

They are thin: the work is done in ingest/, arrivals/, dbt/, monitoring/ and archive/, which import nothing from here.
Dagster's own processes are in instance/.
"""
