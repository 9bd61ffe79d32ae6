"""The HTTP API: it serves the metrics and takes hires in; it knows Postgres and the contract, no pipeline.

main.py puts it together. Packages by what is asked for: metrics, employees, pipeline, dashboard. By what serves all of
them: middleware, dependencies.py, caching, protocol, observability. Marts are built in dbt_project, not here.
"""
