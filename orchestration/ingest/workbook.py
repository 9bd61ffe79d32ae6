"""Converts the sheet of a workbook that has a table's records to CSV text, with dates in ISO 8601 and plain integers.

From there on it is read like any other text: header, titles, records, chunks and offsets. The text depends only on the
workbook's bytes, so that an interrupted load can resume in it.
"""

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from contracts import Table
from orchestration.ingest.encoding import OLE_SIGNATURE, OLE_WORKBOOK, UnreadableFile
from orchestration.ingest.header import Header, comparable

# A workbook is held in memory, both its bytes and its cells: some 20 times its size. 64 MiB are two million hires.
MAX_BYTES = 64 << 20
MAX_UNPACKED_BYTES = 1 << 30
# Of one sheet, empty ones included: reading it allocates some 40 bytes for each cell up to its last column and row,
# however few of them have a value. A million rows of 32 columns.
MAX_CELLS = 1 << 25
SHEET = re.compile(r"xl/worksheets/[^/]+[.]xml", re.IGNORECASE)
SCAN_BYTES = 1 << 20
# References to cells after column Z or row 99,999, of which most sheets have none.
NEAR_COLUMNS, NEAR_ROWS = 26, 99_999
FAR_CELL = re.compile(rb'\br="(?=[A-Z]{2}|[A-Z][0-9]{6})([A-Z]{1,9})([0-9]{1,20})"')
MAX_REFERENCE_BYTES = 40
ROWS_PER_BLOCK = 10_000
# The header has to be in one of the first rows, as in a CSV file.
HEADER_ROWS = 11
# Excel stores every number as a float, which is exact for integers up to this one.
MAX_EXACT = 2.0**53

Rows = Sequence[Sequence[Any]]


def workbook_text(blocks: Iterable[bytes], table: Table) -> Iterator[bytes]:
    """Yield the records of a workbook as CSV text in UTF-8: one line per row of its sheet, empty rows included.

    Args:
        blocks: the bytes of the workbook (.xlsx) from the first one on.
        table: the table that it is for: its sheet is the one whose header names the table's columns; of several such
            sheets, the one named like the table.

    Raises:
        UnreadableFile: it is not a workbook or too large, or it is unclear which sheet has the records.
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
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile:
        is_ole = content.startswith(OLE_SIGNATURE)
        raise UnreadableFile(
            f"is {OLE_WORKBOOK}" if is_ole else "is no workbook, though its name ends in .xlsx"
        ) from None
    with archive:
        _require_readable_size(archive)
    return content


def _require_readable_size(archive: zipfile.ZipFile) -> None:
    if sum(part.file_size for part in archive.infolist()) > MAX_UNPACKED_BYTES:
        raise UnreadableFile(f"unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB: export its sheet as CSV")
    try:
        extents = [_extent(archive, name) for name in filter(SHEET.fullmatch, archive.namelist())]
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        raise UnreadableFile(f"is a workbook that cannot be read: {error}") from None
    for columns, rows in extents:
        if columns * rows > MAX_CELLS:
            raise UnreadableFile(
                f"has a sheet of up to {columns:,} columns and {rows:,} rows, too many to be read: delete the cells "
                "after its records, or export it as CSV"
            )


def _extent(archive: zipfile.ZipFile, name: str) -> tuple[int, int]:
    """Return up to how many columns and rows a sheet has, given its XML; at least NEAR_COLUMNS and NEAR_ROWS."""
    columns, rows, rest = NEAR_COLUMNS, NEAR_ROWS, b""
    with archive.open(name) as sheet:
        while block := sheet.read(SCAN_BYTES):
            text = rest + block
            for letters, row in FAR_CELL.findall(text):
                columns, rows = max(columns, _column_number(letters)), max(rows, int(row))
            rest = text[-MAX_REFERENCE_BYTES:]
    return columns, rows


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("@")
    return number


def _sheets(content: bytes) -> dict[str, Rows]:
    """Return the rows of each sheet that is not empty, from the sheet's first row on."""
    # Imported here, because few processes ever read a workbook.
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
    """Return the number of cells of a row up to the last one with a value."""
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
