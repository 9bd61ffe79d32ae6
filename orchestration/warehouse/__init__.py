"""Queries about the state of the database: which loads are published, locks of builds, samples of rejected records.

dbt/, monitoring/ and archive/ use it; it imports none of them, and no Dagster. Connections are in
orchestration/database.py.
"""
