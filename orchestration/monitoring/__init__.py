"""Checks of the data and the disk, alerts about failures, and maintenance of Dagster's own database.

Queries and decisions belong here. Dagster's checks, sensors and schedules that use them, with their descriptions, are
in defs/; loading and building are in ingest/ and dbt/.
"""
