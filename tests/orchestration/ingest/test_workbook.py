"""Workbooks of spreadsheet programs are converted to the text of the sheet with a table's records."""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pytest
from openpyxl import Workbook

from contracts import TABLES
from orchestration.ingest import workbook
from orchestration.ingest.encoding import UnreadableFile
from orchestration.ingest.ledger import Totals
from orchestration.ingest.workbook import workbook_text
from tests.orchestration.ingest.conftest import Landing

DEPARTMENTS, JOBS, HIRES = TABLES
HEADER = ["Employee ID", "Full Name", "Hire Date", "Job ID", "Department ID"]


def saved(sheets: Mapping[str, Sequence[Sequence[Any]]]) -> bytes:
    book = Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def read(content: bytes) -> list[list[str]]:
    text = b"".join(workbook_text([content], HIRES)).decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def test_dates_are_iso_8601_and_whole_numbers_digits() -> None:
    rows = [HEADER, [1001, "Ana", datetime(2021, 2, 1, 9, 0, 1), 2.0, 1], [1002, "Bo", date(2021, 3, 1), 2.5, True]]
    assert read(saved({"Sheet1": rows})) == [
        HEADER,
        ["1001", "Ana", "2021-02-01T09:00:01", "2", "1"],
        ["1002", "Bo", "2021-03-01", "2.5", "TRUE"],
    ]


def test_each_row_of_the_sheet_is_a_line_so_that_a_rejected_record_is_found_again() -> None:
    rows = [["Report"], [], HEADER, [1, 'A, "B"', None, 1, 1], [], [2, None, "2021-01-01", 1, None]]
    assert read(saved({"Sheet1": rows})) == [
        ["Report", "", "", "", ""], [], HEADER, ["1", 'A, "B"', "", "1", "1"], [], ["2", "", "2021-01-01", "1", ""],
    ]  # fmt: skip


def test_the_sheet_is_the_one_whose_header_names_the_columns() -> None:
    assert read(saved({"Notes": [["id", "note"]], "Data 2021": [HEADER], "Empty": []})) == [HEADER]


def test_of_several_such_sheets_it_is_the_one_named_like_the_table() -> None:
    rows = [HEADER, [1, "A", "2021-01-01", 1, 1]]
    assert read(saved({"Draft": [HEADER], "Hired Employees": rows}))[1][0] == "1"
    assert read(saved({"Draft": [HEADER], "EMPLOYEES": rows}))[1][0] == "1"


def test_a_single_sheet_needs_no_header_here() -> None:
    """Whether its records fit the columns by position is decided as for any text."""
    assert read(saved({"Sheet1": [[1, "A", "2021-01-01", 1, 1]]})) == [["1", "A", "2021-01-01", "1", "1"]]


@pytest.mark.parametrize(
    ("sheets", "complaint"),
    [
        ({"May": [HEADER], "June": [HEADER]}, "has 2 sheets whose header names the columns of hired_employees"),
        ({"May": [[1, "A"]], "June": [[2, "B"]]}, "has no sheet whose header names the columns of hired_employees"),
    ],
)
def test_a_workbook_with_an_ambiguous_sheet_fails_and_lists_its_sheets(
    sheets: Mapping[str, Sequence[Sequence[Any]]], complaint: str
) -> None:
    with pytest.raises(UnreadableFile, match=complaint) as error:
        read(saved(sheets))
    assert "its sheets are May, June" in str(error.value)


def test_a_workbook_of_empty_sheets_has_no_records() -> None:
    assert read(saved({"Sheet1": [], "Sheet2": [[]]})) == []


def test_a_file_that_is_not_a_workbook_fails_with_a_message() -> None:
    with pytest.raises(UnreadableFile, match=r"is no workbook, though its name ends in \.xlsx"):
        read(b"id,name\n1,A\n")
    with pytest.raises(UnreadableFile, match="is an Excel workbook with a password, or of the old format"):
        read(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500))
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("jobs.csv", "1,Clerk")
    with pytest.raises(UnreadableFile, match="is a workbook that cannot be read"):
        read(other.getvalue())


def test_a_workbook_of_more_than_the_bound_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved({"Sheet1": [HEADER]})
    monkeypatch.setattr(workbook, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(UnreadableFile, match="unpacks to more than"):
        read(content)
    monkeypatch.setattr(workbook, "MAX_BYTES", 1000)
    with pytest.raises(UnreadableFile, match="is a workbook of more than"):
        read(content)


@pytest.mark.parametrize("scanned", [1 << 20, 50])
def test_a_sheet_with_a_cell_far_from_its_records_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch, scanned: int
) -> None:
    """All cells in between would be allocated, which ends the process, and again whenever the load is tried."""
    book = Workbook()
    book.worksheets[0].append(HEADER)
    near, far = io.BytesIO(), io.BytesIO()
    book.save(near)
    book.worksheets[0]["AB100001"] = " "
    book.save(far)
    monkeypatch.setattr(workbook, "SCAN_BYTES", scanned)
    monkeypatch.setattr(workbook, "MAX_CELLS", 28 * 100_001 - 1)
    assert read(near.getvalue()) == [HEADER]
    with pytest.raises(UnreadableFile, match="has a sheet of up to 28 columns and 100,001 rows"):
        read(far.getvalue())


def test_a_workbook_with_a_damaged_sheet_fails_with_a_message() -> None:
    content = saved({"Sheet1": [HEADER]})
    begin = content.index(b"xl/worksheets/sheet1.xml") + 60
    with pytest.raises(UnreadableFile, match="is a workbook that cannot be read"):
        read(content[:begin] + b"damaged" + content[begin + 7 :])


def test_the_text_is_the_same_each_time_for_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load resumes at a byte of this text, perhaps in another process."""
    content = saved({"Sheet1": [HEADER, *([number, f"P {number}", "2021-01-01", 1, 1] for number in range(50))]})
    whole = b"".join(workbook_text([content], HIRES))
    monkeypatch.setattr(workbook, "ROWS_PER_BLOCK", 7)
    assert b"".join(workbook_text([content], HIRES)) == whole


def test_a_workbook_is_loaded_like_a_file(landing: Landing) -> None:
    rows = [["Hires of May"], [], HEADER, [7, "Ana", datetime(2021, 2, 1, 9), 2, 1], [8, None, "soon", 2, 1]]
    landing.bucket.put("hired_employees_may.xlsx", saved({"Notes": [["hello"]], "Hires": rows}))
    loaded = landing.load_one(HIRES)
    assert loaded.totals == Totals(records=2, malformed=0, invalid=1)
    assert landing.database.rows(
        "select _record, id, name, datetime, department_id, job_id from raw.hired_employees"
    ) == [
        (1, "7", "Ana", "2021-02-01T09:00:00", "1", "2"),
        (2, "8", None, "soon", "1", "2"),
    ]
    assert landing.database.rows("select line, reasons from raw.invalid_records") == [
        (5, ["name:missing", "datetime:not_a_datetime"])
    ]


def test_a_workbook_without_the_columns_fails_with_the_reason(landing: Landing) -> None:
    landing.bucket.put("jobs.xlsx", saved({"May": [["note", "x"], ["a", "b"]], "June": [["c", "d"]]}))
    assert "its sheets are May, June" in landing.fail_one(JOBS).message
