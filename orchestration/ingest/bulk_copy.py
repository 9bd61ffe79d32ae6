"""Copies rows into a raw table by COPY: all of them in one statement, or only those that the table accepts."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cache

import psycopg
from psycopg import sql

from contracts import Table
from orchestration.database import Connection, is_refusal
from orchestration.ingest.dialect import Refusal
from orchestration.ingest.encoding import Encoding
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.records import Chunk, Rejection

# Postgres's names for the encodings of records.
ENCODINGS = {Encoding.UTF_8: "UTF8", Encoding.WINDOWS_1252: "WIN1252"}


def copy_statement(table: Table, file_format: FileFormat) -> sql.Composed:
    """Return the COPY statement for an object's records, preceded by their load id and record number."""
    dialect = file_format.dialect
    options = {"delimiter": dialect.delimiter, "quote": dialect.quote}
    options["encoding"] = ENCODINGS[file_format.encoding.of_records]
    return sql.SQL("copy {} ({}) from stdin (format csv, {})").format(
        sql.Identifier("raw", table.name),
        sql.SQL(", ").join(map(sql.Identifier, ("_load_id", "_record", *file_format.columns))),
        sql.SQL(", ").join(sql.SQL(name) + sql.SQL(" ") + sql.Literal(value) for name, value in options.items()),
    )


def copy_text(load_id: int, numbers: Sequence[int], rows: Sequence[bytes], delimiter: bytes = b",") -> bytes:
    """Return records as the input of copy_statement.

    Args:
        load_id: their load.
        numbers: the record number of each row, ascending.
        rows: the records, without line ends.
        delimiter: of the records, one byte.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(rows):
        # Numbers within a thousand differ only in their last three digits. Formatting each of them would take as long
        # as the rest of the loader's work on a record.
        thousand = numbers[at] // 1000
        until = bisect_left(numbers, (thousand + 1) * 1000, at)
        head = b"%d%b%d" % (load_id, delimiter, thousand)
        parts += _interleaved(head, _last_digits(numbers[at:until], delimiter), rows[at:until])
        at = until
    return b"".join(parts)


def _last_digits(numbers: Sequence[int], delimiter: bytes) -> Sequence[bytes]:
    all_digits = _all_last_digits(delimiter)
    if isinstance(numbers, range):
        first = numbers.start % 1000
        return all_digits[first : first + len(numbers)]
    return [all_digits[number % 1000] for number in numbers]


@cache
def _all_last_digits(delimiter: bytes) -> Sequence[bytes]:
    return [b"%03d%b" % (number, delimiter) for number in range(1000)]


def _interleaved(head: bytes, numbers: Sequence[bytes], rows: Sequence[bytes]) -> list[bytes]:
    parts = [head, b"", b"", b"\n"] * len(rows)
    parts[1::4], parts[2::4] = numbers, rows
    return parts


def copy(connection: Connection, statement: sql.Composed, texts: Sequence[bytes]) -> None:
    """Copy texts in one statement.

    Args:
        connection: in a transaction.
        statement: the COPY statement.
        texts: its input, in any number of pieces.

    Raises:
        psycopg.Error: nothing was copied; if it is_refusal, the table refuses a row.
    """
    with connection.cursor().copy(statement) as target:
        for text in texts:
            target.write(text)


def try_copy(connection: Connection, statement: sql.Composed, text: bytes) -> str | None:
    """Copy a text completely or not at all; return None, or the reason why the table refuses the data.

    Args:
        connection: in a transaction; a refusal rolls back to a savepoint.
        statement: the COPY statement.
        text: rows as COPY reads them.
    """
    try:
        with connection.transaction():
            copy(connection, statement, [text])
    except psycopg.Error as error:
        if not is_refusal(error):
            raise
        return error.diag.message_primary or str(error)
    return None


def copy_accepted_rows(
    connection: Connection, statement: sql.Composed, load_id: int, chunk: Chunk, delimiter: bytes = b","
) -> list[Rejection]:
    """Copy the rows of a chunk that the table accepts; return the others. For tables with constraints or types.

    Bisects: what was refused is retried in halves, so that few refused rows cost few statements.

    Args:
        connection: in a transaction.
        statement: the COPY statement.
        load_id: the load.
        chunk: the chunk.
        delimiter: of its records, one byte.
    """

    def refused(begin: int, end: int) -> Iterator[Rejection]:
        text = copy_text(load_id, chunk.numbers[begin:end], chunk.rows[begin:end], delimiter)
        reason = try_copy(connection, statement, text) if text else None
        if reason is None:
            return
        if end - begin == 1:
            refusal = Refusal("refused_by_table", f"is refused by the table: {reason}")
            place = chunk.numbers[begin], int(chunk.lines[begin]), int(chunk.offsets[begin])
            yield Rejection.of(refusal, *place, chunk.rows[begin])
            return
        middle = (begin + end) // 2
        yield from refused(begin, middle)
        yield from refused(middle, end)

    return list(refused(0, len(chunk.rows)))
