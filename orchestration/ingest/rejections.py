"""Stores rejected records: malformed ones, which cannot be rows, and rows that break a rule of the contract."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from contracts import Table
from orchestration.database import Connection
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.invalid import InvalidRecord
from orchestration.ingest.records import Correction, Rejection


@dataclass(frozen=True)
class Example:
    """A rejected record as an example in a message.

    Attributes:
        record: its number in the object, from 1.
        line: the number of its first line, from 1.
        reason: why it is rejected, such as too_few_fields or datetime:missing.
        message: for a malformed record, the same in words that complete "the record …".
        raw: for a malformed record, its bytes.
        value: for an invalid record, the value that breaks the rule.
    """

    record: int
    line: int
    reason: str
    message: str = ""
    raw: bytes = b""
    value: str | None = None

    def __str__(self) -> str:
        """Return its location and what is wrong with it, as the end of a sentence."""
        column = self.reason.partition(":")[0]
        words = self.message or (f"has {column} {self.value!r}" if self.value else f"has no {column}")
        return f"record {self.record} in line {self.line}, {words}"


def examples_of_malformed(rejections: Sequence[Rejection]) -> list[Example]:
    """Return malformed records as examples."""
    return [
        Example(rejection.record, rejection.line, rejection.reason, rejection.message, rejection.raw)
        for rejection in rejections
    ]


def examples_of_invalid(records: Sequence[InvalidRecord]) -> list[Example]:
    """Return invalid records as examples, one for each rule that they break."""
    return [
        Example(record.record, record.line, str(problem), value=problem.value)
        for record in records
        for problem in record.problems
    ]


def record_malformed(
    connection: Connection, table: Table, load_id: int, file_format: FileFormat, rejections: Sequence[Rejection]
) -> None:
    """Store the malformed records of a load, with their bytes and their readable fields.

    Args:
        connection: in the transaction that records their chunks.
        table: of the load.
        load_id: the load.
        file_format: of the object.
        rejections: the records.
    """
    if not rejections:
        return
    with connection.cursor().copy(
        """
        copy raw.rejected_records (load_id, record, line, byte_from, reason, message, raw, raw_bytes, delivered)
        from stdin (format binary)
        """
    ) as copy:
        copy.set_types(["int8", "int8", "int8", "int8", "text", "text", "bytea", "int8", "jsonb"])
        for rejection in rejections:
            place = (load_id, rejection.record, rejection.line, rejection.byte_from)
            why = (rejection.reason, rejection.message)
            delivered = Jsonb(readable_fields(table.key.name, file_format, rejection.raw))
            copy.write_row((*place, *why, rejection.raw, rejection.raw_bytes, delivered))


def record_invalid(connection: Connection, load_id: int, records: Sequence[InvalidRecord]) -> None:
    """Store which rows of a load break a rule, and their lines in the object.

    Args:
        connection: in the transaction that records their chunks.
        load_id: the load.
        records: the rows.
    """
    if not records:
        return
    with connection.cursor().copy(
        "copy raw.invalid_records (load_id, record, line, reasons) from stdin (format binary)"
    ) as copy:
        copy.set_types(["int8", "int8", "int8", "text[]"])
        for record in records:
            copy.write_row((load_id, record.record, record.line, record.reasons))


def record_corrections(connection: Connection, load_id: int, corrections: Sequence[Correction]) -> None:
    """Store which rejected records the rows of a load correct.

    Args:
        connection: in the transaction that records their chunks.
        load_id: the load.
        corrections: identified by columns of its object.
    """
    if not corrections:
        return
    with connection.cursor().copy(
        """
        copy raw.corrections (load_id, record, corrected_load_id, corrected_record)
        from stdin (format binary)
        """
    ) as copy:
        copy.set_types(["int8"] * 4)
        for correction in corrections:
            corrected = (correction.corrected_load_id, correction.corrected_record)
            copy.write_row((load_id, correction.record, *corrected))


def readable_fields(key: str, file_format: FileFormat, raw: bytes) -> dict[str, str]:
    """Return the readable values of a malformed record by column.

    If it has a wrong number of fields or wrong quotes, each field except the first may belong to another column, and
    with a quote in it the first one, too. The key is then left out, since records are looked up by it.

    Args:
        key: the key column of the table.
        file_format: of the object.
        raw: the record's bytes.
    """
    dialect, width = file_format.dialect, len(file_format.fields)
    # One more than expected, but not all fields of a long line of delimiters.
    spans = dialect.read_fields(raw, 0, len(raw), max_fields=width + 1)
    if isinstance(spans, list):
        values = file_format.values_at(raw, spans)
        certain = width if len(values) == width else 1
    else:
        values = raw.decode(file_format.encoding.of_records, "replace").split(dialect.delimiter, width)
        certain = int(dialect.quote not in values[0])
        values = [value.strip(" " + dialect.quote) for value in values]
    return {
        # jsonb can store every character except this one.
        column: value.replace("\0", "\ufffd")
        for index, (column, value) in enumerate(zip(file_format.fields, values, strict=False))
        if column is not None and (index < certain or column != key)
    }


def examples_by_reason(
    connection: Connection, table: Table, load_id: int, limit: int
) -> list[tuple[int, list[Example]]]:
    """Return how many records of a load are rejected for each reason, most frequent first, and examples of them.

    Args:
        connection: of a role that reads schema raw.
        table: of the load.
        load_id: the load.
        limit: the maximum number of examples for each reason.
    """
    counts = connection.execute(
        """
        select is_malformed, reason, count(*)
        from (
            select true, reason from raw.rejected_records where load_id = %(load)s
            union all
            select false, unnest(reasons) from raw.invalid_records where load_id = %(load)s
        ) as rejected (is_malformed, reason)
        group by is_malformed, reason
        order by count(*) desc, reason
        """,
        {"load": load_id},
    ).fetchall()
    rows = connection.cursor(row_factory=class_row(Example))
    return [
        (
            count,
            rows.execute(
                MALFORMED if is_malformed else _invalid(table, reason),
                {"load": load_id, "reason": reason, "limit": limit},
            ).fetchall(),
        )
        for is_malformed, reason, count in counts
    ]


MALFORMED = sql.SQL("""
    select record, line, reason, message, raw
    from raw.rejected_records
    where load_id = %(load)s and reason = %(reason)s
    order by record
    limit %(limit)s
""")


def _invalid(table: Table, reason: str) -> sql.Composed:
    """Return the query for records that break a rule, with the values concerned."""
    return sql.SQL("""
        select record, line, %(reason)s as reason, {column} as value
        from (
            select record, line
            from raw.invalid_records
            where load_id = %(load)s and %(reason)s = any(reasons)
            order by record
            limit %(limit)s
        ) as rejected
        inner join {table} on _load_id = %(load)s and _record = record
        order by record
    """).format(column=sql.Identifier(reason.partition(":")[0]), table=sql.Identifier("raw", table.name))
