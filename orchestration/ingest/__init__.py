"""The load engine: loads CSV objects from S3 into raw Postgres tables, each version exactly once.

It depends on neither Dagster nor dbt. When a load starts is decided in orchestration/arrivals, what records mean in
dbt_project, and which tables and columns there are in contracts.
"""
