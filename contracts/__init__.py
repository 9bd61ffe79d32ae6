"""The contract: which tables companies deliver, their columns, and what each value has to be.

hiring.odcs.yaml declares them, tables.py reads it, rules.py has the rules of each logical type in Python. How files
are read belongs to orchestration/ingest, the same rules in SQL to dbt_project/macros. Imports neither orchestration nor
api.
"""

from contracts.tables import TABLES, Column, Delivery, LogicalType, Table, table_named

__all__ = ["TABLES", "Column", "Delivery", "LogicalType", "Table", "table_named"]
