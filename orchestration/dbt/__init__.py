"""dbt's project in Dagster's runs: its builds, and what is shown of them."""
