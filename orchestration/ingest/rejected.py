"""Rejected records as work: listed for people, written out to be corrected and delivered again, dismissed.

What is open the models decide, in staging.rejected_records; a file with the columns _load_id and _record, which
exports have, says which records its own correct.
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
from orchestration.ingest.file_format import PROVENANCE

# Columns of an export after those of the table. A load leaves them out, but for the two that name the record.
EXPORTED = ("_reasons", "_object", "_line", *PROVENANCE, "_text")


@dataclass(frozen=True)
class RejectedRecord:
    """A row of staging.rejected_records; `text` is a malformed record as it stands in its object."""

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
        """What is wrong with it, in words where the loader has some."""
        return f"{self.reasons[0]}: {self.message}" if self.message else ", ".join(self.reasons)

    def described(self, reason: str) -> str:
        """Return one of its reasons with the value that it is about."""
        value = self.value(reason.partition(":")[0])
        return reason if value is None else f'{reason} "{visible(value)}"'

    def value(self, column: str) -> str | None:
        """Return what was delivered in a column, None for nothing or where that cannot be read."""
        return (self.delivered or {}).get(column)


class NothingBuilt(Exception):
    """The models have not been built yet, and so nobody knows which records are rejected."""


def rejected_records(
    connection: Connection, tables: Iterable[Table], load_id: int | None = None, only_open: bool = False
) -> list[RejectedRecord]:
    """Return the rejected records of some tables, in the order in which they were delivered.

    Args:
        connection: of a role that reads schemas raw and staging.
        tables: whose.
        load_id: only those of this load.
        only_open: only those that nothing corrects and nobody has dismissed.

    Raises:
        NothingBuilt: there are no models yet.
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
    """Write records of a table as a file of it, to be corrected and delivered again.

    Args:
        records: of one table.
        table: theirs.
        target: a text file that leaves line ends alone.
    """
    rows = csv.writer(target, lineterminator="\n")
    rows.writerow([*table.column_names, *EXPORTED])
    for each in records:
        text = None if each.raw is None else each.raw.decode("utf-8", "replace")
        places = (each.problems, each.object, each.line, each.load_id, each.record)
        rows.writerow([*map(each.value, table.column_names), *places, text])


def dismiss(connection: Connection, load_id: int, records: Sequence[int], note: str) -> None:
    """Record that nothing has to be delivered in the place of some rejected records.

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
    """Return what is in no metric of each table as of the last build: open, waiting and withdrawn records.

    Args:
        connection: of a role that reads schema marts.

    Raises:
        NothingBuilt: there are no models yet.
    """
    query = sql.SQL("select table_name, open_records, waiting, withdrawn from marts.completeness order by table_name")
    try:
        cursor = connection.execute(query)
    except UndefinedTable:
        raise NothingBuilt("nothing is built yet: run the job refresh, or make run") from None
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]
