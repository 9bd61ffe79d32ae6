"""What an export says of itself: its manifest, and the tables that it holds."""

from datetime import datetime
from typing import Literal

from psycopg import sql
from pydantic import BaseModel, ConfigDict

from contracts import TABLES

LOADS = "loads"
# Of a load, besides its records, with the columns that have its number: the first of them that is not null.
LEDGER = {
    "load_chunks": ("load_id",),
    "rejected_records": ("load_id",),
    "invalid_records": ("load_id",),
    # Somebody's word that a record is dealt with is of no load, and stays with the record's.
    "corrections": ("load_id", "corrected_load_id"),
}
# The revision that brought a table of the ledger: an export of an earlier one does not hold it.
SINCE = {"invalid_records": "0012", "corrections": "0012"}
LOAD_COLUMNS = {**{table.name: ("_load_id",) for table in TABLES}, LOADS: ("load_id",), **LEDGER}


def load_of_row(table: str) -> sql.Composable:
    """Return SQL for the load that a row of a table belongs to."""
    columns = [sql.Identifier(name) for name in LOAD_COLUMNS[table]]
    # No index is used for a function of its column.
    return sql.SQL("coalesce({})").format(sql.SQL(", ").join(columns)) if len(columns) > 1 else columns[0]


class Frozen(BaseModel):
    """What does not change once it is written, and has nothing that is not known here."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class File(Frozen):
    """A Parquet file of an export.

    Attributes:
        name: its key behind the export's folder.
        rows: how many it has.
        bytes: its size.
        sha256: its digest, in hexadecimal digits.
    """

    name: str
    rows: int
    bytes: int
    sha256: str


class Manifest(Frozen):
    """An export that is whole.

    Attributes:
        format: how the export is laid out; another one is not read.
        export: its id, the time at which it was begun: later ones sort behind it.
        snapshot: the moment whose records it holds.
        revision: of the schema, as Alembic numbers it.
        highest_load_id: the last load in it; None without any.
        unfinished: loads that were under way and of which it holds nothing.
        tables: the files of each table, in the order of their rows.
    """

    format: Literal[1] = 1
    export: str
    snapshot: datetime
    revision: str
    highest_load_id: int | None
    unfinished: list[int]
    tables: dict[str, list[File]]

    def files(self, table: str) -> list[File]:
        """Return the files of a table, none of one that came after the export was made."""
        return self.tables.get(table, [])
