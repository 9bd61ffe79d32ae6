"""What an object's first bytes say, wherever one block ends and the next begins."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestration.ingest.preamble import BYTE_ORDER_MARK, NotThisTable, Preamble, read_preamble
from orchestration.ingest.records import MAX_BYTES, START, Position

COLUMNS = ("id", "name", "datetime", "department_id", "job_id")
NAMES = b"id,name,datetime,department_id,job_id"
ROW = b"1,Ada,2021-01-01T00:00:00Z,2,3\n"


def in_blocks(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


def read_whole(text: bytes, columns: tuple[str, ...] = COLUMNS) -> Preamble:
    return read_preamble([text], columns)


@pytest.mark.parametrize(
    ("header", "columns", "line"),
    [
        pytest.param(NAMES + b"\n", COLUMNS, 2, id="LF"),
        pytest.param(NAMES + b"\r\n", COLUMNS, 2, id="CRLF"),
        pytest.param(NAMES + b"\r", COLUMNS, 2, id="CR"),
        pytest.param(BYTE_ORDER_MARK + NAMES + b"\r\n", COLUMNS, 2, id="a byte order mark"),
        pytest.param(b"\r\n\n\r" + NAMES + b"\n", COLUMNS, 5, id="empty lines before it"),
        pytest.param(BYTE_ORDER_MARK + b"\n\n" + NAMES + b"\n", COLUMNS, 4, id="a mark and empty lines"),
        pytest.param(b"ID,Name,DATETIME,Department_Id,JOB_id\n", COLUMNS, 2, id="upper case"),
        pytest.param(b" id , name,datetime ,department_id,\tjob_id\n", COLUMNS, 2, id="white space"),
        pytest.param(b'"id","name","datetime","department_id","job_id"\n', COLUMNS, 2, id="quotes"),
        pytest.param(b'"id", "name", datetime,"department_id", "job_id" \n', COLUMNS, 2, id="quotes and white space"),
        pytest.param(
            b"job_id,department_id,datetime,name,id\n",
            ("job_id", "department_id", "datetime", "name", "id"),
            2,
            id="another order",
        ),
    ],
)
def test_a_header_gives_the_order_of_the_columns_and_is_no_record(
    header: bytes, columns: tuple[str, ...], line: int
) -> None:
    found = read_whole(header + ROW)
    assert (found.columns, found.body) == (columns, Position(line=line, byte=len(header)))
    assert b"".join(found.blocks) == ROW
    for size in range(1, len(header) + len(ROW) + 1):
        again = read_preamble(in_blocks(header + ROW, size), COLUMNS)
        assert (again.columns, again.body) == (found.columns, found.body)
        assert b"".join(again.blocks) == ROW


@pytest.mark.parametrize("text", [NAMES + b"\n" + ROW, b"\xef\xbb\xbf\r\n" + NAMES + b"\r\n" + ROW, ROW + ROW])
def test_two_blocks_that_meet_at_any_byte_are_one_text(text: bytes) -> None:
    """A mark or a carriage return and its line feed in two blocks were two things."""
    found = read_whole(text)
    body = b"".join(found.blocks)
    for at in range(len(text) + 1):
        again = read_preamble([text[:at], b"", text[at:]], COLUMNS)
        assert (again.columns, again.body, b"".join(again.blocks)) == (found.columns, found.body, body)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ROW, id="data"),
        pytest.param(b"id;name;datetime;department_id;job_id\n", id="another delimiter"),
        pytest.param(ROW + NAMES + b"\n", id="a header that is not at the beginning"),
        pytest.param(b"1,name,datetime,department_id,job_id\n", id="a number among names"),
        pytest.param(b"a,b,c,job_id,name\n", id="less than half are names"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n\r\n\r", id="empty lines"),
        pytest.param(b'"' + b"x" * 200_000 + b'",\n', id="a field longer than Python's csv module takes"),
        pytest.param(b"\xe9t\xe9,caf\xe9,2021,1,2\n", id="Latin-1"),
        pytest.param(b"\0\0\0\0\0\0", id="zeros"),
        pytest.param(b"x" * (MAX_BYTES + 10), id="a line that is too long"),
    ],
)
@pytest.mark.parametrize("mark", [b"", BYTE_ORDER_MARK], ids=["", "BOM"])
@pytest.mark.parametrize("block_bytes", [7, 100_000, 10_000_000])
def test_anything_else_is_data_in_the_tables_own_order(text: bytes, mark: bytes, block_bytes: int) -> None:
    """Losing the first record of a file to a guess about headers is never noticed."""
    if len(text) > 1000 and block_bytes < 1000:
        block_bytes = 10_000
    found = read_preamble(in_blocks(mark + text, block_bytes), COLUMNS)
    assert (found.columns, found.body) == (COLUMNS, Position(byte=len(mark)))
    assert b"".join(found.blocks) == text


def test_a_header_without_anything_behind_it_ends_where_the_text_does() -> None:
    found = read_whole(NAMES)
    assert (found.columns, found.body) == (COLUMNS, Position(line=2, byte=len(NAMES)))
    assert b"".join(found.blocks) == b""


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("id,name,datetime,department_id", "lacks 'job_id'"),
        ("name,job_id", "lacks 'id', 'datetime', 'department_id'"),
        ("id,name,datetime,department_id,job_id,salary", "has unknown 'salary'"),
        ("id,name,datetime,department,job_id", "lacks 'department_id' and has unknown 'department'"),
        ("id,name,datetime,department_id,job_id,job_id", "repeats 'job_id'"),
        ("id,id,name,datetime,department_id", "lacks 'job_id' and repeats 'id'"),
        ("ID,Name,DateTime,Department_ID,Salary", "lacks 'job_id' and has unknown 'salary'"),
        ("id,name,datetime,department_id,job_id,", "has unknown ''"),
        ("id,name,x,y", "lacks 'datetime', 'department_id', 'job_id' and has unknown 'x', 'y'"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 1000])
def test_a_header_that_is_not_the_tables_is_told_and_how(header: str, complaint: str, block_bytes: int) -> None:
    """Its values would go into the wrong columns, or every record would be rejected for its number of fields."""
    with pytest.raises(NotThisTable) as caught:
        read_preamble(in_blocks(header.encode() + b"\r\n" + ROW, block_bytes), COLUMNS)
    assert str(caught.value) == (
        f"has a header that {complaint}; the columns are id, name, datetime, department_id, job_id"
    )


def test_of_many_wrong_names_ten_are_told() -> None:
    header = ",".join([*COLUMNS * 3, *(f"column_{number}" for number in range(15))])
    with pytest.raises(NotThisTable) as caught:
        read_whole(header.encode() + b"\n")
    assert "'column_9'" in str(caught.value)
    assert "'column_10'" not in str(caught.value)


TEXT = "id,name,datetime,department_id,job_id\r\n1,Zoë,2021-01-01T00:00:00Z,2,3\r\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param(b"\xff\xfe" + TEXT.encode("utf-16-le"), "is UTF-16, not UTF-8", id="UTF-16 LE with a mark"),
        pytest.param(b"\xfe\xff" + TEXT.encode("utf-16-be"), "is UTF-16, not UTF-8", id="UTF-16 BE with a mark"),
        pytest.param(TEXT.encode("utf-16-le"), "seems to be UTF-16, not UTF-8", id="UTF-16 LE"),
        pytest.param(TEXT.encode("utf-16-be"), "seems to be UTF-16, not UTF-8", id="UTF-16 BE"),
        pytest.param("1,a\n".encode("utf-16-le"), "seems to be UTF-16, not UTF-8", id="short UTF-16 LE"),
        pytest.param("1,a\n".encode("utf-16-be"), "seems to be UTF-16, not UTF-8", id="short UTF-16 BE"),
        pytest.param("\r\n\r\n1,a\r\n".encode("utf-16-le"), "seems to be UTF-16", id="UTF-16 LE after empty lines"),
        pytest.param("\r\n\r\n1,a\r\n".encode("utf-16-be"), "seems to be UTF-16", id="UTF-16 BE after empty lines"),
        pytest.param(b"\x1f\x8b\x08\0\0\0\0\0", "is compressed with gzip: its name has to end in .csv.gz", id="gzip"),
        pytest.param(b"PK\x03\x04\x14\0\x06\0", "is a ZIP archive or an Excel workbook", id="zip"),
        pytest.param(b"PAR1\x15\x04\x15", "is a Parquet file", id="Parquet"),
    ],
)
def test_what_is_no_csv_in_utf8_is_told_by_its_first_bytes(text: bytes, complaint: str) -> None:
    """Half of a file in UTF-16 is NUL characters: each record would be rejected, and none say why."""
    for at in range(min(len(text), 30)):
        with pytest.raises(NotThisTable) as caught:
            read_preamble([text[:at], text[at:]], COLUMNS)
        assert str(caught.value).startswith(complaint)


def test_no_more_is_read_than_it_takes() -> None:
    """An object that is one endless line would be in memory whole."""
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 100_000
            yield b"x" * 100_000

    assert read_preamble(endless(), COLUMNS).body == START
    assert taken <= MAX_BYTES + 200_000


pieces = st.sampled_from(
    [b"id", b"name", b",", b"\n", b"\r", b"\r\n", b'"', b" ", b"1", b"\xff", b"\0", BYTE_ORDER_MARK]
)


@given(st.lists(pieces, max_size=20).map(b"".join) | st.binary(max_size=40), st.integers(1, 8))
@example(b"\xef\xbb\xbf\xef\xbb\xbfid,name", 1)
@example(b"\r", 1)
@example(b'"id\n,"name"\n', 3)
def test_any_bytes_are_given_back_but_for_a_mark_and_a_header(text: bytes, block_bytes: int) -> None:
    try:
        found = read_preamble(in_blocks(text, block_bytes), ("id", "name"))
    except NotThisTable:
        return
    assert sorted(found.columns) == ["id", "name"]
    assert b"".join(found.blocks) == text[found.body.byte :]
    before = text[: found.body.byte].removeprefix(BYTE_ORDER_MARK).strip(b"\r\n")
    assert before == b"" or b"id" in before.lower()
