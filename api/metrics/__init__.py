"""GET /metrics/*: the marts that dbt builds, as JSON that Postgres builds."""
