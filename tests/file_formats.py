"""The same records in twelve file formats of other tools, and in any dialect."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Records = Sequence[Sequence[str]]

# Other names of the columns of a table, and short ones.
OTHER_NAMES = {
    "departments": ("Department ID", "Department Name"),
    "jobs": ("Job ID", "Job Title"),
    "hired_employees": ("Employee ID", "Full Name", "Hire Date", "Department ID", "Job ID"),
}
SHORT_NAMES = {
    "departments": ("id", "name"),
    "jobs": ("id", "name"),
    "hired_employees": ("id", "name", "date", "department", "job"),
}
OWN_NAMES = {
    "departments": ("id", "department"),
    "jobs": ("id", "job"),
    "hired_employees": ("id", "name", "datetime", "department_id", "job_id"),
}
NUMBERS = {"departments": (0,), "jobs": (0,), "hired_employees": (0, 3, 4)}


@dataclass(frozen=True)
class Style:
    """How a file is written, by default like those of the challenge."""

    delimiter: str = ","
    quote: str = '"'
    quoting: int = csv.QUOTE_MINIMAL
    escape: str | None = None
    line_end: str = "\r\n"
    encoding: str = "utf-8"


def written(records: Records, style: Style) -> bytes:
    """Return records as Python's csv module writes them."""
    stream = io.StringIO(newline="")
    writer = csv.writer(
        stream,
        delimiter=style.delimiter,
        quotechar=style.quote,
        quoting=style.quoting,
        escapechar=style.escape,
        doublequote=style.escape is None,
        lineterminator=style.line_end,
    )
    writer.writerows(records)
    return stream.getvalue().encode(style.encoding)


def other_names(table: str, records: Records) -> bytes:
    """Names as people write them."""
    return written([OTHER_NAMES[table], *records], Style())


def other_order(table: str, records: Records) -> bytes:
    """Names as people write them, the last column first."""
    return written([row[::-1] for row in (OTHER_NAMES[table], *records)], Style())


def titles(table: str, records: Records) -> bytes:
    """A report's title, its date and blank lines above the header, which is in another order."""
    above = b"Report of " + table.encode() + b"\r\nMade on 2022-01-03 by HR\r\n\r\n\r\n"
    return above + written([row[::-1] for row in (OWN_NAMES[table], *records)], Style())


def short_names(table: str, records: Records) -> bytes:
    """The shortest names there are."""
    return written([SHORT_NAMES[table], *records], Style())


def semicolons(_: str, records: Records) -> bytes:
    """Semicolons and no header."""
    return written(records, Style(";"))


def semicolons_of_a_spreadsheet(table: str, records: Records) -> bytes:
    """Semicolons, a byte order mark, a header and blank lines."""
    lines = [written([row], Style(";")) for row in (OWN_NAMES[table], *records)]
    return b"\xef\xbb\xbf" + b"".join(line + b"\r\n" * (index % 500 == 0) for index, line in enumerate(lines))


def declared_delimiter(table: str, records: Records) -> bytes:
    """A first line for Excel that declares the delimiter."""
    return b"sep=;\r\n" + written([OWN_NAMES[table], *records], Style(";"))


def tabs_in_utf_16(table: str, records: Records) -> bytes:
    """Excel's "Unicode text"."""
    return b"\xff\xfe" + written([OWN_NAMES[table], *records], Style("\t", encoding="utf-16-le"))


def pipes(table: str, records: Records) -> bytes:
    """Pipes, and only line feeds."""
    return written([OWN_NAMES[table], *records], Style("|", line_end="\n"))


def all_quoted(table: str, records: Records) -> bytes:
    """Quotes around every field."""
    return written([OWN_NAMES[table], *records], Style(quoting=csv.QUOTE_ALL))


def floats_of_pandas(table: str, records: Records) -> bytes:
    """Integers as pandas writes them if one is missing, and its index."""
    numbers = NUMBERS[table]
    rows = (
        [str(index), *(f"{value}.0" if value and at in numbers else value for at, value in enumerate(row))]
        for index, row in enumerate(records)
    )
    return written([("", *OWN_NAMES[table]), *rows], Style(line_end="\n"))


def surplus_columns(table: str, records: Records) -> bytes:
    """Empty columns at the ends of lines, and lines of only delimiters at the end of the file."""
    width = len(OWN_NAMES[table])
    rows = [[*row, "", "", ""] for row in (OWN_NAMES[table], *records)]
    return written([*rows, *[[""] * (width + 3)] * 5], Style())


FILE_FORMATS: Mapping[str, Callable[[str, Records], bytes]] = {
    convert.__name__: convert
    for convert in (
        other_names, other_order, titles, short_names, semicolons, semicolons_of_a_spreadsheet, declared_delimiter,
        tabs_in_utf_16, pipes, all_quoted, floats_of_pandas, surplus_columns,
    )
}  # fmt: skip
