"""A reference implementation of docs/data-rules.md for records, one byte at a time: slow, without NumPy."""

import re
from dataclasses import dataclass

SPECIAL = b",\r\n"
MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Found:
    """A record: its first line and byte, its bytes, and either its fields or why it is malformed."""

    line: int
    byte: int
    raw: bytes
    fields: list[bytes] | None
    reason: str | None


@dataclass(frozen=True)
class Reading:
    fields: list[bytes]
    end: int


def read(text: bytes, columns: int, max_bytes: int) -> list[Found]:
    found, at, line = [], 0, 1
    while at < len(text):
        end, behind = line_end(text, at)
        start = at
        is_long = behind - start > max_bytes
        while not is_long and text.startswith(MARK, at):
            at += len(MARK)
        if is_long or text[at:end].strip(b","):
            record = one(text, start, at, columns, max_bytes, line)
            found.append(record)
            if record.reason != "too_long":
                end, behind = line_end(text, at + len(record.raw))
            line += lines_in(text[at:end])
        at, line = behind, line + 1
    return found


def one(text: bytes, start: int, at: int, columns: int, max_bytes: int, line: int) -> Found:
    end, behind = line_end(text, at)
    first_line = text[at:end]
    if behind - start > max_bytes:
        return Found(line, start, first_line, None, "too_long")
    reading = fields_from(text, at)
    if isinstance(reading, Reading) and line_end(text, reading.end)[1] - start > max_bytes:
        reading = "unclosed_quote"
    if reading == "stray_quote" and fields_from(text[:end], at) != "stray_quote":
        reading = "unclosed_quote"
    if isinstance(reading, str):
        return judged(Found(line, at, first_line, None, reading))
    raw = text[at : reading.end]
    if len(reading.fields) != columns and reading.end > end and is_row(text, after_marks(text, behind), columns):
        return judged(Found(line, at, first_line, None, "unclosed_quote"))
    if len(reading.fields) != columns:
        return judged(Found(line, at, raw, None, f"too_{'few' if len(reading.fields) < columns else 'many'}_fields"))
    return judged(Found(line, at, raw, reading.fields, None))


def judged(found: Found) -> Found:
    try:
        if "\0" not in found.raw.decode():
            return found
    except UnicodeDecodeError:
        if b"\0" not in found.raw:
            return Found(found.line, found.byte, found.raw, None, "invalid_utf8")
    return Found(found.line, found.byte, found.raw, None, "nul_character")


def after_marks(text: bytes, at: int) -> int:
    while text.startswith(MARK, at):
        at += len(MARK)
    return at


def is_row(text: bytes, at: int, columns: int) -> bool:
    end, _ = line_end(text, at)
    reading = fields_from(text[:end], at)
    is_blank = not text[at:end].strip(b",")
    is_sound = not is_blank and b'"' not in other_quotes(text[at:end])
    return isinstance(reading, Reading) and is_sound and len(reading.fields) == columns


def other_quotes(line: bytes) -> bytes:
    """Blank the quoted fields of a line, so that only quotes in the middle of other fields remain."""
    return re.sub(rb'(?:(?<=,)|(?<=^))"(?:[^"]|"")*"(?=,|$)', b"", line)


def fields_from(text: bytes, at: int) -> Reading | str:
    fields = []
    while True:
        value = bytearray()
        if text[at : at + 1] == b'"':
            at += 1
            while True:
                if at >= len(text):
                    return "unclosed_quote"
                if text[at : at + 2] == b'""':
                    value += b'"'
                    at += 2
                elif text[at : at + 1] == b'"':
                    at += 1
                    break
                else:
                    value.append(text[at])
                    at += 1
            if at < len(text) and text[at] not in SPECIAL:
                return "stray_quote"
        else:
            while at < len(text) and text[at] not in SPECIAL:
                value.append(text[at])
                at += 1
        fields.append(bytes(value))
        if at >= len(text) or text[at : at + 1] != b",":
            return Reading(fields, at)
        at += 1


def line_end(text: bytes, at: int) -> tuple[int, int]:
    found = re.compile(rb"\r\n|\r|\n").search(text, at)
    return (found.start(), found.end()) if found else (len(text), len(text))


def lines_in(content: bytes) -> int:
    return len(re.findall(rb"\r\n|\r|\n", content))
