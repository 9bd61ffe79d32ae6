"""CSV text into chunks of records, against Python's csv module and against reading line by line."""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestration.ingest.ledger import Connection, Load
from orchestration.ingest.loader import connect, copy_chunk
from orchestration.ingest.records import BYTE_ORDER_MARK, START, Chunk, Position, cut, refusal, split_header
from orchestration.ingest.tables import Table
from tests.conftest import Database

COLUMNS = ("id", "name", "datetime", "department_id", "job_id")

# Bytes that mean something to CSV are rare among random ones, so most texts are put together from them.
PIECES = [
    b'"',
    b'""',
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b"\\.",
    b" ",
    b"1",
    b"ab",
    b"\xc3\xa9",
    b"\xff",
    b"\0",
    BYTE_ORDER_MARK,
]
any_text = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join) | st.binary(max_size=60)
chunk_sizes = st.integers(1, 5)

fields = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(list(',"\n\r é\ufeff')), max_size=6)
well_formed_rows = st.lists(st.lists(fields, min_size=2, max_size=4), max_size=12)
line_ends = st.sampled_from(["\n", "\r\n"])


def blocks_of(text: bytes, boundaries: Sequence[int]) -> list[bytes]:
    at = [0, *sorted(boundary % (len(text) + 1) for boundary in boundaries), len(text)]
    return [text[begin:end] for begin, end in itertools.pairwise(at)]


def records_line_by_line(text: bytes) -> list[bytes]:
    """A line belongs to the record before it as long as that has a quote open; a line without content is none."""
    found, record = [], b""
    for line in io.BytesIO(text.removeprefix(BYTE_ORDER_MARK)):
        record += line
        if record.count(b'"') % 2 == 0:
            found.append(record)
            record = b""
    return [record for record in [*found, record] if record not in (b"", b"\n", b"\r\n")]


def written(rows: Sequence[Sequence[str]], line_end: str = "\n", quoting: int = csv.QUOTE_ALL) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    return text.getvalue().encode()


def all_records(chunks: Sequence[Chunk]) -> list[bytes]:
    return [record for chunk in chunks for record in chunk.records]


@given(any_text, st.lists(st.integers(0, 1000), max_size=8), chunk_sizes)
@example(b"\xef\xbb\xbf1,a\n", [1, 2], 1)
@example(b'1,"a\n""b"\r\n\r\n2,c', [4, 5, 6, 7, 8, 9, 10, 11, 12, 13], 1)
def test_chunks_do_not_depend_on_where_a_block_ends(text: bytes, boundaries: list[int], size: int) -> None:
    """A quote or a line end that is cut in two by a block's edge would shift every record after it."""
    assert list(cut(blocks_of(text, boundaries), chunk_records=size)) == list(cut([text], chunk_records=size))


@given(any_text, chunk_sizes)
def test_chunks_tile_the_text_and_number_its_records(text: bytes, size: int) -> None:
    chunks = list(cut([text], chunk_records=size))
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert [0, *(chunk.byte_to for chunk in chunks)] == [*(chunk.byte_from for chunk in chunks), len(text)]
    assert [chunk.first_record for chunk in chunks] == [1 + number * size for number in range(len(chunks))]
    assert all(len(chunk.records) == size for chunk in chunks[:-1])
    for chunk in chunks:
        for record, offset in zip(chunk.records, chunk.record_offsets, strict=True):
            assert text[offset : offset + len(record)] == record
            assert chunk.byte_from <= offset <= offset + len(record) <= chunk.byte_to


@given(any_text, chunk_sizes)
def test_records_are_those_that_reading_line_by_line_finds(text: bytes, size: int) -> None:
    assert all_records(list(cut([text], chunk_records=size))) == records_line_by_line(text)


@given(well_formed_rows, line_ends, st.booleans(), st.booleans())
def test_well_formed_csv_has_the_records_and_fields_that_pythons_csv_module_reads(
    rows: list[list[str]], line_end: str, quote_all: bool, with_last_line_end: bool
) -> None:
    # With both line ends in the terminator, Python quotes fields that hold either.
    quoting = csv.QUOTE_ALL if quote_all or line_end == "\n" else csv.QUOTE_MINIMAL
    text = written(rows, line_end, quoting)
    if not with_last_line_end:
        text = text.removesuffix(line_end.encode())
    expected = [row for row in csv.reader(io.StringIO(text.decode("utf-8-sig"), newline="")) if row]
    found = all_records(list(cut([text], chunk_records=3)))
    assert [next(csv.reader(io.StringIO(record.decode(), newline=""))) for record in found] == expected


@given(any_text, st.lists(st.integers(0, 1000), max_size=4), chunk_sizes)
def test_cutting_from_a_chunks_beginning_gives_that_chunk_and_those_after_it(
    text: bytes, boundaries: list[int], size: int
) -> None:
    """A load that goes on after a crash must not see other records than the one that was interrupted."""
    chunks = list(cut([text], chunk_records=size))
    for number, chunk in enumerate(chunks):
        rest = blocks_of(text[chunk.byte_from :], boundaries)
        start = Position(chunk.number, chunk.first_record, chunk.byte_from)
        assert list(cut(rest, start, chunk_records=size)) == chunks[number:]


@given(
    well_formed_rows, st.lists(st.integers(0, 1000), max_size=4), chunk_sizes, st.sampled_from([b"", BYTE_ORDER_MARK])
)
def test_a_header_belongs_to_the_first_chunk_without_being_a_record(
    rows: list[list[str]], boundaries: list[int], size: int, mark: bytes
) -> None:
    body = written(rows)
    text = mark + b"id,job\r\n" + body
    _, body_from, blocks = split_header(blocks_of(text, boundaries), ("id", "job"))
    chunks = list(cut(blocks, body_from=body_from, chunk_records=size))
    assert all_records(chunks) == records_line_by_line(body)
    assert [0, *(chunk.byte_to for chunk in chunks)] == [*(chunk.byte_from for chunk in chunks), len(text)]
    assert chunks[0].first_record == 1


def test_a_chunk_holds_a_thousand_records() -> None:
    text = b"".join(b"%d,job\n" % number for number in range(2500))
    assert [len(chunk.records) for chunk in cut([text])] == [1000, 1000, 500]
    assert [len(chunk.records) for chunk in cut([text[: text.index(b"2000,")]])] == [1000, 1000]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"1,a\n2,b\n", [b"1,a\n", b"2,b\n"], id="line feeds"),
        pytest.param(b"1,a\r\n2,b\r\n", [b"1,a\r\n", b"2,b\r\n"], id="returns and line feeds"),
        pytest.param(b"1,a\n2,b", [b"1,a\n", b"2,b"], id="no line end at the end"),
        pytest.param(b"\n\n1,a\n\r\n\n2,b\n\n", [b"1,a\n", b"2,b\n"], id="empty lines"),
        pytest.param(b" \n,\n", [b" \n", b",\n"], id="lines of a space or a comma are not empty"),
        pytest.param(b"\xef\xbb\xbf1,a\n", [b"1,a\n"], id="byte order mark"),
        pytest.param(b"\xef\xbb\xbf\n1,a\n", [b"1,a\n"], id="an empty line after the mark"),
        pytest.param(b"1,a\n\xef\xbb\xbf2,b\n", [b"1,a\n", b"\xef\xbb\xbf2,b\n"], id="a mark elsewhere is data"),
        pytest.param(b'1,"a\nb\r\n"\n2,b\n', [b'1,"a\nb\r\n"\n', b"2,b\n"], id="quoted line ends"),
        pytest.param(b'1,"""\n"\n2,b\n', [b'1,"""\n"\n', b"2,b\n"], id="doubled quotes"),
        pytest.param(b'1,a"b\n2"c,\n', [b'1,a"b\n2"c,\n'], id="a quote counts wherever it stands"),
        pytest.param(b'1,a\n2,"b\n3,c\n', [b"1,a\n", b'2,"b\n3,c\n'], id="a quote that stays open"),
        pytest.param(b"\n\r\n", [], id="nothing but empty lines"),
        pytest.param(BYTE_ORDER_MARK, [], id="nothing but the mark"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_a_record_ends_where_a_line_ends_outside_of_quotes(text: bytes, expected: list[bytes]) -> None:
    assert all_records(list(cut([text]))) == expected
    assert all_records(list(cut([text[at : at + 1] for at in range(len(text))], chunk_records=1))) == expected


def test_empty_lines_belong_to_the_chunk_before_them() -> None:
    assert [chunk.byte_to for chunk in cut([b"\n1,a\n\n2,b\n\n"], chunk_records=1)] == [6, 11]


def test_text_without_records_is_still_covered_by_a_chunk() -> None:
    assert list(cut([b"\n\n"])) == [Chunk(0, 1, 0, 2, [], [])]
    assert list(cut([])) == []


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (b"id,name,datetime,department_id,job_id", COLUMNS),
        (b"job_id,department_id,datetime,name,id", COLUMNS[::-1]),
        (b"ID,Name,DateTime,Department_Id,JOB_ID", COLUMNS),
        (b" id , name,datetime\t,department_id,job_id ", COLUMNS),
        (b'"id","name","datetime","department_id","job_id"', COLUMNS),
        (b'"id", "name", "datetime", "department_id", "job_id"', COLUMNS),
        (BYTE_ORDER_MARK + b"name,id,datetime,department_id,job_id", ("name", "id", *COLUMNS[2:])),
        (BYTE_ORDER_MARK + b'"name","id",datetime,department_id,job_id', ("name", "id", *COLUMNS[2:])),
        (b"\n\r\nid,name,datetime,department_id,job_id", COLUMNS),
    ],
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("block_bytes", [1, 7, 1000])
def test_a_header_is_recognised_in_any_order_case_and_dress(
    header: bytes, columns: tuple[str, ...], line_end: bytes, block_bytes: int
) -> None:
    text = header + line_end + (b"1,a,b,2,3\n" if line_end else b"")
    found, body_from, blocks = split_header(in_blocks(text, block_bytes), COLUMNS)
    assert (found, body_from) == (columns, len(header + line_end))
    assert b"".join(blocks) == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"1,Ada,2021-01-01T00:00:00Z,2,3\n", id="data"),
        pytest.param(b"id,name,datetime,department_id\n", id="a column too few"),
        pytest.param(b"id,name,datetime,department_id,job_id,more\n", id="a column too many"),
        pytest.param(b"id,name,name,department_id,job_id\n", id="a column twice"),
        pytest.param(b"id;name;datetime;department_id;job_id\n", id="another delimiter"),
        pytest.param(b"1,a,b,2,3\nid,name,datetime,department_id,job_id\n", id="a header that is not at the beginning"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n\n", id="empty lines"),
        pytest.param(b"\xff\xfei\0d\0,\0", id="UTF-16"),
        pytest.param(b"id,name\rid,datetime,department_id,job_id\n", id="a stray carriage return"),
        pytest.param(b'"' + b"x" * 200_000 + b'",\n', id="a field longer than Python's csv module takes"),
        pytest.param(b'"id,name,datetime,department_id,job_id\n', id="a quote that stays open"),
    ],
)
@pytest.mark.parametrize("block_bytes", [5, 1000])
def test_anything_else_is_data_in_the_tables_own_order(text: bytes, block_bytes: int) -> None:
    """Losing the first record of a file to a guess about headers is never noticed."""
    found, body_from, blocks = split_header(in_blocks(text, block_bytes), COLUMNS)
    assert (found, body_from) == (COLUMNS, 0)
    assert b"".join(blocks) == text


@given(any_text, st.lists(st.integers(0, 1000), max_size=8))
def test_looking_for_a_header_takes_any_bytes_and_gives_them_back(text: bytes, boundaries: list[int]) -> None:
    columns, body_from, blocks = split_header(blocks_of(text, boundaries), ("1", "ab"))
    assert b"".join(blocks) == text
    assert sorted(columns) == ["1", "ab"]
    assert body_from <= len(text)


def in_blocks(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


@pytest.mark.parametrize(
    ("record", "reason", "message"),
    [
        (b"1,a\0b\n", "nul_character", "has a NUL character at byte 4 of the record"),
        (b"1,a\xff\n", "invalid_utf8", "is not UTF-8 from byte 4 of the record on"),
        (b"1,\xed\xa0\x80\n", "invalid_utf8", "is not UTF-8 from byte 3 of the record on"),
        (b'1,"a\n', "unclosed_quote", "has a quote that is not closed"),
        (b"1,a\rb\n", "stray_return", "has a carriage return that neither ends the line nor is quoted"),
        (b"1,a\r\r\n", "stray_return", "has a carriage return that neither ends the line nor is quoted"),
        (b"1\n", "too_few_fields", "has 1 field instead of 2"),
        (b"1,a,b\n", "too_many_fields", "has 3 fields instead of 2"),
    ],
)
def test_a_record_that_cannot_be_a_row_is_told_why(record: bytes, reason: str, message: str) -> None:
    assert refusal(record, 2) == (reason, message)


@pytest.mark.parametrize(
    "record",
    [b"1,a\n", b"1,a\r\n", b"1,a", b",\n", b'1,"a,b"\n', b'1,"a\r\nb"\n', b'1,"a""b"\n', b'1,a"b"c\n', b"1,\\.\n"],
)
def test_a_record_that_can_be_a_row_is_told_nothing(record: bytes) -> None:
    assert refusal(record, 2) is None


@pytest.fixture(scope="module")
def shared_connection(module_database: Database) -> Iterator[Connection]:
    with connect(module_database.conninfo("hiring_loader")) as connection:
        yield connection


lines_of_two_fields = st.lists(
    st.tuples(any_text, any_text, st.sampled_from([b"\n", b"\r\n", b"\r", b""])).map(lambda line: b"%b,%b%b" % line),
    max_size=5,
).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(any_text | lines_of_two_fields)
@example(b"1,a\r5,7,2,b")
@example(b"1,a\r")
@example(b"1,a\r\r\n")
def test_refusal_names_exactly_the_records_that_copy_refuses(shared_connection: Connection, text: bytes) -> None:
    for record in records_line_by_line(text):
        assert (refusal(record, 2) is None) == copy_takes(shared_connection, record)


def copy_takes(connection: Connection, record: bytes) -> bool:
    """Try a record alone, closed by a line feed as any record is that another one follows."""
    try:
        with connection.transaction(force_rollback=True), connection.cursor() as cursor:
            with cursor.copy("copy raw.jobs (_load_id, _record, id, job) from stdin (format csv)") as copy:
                copy.write(b"1,1," + record + b"\n" * (not record.endswith(b"\n")))
            assert cursor.rowcount == 1
    except psycopg.DataError:
        return False
    return True


@settings(max_examples=150, deadline=None)
@given(any_text | lines_of_two_fields, chunk_sizes)
@example(b"1,a\r5,7,2,b", 1)
@example(b"1,a\r\n2,b", 5)
@example(b"1,a\n2,b\r\n3,c\r", 5)
def test_every_record_of_any_bytes_becomes_one_row_or_one_rejection(
    shared_connection: Connection, text: bytes, size: int
) -> None:
    """A record with carriage returns alone once made rows of other loads' numbers."""
    table = Table("jobs", ("id", "job"))
    load = Load(1, table.columns, START)
    with shared_connection.transaction(force_rollback=True):
        chunks = list(cut([text], chunk_records=size))
        rejected = [
            (rejection.record, rejection.reason, rejection.raw)
            for chunk in chunks
            for rejection in copy_chunk(shared_connection, table, table.columns, load, chunk)
        ]
        rows = shared_connection.execute("select _load_id, _record from raw.jobs order by _record").fetchall()
    numbered = list(enumerate(all_records(chunks), 1))
    assert rows == [(1, number) for number, record in numbered if refusal(record, 2) is None]
    assert rejected == [
        (number, found[0], record) for number, record in numbered if (found := refusal(record, 2)) is not None
    ]
