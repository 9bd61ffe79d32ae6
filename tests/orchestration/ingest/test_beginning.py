"""Detecting encoding, dialect and header from an object's first bytes, for any size of blocks."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts import Column, LogicalType, Table
from orchestration.ingest.beginning import BEGINNING_BYTES, Beginning, read_beginning
from orchestration.ingest.dialect import Dialect
from orchestration.ingest.encoding import BYTE_ORDER_MARK, Encoding, UnreadableFile
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.header import HeaderMismatch, comparable
from orchestration.ingest.records import START, Position
from tests.file_formats import FILE_FORMATS, OWN_NAMES
from tests.orchestration.ingest.conftest import DEPARTMENTS, HIRED_EMPLOYEES, JOBS

COLUMNS = ("id", "name", "datetime", "department_id", "job_id")
NAMES = b"id,name,datetime,department_id,job_id"
ROW = b"1,Ada,2021-01-01T00:00:00Z,2,3\n"
SWAPPED = ("id", "name", "datetime", "job_id", "department_id")


def in_blocks(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


def read_whole(text: bytes, table: Table = HIRED_EMPLOYEES) -> Beginning:
    return read_beginning([text], table)


def complaint_about(text: bytes, table: Table = HIRED_EMPLOYEES) -> str:
    with pytest.raises(UnreadableFile) as caught:
        read_whole(text, table)
    return str(caught.value)


class TestAHeader:
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
            pytest.param(b'"id", "name", datetime,"department_id", "job_id"\n', COLUMNS, 2, id="quotes after spaces"),
            pytest.param(b"job_id,department_id,datetime,name,id\n", COLUMNS[::-1], 2, id="another order"),
            pytest.param(b"Employee ID,Full Name,Hire Date,Job ID,Department ID\n", SWAPPED, 2, id="other names"),
            pytest.param(b"EmployeeId,employee-name,HIRED_AT,Job,department\n", SWAPPED, 2, id="still other names"),
            pytest.param("Id,Namé,Start  date,Jób#,Dèpartment.ID\n".encode(), SWAPPED, 2, id="accents"),
            pytest.param(
                b'"Employee\nID",name,"Hire\r\nDate",job_id,department_id\n', SWAPPED, 4, id="names over lines"
            ),
            pytest.param(b"Hires of May\n\n,,,,\nMade by HR,2021,,,\n" + NAMES + b"\n", COLUMNS, 6, id="titles"),
            pytest.param(b"title\n" * 10 + NAMES + b"\n", COLUMNS, 12, id="ten lines of titles"),
            pytest.param(b"sep=,\r\n" + NAMES + b"\r\n", COLUMNS, 3, id="a line that declares the delimiter"),
            pytest.param(b"Employee,,Hire,Job,Department\nID,Name,Date,ID,ID\n", SWAPPED, 3, id="two rows"),
            pytest.param(b"Employee,,Hire,,\nID,Name,Date,Job,Department\n", SWAPPED, 3, id="two rows, merged cells"),
            pytest.param(b"id,name,datetime,,\n,,,job_id,department_id\n", SWAPPED, 3, id="two rows, one name each"),
        ],
    )
    def test_it_gives_the_order_of_the_columns_and_is_no_record(
        self, header: bytes, columns: tuple[str, ...], line: int
    ) -> None:
        found = read_whole(header + ROW)
        assert (found.file_format.columns, found.body) == (columns, Position(line=line, byte=len(header)))
        assert b"".join(found.blocks) == ROW
        for size in range(1, len(header) + len(ROW) + 1):
            again = read_beginning(in_blocks(header + ROW, size), HIRED_EMPLOYEES)
            assert (again.file_format, again.body) == (found.file_format, found.body)
            assert b"".join(again.blocks) == ROW

    @pytest.mark.parametrize(
        ("header", "fields", "left_out", "has_surplus"),
        [
            (b"id,job,pay", ("id", "job", None), ("pay",), False),
            (b"Unnamed: 0,id,job", (None, "id", "job"), ("Unnamed: 0",), False),
            (b",id,job", (None, "id", "job"), ("",), False),
            (b"job, Site ,id,2021", ("job", None, "id", None), ("Site", "2021"), False),
            (b"id,job,,,", ("id", "job"), (), True),
            (b",id,job,pay,", (None, "id", "job", None), ("", "pay"), True),
            (b"id,name", ("id", "job"), (), False),
            (b"Title;Job number", ("job", "id"), (), False),
        ],
    )
    def test_columns_that_no_table_knows_are_left_out_and_named(
        self, header: bytes, fields: tuple[str | None, ...], left_out: tuple[str, ...], has_surplus: bool
    ) -> None:
        found = read_whole(header + b"\n", JOBS).file_format
        assert (found.fields, found.left_out, found.has_surplus) == (fields, left_out, has_surplus)
        assert FileFormat.from_json(found.to_json(), found.left_out) == found

    def test_a_column_that_may_be_missing_may_lack(self) -> None:
        table = Table("staff", (*JOBS.columns, Column("pay", LogicalType.NUMBER, required=False)))
        assert read_whole(b"job,id\na,1\n", table).file_format.columns == ("job", "id")
        assert read_whole(b"1,a\n2,b\n", table).file_format.columns == ("id", "job")
        assert read_whole(b"1,a,\n2,b,3.5\n", table).file_format.columns == ("id", "job", "pay")

    @pytest.mark.parametrize(
        ("header", "complaint"),
        [
            ("id,name,datetime,department_id", "lacks 'job_id'"),
            ("name,job_id", "lacks 'id', 'datetime', 'department_id'"),
            ("id,name,datetime,department_id,job_id,job_id", "repeats 'job_id'"),
            ("id,name,datetime,department_id,job_id,job", "repeats 'job_id' (as 'job_id' and 'job')"),
            ("id,id,name,datetime,department_id", "lacks 'job_id' and repeats 'id'"),
            ("ID,Name,DateTime,Department_ID,Salary", "lacks 'job_id' and has unknown 'salary'"),
            ("id,name,x,y", "lacks 'datetime', 'department_id', 'job_id' and has unknown 'x', 'y'"),
            ("Employee ID,Full Name,Since,Role,Team",
             "lacks 'datetime', 'department_id', 'job_id' and has unknown 'since', 'role', 'team'"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("block_bytes", [1, 1000])
    def test_one_that_does_not_name_the_columns_fails_with_the_reason(
        self, header: str, complaint: str, block_bytes: int
    ) -> None:
        """Its values would go into the wrong columns, or every record would be rejected for its number of fields."""
        with pytest.raises(HeaderMismatch) as caught:
            read_beginning(in_blocks(header.encode() + b"\r\n" + ROW, block_bytes), HIRED_EMPLOYEES)
        assert str(caught.value) == (
            f"has a header that {complaint}; the columns are id, name, datetime, department_id, job_id"
        )

    def test_of_many_wrong_names_ten_are_shown(self) -> None:
        header = ",".join([*COLUMNS[:4], *(f"column_{number}" for number in range(15))])
        complaint = complaint_about(header.encode() + b"\n")
        assert "'column_9'" in complaint
        assert "'column_10'" not in complaint

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            (b'id,"job\n1,a\n2,b\n', "has a header in line 1 with a quote that is not closed"),
            (b'id,"job"s\n1,a\n2,b\n', "has a header in line 1 with a quote that is not closed, or has text after it"),
            (b'Jobs\nid;"job\n1;a\n2;b\n', "has a header in line 2 with a quote that is not closed"),
            (b"id,job,pay\n1,a\n2,b\n", "has a header of 3 fields in line 1, but the records below it have 2"),
            (b"id,job\n1,a,x\n2,b,y\n", "has a header of 2 fields in line 1, but the records below it have 3"),
            (b"Nr,Beruf\n1,a\n2,b\n", "cannot be read: line 1 looks like a header, but names none of id, job; add its "
                                      "names to the contract: Nr,Beruf"),
            (b"Nr;Beruf\n1;a\n2;b\n", "cannot be read: line 1 looks like a header, but names none of id, job"),
            (b"Berufe\n\nNr,Beruf\n1,a\n", "cannot be read: line 3 looks like a header, but names none of id, job"),
            (b"Nr,Beruf,Ort\n1,a\n2,b\n", "cannot be read: line 1 looks like a header of 3 fields, but the records "
                                          "below it have 2: Nr,Beruf,Ort"),
            (b"a,1\nb,2\nJob,ID\nc,3\n", "has a header in line 3, but line 1 above it reads like a record: a,1"),
            (b"a,1\nb,2\n", "cannot be read by position: it has no header, and in 2 of its first 2 records id would be "
                            "no integer, the first in line 1: a"),
            (b"1,a\nx1,b\nx2,b\nx3,c\n", "cannot be read by position: it has no header, and in 3 of its first 4"),
            (b"sep=:\n1:a\n", "declares the delimiter ':': it has to be a comma, ; | or a tab"),
        ],
    )  # fmt: skip
    def test_an_ambiguous_file_fails_with_the_reason(self, text: bytes, complaint: str) -> None:
        """Values in the wrong columns, with everything green."""
        assert complaint_about(text, JOBS).startswith(complaint)


class TestWithoutAHeader:
    @pytest.mark.parametrize(
        "text",
        [
            pytest.param(ROW, id="data"),
            pytest.param(b"1,A,2021-01-01,1.0,2.0\n", id="floats"),
            pytest.param(ROW + NAMES + b"\n", id="a header that is not at the beginning"),
            pytest.param(b"1,name,datetime,department_id,job_id\n", id="a number among names"),
            pytest.param(b"x,Ada,2021-01-01,2,3\n" + ROW, id="a word for an id"),
            pytest.param(b"1,,2021-13-45,2,3\n" + ROW, id="a missing name and a wrong date"),
            pytest.param(b"1,Ada,01/02/2021,2,3\n" * 9, id="dates of another format"),
            pytest.param(b"NULL,Ada,N/A,,\n" + ROW, id="nothing that tells anything"),
            pytest.param(b"1,Ada,2021-01-01,2\n" + ROW, id="too few fields"),
            pytest.param(b'1,"Ada"x,2021-01-01,2\n' + ROW, id="a stray quote"),
            pytest.param(b"", id="nothing"),
            pytest.param(b"\n\r\n\r", id="empty lines"),
            pytest.param(b'"' + b"x" * 200_000 + b'",\n', id="a field longer than Python's csv module takes"),
            pytest.param(b"\xe9t\xe9,caf\xe9,2021,1,2\n", id="Latin-1"),
            pytest.param(b"\0\0\0\0\0\0", id="zeros"),
            pytest.param(b"x" * (BEGINNING_BYTES + 10), id="a line that is longer than what is looked at"),
        ],
    )
    @pytest.mark.parametrize("mark", [b"", BYTE_ORDER_MARK], ids=["", "BOM"])
    @pytest.mark.parametrize("block_bytes", [7, 100_000, 10_000_000])
    def test_records_are_in_the_tables_own_order(self, text: bytes, mark: bytes, block_bytes: int) -> None:
        """Losing the first record of a file to a guess about headers is never noticed."""
        if len(text) > 1000 and block_bytes < 1000:
            block_bytes = 10_000
        found = read_beginning(in_blocks(mark + text, block_bytes), HIRED_EMPLOYEES)
        assert (found.file_format, found.body) == (FileFormat(COLUMNS), Position(byte=len(mark)))
        assert b"".join(found.blocks) == text

    def test_surplus_fields_count_where_most_of_the_first_records_have_them(self) -> None:
        assert read_whole(b"5,Legal,,,\r\n", DEPARTMENTS).file_format.has_surplus
        assert not read_whole(b"5,Legal,\r\n6,IT\r\n7,HR\r\n", DEPARTMENTS).file_format.has_surplus


class TestDialects:
    @pytest.mark.parametrize(
        ("text", "dialect"),
        [
            (b"1;a\n", Dialect(";")),
            (b"1\ta, b\n2\tc\n", Dialect("\t")),
            (b"1|a,b\n", Dialect("|")),
            (b"1,a|b\n2,c;d\n", Dialect()),
            (b"1;a, b\n2;c, d\n", Dialect(";")),
            (b"id;job\n", Dialect(";")),
            (b'"id"|"job"\n', Dialect("|")),
            (b"sep=;\n1;a\n", Dialect(";")),
            (b"1, a\n2, b\n", Dialect()),
            (b'1, "a, b"\n2, c\n', Dialect(skips_spaces=True)),
            (b'1, "a"\n2, "b"\n', Dialect(skips_spaces=True)),
            (b'1, "a"\n2,b\n', Dialect()),
            (b'"id", "job"\n1,a\n', Dialect(skips_spaces=True)),
            (b"'id','job'\n1,a\n", Dialect(quote="'")),
            (b"'1','a'\n'2','b'\n", Dialect(quote="'")),
            (b"1,'a, b'\n2,c\n", Dialect(quote="'")),
            (b"1,'a'\n2,'b'\n", Dialect()),
            (b"1,'t Hooft\n2,O'Brien\n", Dialect()),
            (b'1,"a \\"b\\" c"\n2,d\n', Dialect(has_escapes=True)),
            (b"1;a\\; b\n2;c\n", Dialect(";", has_escapes=True)),
            (b'1,"C:\\"\n2,d\n', Dialect()),
            (b"1,\"a\n2,O'Brien\n3,\"c\"\n", Dialect()),
            (b'id,job\n1,"\r\\""\n', Dialect(has_escapes=True)),
        ],
    )  # fmt: skip
    def test_the_one_that_the_header_or_the_types_prove_is_used(self, text: bytes, dialect: Dialect) -> None:
        assert read_whole(text, JOBS).file_format.dialect == dialect

    def test_a_sound_file_is_not_read_in_other_dialects(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Thirty readings of each of ten thousand small files."""
        read: list[Dialect] = []
        monkeypatch.setattr(
            "orchestration.ingest.sample.Sample._may_be_in", lambda _, dialect: read.append(dialect) or True
        )
        read_whole(b"1,a;b\n", JOBS)
        assert read == []

    @pytest.mark.parametrize("table", [DEPARTMENTS, JOBS, HIRED_EMPLOYEES], ids=lambda table: table.name)
    @pytest.mark.parametrize("file_format", FILE_FORMATS)
    def test_every_file_format_is_recognized(self, table: Table, file_format: str) -> None:
        width = len(OWN_NAMES[table.name])
        rows = [["1", "Ada, L", "2021-01-01", "2", "3"][:width], ["2", "", "2021-13-01", "", "4"][:width]]
        found = read_whole(FILE_FORMATS[file_format](table.name, rows), table).file_format
        assert sorted(found.columns) == sorted(table.column_names)


class TestEncodings:
    TEXT = "id,name,datetime,department_id,job_id\r\n1,Zoë,2021-01-01T00:00:00Z,2,3\r\n"

    @pytest.mark.parametrize("encoding", [Encoding.UTF_16_LE, Encoding.UTF_16_BE])
    @pytest.mark.parametrize("titles", ["", "Ünïcødé 🦆\r\n\r\n"])
    def test_utf_16_with_a_mark_is_turned_into_utf_8_and_its_body_begins_in_its_own_bytes(
        self, encoding: Encoding, titles: str
    ) -> None:
        text = "\ufeff" + titles + self.TEXT
        source, at = text.encode(encoding), text.index("1,Zoë")
        for size in itertools.chain(range(1, 20), [1000]):
            found = read_beginning(in_blocks(source, size), HIRED_EMPLOYEES)
            assert found.file_format.encoding == encoding
            assert found.body.byte == len(text[:at].encode(encoding))
            assert b"".join(found.blocks) == text[at:].encode()

    def test_windows_1252_is_read_if_it_is_declared_and_there_is_no_mark(self) -> None:
        text = "id,name,datetime,department_id,job_id,Año\r\n".encode("cp1252")
        found = read_beginning([text], HIRED_EMPLOYEES, Encoding.WINDOWS_1252).file_format
        assert (found.encoding, found.left_out) == (Encoding.WINDOWS_1252, ("Año",))
        marked = read_beginning([BYTE_ORDER_MARK + ROW], HIRED_EMPLOYEES, Encoding.WINDOWS_1252).file_format
        assert marked.encoding == Encoding.UTF_8

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            pytest.param(TEXT.encode("utf-32"), "is UTF-32: save it as UTF-8", id="UTF-32"),
            pytest.param(TEXT.encode("utf-16-le"), "seems to be UTF-16, not UTF-8", id="UTF-16 LE"),
            pytest.param(TEXT.encode("utf-16-be"), "seems to be UTF-16, not UTF-8", id="UTF-16 BE"),
            pytest.param("1,a\n".encode("utf-16-le"), "seems to be UTF-16, not UTF-8", id="short UTF-16 LE"),
            pytest.param("1,a\n".encode("utf-16-be"), "seems to be UTF-16, not UTF-8", id="short UTF-16 BE"),
            pytest.param("\r\n\r\n1,a\r\n".encode("utf-16-le"), "seems to be UTF-16", id="UTF-16 LE after empty lines"),
            pytest.param("\r\n\r\n1,a\r\n".encode("utf-16-be"), "seems to be UTF-16", id="UTF-16 BE after empty lines"),
            pytest.param(
                b"\x1f\x8b\x08\0\0\0\0\0", "is compressed with gzip: its name has to end in .csv.gz", id="gzip"
            ),
            pytest.param(b"PK\x03\x04\x14\0\x06\0", "is a ZIP archive or an Excel workbook", id="zip"),
            pytest.param(b"PAR1\x15\x04\x15", "is a Parquet file", id="Parquet"),
        ],
    )
    def test_unreadable_files_are_recognized_by_their_first_bytes(self, text: bytes, complaint: str) -> None:
        """Half of a file in UTF-16 is NUL characters: each record would be rejected, and none say why."""
        for at in range(min(len(text), 30)):
            with pytest.raises(UnreadableFile) as caught:
                read_beginning([text[:at], text[at:]], HIRED_EMPLOYEES)
            assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize("text", [NAMES + b"\n" + ROW, b"\xef\xbb\xbf\r\n" + NAMES + b"\r\n" + ROW, ROW + ROW])
def test_two_blocks_that_meet_at_any_byte_are_one_text(text: bytes) -> None:
    """A mark or a carriage return and its line feed in two blocks were two things."""
    found = read_whole(text)
    body = b"".join(found.blocks)
    for at in range(len(text) + 1):
        again = read_beginning([text[:at], b"", text[at:]], HIRED_EMPLOYEES)
        assert (again.file_format, again.body, b"".join(again.blocks)) == (found.file_format, found.body, body)


def test_a_header_without_anything_after_it_ends_where_the_text_does() -> None:
    found = read_whole(NAMES)
    assert (found.file_format.columns, found.body) == (COLUMNS, Position(line=2, byte=len(NAMES)))
    assert b"".join(found.blocks) == b""


def test_no_more_is_read_than_necessary() -> None:
    """An object that is one endless line would be in memory whole."""
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 10_000
            yield b"x" * 10_000

    assert read_beginning(endless(), HIRED_EMPLOYEES).body == START
    assert taken <= BEGINNING_BYTES + 20_000


@pytest.mark.parametrize(
    ("name", "same"),
    [("EmployeeId", "employee id"), ("employee_id", "Employee-ID"), ("  JOB\nTitle ", "jobtitle"), ("Año", "ano")],
)
def test_names_are_compared_without_what_people_change_in_them(name: str, same: str) -> None:
    assert comparable(name) == comparable(same)


TWO = Table("pairs", (Column("id", LogicalType.INTEGER, primary_key=True), Column("name")))
pieces = st.sampled_from(
    [b"id", b"name", b",", b";", b"\n", b"\r", b"\r\n", b'"', b"'", b"\\", b" ", b"1", b"\xff", b"\0", BYTE_ORDER_MARK]
)


@given(st.lists(pieces, max_size=20).map(b"".join) | st.binary(max_size=40), st.integers(1, 8))
@example(b"\xef\xbb\xbf\xef\xbb\xbfid,name", 1)
@example(b"\r", 1)
@example(b'"id\n,"name"\n', 3)
def test_any_bytes_are_returned_except_a_mark_and_lines_above_the_body(text: bytes, block_bytes: int) -> None:
    try:
        found = read_beginning(in_blocks(text, block_bytes), TWO)
    except UnreadableFile:
        return
    assert sorted(found.file_format.columns) == ["id", "name"]
    if not found.file_format.encoding.is_utf16:
        assert b"".join(found.blocks) == text[found.body.byte :]
    before = text[: found.body.byte].removeprefix(BYTE_ORDER_MARK).strip(b"\r\n")
    assert before == b"" or found.file_format.header_line
