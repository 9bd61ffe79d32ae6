"""Lists rejected records, exports them for correction and redelivery, and dismisses them.

The models decide which records are open, in staging.rejected_records. The columns _load_id and _record of an export
identify the records that the corrected file corrects.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO

from psycopg import sql
from psycopg.errors import UndefinedTable
from psycopg.rows import class_row

from contracts import Table
from contracts.rules import visible
from orchestration.database import Connection
from orchestration.ingest.encoding import BYTE_ORDER_MARK
from orchestration.ingest.file_format import PROVENANCE

# Columns of an export after those of the table. A load ignores them, except the two that identify the record.
EXPORTED = ("_reasons", "_object", "_line", *PROVENANCE, "_text")


@dataclass(frozen=True)
class RejectedRecord:
    """A row of staging.rejected_records; `raw` has the bytes of a malformed record."""

    table_name: str
    object: str | None
    load_id: int
    record: int
    line: int | None
    reasons: list[str]
    message: str | None
    delivered: dict[str, str | None] | None
    status: str
    rejected_at: datetime
    raw: bytes | None

    @property
    def problems(self) -> str:
        """What is wrong with it, with the loader's message if there is one."""
        return f"{self.reasons[0]}: {self.message}" if self.message else ", ".join(self.reasons)

    def described(self, reason: str) -> str:
        """Return one of its reasons together with the value concerned."""
        value = self.value(reason.partition(":")[0])
        return reason if value is None else f'{reason} "{visible(value)}"'

    def value(self, column: str) -> str | None:
        """Return the delivered value of a column, None if it is missing or unreadable."""
        return (self.delivered or {}).get(column)


class NothingBuilt(Exception):
    """The models have not been built yet, so it is not known which records are rejected."""


def rejected_records(
    connection: Connection, tables: Iterable[Table], load_id: int | None = None, only_open: bool = False
) -> list[RejectedRecord]:
    """Return the rejected records of some tables, in the order of their delivery.

    Args:
        connection: of a role that reads schemas raw and staging.
        tables: the tables.
        load_id: only those of this load.
        only_open: only those that are neither corrected nor dismissed.

    Raises:
        NothingBuilt: the models have not been built yet.
    """
    query = """
        select
            table_name, object, load_id, record, rejected.line, reasons, rejected.message, rejected.delivered, status,
            rejected_at, malformed.raw
        from staging.rejected_records as rejected
        left join raw.rejected_records as malformed using (load_id, record)
        where
            table_name = any(%(tables)s)
            and (%(load)s::bigint is null or load_id = %(load)s)
            and (status = 'open' or not %(only_open)s)
        order by table_name, load_id, record
    """
    chosen = {"tables": [table.name for table in tables], "load": load_id, "only_open": only_open}
    try:
        return connection.cursor(row_factory=class_row(RejectedRecord)).execute(query, chosen).fetchall()
    except UndefinedTable:
        raise NothingBuilt("nothing is built yet: run the job refresh, or make run") from None


def write_csv(records: Sequence[RejectedRecord], table: Table, target: TextIO) -> None:
    """Write records of a table as a CSV file, to be corrected and delivered again.

    Args:
        records: of one table.
        table: their table.
        target: a text file that does not translate line ends.
    """
    if table.encodings:
        # Without a mark, the corrected file would be read in an encoding that the contract declares.
        target.write(BYTE_ORDER_MARK.decode())
    # A field that contains a carriage return is quoted only if that ends lines.
    rows = csv.writer(target, lineterminator="\r\n")
    rows.writerow([*table.column_names, *EXPORTED])
    for record in records:
        # A NUL character would reject the corrected record, too.
        text = None if record.raw is None else record.raw.decode("utf-8", "replace").replace("\0", "\ufffd")
        places = (record.problems, record.object, record.line, record.load_id, record.record)
        rows.writerow([*map(record.value, table.column_names), *places, text])


def dismiss(connection: Connection, load_id: int, records: Sequence[int], note: str) -> None:
    """Record that some rejected records need no correction.

    Args:
        connection: as hiring_loader.
        load_id: their load.
        records: their numbers.
        note: why.
    """
    connection.execute(
        """
        insert into raw.corrections (corrected_load_id, corrected_record, note)
        select %s, unnest(%s::bigint[]), %s
        """,
        [load_id, list(records), note],
    )


def incomplete(connection: Connection) -> list[dict[str, Any]]:
    """Return, for each table, how many records are in no metric as of the last build: open, waiting, withdrawn.

    Args:
        connection: of a role that reads schema marts.

    Raises:
        NothingBuilt: the models have not been built yet.
    """
    query = sql.SQL("select table_name, open_records, waiting, withdrawn from marts.completeness order by table_name")
    try:
        cursor = connection.execute(query)
    except UndefinedTable:
        raise NothingBuilt("nothing is built yet: run the job refresh, or make run") from None
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]
