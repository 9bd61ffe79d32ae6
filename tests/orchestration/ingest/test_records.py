"""Splitting CSV text into chunks, compared with Python's csv module and with the byte-by-byte reference."""

import csv
import io
import itertools
import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestration.ingest.dialect import Dialect
from orchestration.ingest.encoding import BYTE_ORDER_MARK, Encoding, in_utf8
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.records import RAW_BYTES_KEPT, START, Chunk, Position, Rejection, split_chunks
from tests.orchestration.ingest import reference

# Bytes with a meaning in CSV are rare among random ones, so most texts are composed of them.
PIECES = [
    *[b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"\\.", b" ", b"1", b"ab", b"a,b\n", b"1,2\n", b'"x,y",z\n'],
    *[b"\xc3\xa9", b"\xff", b"\0", BYTE_ORDER_MARK, b"longer than that"],
]
any_text = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join) | st.binary(max_size=60)
boundaries = st.lists(st.integers(0, 1000), max_size=8)
chunk_sizes = st.integers(1, 5)
columns = st.integers(1, 3)
longest = st.sampled_from([6, 15, 40, 1000])
dialects = st.builds(Dialect, has_escapes=st.booleans(), skips_spaces=st.booleans())

values = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(list(',"\n\r é\ufeff')), max_size=6)
line_ends = st.sampled_from(["\n", "\r\n", "\r"])

Judged = tuple[int, int, int, bytes, str | None]


def plain(fields: int) -> FileFormat:
    """Comma-separated UTF-8 of so many columns."""
    return FileFormat(tuple(f"column_{number}" for number in range(fields)))


def blocks_of(text: bytes, at: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(each % (len(text) + 1) for each in at), len(text)]
    return [text[begin:end] for begin, end in itertools.pairwise(edges)]


def records_of(chunks: Sequence[Chunk]) -> list[Judged]:
    """Number, line and first byte of each record, its bytes, and why it is malformed."""
    found: list[Judged] = []
    for chunk in chunks:
        rows = zip(chunk.numbers, chunk.lines.tolist(), chunk.offsets.tolist(), chunk.rows, strict=True)
        found += [(number, line, byte, row, None) for number, line, byte, row in rows]
        found += [(each.record, each.line, each.byte_from, each.raw, each.reason) for each in chunk.rejections]
    return sorted(found)


def edges_of(chunks: Sequence[Chunk]) -> list[tuple[Position, Position]]:
    return [(chunk.begin, chunk.end) for chunk in chunks]


def fields_of(row: bytes) -> list[bytes]:
    return [value.encode() for value in next(csv.reader(io.StringIO(row.decode(), newline=""), strict=True))]


def rejections_of(text: bytes, fields: int = 2) -> list[Rejection]:
    return [rejection for chunk in split_chunks([text], plain(fields)) for rejection in chunk.rejections]


@given(any_text, boundaries, chunk_sizes, columns, longest, dialects)
@example(b'1,"a\n""b"\r\n\r\n2,c', [4, 5, 6, 7, 8, 9, 10, 11, 12, 13], 1, 2, 1000, Dialect())
@example(b'"1",a', [1], 1, 2, 1000, Dialect(skips_spaces=True))
def test_chunks_do_not_depend_on_where_a_block_ends(
    text: bytes, at: list[int], size: int, fields: int, max_bytes: int, dialect: Dialect
) -> None:
    """A quote or a line end that is cut in two by a block's edge would shift every record after it."""
    file_format = FileFormat(plain(fields).fields, dialect)
    whole = list(split_chunks([text], file_format, chunk_records=size, max_bytes=max_bytes))
    parts = list(split_chunks(blocks_of(text, at), file_format, chunk_records=size, max_bytes=max_bytes))
    assert edges_of(parts) == edges_of(whole)
    assert records_of(parts) == records_of(whole)


@given(any_text, chunk_sizes, columns, longest)
def test_chunks_tile_the_text_and_number_its_records_and_lines(
    text: bytes, size: int, fields: int, max_bytes: int
) -> None:
    chunks = list(split_chunks([text], plain(fields), chunk_records=size, max_bytes=max_bytes))
    assert [chunk.begin for chunk in chunks] == [START, *(chunk.end for chunk in chunks)][: len(chunks)]
    assert (chunks[-1].end.byte if chunks else 0) == len(text)
    assert [number for number, *_ in records_of(chunks)] == list(range(1, sum(chunk.records for chunk in chunks) + 1))
    assert all(chunk.records <= size for chunk in chunks)
    assert all(chunk.end.byte - chunk.begin.byte <= max_bytes or chunk.records <= 1 for chunk in chunks)
    if chunks:
        unended = not text.endswith((b"\n", b"\r"))
        assert chunks[-1].end.line == 1 + reference.lines_in(text) + unended


@settings(max_examples=500, deadline=None)
@given(any_text, chunk_sizes, columns, longest)
def test_records_are_those_that_reading_a_byte_at_a_time_finds(
    text: bytes, size: int, fields: int, max_bytes: int
) -> None:
    found = records_of(list(split_chunks([text], plain(fields), chunk_records=size, max_bytes=max_bytes)))
    expected = reference.read(text, fields, max_bytes)
    assert [(line, byte, reason) for _, line, byte, _, reason in found] == [
        (each.line, each.byte, each.reason) for each in expected
    ]
    for (*_, raw, reason), each in zip(found, expected, strict=True):
        assert raw == each.raw if reason else fields_of(raw) == each.fields


@given(any_text, columns)
def test_text_that_pythons_csv_module_accepts_is_read_in_the_same_way(text: bytes, fields: int) -> None:
    try:
        rows = [row for row in csv.reader(io.StringIO(text.decode(), newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error):
        return
    if "\0" in text.decode() or "\ufeff" in text.decode() or any(len(row) != fields or not any(row) for row in rows):
        return
    found = records_of(list(split_chunks([text], plain(fields))))
    assert [fields_of(raw) for *_, raw, _ in found] == [[value.encode() for value in row] for row in rows]
    assert not any(reason for *_, reason in found)


@given(st.lists(st.tuples(values, values), max_size=12), line_ends, st.booleans(), st.booleans())
def test_records_written_by_pythons_csv_module_are_read_unchanged(
    rows: list[tuple[str, str]], line_end: str, quote_all: bool, with_last_line_end: bool
) -> None:
    # A missing value is blank, and a byte order mark at the beginning of a line is not part of the text.
    rows = [(first.replace("\0", "x").lstrip("\ufeff") or "1", second.replace("\0", "x")) for first, second in rows]
    stream = io.StringIO(newline="")
    # With both line ends in the terminator, Python quotes fields that hold either.
    quoting = csv.QUOTE_ALL if quote_all or line_end != "\r\n" else csv.QUOTE_MINIMAL
    csv.writer(stream, lineterminator=line_end, quoting=quoting).writerows(rows)
    text = stream.getvalue().encode()
    if not with_last_line_end:
        text = text.removesuffix(line_end.encode())
    found = records_of(list(split_chunks([text], plain(2), chunk_records=3)))
    assert [tuple(value.decode() for value in fields_of(raw)) for *_, raw, _ in found] == rows


@given(any_text, boundaries, chunk_sizes, columns, longest)
def test_cutting_from_a_chunks_beginning_gives_that_chunk_and_those_after_it(
    text: bytes, at: list[int], size: int, fields: int, max_bytes: int
) -> None:
    """A load that resumes after a crash must see the same records as the interrupted one."""
    chunks = list(split_chunks([text], plain(fields), chunk_records=size, max_bytes=max_bytes))
    for number, chunk in enumerate(chunks):
        rest = blocks_of(text[chunk.begin.byte :], at)
        again = list(split_chunks(rest, plain(fields), chunk.begin, chunk_records=size, max_bytes=max_bytes))
        assert edges_of(again) == edges_of(chunks[number:])
        assert records_of(again) == records_of(chunks[number:])


SEMICOLONS = FileFormat(plain(3).fields, Dialect(";", "'"))


@given(any_text, boundaries, chunk_sizes, longest)
def test_a_delimiter_and_a_quote_are_as_good_as_others(text: bytes, at: list[int], size: int, max_bytes: int) -> None:
    """A comma that is left over somewhere would split the fields of a file with semicolons."""
    swapped = bytes.maketrans(b",\";'", b";',\"")
    same = text.translate(swapped)
    expected = records_of(list(split_chunks([text], plain(3), chunk_records=size, max_bytes=max_bytes)))
    found = list(split_chunks(blocks_of(same, at), SEMICOLONS, chunk_records=size, max_bytes=max_bytes))
    assert [
        (number, line, byte, raw.translate(swapped), reason) for number, line, byte, raw, reason in records_of(found)
    ] == expected


def decoded(blocks: Sequence[bytes], encoding: Encoding) -> list[bytes]:
    return list(in_utf8(blocks, encoding))


@given(any_text, boundaries, chunk_sizes, longest, st.sampled_from([Encoding.UTF_16_LE, Encoding.UTF_16_BE]))
def test_utf_16_has_the_records_of_the_same_text_in_utf_8_at_its_own_bytes(
    text: bytes, at: list[int], size: int, max_bytes: int, encoding: Encoding
) -> None:
    """Offsets of the other encoding would have a load resume in the middle of a record."""
    wide = text.decode(errors="replace") + "🦆"
    source, narrow = wide.encode(encoding), wide.encode()
    file_format = FileFormat(plain(2).fields, encoding=encoding)
    expected = list(split_chunks([narrow], plain(2), chunk_records=size, max_bytes=max_bytes))
    blocks = decoded(blocks_of(source, at), encoding)
    found = list(split_chunks(blocks, file_format, chunk_records=size, max_bytes=max_bytes))

    def in_source(byte: int) -> int:
        return len(narrow[:byte].decode().encode(encoding))

    assert records_of(found) == [
        (number, line, in_source(byte), raw, reason) for number, line, byte, raw, reason in records_of(expected)
    ]
    assert [chunk.end.byte for chunk in found] == [in_source(chunk.end.byte) for chunk in expected]
    for number, chunk in enumerate(found):
        rest = decoded([source[chunk.begin.byte :]], encoding)
        again = list(split_chunks(rest, file_format, chunk.begin, chunk_records=size, max_bytes=max_bytes))
        assert edges_of(again) == edges_of(found[number:])
        assert records_of(again) == records_of(found[number:])


def test_half_of_a_surrogate_pair_rejects_only_its_record() -> None:
    text = "1,a\n2,\ud83e\n3,c\n".encode("utf-16-le", "surrogatepass")
    file_format = FileFormat(plain(2).fields, encoding=Encoding.UTF_16_LE)
    found = records_of(list(split_chunks(decoded([text], Encoding.UTF_16_LE), file_format)))
    assert [reason for *_, reason in found] == [None, "invalid_encoding", None]
    assert [byte for _, _, byte, *_ in found] == [0, 8, 16]


@given(any_text, boundaries, chunk_sizes, longest, st.lists(st.booleans(), min_size=3, max_size=3))
@example(b'1,"a\n1,2,3\n4,5,6\n', [], 5, 1000, [True, False, True])
def test_fields_that_are_left_out_are_missing_only_from_rows(
    text: bytes, at: list[int], size: int, max_bytes: int, taken: list[bool]
) -> None:
    file_format = FileFormat(tuple(name if own else None for name, own in zip("abc", taken, strict=True)))
    if not any(taken):
        return
    whole = records_of(list(split_chunks([text], plain(3), chunk_records=size, max_bytes=max_bytes)))
    found = records_of(list(split_chunks(blocks_of(text, at), file_format, chunk_records=size, max_bytes=max_bytes)))
    assert [(*place, reason) for *place, _, reason in found] == [(*place, reason) for *place, _, reason in whole]
    for (*_, raw, reason), (*_, before, _) in zip(found, whole, strict=True):
        if reason:
            assert raw == before
        else:
            kept = [value for value, own in zip(fields_of(before), taken, strict=True) if own]
            # A row of one empty field is an empty line.
            assert (fields_of(raw) if raw else [b""]) == kept


@given(st.lists(st.tuples(st.sampled_from([b"1,a", b'"1","a"', b"1,", b",", b"1", b"1,a,x"]),
                          st.sampled_from([b"", b",", b",,,", b',""', b", ,"])), max_size=8), chunk_sizes)  # fmt: skip
def test_empty_fields_at_the_ends_of_lines_do_not_count_where_a_file_has_them(
    lines: list[tuple[bytes, bytes]], size: int
) -> None:
    file_format = FileFormat(("id", "job"), has_surplus=True)
    text = b"".join(line + surplus + b"\r\n" for line, surplus in lines)
    for chunk in split_chunks([text], file_format, chunk_records=size):
        assert all(reason in {None, "too_few_fields", "too_many_fields"} for *_, reason in records_of([chunk]))
        assert all(len(fields_of(row)) == 2 for row in chunk.rows)
        assert all(each.raw.startswith((b"1,a,x", b"1")) for each in chunk.rejections)
        for each in chunk.rejections:
            is_wide = each.raw.startswith(b"1,a,x")
            assert each.reason == ("too_many_fields" if is_wide else "too_few_fields"), each


@pytest.mark.parametrize(
    ("dialect", "text", "fields"),
    [
        pytest.param(Dialect(skips_spaces=True), b'1, "a, b"', [b"1", b" a, b"], id="a space before a quote"),
        pytest.param(Dialect(skips_spaces=True), b'1,   "a, b"', [b"1", b"   a, b"], id="many spaces"),
        pytest.param(Dialect(skips_spaces=True), b' "1", "a\n"', [b" 1", b" a\n"], id="a space before the first"),
        pytest.param(Dialect(skips_spaces=True), b"1, a", [b"1", b" a"], id="spaces before no quote stay"),
        pytest.param(Dialect(has_escapes=True), b'1,"a \\"b\\", c"', [b"1", b'a "b", c'], id="escaped quotes"),
        pytest.param(Dialect(has_escapes=True), b'1,"a\\\\"', [b"1", b"a\\"], id="an escaped backslash"),
        pytest.param(Dialect(has_escapes=True), b'1,"a\\\\\\""', [b"1", b'a\\"'], id="three backslashes"),
        pytest.param(Dialect(has_escapes=True), b'1,"a ""b"""', [b"1", b'a "b"'], id="doubled quotes"),
        pytest.param(Dialect(has_escapes=True), b"1,a\\, b", [b"1", b"a, b"], id="an escaped delimiter"),
        pytest.param(Dialect(has_escapes=True), b"\\N,\\n", [b"\\N", b"\\n"], id="other backslashes stay"),
        pytest.param(Dialect(quote="'"), b"1,'O''Brien, \"x\"'", [b"1", b'O\'Brien, "x"'], id="single quotes"),
    ],
)
def test_a_field_written_in_a_dialect_is_read_with_its_value(
    dialect: Dialect, text: bytes, fields: list[bytes]
) -> None:
    found = list(split_chunks([b"0,x\n" + text + b"\n2,y\n"], FileFormat(("id", "job"), dialect)))
    _, row, _ = [row for chunk in found for row in chunk.rows]
    if dialect.skips_spaces:
        assert as_copy_reads(row) == fields
    else:
        reader = csv.reader(io.StringIO(row.decode(), newline=""), quotechar=dialect.quote)
        assert [value.encode() for value in next(reader)] == fields


def as_copy_reads(row: bytes) -> list[bytes]:
    """The fields of a row as read by COPY, for which quotes may be anywhere in a field."""
    return [field.replace(b'"', b"") for field in re.findall(rb'(?:[^,"]|"[^"]*")+', row)]


def test_a_header_belongs_to_the_first_chunk_without_being_a_record() -> None:
    body = Position(line=3, byte=20)
    (chunk,) = split_chunks([b"1,a\n"], plain(2), START, body)
    assert (chunk.begin, chunk.end) == (START, Position(1, 2, 4, 24))
    assert (chunk.lines.tolist(), chunk.offsets.tolist()) == ([3], [20])


def test_a_header_without_records_is_a_chunk_without_records() -> None:
    (chunk,) = split_chunks([], plain(2), START, Position(line=2, byte=8))
    assert (chunk.begin, chunk.end, chunk.records) == (START, Position(1, 1, 2, 8), 0)


def test_blank_lines_are_no_records_but_count_as_lines() -> None:
    (chunk,) = split_chunks([b"\n\r\n1,a\n\n\r2,b\n\n"], plain(2))
    assert (list(chunk.numbers), chunk.lines.tolist()) == ([1, 2], [3, 6])


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        (b"1", "too_few_fields", "has 1 field instead of 2"),
        (b"1,a,b", "too_many_fields", "has 3 fields instead of 2"),
        (b'1,"a\nb",c', "too_many_fields", "has 3 fields instead of 2"),
        (b"1,a\0b", "nul_character", "has a NUL character at byte 4"),
        (b"1,caf\xe9", "invalid_utf8", "is not UTF-8 from byte 6 on (0xE9)"),
        (b"1,\xed\xa0\x80", "invalid_utf8", "is not UTF-8 from byte 3 on (0xED)"),
        (b'1,"a', "unclosed_quote", "has a quote that is not closed"),
        (b'1,"a"b', "stray_quote", "has text after a closing quote, or a quote in a quoted field that is not doubled"),
        (b"1," + b"a" * (1 << 20), "too_long", "is longer than 1,048,576 bytes"),
        (b'1,"' + b"a" * (1 << 20) + b'"', "too_long", "is longer than 1,048,576 bytes"),
    ],
)
def test_a_malformed_record_is_reported_with_reason_and_location_and_affects_no_other(
    text: bytes, reason: str, message: str
) -> None:
    before = b"1,a\r\n"
    found = records_of(list(split_chunks([before + text + b"\r\n2,b\r\n"], plain(2))))
    assert [judged[3] for judged in found if judged[4] is None] == [b"1,a", b"2,b"]
    (rejection,) = rejections_of(before + text + b"\r\n2,b\r\n")
    assert (rejection.reason, rejection.message) == (reason, message)
    assert (rejection.record, rejection.line, rejection.byte_from) == (2, 2, len(before))
    assert (rejection.raw, rejection.raw_bytes) == (text[:RAW_BYTES_KEPT], len(text))


@pytest.mark.parametrize("row", [b'1,Dwayne "The Rock" Johnson', b'1,5" pipe', b'1, "quoted"', b'1,"",'])
def test_a_quote_in_the_middle_of_a_field_is_text(row: bytes) -> None:
    """COPY would take it for the beginning of a quoted stretch, drop it, and read on beyond the line."""
    fields = row.count(b",") + 1
    found = records_of(list(split_chunks([row + b"\n" + b"2" + b",x" * (fields - 1)], plain(fields))))
    assert next(fields_of(raw) for *_, raw, _ in found) == [
        value.encode() for value in next(csv.reader([row.decode()], strict=True))
    ]
    assert len(found) == 2


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_quotes_that_are_never_closed_reject_their_lines_among_thousands(line_end: bytes) -> None:
    """Every quote after one that is not closed would open where it closes, and swallow what lies between."""
    good = [b'%d,"Doe, Jane"', b"%d,plain", b'%d,"two\nlines"', b'%d,5" pipe']
    # Strides without a common divisor put each kind of record after each other kind.
    bad = [number for number in range(5000) if number % 53 == 7]
    lines = [(b'%d,"open' if number in bad else good[number * 7 % 11 % 4]) % number for number in range(5000)]
    found = records_of(list(split_chunks(blocks_of(line_end.join(lines), range(0, 100_000, 997)), plain(2))))
    assert [number - 1 for number, *_, reason in found if reason] == bad
    assert {reason for *_, reason in found} == {None, "unclosed_quote"}
    assert len(found) == len(lines)
