"""Dagster definitions, thin: what they do is in orchestration.ingest and in dbt_project."""
