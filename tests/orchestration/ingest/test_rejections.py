"""Storing rejected records, and which of them the rows of a later file correct."""

import gzip
import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestration.ingest.beginning import read_beginning
from orchestration.ingest.dialect import Dialect
from orchestration.ingest.encoding import Encoding
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.records import split_chunks
from orchestration.ingest.rejected import RejectedRecord, write_csv
from orchestration.ingest.rejections import examples_by_reason, readable_fields
from orchestration.ingest.session import DatabaseUnavailable, TableSession
from tests.orchestration.ingest.conftest import JOBS, LENIENT, Landing, discrepancies, jobs
from tests.orchestration.ingest.test_loader import (
    chunk_by_chunk,  # noqa: F401 - a fixture
    kill_session_at_chunk,
    kill_session_at_completion,
    stop_killing,
)

KEY_FIRST = FileFormat(("id", "name", "job"))
KEY_LAST = FileFormat(("name", "job", "id"))


@pytest.mark.parametrize(
    ("file_format", "raw", "fields"),
    [
        pytest.param(KEY_FIRST, b"7,Ada,\xff", {"id": "7", "name": "Ada", "job": "\ufffd"}, id="no UTF-8"),
        pytest.param(KEY_LAST, b"Ada,\xff,7", {"id": "7", "name": "Ada", "job": "\ufffd"}, id="no UTF-8, key last"),
        pytest.param(KEY_FIRST, b"7,A\0da,x", {"id": "7", "name": "A\ufffdda", "job": "x"}, id="NUL"),
        pytest.param(
            KEY_FIRST, b'7,"Ruiz, ""Ana""",x\0', {"id": "7", "name": 'Ruiz, "Ana"', "job": "x\ufffd"}, id="quotes"
        ),
        pytest.param(KEY_FIRST, b"7,Ada", {"id": "7", "name": "Ada"}, id="too few"),
        pytest.param(KEY_LAST, b"Ada,7", {"name": "Ada", "job": "7"}, id="too few, key last"),
        pytest.param(KEY_FIRST, b"7,Ruiz, Ana,x", {"id": "7", "name": "Ruiz", "job": " Ana"}, id="too many"),
        pytest.param(KEY_LAST, b"Ruiz, Ana,x,7", {"name": "Ruiz", "job": " Ana"}, id="too many, key last"),
        pytest.param(KEY_FIRST, b'7,"Ada,x', {"id": "7", "name": "Ada", "job": "x"}, id="an open quote"),
        pytest.param(KEY_LAST, b'Ada,"x,7', {"name": "Ada", "job": "x"}, id="an open quote, key last"),
        pytest.param(KEY_LAST, b'"Ruiz, "Ana"",7', {"name": "Ruiz", "job": "Ana"}, id="stray quotes, of as many parts"),
        pytest.param(KEY_FIRST, b'"7,8"x,Ada', {"name": '8"x', "job": "Ada"}, id="stray quotes in the key"),
        pytest.param(KEY_FIRST, b"", {"id": ""}, id="nothing"),
        pytest.param(
            FileFormat(("id", None, "job")), b"7,secret,\xff", {"id": "7", "job": "\ufffd"}, id="a column left out"
        ),
        pytest.param(
            FileFormat(("id", "job"), Dialect(";", "'", has_escapes=True)),
            rb"7;'O\'Hara'" + b";x",
            {"id": "7", "job": "O'Hara"},
            id="another dialect",
        ),
        pytest.param(
            FileFormat(("id", "job"), encoding=Encoding.WINDOWS_1252),
            b"7,caf\xe9,x",
            {"id": "7", "job": "café"},
            id="1252",
        ),
    ],
)
def test_readable_fields_of_a_malformed_record_are_stored_but_the_key_only_if_it_is_certain(
    file_format: FileFormat, raw: bytes, fields: dict[str, str]
) -> None:
    """With another record's key, it would be searched for, and corrected, in the wrong place."""
    assert readable_fields("id", file_format, raw) == fields


def test_of_a_record_of_very_many_fields_the_first_ones_are_read() -> None:
    """Ten thousand fields of each of some thousand records took longer than loading the file."""
    raw = b"7," + b"x," * 100_000
    read: list[int] = []

    class Watching(Dialect):
        def value(self, field: bytes) -> bytes:
            read.append(1)
            return super().value(field)

    assert readable_fields("id", FileFormat(("id", "job"), Watching()), raw) == {"id": "7", "job": "x"}
    assert len(read) <= 3


def test_a_malformed_record_of_any_bytes_is_kept_in_the_database(landing: Landing) -> None:
    """One whose fields no jsonb holds would fail its file."""
    lines = [bytes([octet]) * 3 + b",x,y" for octet in range(256) if octet not in b"\r\n"]
    text = b"id,job\n" + b"1,a\n" * 100 + b"\n".join(lines) + b"\n1,\\u0000,\n2,\xed\xa0\x80\n"
    landing.bucket.put("jobs.csv", text)
    totals = landing.load_one(policy=LENIENT).totals
    kept = landing.database.rows("select raw, delivered from raw.rejected_records order by record")
    assert len(kept) == totals.malformed > 200
    assert all(delivered["id"] for raw, delivered in kept if raw[:1].isalnum())


def test_examples_of_an_invalid_record_show_the_value_and_the_most_frequent_reason_first(landing: Landing) -> None:
    landing.bucket.put("jobs.csv", b"id,job\n0,a\n1,b\nx,\n-1,d\n2\n")
    loaded = landing.load_one(policy=LENIENT)
    with TableSession(landing.conninfo, JOBS, 0) as session:
        found = examples_by_reason(session.connection, JOBS, loaded.load_id, limit=1)
    assert [(count, [str(each) for each in examples]) for count, examples in found] == [
        (2, ["record 1 in line 2, has id '0'"]),
        (1, ["record 3 in line 4, has id 'x'"]),
        (1, ["record 3 in line 4, has no job"]),
        (1, ["record 5 in line 6, has 1 field instead of 2"]),
    ]


# Corrections ----------------------------------------------------------------------------------------------------------

CORRECTIONS = """
    select corrected_load_id, corrected_record, load_id, record, note from raw.corrections order by load_id, record
"""


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("_load_id,_record,id,job\n3,17,1,a\n3,18,2,b\n", id="in front"),
        pytest.param("id,_record,job,_load_id\n1,17,a,3\n2,18,b,3\n", id="apart"),
        pytest.param("id,job,reason,_load_id,message,_record\n1,a,x,3,y,17\n2,b,x,3,y,18\n", id="among others"),
        pytest.param("ID;Title;_load_id;_record;;\n1;a;3;17;;\n2;b;3;18;;\n", id="of a spreadsheet"),
        pytest.param('"_load_id"\t"_record"\t"id"\t"job"\n"3"\t"17"\t"1"\t"a"\n"3"\t"18"\t"2"\t"b"\n', id="quoted"),
        pytest.param("Corrections\n\n_load_id|_record|id|job\n3|17|1|a\n\n3|18|2|b\n", id="below a title"),
        pytest.param("\ufeff_load_id,_record,id,job\n3,17,1,a\n_load_id,_record,id,job\n3,18,2,b\n", id="put together"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_file_that_identifies_the_records_it_corrects_records_the_corrections(
    landing: Landing, text: str, encoding: str
) -> None:
    landing.bucket.put(
        "jobs.csv", text.removeprefix("\ufeff").encode("utf-16") if encoding == "utf-16" else text.encode()
    )
    landing.load_one()
    assert [row[1:] for row in jobs(landing.database)] == [(1, "1", "a"), (2, "2", "b")]
    assert landing.database.rows(CORRECTIONS) == [(3, 17, 1, 1, None), (3, 18, 1, 2, None)]


@pytest.mark.parametrize(
    "header",
    ["id,job", "id,job,_load_id", "id,job,_record", "id,job,load_id,record", "id,job,_load_id,_record_"],
)
def test_a_file_without_both_columns_corrects_nothing(landing: Landing, header: str) -> None:
    landing.bucket.put("jobs.csv", f"{header}\n1,a{',3' * (header.count(',') - 1)}\n".encode())
    landing.load_one()
    assert landing.database.rows(CORRECTIONS) == []


def test_a_file_without_a_header_corrects_nothing(landing: Landing) -> None:
    landing.bucket.put("jobs.csv", b"1,a\n2,b\n")
    landing.load_one()
    assert landing.database.rows(CORRECTIONS) == []


@pytest.mark.parametrize("value", ["", "x", "-3", "3.0", " 3", "3 ", "\u0663", "1" * 19, "0x3", "+3", "1_0"])
def test_an_invalid_record_number_corrects_nothing_and_its_row_is_loaded(landing: Landing, value: str) -> None:
    text = f"id,job,_load_id,_record\n1,a,{value},17\n2,b,3,{value}\n3,c,3,18\n"
    landing.bucket.put("jobs.csv", text.encode())
    assert landing.load_one().totals.rejected == 0
    assert landing.database.rows(CORRECTIONS) == [(3, 18, 1, 3, None)]


def test_a_record_that_is_malformed_again_corrects_nothing(landing: Landing) -> None:
    """An invalid one is a row: whether it counts is for the models to say."""
    landing.bucket.put("jobs.csv", b"_load_id,_record,id,job\n3,17,1\n3,18,2,\n3,19,3,c\n")
    landing.load_one(policy=LENIENT)
    assert landing.database.rows(CORRECTIONS) == [(3, 18, 1, 2, None), (3, 19, 1, 3, None)]


@given(st.lists(st.lists(st.sampled_from([*'",;\r\n\0\\\ufeff a1', "id,job"])).map("".join), min_size=1, max_size=5))
@example(["1,Mac\rOS", "2,no\0thing"])
def test_each_record_of_an_export_is_identified_whatever_was_delivered(delivered: list[str]) -> None:
    """A record that has a NUL character, or a carriage return, could not be corrected by the exported file."""
    records = [
        RejectedRecord(
            *("jobs", "jobs.csv", 3, number, 1, ["too_many_fields"], "has 3 fields"),
            *({"id": str(number), "job": f"Clerk {text}".replace("\0", "")}, "open", datetime.now(UTC), text.encode()),
        )
        for number, text in enumerate(delivered, 1)
    ]
    export = io.StringIO(newline="")
    write_csv(records, JOBS, export)
    beginning = read_beginning([export.getvalue().encode()], JOBS)
    chunks = list(split_chunks(beginning.blocks, beginning.file_format, body=beginning.body))
    corrections = [correction.corrected_record for chunk in chunks for correction in chunk.corrections]
    assert corrections == list(range(1, len(delivered) + 1))


def test_an_export_of_a_table_with_files_in_another_encoding_is_read_as_the_utf_8_that_it_is() -> None:
    """Otherwise Café would become CafÃ©, which no rule rejects."""
    table = replace(JOBS, encodings=(("", "windows-1252"),))
    record = RejectedRecord(
        *("jobs", "jobs.csv", 3, 1, 1, ["id:missing"], None, {"job": "Café"}, "open", datetime.now(UTC), None)
    )
    export = io.StringIO(newline="")
    write_csv([record], table, export)
    beginning = read_beginning([export.getvalue().encode()], table, Encoding.WINDOWS_1252)
    assert (beginning.file_format.encoding, beginning.file_format.provenance) == (Encoding.UTF_8, (5, 6))
    assert "Café".encode() in b"".join(beginning.blocks)


EXPORT = b"_load_id,_record,id,job\n" + b"".join(
    b"3,%d,%d,job\n" % (1000 + number, number) for number in range(1, 2501)
)


@pytest.mark.usefixtures("chunk_by_chunk")
@pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_corrections_come_with_their_rows_once_however_often_a_load_breaks(
    landing: Landing, key: str, chunk: int
) -> None:
    """Apart from them, some would be missing after a crash, or be there of rows that are not."""
    database = landing.database
    landing.bucket.put(key, gzip.compress(EXPORT) if key.endswith(".gz") else EXPORT)
    kill_session_at_chunk(database, chunk)
    with pytest.raises(DatabaseUnavailable):
        landing.load()
    stop_killing(database)
    assert database.rows("select count(*) from raw.corrections") == [(1000 * chunk,)]
    kill_session_at_completion(database)
    with pytest.raises(DatabaseUnavailable):
        landing.load()
    stop_killing(database)
    landing.load_one()
    assert database.rows("select record, corrected_record, corrected_load_id from raw.corrections order by 1") == [
        (number, 1000 + number, 3) for number in range(1, 2501)
    ]


@pytest.mark.usefixtures("chunk_by_chunk")
@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_invalid_records_come_with_their_rows_once_however_often_a_load_breaks(landing: Landing, chunk: int) -> None:
    database = landing.database
    lines = [b"%d,%b\n" % (number, b"" if number % 3 == 0 else b"job") for number in range(1, 2501)]
    landing.bucket.put("jobs.csv", b"id,job\n" + b"".join(lines))
    kill_session_at_chunk(database, chunk)
    with pytest.raises(DatabaseUnavailable):
        landing.load()
    stop_killing(database)
    assert discrepancies(database) == []
    loaded = landing.load_one()
    assert loaded.totals.invalid == 833
    assert database.rows("select record, line, reasons from raw.invalid_records order by 1") == [
        (number, number + 1, ["job:missing"]) for number in range(3, 2501, 3)
    ]
