"""Dagster's definitions: assets, checks, jobs, sensors, schedules and resources, each with when to press it. Thin.

What they do is in ingest/, arrivals/, dbt/, monitoring/ and archive/, which import nothing from here. How Dagster's own
processes run is in instance/.
"""
