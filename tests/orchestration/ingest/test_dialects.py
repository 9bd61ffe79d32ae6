"""Records in any dialect, under any header, are loaded unchanged, compared with the records themselves."""

import csv
import gzip
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import Table
from orchestration.ingest.loader import Loaded, chunks_of, load_object
from orchestration.ingest.objects import file_version
from orchestration.ingest.records import START, split_chunks
from orchestration.ingest.session import DatabaseUnavailable, TableSession
from tests.conftest import Database
from tests.file_formats import FILE_FORMATS, OTHER_NAMES, OWN_NAMES, SHORT_NAMES, Style, written
from tests.orchestration.ingest.conftest import (
    HIRED_EMPLOYEES,
    LENIENT,
    Landing,
    broken_rules,
    discrepancies,
    invalid_records,
    jobs,
)
from tests.orchestration.ingest.test_loader import (
    chunk_by_chunk,  # noqa: F401 - a fixture
    kill_session_at_chunk,
    stop_killing,
    what_a_load_left,
)

TABLE = "hired_employees"
LINE_END = re.compile(r"\r\n?|\n")
MARKS = {"utf-8": "", "utf-8-sig": "\ufeff", "utf-16-le": "\ufeff", "utf-16-be": "\ufeff", "windows-1252": ""}

Row = tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """An item of a file: a record or another line; `reason` is why a record has to be rejected."""

    fields: Row = ()
    is_record: bool = True
    reason: str | None = None


@dataclass(frozen=True)
class File:
    """A file, and what has to become of it."""

    encoding: str
    content: bytes
    rows: dict[int, Row]
    rejected: dict[int, tuple[str, int, int]]
    repeated_headers: int


names = st.text(st.sampled_from(list("abé ,;|\t'\"\\€\r\n0")), max_size=8)
numbers = st.sampled_from(["", "1", "12", " 7"])
hires = st.tuples(
    st.integers(1, 10**9).map(str), names, st.sampled_from(["2021-07-27T16:02:08Z", "2021-02-30"]), numbers, numbers
)


@dataclass(frozen=True)
class Layout:
    """The order of columns, other columns between them, and the number of empty ones after them."""

    header: Sequence[str] | None
    order: Sequence[int] = range(5)
    left_out: Sequence[tuple[int, str]] = ()
    surplus: int = 0

    def arranged(self, values: Sequence[str], others: Sequence[str]) -> Row:
        own = [values[index] for index in self.order]
        for (at, _), other in zip(self.left_out, others, strict=True):
            own.insert(at, other)
        return (*own, *[""] * self.surplus)

    def names(self) -> Row:
        return self.arranged(self.header or (), [f"other {index}" for index in range(len(self.left_out))])

    def original(self, fields: Row) -> Row:
        own = list(fields)
        for at, _ in reversed(self.left_out):
            del own[at]
        return tuple(own[self.order.index(column)] for column in range(5))


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Without a header, the columns are in the table's order without others."""
    header = draw(st.sampled_from([None, *(each[TABLE] for each in (OWN_NAMES, OTHER_NAMES, SHORT_NAMES))]))
    if header is None:
        return Layout(None)
    left_out = draw(st.lists(st.tuples(st.integers(0, 5), names), max_size=2))
    return Layout(header, draw(st.permutations(range(5))), left_out, draw(st.integers(0, 2)))


@st.composite
def styles(draw: st.DrawFn) -> Style:
    style = Style(
        delimiter=draw(st.sampled_from([",", ";", "\t", "|"])),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        encoding=draw(st.sampled_from(list(MARKS))),
    )
    quotes = draw(st.sampled_from(["double", "double", "single", "escaped"]))
    if quotes == "single":
        return replace(style, quote="'", quoting=csv.QUOTE_ALL)
    return replace(style, escape="\\", quoting=csv.QUOTE_ALL) if quotes == "escaped" else style


def items_after(draw: st.DrawFn, layout: Layout) -> list[Item]:
    """Lines that may be between two records."""
    width = 5 + len(layout.left_out)
    choices = [
        [],
        [],
        [Item((), is_record=False)],
        [Item(("",) * (width + layout.surplus), is_record=False)],
        [Item(("8", "9"), reason="too_few_fields")],
        [Item(("1",) * (width + 3), reason="too_many_fields")],
        *([[Item(layout.names(), is_record=False)]] if layout.header else []),
    ]
    return draw(st.sampled_from(choices))


@st.composite
def files(draw: st.DrawFn) -> File:
    """Draw records, and a way to write them."""
    style, layout = draw(styles()), draw(layouts())
    records = draw(st.lists(hires, max_size=8))
    if style.escape:
        # What proves escapes is a quote.
        records = [(id_, f'{name}"', *rest) for id_, name, *rest in records]
    items = []
    for row in records:
        items += [Item(layout.arranged(row, [value for _, value in layout.left_out])), *items_after(draw, layout)]
    above = f"sep={style.delimiter}\r\n" * draw(st.booleans())
    if layout.header:
        titles = st.lists(st.sampled_from(["Hires\r\n", "\r\n", "Made on 3/1/2022\r\n", "\n"]), max_size=5)
        above += "".join(draw(titles)) + text_of(layout.names(), style)
    return as_file(MARKS[style.encoding] + above, items, layout, style)


def text_of(fields: Row, style: Style) -> str:
    """One record as text."""
    if not any(fields):
        return style.delimiter * max(len(fields) - 1, 0) + "\r\n"
    return written([fields], replace(style, encoding="utf-8")).decode()


def as_file(text: str, items: Sequence[Item], layout: Layout, style: Style) -> File:
    """Return a file with some lines above its items."""
    encoding = style.encoding.removesuffix("-sig")
    rows: dict[int, Row] = {}
    rejected: dict[int, tuple[str, int, int]] = {}
    repeated = 0
    for item in items:
        record = len(rows) + len(rejected) + 1
        if item.reason:
            rejected[record] = (item.reason, len(LINE_END.findall(text)) + 1, len(text.encode(encoding)))
        elif item.is_record:
            rows[record] = layout.original(item.fields)
        repeated += not item.is_record and any(item.fields)
        text += text_of(item.fields, style)
    return File(encoding, text.encode(encoding), rows, rejected, repeated)


numbered = itertools.count()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(files(), st.integers(1, 4), st.integers(1, 50))
def test_records_in_any_file_format_are_the_same_records(
    module_database: Database, tmp_path: Path, file: File, chunk_records: int, block_bytes: int
) -> None:
    """A value in a wrong column, or a record lost or shifted by a header, would not be noticed."""
    path = tmp_path / f"hired_employees_{next(numbered)}.csv"
    path.write_bytes(file.content)
    encodings = (("", file.encoding),) if file.encoding == "windows-1252" else ()
    table = replace(HIRED_EMPLOYEES, encodings=encodings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestration.ingest.loader.split_chunks", partial(split_chunks, chunk_records=chunk_records))
        patch.setattr("orchestration.ingest.reading.BLOCK_BYTES", block_bytes)
        with TableSession(module_database.conninfo("hiring_loader"), table, 0) as session:
            outcome = load_object(session, None, file_version(path), LENIENT)
        assert isinstance(outcome, Loaded), outcome
        check_resuming(table, path)
    loaded = module_database.rows(
        """
        select _record, coalesce(id, ''), coalesce(name, ''), coalesce(datetime, ''), coalesce(department_id, ''),
            coalesce(job_id, '')
        from raw.hired_employees
        where _load_id = %s
        order by 1
        """,
        outcome.load_id,
    )
    assert {record: row for record, *row in loaded} == {record: list(row) for record, row in file.rows.items()}
    assert invalid_records(module_database, outcome.load_id) == {
        record: broken
        for record, row in file.rows.items()
        if (broken := broken_rules(table, dict(zip(table.column_names, row, strict=True))))
    }
    assert {
        record: tuple(found)
        for record, *found in module_database.rows(
            "select record, reason, line, byte_from from raw.rejected_records where load_id = %s", outcome.load_id
        )
    } == file.rejected
    assert module_database.rows("select repeated_headers from raw.loads where load_id = %s", outcome.load_id) == [
        (file.repeated_headers,)
    ]
    assert discrepancies(module_database) == []


def check_resuming(table: Table, path: Path) -> None:
    """Resumed at each chunk, the rest is the same as in one go."""
    item = file_version(path)
    whole = list(chunks_of(None, table, item))
    for number, (file_format, chunk) in enumerate(whole):
        if chunk.begin == START:
            continue
        rest = list(chunks_of(None, table, item, file_format, chunk.begin))
        assert [
            (each.begin, each.end, list(each.rows), list(each.numbers), list(each.rejections)) for _, each in rest
        ] == [
            (each.begin, each.end, list(each.rows), list(each.numbers), list(each.rejections))
            for _, each in whole[number:]
        ]


RECORDS = [
    ("1", "Ana, Ruiz", "2021-02-01T09:00:00Z", "2", "1"),
    ("2", 'Bo "B" Ek', "2021-07-27T16:02:08Z", "1", ""),
    ("3", "Zoë Łuk", "2021-12-31T23:59:59Z", "", "3"),
]


@pytest.mark.parametrize("file_format", FILE_FORMATS)
def test_every_file_format_loads_the_same_records(landing: Landing, file_format: str) -> None:
    landing.bucket.put("hired_employees.csv", FILE_FORMATS[file_format](TABLE, RECORDS))
    totals = landing.load_one(HIRED_EMPLOYEES, LENIENT).totals
    assert (totals.malformed, totals.invalid) == (0, 2)
    assert invalid_records(landing.database) == {2: ["job_id:missing"], 3: ["department_id:missing"]}
    rows = landing.database.rows("""
        select coalesce(id, ''), coalesce(name, ''), coalesce(datetime, ''), coalesce(department_id, ''),
            coalesce(job_id, '')
        from raw.hired_employees order by _record
    """)
    as_written = [tuple(value.removesuffix(".0") for value in row) for row in rows]
    assert as_written == RECORDS


def test_what_was_found_is_in_the_ledger(landing: Landing) -> None:
    text = "\ufeffJobs\r\n\r\nPay;Title;ID;\r\n1;a;1;\r\nPAY;title;id;\r\n2;b;2;\r\n"
    landing.bucket.put("jobs.csv", text.encode("utf-16-le"))
    landing.load_one()
    assert [row[2:] for row in jobs(landing.database)] == [("1", "a"), ("2", "b")]
    (load,) = landing.database.dicts("select columns, dialect, left_out_columns, repeated_headers from raw.loads")
    assert load == {
        "columns": ["job", "id"],
        "dialect": {
            "fields": [None, "job", "id"], "encoding": "utf-16-le", "has_surplus": True, "header_line": 3,
            "delimiter": ";", "quote": '"', "has_escapes": False, "skips_spaces": False,
        },
        "left_out_columns": ["Pay"],
        "repeated_headers": 1,
    }  # fmt: skip


def test_a_header_of_other_columns_further_down_fails_the_file(landing: Landing) -> None:
    """The records below it would be loaded into the columns of those above it."""
    first = b"".join(b"%d,Ana,2021-02-01,2,1\n" % number for number in range(1, 1501))
    head = b"id,name,datetime,department_id,job_id\n"
    landing.bucket.put("hired_employees.csv", head + first + b"id,name,datetime,job_id,department_id\n" + first)
    failed = landing.fail_one(HIRED_EMPLOYEES)
    assert failed.status == "failed"
    assert "has another header in line 1502: id, name, datetime, job_id, department_id;" in failed.message


def test_files_put_together_are_one_and_their_headers_are_counted(landing: Landing) -> None:
    part = b"\xef\xbb\xbf" + b'"ID";"Title"\r\n' + b"".join(b'%d;"job; %d"\r\n' % (n, n) for n in range(1, 1201))
    landing.bucket.put("jobs.csv", part * 3)
    assert landing.load_one().totals.records == 3600
    assert landing.database.rows("select repeated_headers from raw.loads") == [(2,)]
    assert landing.database.rows("select count(*), count(distinct id), min(job) from raw.jobs") == [
        (3600, 1200, "job; 1")
    ]


@pytest.mark.usefixtures("chunk_by_chunk")
@pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_a_load_that_is_killed_resumes_in_the_dialect_that_only_the_beginning_shows(
    landing: Landing, key: str, chunk: int
) -> None:
    """Read as plain text from the middle on, every record would be rejected, or its fields swapped."""
    names = "Pay;Title;ID;;\r\n"
    lines = "".join(
        names if number % 1100 == 0 else "bad\r\n" if number % 700 == 0 else f'9;"jöb; 🦆\r\n{number}";{number};;\r\n'
        for number in range(1, 2501)
    )
    text = ("\ufeffJobs\r\n\r\n" + names + lines).encode("utf-16-le")
    landing.bucket.put(key, gzip.compress(text) if key.endswith(".gz") else text)
    landing.load_one()

    def left() -> list[object]:
        details = landing.database.rows("select dialect, left_out_columns, repeated_headers from raw.loads")
        return [*what_a_load_left(landing.database), details]

    undisturbed = left()
    assert undisturbed[-1][0][2] == 2  # type: ignore[index]
    landing.database.execute("truncate raw.loads, raw.jobs cascade")
    kill_session_at_chunk(landing.database, chunk)
    with pytest.raises(DatabaseUnavailable):
        landing.load()
    stop_killing(landing.database)
    landing.load_one()
    assert left() == undisturbed


def test_windows_1252_loads_where_the_contract_declares_it(landing: Landing, tmp_path: Path) -> None:
    path = tmp_path / "acme" / "hired_employees.csv"
    path.parent.mkdir()
    text = 'id,name,datetime,department_id,job_id\n1,"Zoë, €",2021-01-01,1,2\n2,\x81,2021-01-01,1,2\n'
    path.write_bytes(text.encode("latin-1", "replace").replace(b"?", b"\x80"))
    table = replace(HIRED_EMPLOYEES, encodings=(("acme/", "windows-1252"),))
    with TableSession(landing.conninfo, table, 0) as session:
        outcome = load_object(session, None, file_version(path), LENIENT)
    assert isinstance(outcome, Loaded)
    assert landing.database.rows("select name from raw.hired_employees") == [("Zoë, €",)]
    assert landing.database.rows("select record, reason, message from raw.rejected_records") == [
        (2, "invalid_encoding", "has characters that WINDOWS-1252 does not have")
    ]
