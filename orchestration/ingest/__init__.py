"""The load engine: CSV objects in S3 into raw Postgres tables, exactly once. It knows no Dagster and no dbt."""
