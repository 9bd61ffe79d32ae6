"""What the first bytes of an object say: whether it is CSV in UTF-8 at all, and which columns it has in which order."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestration.ingest.lines import LINE_END
from orchestration.ingest.records import MAX_BYTES, START, Position

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# How much of a text tells its encoding.
SAMPLE_BYTES = 1000
UTF16 = "UTF-16, not UTF-8: save it as UTF-8"
# By what a file begins with that is no CSV in UTF-8; https://www.rfc-editor.org/rfc/rfc2781 for the first two.
SIGNATURES = {
    b"\xff\xfe": UTF16,
    b"\xfe\xff": UTF16,
    b"\x1f\x8b": "compressed with gzip: its name has to end in .csv.gz",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: unpack it, or export it as CSV",
    b"PAR1": "a Parquet file: export it as CSV",
}


class NotThisTable(RuntimeError):
    """The object is no CSV text, or its header does not name the table's columns."""


@dataclass(frozen=True)
class Preamble:
    """The columns in the object's order, where its body begins, and its text from there on."""

    columns: tuple[str, ...]
    body: Position
    blocks: Iterator[bytes]


def read_preamble(blocks: Iterable[bytes], columns: tuple[str, ...]) -> Preamble:
    """Find out what an object begins with: a byte order mark, a header that names the columns in any order and case.

    Without a header the columns come in the table's order.

    Args:
        blocks: the object's text from its first byte on.
        columns: the table's columns.

    Raises:
        NotThisTable: the text is in no encoding that can be read, or the header lacks, repeats or adds a column.
    """
    stream = iter(blocks)
    text = _beginning(stream)
    _check_encoding(text)
    at = len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0
    line, begin, end = START.line, at, at
    while begin == end and begin < len(text):
        # Empty lines before a header are none of its business.
        begin = at
        found = LINE_END.search(text, begin)
        end, at = (found.start(), found.end()) if found else (len(text), len(text))
        line += 1
    names = _names(text[begin:end])
    if not _is_header(names, columns):
        mark = len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0
        return Preamble(columns, Position(byte=mark), _rest(text[mark:], stream))
    _check_header(names, columns)
    return Preamble(names, Position(line=line, byte=at), _rest(text[at:], stream))


def _beginning(stream: Iterator[bytes]) -> bytes:
    """Return the text up to some byte behind the first line that is not empty, as far as a record may go."""
    text = b""
    for block in stream:
        text += block
        content = text.lstrip(BYTE_ORDER_MARK + b"\r\n")
        found = LINE_END.search(content)
        has_line = found is not None and found.end() < len(content) and len(text) >= SAMPLE_BYTES
        if has_line or len(text) > MAX_BYTES:
            break
    return text


def _rest(text: bytes, stream: Iterator[bytes]) -> Iterator[bytes]:
    yield text
    yield from stream


def _check_encoding(text: bytes) -> None:
    for signature, what in SIGNATURES.items():
        if text.startswith(signature):
            raise NotThisTable(f"is {what}")
    # Latin text in UTF-16 without a mark: every other byte is NUL.
    sample = text[:SAMPLE_BYTES]
    if len(sample) > 3 and any(not any(sample[half::2]) and all(sample[1 - half :: 2]) for half in (0, 1)):
        raise NotThisTable(f"seems to be {UTF16}")


def _names(line: bytes) -> tuple[str, ...]:
    try:
        fields = next(csv.reader([line.decode(errors="replace")], skipinitialspace=True), [])
    except csv.Error:
        return ()  # a field longer than any name
    return tuple(field.strip().lower() for field in fields)


def _is_header(names: tuple[str, ...], columns: tuple[str, ...]) -> bool:
    """Return whether at least half of the fields are names of columns, and none is a number."""
    known = sum(name in columns for name in names)
    return 2 * known >= len(names) > 0 and not any(name.isdecimal() for name in names)


def _check_header(names: tuple[str, ...], columns: tuple[str, ...]) -> None:
    wrong = {
        "lacks": [name for name in columns if name not in names],
        "repeats": [name for name in columns if names.count(name) > 1],
        "has unknown": [name for name in names if name not in columns],
    }
    complaints = [f"{what} {', '.join(map(repr, which[:10]))}" for what, which in wrong.items() if which]
    if complaints:
        raise NotThisTable(f"has a header that {' and '.join(complaints)}; the columns are {', '.join(columns)}")
