"""The current text of the functions and views of schema raw, one file each, with comments and privileges.

Each migration replaces those whose text has changed: edit the file, without a revision. A revision is only needed if
`create or replace` fails, for instance for another argument; it drops the object, and its file creates it again. Tables
and triggers belong to versions/.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from contracts import Table

# In this order: each may use earlier ones.
NAMES = (
    "records",
    "discrepancies",
    "number_completion",
    "summarize_new_records",
    "store_batch",
    "find_batch",
    "continue_numbers_after",
)
BATCH_TABLE = "hired_employees"


def replace_objects(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> None:
    """Create or replace each object whose text differs from the one applied last, or that does not exist.

    Others stay untouched: replacing a view waits for its readers.

    Args:
        connection: in a transaction, of the role that owns schema raw.
        tables: of the contract; the objects cover all of them.
    """
    applied = dict(
        connection.execute("""
            select name, digest from raw.replaceable_objects
            where coalesce(to_regclass('raw.' || name)::oid, to_regproc('raw.' || name)::oid) is not null
        """).fetchall()
    )
    for name in NAMES:
        text = _text(connection, name, tables)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if applied.get(name) != digest:
            connection.execute(text.encode())
            connection.execute(
                """
                insert into raw.replaceable_objects values (%s, %s)
                on conflict (name) do update set digest = excluded.digest
                """,
                [name, digest],
            )


def _text(connection: psycopg.Connection[Any], name: str, tables: Sequence[Table]) -> str:
    """Return the text of an object with its placeholders filled in from the contract."""
    text = Path(__file__).with_name(f"{name}.sql").read_text()
    for placeholder, value in _values(tables).items():
        text = text.replace(f"{{{{ {placeholder} }}}}", value.as_string(connection))
    return text


def _values(tables: Sequence[Table]) -> dict[str, sql.Composed]:
    (batch_table,) = (table for table in tables if table.name == BATCH_TABLE)
    return {
        "records_of_every_table": sql.SQL("\nunion all\n").join(
            sql.SQL("select {}::text as table_name, _load_id as load_id, _record as record from {}").format(
                sql.Literal(table.name), sql.Identifier("raw", table.name)
            )
            for table in tables
        ),
        "batch_columns": sql.SQL(", ").join(map(sql.Identifier, batch_table.column_names)),
        "delivered.batch_columns": sql.SQL(", ").join(
            sql.Identifier("delivered", column) for column in batch_table.column_names
        ),
    }
