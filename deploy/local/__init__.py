"""The embedded stack: Postgres and S3 out of wheels, Dagster and the API, on loopback, under one supervisor."""
