"""Reads rows of a table from Postgres as Arrow tables, and writes them back, by COPY; every value round-trips exactly.

CSV is the intermediate format: Postgres and Arrow both read and write it in C, and both distinguish NULL from an empty
string by the quotes. Only bytes and lists, which Arrow's CSV does not support, are converted one by one.
"""

import json
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.csv as csv
from psycopg import sql

from orchestration.database import Connection

# Of the text that Postgres sends; Arrow's table takes about as much memory again.
BLOCK_BYTES = 16 << 20
# Values of other types are stored as Postgres's text representation.
KINDS = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "bytea": pa.binary(),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
    "text[]": pa.list_(pa.string()),
}


def schema_of(connection: Connection, table: str) -> pa.Schema:
    """Return the columns of a table of schema raw as an Arrow schema."""
    columns = connection.execute(
        """
        select attname, format_type(atttypid, null)
        from pg_attribute
        where attrelid = %s::regclass and attnum > 0 and not attisdropped
        order by attnum
        """,
        [f"raw.{table}"],
    )
    return pa.schema([(name, KINDS.get(kind, pa.string())) for name, kind in columns])


def read(
    connection: Connection, relation: sql.Identifier, schema: pa.Schema, condition: sql.Composable
) -> Iterator[pa.Table]:
    """Yield the rows of a table that satisfy a condition, in blocks of some 16 MB of text.

    Args:
        connection: with time zone UTC and encoding UTF-8.
        relation: the table.
        schema: the columns to read.
        condition: an SQL condition.
    """
    columns = [
        sql.SQL("array_to_json({})" if pa.types.is_list(field.type) else "{}").format(sql.Identifier(field.name))
        for field in schema
    ]
    statement = sql.SQL("copy (select {} from {} where {}) to stdout (format csv)").format(
        sql.SQL(", ").join(columns), relation, condition
    )
    block = bytearray()
    with connection.cursor().copy(statement) as copy:
        # Each message is one row, according to the protocol, so a block ends where a row does.
        for row in copy:
            block += row
            if len(block) >= BLOCK_BYTES:
                yield _of_csv(block, schema)
                block = bytearray()
    if block:
        yield _of_csv(block, schema)


def write(connection: Connection, relation: sql.Identifier, schema: pa.Schema, rows: Iterable[pa.Table]) -> None:
    """Copy rows into a table.

    Args:
        connection: with time zone UTC and encoding UTF-8.
        relation: the table.
        schema: its columns in the rows.
        rows: Arrow tables of that schema.
    """
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(
        relation, sql.SQL(", ").join(map(sql.Identifier, schema.names))
    )
    with connection.cursor().copy(statement) as copy:
        for table in rows:
            copy.write(_to_csv(table))


def _of_csv(text: bytearray, schema: pa.Schema) -> pa.Table:
    is_odd = [pa.types.is_binary(field.type) or pa.types.is_list(field.type) for field in schema]
    table = csv.read_csv(
        pa.BufferReader(text),
        csv.ReadOptions(column_names=schema.names, block_size=len(text) + 1, use_threads=False),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types={
                field.name: pa.string() if odd else field.type for field, odd in zip(schema, is_odd, strict=True)
            },
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    for at, (field, odd) in enumerate(zip(schema, is_odd, strict=True)):
        if odd:
            parse = json.loads if pa.types.is_list(field.type) else _bytes_of
            values = [None if text is None else parse(text) for text in table.column(at).to_pylist()]
            table = table.set_column(at, field, pa.array(values, field.type))
    return table


def _to_csv(table: pa.Table) -> memoryview:
    for at, field in enumerate(table.schema):
        if pa.types.is_binary(field.type) or pa.types.is_list(field.type):
            write = _array_literal if pa.types.is_list(field.type) else _bytea_literal
            values = [None if value is None else write(value) for value in table.column(at).to_pylist()]
            table = table.set_column(at, field.name, pa.array(values, pa.string()))
    text = pa.BufferOutputStream()
    csv.write_csv(table, text, csv.WriteOptions(include_header=False))
    return memoryview(text.getvalue())


def _bytes_of(literal: str) -> bytes:
    return bytes.fromhex(literal.removeprefix("\\x"))


def _bytea_literal(value: bytes) -> str:
    return "\\x" + value.hex()


def _array_literal(values: list[str | None]) -> str:
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: str | None) -> str:
    return "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
