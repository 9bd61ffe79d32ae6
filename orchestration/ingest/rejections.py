"""What is kept of rejected records: malformed ones, which are no rows, and rows that break a rule of the contract."""

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
    """A rejected record, for people to look at.

    Attributes:
        record: its number in the object, from 1.
        line: in which it begins, from 1.
        reason: why it is rejected, like too_few_fields or datetime:missing.
        message: of a malformed record, the same in words that complete "the record ...".
        raw: of a malformed record, its bytes.
        value: of an invalid one, the value that breaks the rule.
    """

    record: int
    line: int
    reason: str
    message: str = ""
    raw: bytes = b""
    value: str | None = None

    def __str__(self) -> str:
        """Return where it is and what is wrong with it, as the end of a sentence."""
        column = self.reason.partition(":")[0]
        words = self.message or (f"has {column} {self.value!r}" if self.value else f"has no {column}")
        return f"record {self.record} in line {self.line}, {words}"


def examples_of_malformed(rejections: Sequence[Rejection]) -> list[Example]:
    """Return malformed records as examples."""
    return [Example(each.record, each.line, each.reason, each.message, each.raw) for each in rejections]


def examples_of_invalid(records: Sequence[InvalidRecord]) -> list[Example]:
    """Return invalid records as examples, one for each rule that they break."""
    return [
        Example(each.record, each.line, str(problem), value=problem.value)
        for each in records
        for problem in each.problems
    ]


def record_malformed(
    connection: Connection, table: Table, load_id: int, file_format: FileFormat, rejections: Sequence[Rejection]
) -> None:
    """Keep the malformed records of a load, with their bytes and what can be read of their fields.

    Args:
        connection: in the transaction that enters their chunks.
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
        for each in rejections:
            place = (load_id, each.record, each.line, each.byte_from)
            delivered = Jsonb(readable_fields(table.key.name, file_format, each.raw))
            copy.write_row((*place, each.reason, each.message, each.raw, each.raw_bytes, delivered))


def record_invalid(connection: Connection, load_id: int, records: Sequence[InvalidRecord]) -> None:
    """Keep which rows of a load break a rule, and where they stand in the object."""
    if not records:
        return
    with connection.cursor().copy(
        "copy raw.invalid_records (load_id, record, line, reasons) from stdin (format binary)"
    ) as copy:
        copy.set_types(["int8", "int8", "int8", "text[]"])
        for each in records:
            copy.write_row((load_id, each.record, each.line, each.reasons))


def record_corrections(connection: Connection, load_id: int, corrections: Sequence[Correction]) -> None:
    """Keep which rejected records the rows of a load correct, as their file says."""
    if not corrections:
        return
    with connection.cursor().copy(
        """
        copy raw.corrections (load_id, record, corrected_load_id, corrected_record)
        from stdin (format binary)
        """
    ) as copy:
        copy.set_types(["int8"] * 4)
        for each in corrections:
            copy.write_row((load_id, each.record, each.corrected_load_id, each.corrected_record))


def readable_fields(key: str, file_format: FileFormat, raw: bytes) -> dict[str, str]:
    """Return what can be read of a malformed record, by column.

    Where it has another number of fields than it should, or quotes that are wrong, each of them may be another column's
    but the first, and with a quote that one, too: the key is then left out, since records are found by it.

    Args:
        key: the column that tells the records of the table apart.
        file_format: of the object.
        raw: the record's bytes.
    """
    dialect, width = file_format.dialect, len(file_format.fields)
    # One more than there should be, but not all of those that a line of nothing but delimiters has.
    spans = dialect.read_fields(raw, 0, len(raw), max_fields=width + 1)
    if isinstance(spans, list):
        values = file_format.values_at(raw, spans)
        certain = width if len(values) == width else 1
    else:
        values = raw.decode(file_format.encoding.of_records, "replace").split(dialect.delimiter, width)
        certain = int(dialect.quote not in values[0])
        values = [value.strip(" " + dialect.quote) for value in values]
    return {
        # A jsonb holds every character but this.
        column: value.replace("\0", "\ufffd")
        for index, (column, value) in enumerate(zip(file_format.fields, values, strict=False))
        if column is not None and (index < certain or column != key)
    }


def examples_by_reason(
    connection: Connection, table: Table, load_id: int, limit: int
) -> list[tuple[int, list[Example]]]:
    """Return, most frequent reason first, how many records a load rejects for it and the first few of these.

    Args:
        connection: of a role that reads schema raw.
        table: of the load.
        load_id: the load.
        limit: how many examples of each reason.
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
    """Return the query for records that break a rule, with the values that do."""
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
