"""The embedded stack: Postgres and S3 from wheels, Dagster and the API, on loopback, under one supervisor.

The command `hiring` and whatever starts, watches or inspects these processes belong here. Probes and migrations that
containers need, too, are in deploy; loading, building and serving data are in orchestration and api.
"""
