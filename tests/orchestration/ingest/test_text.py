"""Real loads of every kind of text: the rows in raw, the rejected records, or the reason of the failure."""

import csv
import gzip
import io
import itertools
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestration.ingest.encoding import BYTE_ORDER_MARK
from orchestration.ingest.ledger import Totals
from orchestration.ingest.loader import Failed, Loaded, load_object
from orchestration.ingest.objects import file_version
from orchestration.ingest.records import split_chunks
from orchestration.ingest.session import TableSession
from tests.conftest import Database
from tests.orchestration.ingest.conftest import (
    JOBS,
    LENIENT,
    Landing,
    broken_rules,
    discrepancies,
    invalid_records,
    jobs,
)

REPOSITORY = Path(__file__).parents[3]

Rows = Mapping[int, tuple[str | None, str | None]]
Rejected = dict[int, tuple[str, int, bytes]]

TWO: Rows = {1: ("1", "a"), 2: ("2", "b")}


def rejected_records(landing: Landing, load_id: int) -> Rejected:
    rows = landing.database.rows(
        "select record, reason, line, raw, raw_bytes from raw.rejected_records where load_id = %s", load_id
    )
    assert all(len(raw) == raw_bytes for *_, raw, raw_bytes in rows)
    return {record: (reason, line, raw) for record, reason, line, raw, _ in rows}


def invalid_of(rows: Rows) -> dict[int, list[str]]:
    """The rows that break a rule, by their number, with the rules that each breaks."""
    found = {number: broken_rules(JOBS, {"id": id_, "job": job}) for number, (id_, job) in rows.items()}
    return {number: broken for number, broken in found.items() if broken}


# Each case: description, file, rows in raw by number, rejected records as reason, line and bytes.
TEXTS: list[tuple[str, bytes, Rows, Rejected]] = [
    ("nothing", b"", {}, {}),
    ("only a header", b"id,job\n", {}, {}),
    ("only a header without a line end", b"id,job", {}, {}),
    ("only a byte order mark", b"\xef\xbb\xbf", {}, {}),
    ("only empty lines", b"\n\r\n\r\n\n\r", {}, {}),
    # Line ends.
    ("LF", b"1,a\n2,b\n", TWO, {}),
    ("CRLF", b"1,a\r\n2,b\r\n", TWO, {}),
    ("CR", b"1,a\r2,b\r", TWO, {}),
    ("no line end at the end", b"1,a\n2,b", TWO, {}),
    ("LF, CRLF and CR", b"1,a\n2,b\r\n3,c\r4,d", {**TWO, 3: ("3", "c"), 4: ("4", "d")}, {}),
    ("CR before numbers that COPY could take for a load's", b"1,a\r77,88\r2,b", {
        1: ("1", "a"), 2: ("77", "88"), 3: ("2", "b"),
    }, {}),
    ("CR CR LF", b"1,a\r\r\n2,b\n", TWO, {}),
    ("LF CR", b"1,a\n\r2,b\n\r", TWO, {}),
    ("empty lines", b"\n\n1,a\n\r\n\n2,b\n\n\r\r", TWO, {}),
    ("a line of white space", b"1,a\n \n2,b\n", {1: ("1", "a"), 3: ("2", "b")}, {2: ("too_few_fields", 2, b" ")}),
    # Encoding.
    ("a byte order mark", b"\xef\xbb\xbf1,a\n2,b\n", TWO, {}),
    ("a byte order mark and a header", b"\xef\xbb\xbfid,job\r\n1,a\r\n2,b\r\n", TWO, {}),
    ("a byte order mark before a quote", b'\xef\xbb\xbf"1","a"\n2,b\n', TWO, {}),
    ("two byte order marks", b"\xef\xbb\xbf\xef\xbb\xbf1,a\n2,b\n", TWO, {}),
    ("a byte order mark at a line's beginning, as cat leaves it", b"1,a\n\xef\xbb\xbf2,b\n", TWO, {}),
    ("a byte order mark at a line's beginning before a quote", b'1,a\n\xef\xbb\xbf"2","b"\n', TWO, {}),
    ("a byte order mark in a quoted field", b'1,"a\n\xef\xbb\xbfb"\n', {1: ("1", "a\n\ufeffb")}, {}),
    ("a byte order mark in the middle of a line is text", b"1,\xef\xbb\xbfa\n2,b\n", {
        1: ("1", "\ufeffa"), 2: ("2", "b"),
    }, {}),
    ("UTF-8 of every length", "1,aé€🦆\n2,\u2028\x85\x0b\x0c\n".encode(), {
        1: ("1", "aé€🦆"), 2: ("2", "\u2028\x85\x0b\x0c"),
    }, {}),
    ("invalid UTF-8 in one record", b"1,a\n2,\xff\n3,c\n", {1: ("1", "a"), 3: ("3", "c")}, {
        2: ("invalid_utf8", 2, b"2,\xff"),
    }),
    ("a character that is cut in two by a comma", b"1,a\n\xc3,\xa9\n3,c\n", {1: ("1", "a"), 3: ("3", "c")}, {
        2: ("invalid_utf8", 2, b"\xc3,\xa9"),
    }),
    ("a character that is cut in two by a line end", b"1,\xc3\n\xa9,b\n3,c\n", {3: ("3", "c")}, {
        1: ("invalid_utf8", 1, b"1,\xc3"), 2: ("invalid_utf8", 2, b"\xa9,b"),
    }),
    ("half of a surrogate pair", b"1,\xed\xa0\x80\n2,b\n", {2: ("2", "b")}, {
        1: ("invalid_utf8", 1, b"1,\xed\xa0\x80"),
    }),
    ("more bytes than a character takes", b"1,\xc0\xaf\n2,b\n", {2: ("2", "b")}, {
        1: ("invalid_utf8", 1, b"1,\xc0\xaf"),
    }),
    ("invalid UTF-8 in quotes", b'1,"\xff\n"\n2,b\n', {2: ("2", "b")}, {1: ("invalid_utf8", 1, b'1,"\xff\n"')}),
    ("a NUL in one record", b"1,a\n2,\0\n3,c\n", {1: ("1", "a"), 3: ("3", "c")}, {2: ("nul_character", 2, b"2,\0")}),
    ("a NUL and invalid UTF-8", b"1,\0\xff\n2,b\n", {2: ("2", "b")}, {1: ("nul_character", 1, b"1,\0\xff")}),
    # Quotes.
    ("quoted fields", b'"1","a"\n"2",b\n', TWO, {}),
    ("commas, quotes and line ends in quotes", b'1,"a,""b""\n\r\n\r"\n2,b\n', {
        1: ("1", 'a,"b"\n\r\n\r'), 2: ("2", "b"),
    }, {}),
    ("empty lines in quotes", b'1,"\n\n"\n2,b\n', {1: ("1", "\n\n"), 2: ("2", "b")}, {}),
    ("nothing but a doubled quote", b'1,""""\n2,b\n', {1: ("1", '"'), 2: ("2", "b")}, {}),
    ("a quoted field in front", b'"1\n",a\n2,b\n', {1: ("1\n", "a"), 2: ("2", "b")}, {}),
    ("backslashes", b'1,\\\n2,"\\"\n\\.,\\N\n', {1: ("1", "\\"), 2: ("2", "\\"), 3: ("\\.", "\\N")}, {}),
    ("a backslash and a dot alone", b"1,a\n\\.\n3,c\n", {1: ("1", "a"), 3: ("3", "c")}, {
        2: ("too_few_fields", 2, b"\\."),
    }),
    ("a backslash and a dot alone in quotes", b'1,"\n\\.\n"\n2,b\n', {1: ("1", "\n\\.\n"), 2: ("2", "b")}, {}),
    ("quotes in the middle of a field", b'1,5" pipe\n2,a "b" c"\n', {1: ("1", '5" pipe'), 2: ("2", 'a "b" c"')}, {}),
    ("a quote at the end of a field", b'1,5"\n2",b\n', {1: ("1", '5"'), 2: ('2"', "b")}, {}),
    ("a quote behind white space is no opening one", b'1, "a"\n2,b\n', {1: ("1", ' "a"'), 2: ("2", "b")}, {}),
    ("a quote in the middle before quoted fields", b'5","a"\n2,b\n', {1: ('5"', "a"), 2: ("2", "b")}, {}),
    ("doubled quotes in the middle stay two", b'1,a""b\n2,b\n', {1: ("1", 'a""b'), 2: ("2", "b")}, {}),
    ("text after a closing quote", b'1,"a"b\n2,b\n', {2: ("2", "b")}, {1: ("stray_quote", 1, b'1,"a"b')}),
    ("white space after a closing quote", b'1,"a" \n2,b\n', {2: ("2", "b")}, {1: ("stray_quote", 1, b'1,"a" ')}),
    ("a quote that is not doubled", b'1,"a "b" c"\n2,b\n', {2: ("2", "b")}, {1: ("stray_quote", 1, b'1,"a "b" c"')}),
    ("a quote that is never closed", b'1,"a\n2,b\n3,c\n', {2: ("2", "b"), 3: ("3", "c")}, {
        1: ("unclosed_quote", 1, b'1,"a'),
    }),
    ("a quote that is never closed in the last line", b'1,a\n2,b\n3,"', TWO, {3: ("unclosed_quote", 3, b'3,"')}),
    ("a quote that is never closed before CRLF", b'1,"a\r\n2,b\r\n', {2: ("2", "b")}, {
        1: ("unclosed_quote", 1, b'1,"a'),
    }),
    ("only a quote", b'"', {}, {1: ("unclosed_quote", 1, b'"')}),
    ("two quotes that are never closed", b'1,"a\n2,b\n3,"c\n4,d\n', {2: ("2", "b"), 4: ("4", "d")}, {
        1: ("unclosed_quote", 1, b'1,"a'), 3: ("unclosed_quote", 3, b'3,"c'),
    }),
    ("an unclosed quote before a quoted field", b'1,"a\n2,"b"\n3,c\n', {2: ("2", "b"), 3: ("3", "c")}, {
        1: ("unclosed_quote", 1, b'1,"a'),
    }),
    ("an unclosed quote that a later one closes", b'1,"a\n2,b\n3,c"\n4,d\n', {
        1: ("1", "a\n2,b\n3,c"), 2: ("4", "d"),
    }, {}),
    ("a record over lines of too many fields before a row", b'1,"a\n2,b,",\n4,d\n', {2: ("4", "d")}, {
        1: ("too_many_fields", 1, b'1,"a\n2,b,",'),
    }),
    # Fields.
    ("too few fields", b"1\n2,b\n", {2: ("2", "b")}, {1: ("too_few_fields", 1, b"1")}),
    ("too many fields", b"1,a,\n2,b\n", {2: ("2", "b")}, {1: ("too_many_fields", 1, b"1,a,")}),
    ("empty fields", b'1,\n,a\n"",""\n', {1: ("1", None), 2: (None, "a"), 3: ("", "")}, {}),
    ("lines of nothing but delimiters", b",\n1,a\n,,,\n2,b\n,", TWO, {}),
    ("white space is kept", b" 1 ,\ta\t\n", {1: (" 1 ", "\ta\t")}, {}),
    # Headers.
    ("a header", b"id,job\n1,a\n2,b\n", TWO, {}),
    ("a header in another order", b"job,id\na,1\nb,2\n", TWO, {}),
    ("a header in upper case with spaces and quotes", b' JOB ,"Id"\r\na,1\r\nb,2\r\n', TWO, {}),
    ("a header behind empty lines", b"\n\r\nid,job\n1,a\n2,b\n", TWO, {}),
    ("a header with CR", b"id,job\r1,a\r2,b\r", TWO, {}),
    ("a header with an empty line after it", b"id,job\n\n1,a\n2,b\n", TWO, {}),
    ("a header twice", b"id,job\n1,a\nid,job\n2,b\n", TWO, {}),
    ("a job that is called job", b"1,job\n2,b\n", {1: ("1", "job"), 2: ("2", "b")}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "rows", "rejected"), [pytest.param(*each, id=what) for what, *each in TEXTS])
def test_a_text_becomes_these_rows_and_these_rejected_records(
    landing: Landing, text: bytes, rows: Rows, rejected: Rejected
) -> None:
    landing.bucket.put("jobs.csv", text, age_seconds=20)
    landing.bucket.put("jobs.csv.gz", gzip.compress(text), age_seconds=10)
    for outcome in landing.load(policy=LENIENT):
        assert isinstance(outcome, Loaded)
        assert {
            record: (id_, job) for load_id, record, id_, job in jobs(landing.database) if load_id == outcome.load_id
        } == rows
        assert rejected_records(landing, outcome.load_id) == rejected
        invalid = invalid_of(rows)
        assert invalid_records(landing.database, outcome.load_id) == invalid
        assert outcome.totals == Totals(len(rows) + len(rejected), len(rejected), len(invalid))
    assert len(landing.database.rows("select from raw.loads where status = 'complete'")) == 2


UTF16 = "seems to be UTF-16, not UTF-8: save it as UTF-8, or with a byte order mark"
NAMES = "the columns are id, job"
PACKED = gzip.compress(b"1,a\n2,b\n")

# Each case: description, file, the message after the object's name.
FAILING: list[tuple[str, bytes, str]] = [
    ("UTF-16 LE", "id,job\r\n1,é\r\n".encode("utf-16-le"), UTF16),
    ("UTF-16 BE", "id,job\r\n1,é\r\n".encode("utf-16-be"), UTF16),
    ("UTF-16 that is cut off", "\ufeffid,job\n1,a\n".encode("utf-16-le")[:-1], "is cut off: it is UTF-16 that ends"),
    ("UTF-32", "id,job\n1,a\n".encode("utf-32"), "is UTF-32: save it as UTF-8"),
    ("gzip by another name", PACKED, "is compressed with gzip: its name has to end in .csv.gz"),
    ("a ZIP archive", b"PK\x03\x04\x14\0\0\0\x08\0", "is a ZIP archive or an Excel workbook: unpack it, or name"),
    ("an old workbook", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "is an Excel workbook with a password"),
    ("Parquet", b"PAR1\x15\x04\x15\x10", "is a Parquet file: export it as CSV"),
    ("a header that lacks a column", b"id\n1\n", f"has a header that lacks 'job'; {NAMES}"),
    ("a header with a column twice", b"id,job,id\n1,a,1\n", f"has a header that repeats 'id'; {NAMES}"),
    ("a header with a wrong name", b"id,trade\n1,a\n",
        f"has a header that lacks 'job' and has unknown 'trade'; {NAMES}"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [pytest.param(*each, id=what) for what, *each in FAILING])
def test_a_text_that_is_not_csv_of_this_table_fails_completely_with_a_message(
    landing: Landing, text: bytes, message: str
) -> None:
    landing.bucket.put("jobs.csv", text, age_seconds=20)
    landing.bucket.put("jobs_good.csv", b"1,a\n", age_seconds=10)
    failed, loaded = landing.load(policy=LENIENT)
    assert isinstance(failed, Failed)
    assert isinstance(loaded, Loaded)
    assert failed.status == "failed"
    assert failed.message.startswith(f"s3://{landing.bucket.name}/jobs.csv {message}")
    assert landing.database.rows("select records, loaded, rejected from raw.loads where status = 'failed'") == [
        (0, 0, 0)
    ]
    assert jobs(landing.database) == [(loaded.load_id, 1, "1", "a")]


def test_of_a_file_in_latin_1_each_record_that_is_no_utf8_is_rejected(landing: Landing) -> None:
    landing.bucket.put("jobs.csv", "1,a\n2,café\n3,c\n4,naïve\n5,e\n".encode("latin-1"))
    outcome = landing.load_one()
    assert outcome.totals.rejected == 2
    assert rejected_records(landing, outcome.load_id) == {
        2: ("invalid_utf8", 2, b"2,caf\xe9"),
        4: ("invalid_utf8", 4, b"4,na\xefve"),
    }
    landing.bucket.put("jobs.csv", "1,é\n2,café\n3,naïve\n4,d\n".encode("latin-1"))
    failed = landing.fail_one()
    assert "3 of them as invalid_utf8" in failed.message
    assert failed.message.endswith("Is the file in Windows-1252 or Latin-1? Save it as UTF-8.")


@pytest.mark.parametrize("text", ["é中,b\n1,a\n", "1,職\n" * 3])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_non_latin_utf_16_without_a_mark_does_not_count_either(landing: Landing, text: str, encoding: str) -> None:
    landing.bucket.put("jobs.csv", text.encode(encoding))
    failed = landing.fail_one()
    assert failed.status == "failed"
    assert "UTF-16" in failed.message


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_quotes_and_line_ends_in_quotes_may_lie_where_chunks_meet(landing: Landing, line_end: bytes) -> None:
    """A chunk that began in the middle of a quoted field would turn quotes inside out up to the file's end."""
    quoted = b'"' + b'a,""b""' + line_end * 2 + b'"'
    text = b"".join(b"%d,%b%b" % (number, quoted, line_end) for number in range(1, 3001))
    landing.bucket.put("jobs.csv", text)
    assert landing.load_one().totals.rejected == 0
    rows = csv.reader(io.StringIO(text.decode(), newline=""), strict=True)
    assert jobs(landing.database) == [(1, number, *row) for number, row in enumerate(rows, 1)]
    assert landing.database.rows("select records, lines from raw.load_chunks order by chunk") == [(1000, 3000)] * 3


def test_quotes_that_are_never_closed_spoil_no_other_chunk(landing: Landing) -> None:
    bad = {1, 999, 1000, 1001, 1500, 2002, 3000}
    text = b"".join(b'%d,"a\n' % number if number in bad else b"%d,b\n" % number for number in range(1, 3001))
    landing.bucket.put("jobs.csv", text)
    outcome = landing.load_one()
    assert outcome.totals.rejected == len(bad)
    assert set(rejected_records(landing, outcome.load_id)) == bad
    assert [row[1] for row in jobs(landing.database)] == [each for each in range(1, 3001) if each not in bad]


# Any content of a text ------------------------------------------------------------------------------------------------

PIECES = [
    b'"',
    b'""',
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b"1",
    b"ab",
    b"\\.",
    b" ",
    b"\xc3\xa9",
    b"\xff",
    b"\0",
    BYTE_ORDER_MARK,
]
bytes_of_any_kind = st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join) | st.binary(max_size=100)
# Bytes at random are hardly ever rows: most of these texts are, or would be but for one or two of their fields.
fields = st.sampled_from([b"1", b"ab", b"", b'"a"', b'"a\n""b"', b'a"b', b'"\r\n,"', b" ", b"\xc3\xa9", b"\\."])
line_ends = st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n"])
near_rows = st.tuples(st.lists(fields, min_size=2, max_size=2) | st.lists(fields, max_size=3), line_ends)
near_csv = st.lists(near_rows.map(lambda row: b",".join(row[0]) + row[1]), max_size=12).map(b"".join)


@pytest.fixture(scope="module")
def jobs_session(module_database: Database) -> Iterator[TableSession]:
    """One session for many loads."""
    with TableSession(module_database.conninfo("hiring_loader"), JOBS, 0) as session:
        yield session


names = (f"jobs_{number}.csv" for number in itertools.count())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bytes_of_any_kind | near_csv, st.booleans(), st.integers(1, 4), st.integers(1, 9))
@example(b"1,a\r5,7\r2,b", False, 1, 1)
@example(b'1,"a\n2,b\n3,"c",d\n4,"e\n5,f"\n', True, 2, 3)
@example(b'\xef\xbb\xbf\n"",\n', False, 1, 1)
def test_any_bytes_keep_each_record_once_and_csv_is_read_like_pythons_csv_module(
    module_database: Database,
    jobs_session: TableSession,
    tmp_path: Path,
    content: bytes,
    packed: bool,
    chunk_records: int,
    block_bytes: int,
) -> None:
    path = tmp_path / (next(names) + ".gz" * packed)
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.ingest.loader.split_chunks", partial(split_chunks, chunk_records=chunk_records))
        patch.setattr("orchestration.ingest.reading.BLOCK_BYTES", block_bytes)
        outcome = load_object(jobs_session, None, file_version(path), LENIENT)
    rows = module_database.rows(
        "select _record, coalesce(id, ''), coalesce(job, '') from raw.jobs where _load_id = %s order by 1",
        outcome.load_id,
    )
    ((malformed,),) = module_database.rows(
        "select count(*) from raw.rejected_records where load_id = %s", outcome.load_id
    )
    chunks = module_database.rows(
        "select byte_from, byte_to, records from raw.load_chunks where load_id = %s order by chunk", outcome.load_id
    )
    assert discrepancies(module_database) == []
    if isinstance(outcome, Failed):
        assert outcome.status == "failed"
        assert (rows, malformed, chunks) == ([], 0, [])
        return
    invalid = invalid_of({record: (id_, job) for record, id_, job in rows})
    assert invalid_records(module_database, outcome.load_id) == invalid
    assert outcome.totals == Totals(len(rows) + malformed, malformed, len(invalid))
    assert [0, *(to for _, to, _ in chunks)] == [*(begin for begin, _, _ in chunks), len(content)]
    assert all(records <= chunk_records for *_, records in chunks)
    read = rows_as_python_reads_them(content)
    if read is not None:
        assert rows == [(number, *row) for number, row in enumerate(read, 1)]
        assert malformed == 0


def rows_as_python_reads_them(content: bytes) -> list[list[str]] | None:
    """The rows of a text that Python's csv module accepts, all of two fields; None for any other text.

    None, too, where the text may be in another dialect than that module's own.
    """
    try:
        text = content.removeprefix(BYTE_ORDER_MARK).decode()
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error):
        return None
    is_plain = not any(each in text for each in ("\0", "\ufeff", ";", "\t", "|", "'", "\\", ', "'))
    return rows if is_plain and all(len(row) == 2 and any(row) for row in rows) else None


# Memory ---------------------------------------------------------------------------------------------------------------

MEGABYTE = 1 << 20

# The high-water mark that getrusage gives of a process begins with that of the process which started it.
LOAD_AND_TELL_PEAK = """
import resource, sys
from pathlib import Path
from orchestration.ingest.limits import RejectLimit
from orchestration.ingest.loader import Policy, load_object
from orchestration.ingest.objects import file_version
from contracts import TABLES
from orchestration.ingest.session import TableSession

table = next(each for each in TABLES if each.name == "jobs")
policy = Policy(RejectLimit(share=1, count=10**9), give_up_seconds=0)
with TableSession(sys.argv[1], table, 0) as session:
    outcome = load_object(session, None, file_version(Path(sys.argv[2])), policy)
status = Path("/proc/self/status")
if status.exists():
    peak = int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak, outcome.totals.records, outcome.totals.rejected)
"""


def load_in_a_process(landing: Landing, path: Path) -> tuple[int, int, int]:
    """Load a file in a separate process; return its peak memory in bytes, its records and rejected records."""
    command = [sys.executable, "-c", LOAD_AND_TELL_PEAK, landing.conninfo, str(path)]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    peak, records, rejected = map(int, done.stdout.split())
    return peak, records, rejected


def packed_members(block: bytes, count: int) -> bytes:
    return b"".join([zlib.compress(block, 1, 31)] * count)


def repeated(begin: bytes, block: bytes, count: int, end: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(begin)
            for _ in range(count):
                file.write(block)
            file.write(end)

    return write


BIG = {
    "a quoted field of 100 MB": ("jobs.csv", repeated(b'1,"', b"x" * MEGABYTE, 100, b'"\n2,b\n'), 2, 1),
    "a quoted field of 100 MB in lines": (
        "jobs.csv", repeated(b'1,"\n', (b"x" * 1023 + b"\n") * 1024, 100, b'"\n2,b\n'), 102_403, 102_402,
    ),
    "an unquoted field of 100 MB": ("jobs.csv", repeated(b"1,", b"x" * MEGABYTE, 100, b"\n2,b\n"), 2, 1),
    "100 MB of quotes": ("jobs.csv", repeated(b"1,", b'"' * MEGABYTE, 100, b"\n2,b\n"), 2, 1),
    "100 MB of commas": ("jobs.csv", repeated(b"1,", b"," * MEGABYTE, 100, b"\n2,b\n"), 2, 1),
    "records of 10,000 columns": (
        "jobs.csv", repeated(b"1,a\n", b"x," * 9999 + b"x\n", 2500, b"2,b\n"), 2502, 2500,
    ),
    "records that are just short enough": (
        "jobs.csv", repeated(b"", b"1," + b'""' * (MEGABYTE // 2 - 2) + b"\n", 30, b"2,b\n"), 31, 0,
    ),
    "200,000 records of a byte": ("jobs.csv", repeated(b"1,a\n", b"1\n" * 2000, 100, b"2,b\n"), 200_002, 200_000),
    "20 MB of newlines out of gzip": (
        "jobs.csv.gz", lambda path: path.write_bytes(packed_members(b"\n" * 10 * MEGABYTE, 2)), 0, 0,
    ),
    "300 MB of zeros out of gzip": (
        "jobs.csv.gz", lambda path: path.write_bytes(packed_members(b"\0" * 10 * MEGABYTE, 30)), 1, 1,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def small_peaks() -> list[int]:
    """The peak memory of a process for a small file, measured once."""
    return []


@pytest.mark.parametrize(
    ("name", "write", "records", "rejected"), [pytest.param(*each, id=what) for what, each in BIG.items()]
)
def test_no_file_needs_much_more_memory_than_a_small_one(
    landing: Landing,
    tmp_path: Path,
    small_peaks: list[int],
    name: str,
    write: Callable[[Path], None],
    records: int,
    rejected: int,
) -> None:
    """A process killed for its memory takes other loads with it, again at each attempt."""
    if not small_peaks:
        small = tmp_path / "jobs_small.csv"
        small.write_bytes(b"1,a\n")
        small_peaks.append(load_in_a_process(landing, small)[0])
    path = tmp_path / name
    write(path)
    peak, *counts = load_in_a_process(landing, path)
    path.unlink()
    assert counts == [records, rejected]
    assert peak - small_peaks[0] < 128 * MEGABYTE, f"{(peak - small_peaks[0]) / MEGABYTE:.0f} MB"
