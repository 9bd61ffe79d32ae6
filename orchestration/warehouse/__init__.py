"""What the database shows of its own state: loads that the marts show, who builds, what was rejected.

dbt/, monitoring/ and archive/ stand on it; it imports none of them, and knows no Dagster. Connections are in
orchestration/database.py.
"""
