"""What an export says of itself: its manifest, and the tables that it holds."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from contracts import TABLES

LOADS = "loads"
# Of a load, besides its records: each has the number of the load in a column of its own name.
LEDGER = {"load_chunks": "load_id", "rejected_records": "load_id"}
# The column that tells the load of each row.
LOAD_COLUMN = {**{table.name: "_load_id" for table in TABLES}, LOADS: "load_id", **LEDGER}


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
