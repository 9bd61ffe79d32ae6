"""GET /metrics/*, /departments, /jobs and /years: the marts that dbt builds, as JSON and CSV that Postgres builds.

A module per metric, which is everything that the API knows of it; registry.py finds them, endpoints.py and export.py
serve them. Nothing outside of its module names a metric, except for the dashboard, which shows three.
"""
