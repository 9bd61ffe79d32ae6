"""Workbooks as CSV text: of the sheet that holds a table's records, with dates in ISO 8601 and integers as digits.

What is read from there on is text like any other: the same header, titles, records, chunks and offsets. The text
follows from the workbook's bytes alone, so that a load resumes in it where it broke off.
"""

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from contracts import Table
from orchestration.ingest.encoding import UnreadableFile
from orchestration.ingest.header import Header, comparable

# A workbook is held in memory, packed and as cells: some 20 times its size. 64 MiB are two million hires.
MAX_BYTES = 64 << 20
MAX_UNPACKED_BYTES = 1 << 30
ROWS_PER_BLOCK = 10_000
# Where a header may stand, as in a text.
HEADER_ROWS = 11
# Excel keeps every number as a float, which holds integers up to here.
MAX_EXACT = 2.0**53

Rows = Sequence[Sequence[Any]]


def workbook_text(blocks: Iterable[bytes], table: Table) -> Iterator[bytes]:
    """Yield the records of a workbook as CSV text in UTF-8: one line per row of its sheet, empty rows included.

    Args:
        blocks: the workbook, .xlsx, from its first byte on.
        table: the table that it is for: its sheet is the one whose header names the table's columns, of several the one
            that is named like the table.

    Raises:
        UnreadableFile: it is no workbook, too large, or does not tell which sheet holds the records.
    """
    content = _whole(blocks)
    rows = _rows_of_table(_sheets(content), table)
    width = max((_width(row) for row in rows), default=0)
    for first in range(0, len(rows), ROWS_PER_BLOCK):
        block = io.StringIO()
        writer = csv.writer(block, lineterminator="\r\n")
        for row in rows[first : first + ROWS_PER_BLOCK]:
            writer.writerow([_text(cell) for cell in row[:width]] if _width(row) else [])
        yield block.getvalue().encode()


def _whole(blocks: Iterable[bytes]) -> bytes:
    content = b""
    for block in blocks:
        content += block
        if len(content) > MAX_BYTES:
            raise UnreadableFile(f"is a workbook of more than {MAX_BYTES >> 20} MiB: export its sheet as CSV")
    if not content:
        raise UnreadableFile("is empty, and so no workbook")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
    except zipfile.BadZipFile:
        raise UnreadableFile("is no workbook, though its name ends in .xlsx") from None
    if unpacked > MAX_UNPACKED_BYTES:
        raise UnreadableFile(f"unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB: export its sheet as CSV")
    return content


def _sheets(content: bytes) -> dict[str, Rows]:
    """Return the rows of each sheet that is not empty, the first row of the sheet first."""
    # Imported here: few processes ever read a workbook.
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheets = {
            name: workbook.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in workbook.sheet_names
        }
    except (CalamineError, ValueError, OSError) as error:
        raise UnreadableFile(f"is a workbook that cannot be read: {error}") from None
    return {name: rows for name, rows in sheets.items() if any(map(_width, rows))}


def _rows_of_table(sheets: dict[str, Rows], table: Table) -> Rows:
    header = Header(table)
    matching = {
        name: rows
        for name, rows in sheets.items()
        if any(header.is_complete([_text(cell) for cell in row]) for row in rows[:HEADER_ROWS])
    }
    candidates = matching or sheets
    if len(candidates) > 1:
        names = {comparable(name) for name in table.names}
        candidates = {name: rows for name, rows in candidates.items() if comparable(name) in names}
    if len(candidates) == 1 or not sheets:
        return next(iter(candidates.values()), [])
    why = (
        f"{len(matching)} sheets whose header names the columns of {table.name}"
        if matching
        else f"no sheet whose header names the columns of {table.name} ({', '.join(table.required_names)})"
    )
    raise UnreadableFile(
        f"has {why}, and none of them is named {table.name}; its sheets are {', '.join(sheets)}: name the sheet "
        f"{table.name}, or deliver it alone"
    )


def _width(row: Sequence[Any]) -> int:
    """Return how many cells a row has up to its last one with a value."""
    return next((index for index in range(len(row), 0, -1) if row[index - 1] != ""), 0)


def _text(cell: Any) -> str:
    match cell:
        case bool():
            return str(cell).upper()
        case float() if cell.is_integer() and abs(cell) < MAX_EXACT:
            return str(int(cell))
        case datetime() | date() | time():
            return cell.isoformat()
        case timedelta():
            return str(cell)
        case _:
            return str(cell)
