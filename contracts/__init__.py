"""The contract: the tables that companies deliver, their columns, and the rules for values.

hiring.odcs.yaml declares them, tables.py reads it, rules.py implements the rules of each logical type. Reading files
belongs in orchestration/ingest, the same rules in SQL in dbt_project/macros. Imports neither orchestration nor api.
"""

from contracts.tables import TABLES, Column, Delivery, LogicalType, Table, table_named

__all__ = ["TABLES", "Column", "Delivery", "LogicalType", "Table", "table_named"]
