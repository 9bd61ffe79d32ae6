"""The load engine: CSV objects in S3 into raw Postgres tables, each version exactly once. It knows no Dagster, no dbt.

When a load starts is not decided here (arrivals/), nor what records mean (dbt_project/).
"""
