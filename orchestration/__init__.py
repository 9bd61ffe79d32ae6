"""The Dagster code location and the load engine that it drives.

defs has Dagster's definitions, the other packages what they call. dbt's models are in dbt_project, tables and columns
in contracts; the API never imports this package.
"""
