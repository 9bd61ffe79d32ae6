"""Rows of a table as Arrow, out of Postgres and into it by COPY: each value comes back exactly as it was.

CSV is the way in between: Postgres and Arrow both write and read it in C, and both tell NULL from an empty text by the
quotes. Only bytes and lists, of which Arrow's CSV has no notion, are turned over one by one.
"""

import json
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.csv as csv
from psycopg import sql

from orchestration.database import Connection

# Of the text that Postgres sends; what Arrow makes of it takes about as much memory again.
BLOCK_BYTES = 16 << 20
# Whatever else a column may be one day is kept as the text that Postgres writes and reads it by.
KINDS = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "bytea": pa.binary(),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
    "text[]": pa.list_(pa.string()),
}


def schema_of(connection: Connection, table: str) -> pa.Schema:
    """Return the columns of a table of schema raw, as Arrow keeps them."""
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
    """Yield the rows of a table that meet a condition, some 16 MB of text at a time.

    Args:
        connection: whose time zone is UTC and whose encoding is UTF-8.
        relation: the table.
        schema: the columns to read.
        condition: SQL that a row has to meet.
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
        # Each piece is one row: the protocol says so, and a block therefore ends where a row does.
        for row in copy:
            block += row
            if len(block) >= BLOCK_BYTES:
                yield _of_csv(block, schema)
                block = bytearray()
    if block:
        yield _of_csv(block, schema)


def write(connection: Connection, relation: sql.Identifier, schema: pa.Schema, rows: Iterable[pa.Table]) -> None:
    """Copy rows into a table."""
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(
        relation, sql.SQL(", ").join(map(sql.Identifier, schema.names))
    )
    with connection.cursor().copy(statement) as copy:
        for table in rows:
            copy.write(_to_csv(table))


def _of_csv(text: bytearray, schema: pa.Schema) -> pa.Table:
    is_odd = [pa.types.is_binary(field.type) or pa.types.is_list(field.type) for field in schema]
    found = csv.read_csv(
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
            values = [None if text is None else parse(text) for text in found.column(at).to_pylist()]
            found = found.set_column(at, field, pa.array(values, field.type))
    return found


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
