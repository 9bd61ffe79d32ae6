"""The manifest of an export, and the tables that exports contain."""

from datetime import datetime
from typing import Literal

from psycopg import sql
from pydantic import BaseModel, ConfigDict

from contracts import TABLES

LOADS = "loads"
# Further tables with rows of a load, and the columns with its number, of which the first one that is not null counts.
LEDGER = {
    "load_chunks": ("load_id",),
    "rejected_records": ("load_id",),
    "invalid_records": ("load_id",),
    # A dismissal belongs to no load of its own, but to that of the dismissed record.
    "corrections": ("load_id", "corrected_load_id"),
}
# The revision that added a table of the ledger: older exports do not contain it.
SINCE = {"invalid_records": "0012", "corrections": "0012"}
LOAD_COLUMNS = {**{table.name: ("_load_id",) for table in TABLES}, LOADS: ("load_id",), **LEDGER}


def load_of_row(table: str) -> sql.Composable:
    """Return SQL for the load that a row of a table belongs to."""
    columns = [sql.Identifier(name) for name in LOAD_COLUMNS[table]]
    # A plain column where possible: no index is used for coalesce.
    return sql.SQL("coalesce({})").format(sql.SQL(", ").join(columns)) if len(columns) > 1 else columns[0]


class Frozen(BaseModel):
    """An immutable model that forbids unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class File(Frozen):
    """A Parquet file of an export.

    Attributes:
        name: its key after the export's folder.
        rows: how many it has.
        bytes: its size.
        sha256: its digest, in hexadecimal.
    """

    name: str
    rows: int
    bytes: int
    sha256: str


class Manifest(Frozen):
    """A complete export.

    Attributes:
        format: version of the layout; other ones cannot be read.
        export: its id, the time at which it began: later ones sort after it.
        snapshot: the time of the snapshot.
        revision: Alembic's revision of the schema.
        highest_load_id: the last load in it; None if there is none.
        unfinished: loads that were in progress and are left out.
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
        """Return the files of a table; none if the table is newer than the export."""
        return self.tables.get(table, [])
