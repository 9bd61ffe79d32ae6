"""Finding invalid rows: for any records in any dialect, those that the rules reject value by value."""

import csv
import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import Column, LogicalType, Table
from contracts.rules import WHITE_SPACE
from orchestration.ingest.dialect import Dialect
from orchestration.ingest.encoding import Encoding
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.invalid import InvalidRecord, Validator
from orchestration.ingest.plain import PlainRows
from orchestration.ingest.records import Rejection, split_chunks
from tests.orchestration.ingest.conftest import HIRED_EMPLOYEES, broken_rules

LINE_END = re.compile(r"\r\n?|\n")

INTEGER, NUMBER = LogicalType.INTEGER, LogicalType.NUMBER
TIMESTAMP, STRING = LogicalType.TIMESTAMP, LogicalType.STRING
DAY_FIRST = ("%d/%m/%Y", "%d/%m/%Y %H:%M")
# Ranges and formats that the contract does not have, and may have one day.
ODD = Table(
    "odd",
    (
        Column("id", INTEGER, primary_key=True, minimum=5, maximum=2_000, example=12),
        Column("below", INTEGER, minimum=-1_000, maximum=-1, example=-7),
        Column("around", INTEGER, required=False, minimum=-5, maximum=7, example=3),
        Column("amount", NUMBER, minimum=-5, maximum=1000.5, example=17.5),
        Column("share", NUMBER, required=False, minimum=0.25, maximum=0.75, example=0.5),
        Column("note", STRING, required=False, example="good"),
        Column("since", TIMESTAMP, formats=DAY_FIRST, example="27/07/2021 9:05"),
        Column("seen", TIMESTAMP, required=False, maximum="2000-01-01T00:00:00+00:00", formats=("%Y%m%d",),
               example="19991231"),
    ),
)  # fmt: skip
# The same, but with a pattern of valid values for each of its columns.
COMMON = Table(
    "common",
    (
        Column("id", INTEGER, primary_key=True, example=12),
        Column("below", INTEGER, required=False, maximum=-1, example=-7),
        Column("around", INTEGER, required=False, minimum=-1_000, maximum=1_000, example=12),
        Column("amount", NUMBER, maximum=1000.5, example=17.5),
        Column("since", TIMESTAMP, formats=DAY_FIRST, example="27/07/2021 9:05"),
        Column("until", TIMESTAMP, minimum="1950-06-01T00:00:00+00:00", example="2021-07-27T16:02:08Z"),
        Column("note", example="good"),
    ),
)
TABLES = (HIRED_EMPLOYEES, ODD, COMMON)

Record = dict[str, str]


@dataclass(frozen=True)
class File:
    """A text of a table, how it is written, and its records by number: in which line each begins, None if malformed."""

    table: Table
    file_format: FileFormat
    text: bytes
    records: dict[int, tuple[int, Record | None]]


# Values at the edges of what the rules take ---------------------------------------------------------------------------

nothing = st.sampled_from(["", "", " ", "\u00a0", "NULL", "null", "NaN", r"\N", "n/a", "NA", *WHITE_SPACE])
integers = st.sampled_from([
    "1", "5", "7", "8", "42", "999", "1000", "1999", "2000", "2001", "0", "-1", "-5", "-6", "+3", "007", "-1001",
    "999999999", "1000000000", "2147483647", "2147483648", "9" * 15, "1" + "0" * 15, "9" * 40, "\uff11", "\u0661",
    "8.0", "8.000000000", "8.0000000000", "8.", "8.5", ".0", "8.00x", "1e3", "1_000", "1,000", "8 ", "- 8",
])  # fmt: skip
numbers = integers | st.sampled_from(["0.25", "0.24", "0.75", "1000.5", "1000.51", "999.999999999", "1.5", ".5", "-.5"])
years = st.sampled_from(
    ["1899", "1900", "1949", "1950", "1999", "2000", "2021", "2024", "2099", "2100", "0000", "9999"]
)
months = st.sampled_from(["01", "02", "02", "02", "04", "06", "11", "12", "00", "13", "1"])
days = st.sampled_from(["01", "28", "29", "29", "30", "31", "00", "32", "9", "09"])
times = st.sampled_from([
    "", "T00:00", "T23:59:59", " 16:02:08", "t16:02:08", "T16:02:08.123456789", "T16:02:08.1234567890", "T24:00",
    "T23:60", "T23:59:60", "T9:00", "  09:00", "T", "T16:02:08,5",
])  # fmt: skip
zones = st.sampled_from(["", "", "Z", "z", " Z", "UTC", "+00:00", "-05:00", "+14:00", "+1400", "-14", "+15:00", " +02"])
iso = st.builds("{}-{}-{}{}{}".format, years, months, days, times, zones)
day_first = st.builds("{}/{}/{}{}".format, days, months, years, st.sampled_from(["", " 9:05", " 23:59", "T09:00"]))
in_a_row = st.builds("{}{}{}".format, years, months, days)
letters = st.sampled_from([
    *"abZ0é€,;|\t'\"\\\r\n ", '""', "''", "\r\n", "\n\n", '",', '"\n', "\ufeff", "\u2028", "\u200b",
])  # fmt: skip
words = st.lists(letters, max_size=6).map("".join)
names = st.sampled_from(["Ada", "Zoë Łuk", "O'Hara", 'Bo "B" Ek', "null", "Ruiz, Ana"])
# Includes characters that are white space elsewhere, but not in the rules.
spaces = st.text(st.sampled_from([*WHITE_SPACE, "\x1c", "\x1f", "\u180e", "\u200e"]), max_size=2)
EDGES = {INTEGER: integers, NUMBER: numbers, TIMESTAMP: iso | day_first | in_a_row, STRING: words | names}


def values(column: Column) -> st.SearchStrategy[str]:
    """Values of a column: many as its example is, so that a row often has a single one at an edge."""
    edge, usual = EDGES[column.logical_type] | nothing, st.just(str(column.example))
    return usual | edge | st.builds("{}{}{}".format, spaces, edge | usual, spaces)


# Ways to write them ---------------------------------------------------------------------------------------------------

dialects = st.builds(
    Dialect, st.sampled_from(",;\t|"), st.sampled_from('""\''), has_escapes=st.booleans(), skips_spaces=st.booleans()
)


def written(value: str, dialect: Dialect, is_quoted: bool, indent: str) -> str:
    """Write a value, with quotes around it where it needs them or is to have them."""
    quote, delimiter = dialect.quote, dialect.delimiter
    if dialect.has_escapes:
        for special in ("\\", quote, delimiter):
            value = value.replace(special, "\\" + special)
        needs_quotes = LINE_END.search(value) is not None
        quoted = value
    else:
        begins_quoted = value.lstrip(" ").startswith(quote)
        needs_quotes = LINE_END.search(value) is not None or delimiter in value or begins_quoted
        quoted = value.replace(quote, quote * 2)
    return indent * dialect.skips_spaces + quote + quoted + quote if is_quoted or needs_quotes else value


@st.composite
def file_formats(draw: st.DrawFn, table: Table) -> FileFormat:
    """Columns in any order, one of them perhaps not there, others of no table between them."""
    columns = draw(st.permutations(table.column_names))
    fields: list[str | None] = [*columns[: len(columns) - draw(st.sampled_from([0, 0, 0, 1]))]]
    for at in draw(st.lists(st.integers(0, len(fields)), max_size=2)):
        fields.insert(at, None)
    encoding = draw(st.sampled_from([Encoding.UTF_8, Encoding.UTF_8, Encoding.WINDOWS_1252]))
    return FileFormat(tuple(fields), draw(dialects), encoding)


@st.composite
def files(draw: st.DrawFn) -> File:
    """Draw records of a table, and a format; with blank lines and malformed records between them."""
    table = draw(st.sampled_from(TABLES))
    file_format = draw(file_formats(table))
    dialect, encoding = file_format.dialect, file_format.encoding
    of_columns = {column.name: values(column) for column in table.columns}
    row = st.tuples(*[of_columns[name] if name else words for name in file_format.fields])
    line_end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quotes = draw(st.sampled_from([st.just(True), st.just(False), st.booleans()]))
    indent = draw(st.sampled_from(["", "", " ", "  "]))
    text, records = "", dict[int, tuple[int, Record | None]]()
    for kind in draw(st.lists(st.sampled_from(["record"] * 6 + ["blank", "delimiters", "malformed"]), max_size=8)):
        line = len(LINE_END.findall(text)) + 1
        if kind == "record":
            delivered = [value.encode(encoding, "ignore").decode(encoding) for value in draw(row)]
            is_quoted = [draw(quotes) for _ in delivered]
            # A byte order mark before a line is not part of it, and a line of only delimiters is not a record.
            is_quoted[0] |= delivered[0].startswith("\ufeff") or not any(delivered)
            fields = zip(delivered, is_quoted, strict=True)
            text += dialect.delimiter.join(written(value, dialect, quoted, indent) for value, quoted in fields)
            named = zip(file_format.fields, delivered, strict=True)
            records[len(records) + 1] = (line, {name: value for name, value in named if name})
        elif kind == "malformed":
            text += "1"
            records[len(records) + 1] = (line, None)
        elif kind == "delimiters":
            text += dialect.delimiter * (len(file_format.fields) - 1)
        text += line_end
    return File(table, file_format, text.encode(encoding), records)


def read(file: File, chunk_records: int, block_bytes: int) -> tuple[list[Rejection], list[InvalidRecord]]:
    """Return the malformed and the invalid records of a text, read in blocks and chunks of a size."""
    blocks = [file.text[at : at + block_bytes] for at in range(0, len(file.text), block_bytes)]
    plain_rows = PlainRows(file.table, file.file_format)
    chunks = list(split_chunks(blocks, file.file_format, chunk_records=chunk_records, plain_rows=plain_rows))
    validator = Validator(file.table, file.file_format)
    malformed = [each for chunk in chunks for each in chunk.rejections]
    return malformed, [each for chunk in chunks for each in validator.invalid(chunk)]


@settings(max_examples=250, deadline=None)
@given(files(), st.integers(1, 9), st.integers(1, 300))
def test_of_any_records_those_are_invalid_that_the_rules_reject_value_by_value(
    file: File, chunk_records: int, block_bytes: int
) -> None:
    """An invalid record that the loader accepts escapes its limit, and a valid one that it rejects may fail a file."""
    malformed, invalid = read(file, chunk_records, block_bytes)
    assert {each.record: each.line for each in malformed} == {
        number: line for number, (line, record) in file.records.items() if record is None
    }
    assert {each.record: (each.line, each.reasons) for each in invalid} == {
        number: (line, broken)
        for number, (line, record) in file.records.items()
        if record is not None and (broken := broken_rules(file.table, record))
    }
    for each in invalid:
        _, record = file.records[each.record]
        assert record is not None
        assert [problem.value for problem in each.problems] == [record.get(problem.column) for problem in each.problems]


CALENDAR = [
    f"{year}-{month:02}-{day:02}" for year in (1900, 2000, 2021, 2024) for month in range(14) for day in range(33)
]
DAYS_FIRST = [f"{day}/{month}/{year}" for year in (1900, 2000, 2021, 2024) for month in range(14) for day in range(33)]
CENTURIES = [f"{year:04}-{rest}" for year in range(10_000) for rest in ("01-01", "12-31T23:59:59.999999999Z")]
CLOCK = [
    f"2021-01-01T{hour:02}:{minute:02}:{second:02}"
    for hour in range(26)
    for minute in (0, 59, 60)
    for second in (0, 59, 60)
]


@pytest.mark.parametrize(
    "moments", [CALENDAR, DAYS_FIRST, CENTURIES, CLOCK], ids=["calendar", "days first", "centuries", "clock"]
)
@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
def test_each_day_century_and_time_is_treated_like_in_the_rules(table: Table, moments: Sequence[str]) -> None:
    """Days of months and of leap years, and the ends of a range, are what a pattern of dates gets wrong."""
    (name, *_) = (column.name for column in table.columns if column.logical_type is TIMESTAMP)
    rows = [{column.name: str(column.example) for column in table.columns} | {name: moment} for moment in moments]
    text = "".join(",".join(row.values()) + "\n" for row in rows)
    _, invalid = read(File(table, FileFormat(table.column_names), text.encode(), {}), 1000, 1 << 16)
    expected = {number: broken for number, row in enumerate(rows, 1) if (broken := broken_rules(table, row))}
    assert {each.record: each.reasons for each in invalid} == expected


@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
@pytest.mark.parametrize("encoding", [Encoding.UTF_8, Encoding.WINDOWS_1252])
def test_each_character_at_a_values_ends_is_treated_like_in_the_rules(table: Table, encoding: Encoding) -> None:
    """In Windows-1252 white space is another byte than in UTF-8, and the same byte another character."""
    characters = [
        *map(chr, range(1, 0x180)),
        *WHITE_SPACE,
        "\u180e",
        "\u200e",
        "\u2010",
        "\u3001",
        "\ufe00",
        "\U0001f986",
    ]
    known = [each for each in characters if each != '"' and each.encode(encoding, "ignore")]
    example = {column.name: str(column.example) for column in table.columns}
    rows = [
        example | changed
        for each in known
        for name, value in example.items()
        for changed in ({name: each}, {name: each + value}, {name: value + each})
    ]
    text = "".join(",".join(f'"{value}"' for value in row.values()) + "\n" for row in rows)
    _, invalid = read(
        File(table, FileFormat(table.column_names, encoding=encoding), text.encode(encoding), {}), 1000, 1 << 16
    )
    expected = {number: broken for number, row in enumerate(rows, 1) if (broken := broken_rules(table, row))}
    assert {each.record: each.reasons for each in invalid} == expected


@pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])
def test_each_byte_of_a_valid_value_may_be_another_one(table: Table) -> None:
    """Eight bytes are compared together: a carry to the next one, or an unmasked byte, would hide an error."""
    example = {column.name: str(column.example) for column in table.columns}
    long = {column.name: "123456789" for column in table.columns if column.logical_type is INTEGER}
    # Includes the neighbors of digits and separators.
    characters = ["", *"0123456789+-./:; TZtz\x01\x7f\x80\xb0\xff\u0130\uff10"]
    rows = [
        values | {name: value[:at] + character + value[at + 1 :]}
        for values in (example, example | long)
        for name, value in values.items()
        for at in range(len(value) + 1)
        for character in characters
    ]
    text = "".join(",".join(row.values()) + "\n" for row in rows)
    _, invalid = read(File(table, FileFormat(table.column_names), text.encode(), {}), 1000, 1 << 16)
    expected = {number: broken for number, row in enumerate(rows, 1) if (broken := broken_rules(table, row))}
    assert {each.record: each.reasons for each in invalid} == expected


def test_usual_rows_are_recognized_in_place_and_others_left_to_the_rules() -> None:
    """If none were recognized, every load would take half as long again without any other symptom."""
    usual = [
        b"1,Ada,2021-07-27T16:02:08Z,1,2",
        "123456789,Zo\u00eb,2021-07-27T16:02:08,12,183".encode(),
        b"7,O'Hara,2021-07-27,1,2",
    ]
    others = [b'2,"Ruiz, Ana",2021-07-27T16:02:08Z,1,2', b"3,Ada,2021-02-29T16:02:08Z,1,2", b"4,,2021-07-27,1,2"]
    lines = [*usual, *others, *usual]
    file_format = FileFormat(HIRED_EMPLOYEES.column_names)
    (chunk,) = split_chunks([b"\n".join(lines)], file_format, plain_rows=PlainRows(HIRED_EMPLOYEES, file_format))
    assert chunk.is_plain is not None
    assert [row for row, is_plain in zip(chunk.rows, chunk.is_plain, strict=True) if is_plain] == [*usual, *usual]


def test_no_text_of_quotes_and_delimiters_is_split_into_wrong_fields() -> None:
    """A pattern that misinterprets a quote, or the end of a field, joins or shifts fields."""
    texts = ["".join(each) for length in range(1, 8) for each in itertools.product(',"x\n', repeat=length)]
    records = [record for text in texts if (record := _record_of_two(text))]
    assert len(records) > 500
    table = Table("pairs", (Column("first"), Column("second")))
    for order in (records, records[::-1], sorted(records, key=lambda record: record[0][::-1])):
        text = "".join(text + "\n" for text, _ in order)
        malformed, invalid = read(File(table, FileFormat(("first", "second")), text.encode(), {}), 1000, 1 << 16)
        assert malformed == []
        expected = [broken_rules(table, dict(zip(table.column_names, values, strict=True))) for _, values in order]
        assert {each.record: each.reasons for each in invalid} == {
            number: broken for number, broken in enumerate(expected, 1) if broken
        }


def _record_of_two(text: str) -> tuple[str, list[str]] | None:
    """Return a text with its two values if it is a record of two for Python's csv module, None if it is none."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        return None
    is_record = len(rows) == 1 and len(rows[0]) == 2 and text != "," and not text.endswith("\n")
    return (text, rows[0]) if is_record else None
