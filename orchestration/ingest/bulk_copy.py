"""Rows into a raw table by COPY: all of them in one statement, or whatever of them the table accepts."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import psycopg
from psycopg import sql

from contracts import Table
from orchestration.database import Connection
from orchestration.ingest.lines import Refusal
from orchestration.ingest.records import Chunk, Rejection

LAST_DIGITS = [b"%03d," % number for number in range(1000)]


def copy_statement(table: Table, columns: Sequence[str]) -> sql.Composed:
    """Return the COPY that takes records with their load's and their own number in front."""
    return sql.SQL("copy {} ({}) from stdin (format csv)").format(
        sql.Identifier("raw", table.name),
        sql.SQL(", ").join(map(sql.Identifier, ("_load_id", "_record", *columns))),
    )


def copy_text(load_id: int, numbers: Sequence[int], rows: Sequence[bytes]) -> bytes:
    """Return records as that COPY reads them; their numbers ascend."""
    parts: list[bytes] = []
    at = 0
    while at < len(rows):
        # Within a thousand, numbers differ in their last three digits only; to format each of them would take as
        # long as all the rest of the loader's work on a record.
        thousand = numbers[at] // 1000
        until = bisect_left(numbers, (thousand + 1) * 1000, at)
        parts += _interleaved(b"%d,%d" % (load_id, thousand), _last_digits(numbers[at:until]), rows[at:until])
        at = until
    return b"".join(parts)


def _last_digits(numbers: Sequence[int]) -> Sequence[bytes]:
    if isinstance(numbers, range):
        first = numbers.start % 1000
        return LAST_DIGITS[first : first + len(numbers)]
    return [LAST_DIGITS[number % 1000] for number in numbers]


def _interleaved(head: bytes, numbers: Sequence[bytes], rows: Sequence[bytes]) -> list[bytes]:
    parts = [head, b"", b"", b"\n"] * len(rows)
    parts[1::4], parts[2::4] = numbers, rows
    return parts


def copy(connection: Connection, statement: sql.Composed, texts: Sequence[bytes]) -> None:
    """Copy texts in one statement.

    Raises:
        psycopg.DataError, psycopg.IntegrityError: the table refuses a row; nothing is copied.
    """
    with connection.cursor().copy(statement) as target:
        for text in texts:
            target.write(text)


def try_copy(connection: Connection, statement: sql.Composed, text: bytes) -> str | None:
    """Copy a text, or nothing of it; return None, or the table's reason when it refuses the data."""
    try:
        with connection.transaction():
            copy(connection, statement, [text])
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        return error.diag.message_primary or str(error)
    return None


def copy_accepted_rows(connection: Connection, statement: sql.Composed, load_id: int, chunk: Chunk) -> list[Rejection]:
    """Copy the rows of a chunk that the table accepts; return the others. For tables that are more than text.

    Bisects: halves of what was refused are tried, and halves of those, so that few bad rows cost few statements.
    """

    def refused(begin: int, end: int) -> Iterator[Rejection]:
        text = copy_text(load_id, chunk.numbers[begin:end], chunk.rows[begin:end])
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
