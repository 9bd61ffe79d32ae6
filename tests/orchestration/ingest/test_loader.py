"""Loads objects into raw tables on real servers: every record once, for any content and any interruption."""

import csv
import gzip
import io
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pytest
from botocore.config import Config

from orchestration.database import Connection, LockTimeout
from orchestration.ingest import loader
from orchestration.ingest.candidates import list_pending
from orchestration.ingest.ledger import Totals
from orchestration.ingest.loader import Failed, Loaded, Policy, Progress, load_object, load_pending
from orchestration.ingest.objects import file_version, list_objects
from orchestration.ingest.reading import BLOCK_BYTES
from orchestration.ingest.records import MAX_BYTES, RAW_BYTES_KEPT
from orchestration.ingest.session import DatabaseUnavailable, TableSession
from tests.conftest import Bucket, Database, free_port
from tests.orchestration.ingest.conftest import (
    AT_ONCE,
    DEPARTMENTS,
    HIRED_EMPLOYEES,
    JOBS,
    LENIENT,
    Landing,
    Rows,
    discrepancies,
    invalid_records,
    jobs,
    statuses,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

JOBS_TEXT = b"".join(b"%d,job %d\n" % (number, number) for number in range(1, 2501))
PATIENT = Policy(give_up_seconds=20)


@pytest.fixture
def chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every chunk be a transaction, so that a load can break between any two."""
    monkeypatch.setattr("orchestration.ingest.loader.CHUNKS_PER_TRANSACTION", 1)


def numbered(load_id: int, text: bytes) -> Rows:
    rows = csv.reader(io.StringIO(text.decode(), newline=""))
    return [(load_id, number, row[0], row[1]) for number, row in enumerate(rows, 1)]


class TestWhatAFileHolds:
    def test_its_records_are_rows_of_untouched_text(self, landing: Landing) -> None:
        text = ' 007 ,"Ada ""A."" L,\n Countess"\n1.0,Ünïcødé 🦆\nnull,NULL\n"",\\N\n\\.,\t\n'
        landing.bucket.put("jobs.csv", text.encode())
        assert landing.load_one(policy=LENIENT).totals.records == 5
        assert jobs(landing.database) == [
            (1, 1, " 007 ", 'Ada "A." L,\n Countess'),
            (1, 2, "1.0", "Ünïcødé 🦆"),
            (1, 3, "null", "NULL"),
            (1, 4, "", "\\N"),
            (1, 5, "\\.", "\t"),
        ]
        assert invalid_records(landing.database) == {
            3: ["id:missing"], 4: ["id:missing"], 5: ["id:not_an_integer", "job:missing"]
        }  # fmt: skip

    def test_a_field_without_anything_in_it_is_null(self, landing: Landing) -> None:
        landing.bucket.put("hired_employees.csv", b'1,,2021-01-01T00:00:00Z,,\n"",,,,\n')
        landing.load_one(HIRED_EMPLOYEES, LENIENT)
        assert landing.database.rows("select * from raw.hired_employees order by _record") == [
            (1, 1, "1", None, "2021-01-01T00:00:00Z", None, None),
            (1, 2, "", None, None, None, None),
        ]

    def test_a_header_in_another_order_puts_values_into_their_columns(self, landing: Landing) -> None:
        text = b"\xef\xbb\xbfJob_ID,name,department_id,ID,datetime\r\n5,Ada,4,1,2021-01-01\r\n"
        landing.bucket.put("hired_employees.csv", text)
        assert landing.load_one(HIRED_EMPLOYEES).totals.records == 1
        (row,) = landing.database.dicts("select * from raw.hired_employees")
        assert row == {
            "_load_id": 1, "_record": 1,
            "id": "1", "name": "Ada", "datetime": "2021-01-01", "department_id": "4", "job_id": "5",
        }  # fmt: skip
        assert landing.database.rows("select columns from raw.loads") == [
            (["job_id", "name", "department_id", "id", "datetime"],)
        ]

    @pytest.mark.parametrize("text", [b"", b"\n\r\n\n", b"\r", b"id,job\n", b"\xef\xbb\xbfJOB,ID", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
    def test_a_file_without_records_is_a_complete_load_of_none(self, landing: Landing, key: str, text: bytes) -> None:
        landing.bucket.put(key, gzip.compress(text) if key.endswith(".gz") else text)
        assert landing.load_one().totals.records == 0
        assert jobs(landing.database) == []
        assert landing.load() == []

    def test_a_packed_file_loads_as_the_plain_one(self, landing: Landing) -> None:
        text = b"job,id\r\n" + b"".join(b'"job\n%d",%d\r\n' % (n, n) for n in range(2100)) + b"too few\r\n"
        landing.bucket.put("jobs.csv", text, age_seconds=20)
        landing.bucket.put("jobs.csv.gz", gzip.compress(text[:999]) + gzip.compress(text[999:]), age_seconds=10)
        plain, packed = landing.load()
        assert isinstance(plain, Loaded)
        assert isinstance(packed, Loaded)
        for table, columns in [
            ("jobs", "_record, id, job"),
            ("load_chunks", "chunk, first_record, first_line, records, rejected, lines, byte_from, byte_to"),
            ("rejected_records", "record, line, reason, byte_from, raw, raw_bytes"),
            ("loads", "columns, records, loaded, rejected"),
        ]:
            own = "_load_id" if table == "jobs" else "load_id"
            of_plain, of_packed = (
                landing.database.rows(f"select {columns} from raw.{table} where {own} = %s order by 1", each.load_id)
                for each in (plain, packed)
            )
            assert of_plain == of_packed != []

    def test_every_thousand_records_are_a_chunk_and_the_load_has_their_totals(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv", JOBS_TEXT)
        outcome = landing.load_one()
        assert (outcome.totals.records, outcome.totals.rejected, outcome.item.key) == (2500, 0, "jobs.csv")
        assert jobs(landing.database) == numbered(outcome.load_id, JOBS_TEXT)
        thousand, two_thousand = JOBS_TEXT.index(b"1001,"), JOBS_TEXT.index(b"2001,")
        assert landing.database.rows("""
            select chunk, first_record, first_line, records, rejected, lines, byte_from, byte_to
            from raw.load_chunks
            order by chunk
        """) == [
            (0, 1, 1, 1000, 0, 1000, 0, thousand),
            (1, 1001, 1001, 1000, 0, 1000, thousand, two_thousand),
            (2, 2001, 2001, 500, 0, 500, two_thousand, len(JOBS_TEXT)),
        ]
        (entry,) = landing.database.dicts("select * from raw.loads")
        assert {name: entry[name] for name in ("table_name", "source", "bucket", "key", "bytes", "status")} == {
            "table_name": "jobs", "source": "object", "bucket": landing.bucket.name,
            "key": "jobs.csv", "bytes": len(JOBS_TEXT), "status": "complete",
        }  # fmt: skip
        assert (entry["records"], entry["loaded"], entry["rejected"], entry["error"]) == (2500, 2500, 0, None)
        assert entry["completed_at"] >= entry["started_at"]

    def test_a_file_of_this_machine_loads_without_a_bucket(self, landing: Landing) -> None:
        path = landing.bucket.put("jobs.csv", JOBS_TEXT)
        with TableSession(landing.conninfo, JOBS, 0) as session:
            outcome = load_object(session, None, file_version(path), AT_ONCE)
            assert isinstance(outcome, Loaded)
            again = load_object(session, None, file_version(path), AT_ONCE)
            assert isinstance(again, Loaded)
        assert (again.load_id, again.totals.records) == (outcome.load_id, 2500)
        assert jobs(landing.database) == numbered(outcome.load_id, JOBS_TEXT)
        assert landing.database.rows("select bucket, key from raw.loads") == [("file://", str(path.resolve()))]


class TestBadRecords:
    @pytest.mark.parametrize(
        ("bad", "reason", "delivered"),
        [
            (b"2,a\0b", "nul_character", {"id": "2", "job": "a\ufffdb"}),
            (b"2,caf\xe9", "invalid_utf8", {"id": "2", "job": "caf\ufffd"}),
            (b"2", "too_few_fields", {"id": "2"}),
            (b"2,b,c", "too_many_fields", {"id": "2", "job": "b"}),
            (b'2,"b', "unclosed_quote", {"id": "2", "job": "b"}),
            (b'2,"b"c', "stray_quote", {"id": "2", "job": 'b"c'}),
        ],
    )
    @pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
    def test_a_bad_record_is_kept_with_its_reason_and_its_place_and_the_others_load(
        self, landing: Landing, bad: bytes, reason: str, delivered: dict[str, str], line_end: bytes
    ) -> None:
        before = b"\xef\xbb\xbfid,job\n" + b'1,"\xc3\xa9\n"\n\n'
        landing.bucket.put("jobs.csv", before + bad + line_end + b"3,c\n")
        outcome = landing.load_one()
        assert (outcome.totals.records, outcome.totals.rejected) == (3, 1)
        assert jobs(landing.database) == [(1, 1, "1", "é\n"), (1, 3, "3", "c")]
        (kept,) = landing.database.dicts("select * from raw.rejected_records")
        message = kept.pop("message")
        assert message.startswith(("has ", "is "))
        assert kept == {
            "load_id": outcome.load_id, "record": 2, "line": 5, "byte_from": len(before),
            "reason": reason, "raw": bad, "raw_bytes": len(bad), "delivered": delivered,
        }  # fmt: skip

    def test_a_quote_that_is_never_closed_rejects_its_line_and_no_other(self, landing: Landing) -> None:
        """The rest of the file once went with it, as one rejected record."""
        landing.bucket.put("jobs.csv", b'1,a\n2,"b\n3,c\n4,d')
        assert landing.load_one().totals.rejected == 1
        assert jobs(landing.database) == [(1, 1, "1", "a"), (1, 3, "3", "c"), (1, 4, "4", "d")]
        assert landing.database.rows("select record, line, reason, byte_from, raw from raw.rejected_records") == [
            (2, 2, "unclosed_quote", 4, b'2,"b')
        ]

    def test_of_a_record_that_is_too_long_only_the_beginning_is_kept(self, landing: Landing) -> None:
        long = b"2," + b"x" * 2 * MAX_BYTES
        landing.bucket.put("jobs.csv", b"1,a\n" + long + b"\n3,c\n")
        assert landing.load_one().totals.rejected == 1
        assert jobs(landing.database) == [(1, 1, "1", "a"), (1, 3, "3", "c")]
        ((record, reason, byte_from, raw, raw_bytes),) = landing.database.rows(
            "select record, reason, byte_from, raw, raw_bytes from raw.rejected_records"
        )
        assert (record, reason, byte_from, raw_bytes) == (2, "too_long", 4, len(long))
        assert raw == long[:RAW_BYTES_KEPT]

    def test_bad_records_in_any_chunk_point_at_their_bytes_in_the_file(self, landing: Landing) -> None:
        bad = {1: b"x", 1000: b"\xff,y", 1001: b"1,2,3", 2500: b"2,\0"}
        lines = [bad.get(number, b'%d,"job\n%d"' % (number, number)) for number in range(1, 2501)]
        text = b"\n".join(lines)
        landing.bucket.put("jobs.csv", text)
        assert landing.load_one().totals.rejected == 4
        kept = landing.database.rows("select record, line, byte_from, raw from raw.rejected_records order by record")
        assert {record: raw for record, _, _, raw in kept} == bad
        for _, line, at, raw in kept:
            assert text[at : at + len(raw)] == raw
            assert line == text[:at].count(b"\n") + 1
        assert [row[1] for row in jobs(landing.database)] == [number for number in range(1, 2501) if number not in bad]

    def test_a_file_of_only_bad_records_fails_unless_the_limit_allows_it(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv", b"\x89PNG\r\n\x1a\n" + b"\xff" * 100)
        failed = landing.fail_one()
        assert failed.status == "failed"
        assert "more than 50% of the records are rejected: 3 of 3 rejected" in failed.message
        assert landing.database.rows("select status, error from raw.loads") == [("failed", failed.message)]
        landing.database.execute("truncate raw.loads cascade")
        outcome = landing.load_one(policy=LENIENT)
        assert outcome.totals.records == outcome.totals.rejected == 3
        assert jobs(landing.database) == []

    def test_what_the_table_itself_refuses_is_rejected_and_the_others_load(self, landing: Landing) -> None:
        landing.database.execute("alter table raw.jobs add constraint short check (length(job) < 20)")
        try:
            lines = [b"%d,%b" % (number, b"x" * 20 if number % 400 == 0 else b"job") for number in range(1, 2501)]
            landing.bucket.put("jobs.csv", b"\n".join([*lines[:2000], b"too few", *lines[2000:]]))
            outcome = landing.load_one()
        finally:
            landing.database.execute("alter table raw.jobs drop constraint short")
        assert (outcome.totals.records, outcome.totals.rejected) == (2501, 7)
        assert landing.database.rows("select record, line, reason, raw from raw.rejected_records order by 1") == [
            (400, 400, "refused_by_table", lines[399]),
            (800, 800, "refused_by_table", lines[799]),
            (1200, 1200, "refused_by_table", lines[1199]),
            (1600, 1600, "refused_by_table", lines[1599]),
            (2000, 2000, "refused_by_table", lines[1999]),
            (2001, 2001, "too_few_fields", b"too few"),
            (2401, 2401, "refused_by_table", lines[2399]),
        ]


class TestWhichObjects:
    def test_a_loaded_object_is_not_loaded_again(self, landing: Landing, connection: Connection) -> None:
        landing.bucket.put("jobs.csv", b"1,a\n")
        landing.bucket.put("more/jobs_b.csv.gz", gzip.compress(b"2,b\n"))
        assert len(landing.load()) == 2
        before = landing.database.rows("select * from raw.loads")
        assert landing.load() == []
        assert list(list_pending(connection, landing.bucket.client, landing.bucket.name)) == []
        assert landing.database.rows("select * from raw.loads") == before

    def test_loading_a_complete_version_again_returns_its_load(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv", b"1,a\n2\n3,c\n")
        before = landing.load_one()
        (item,) = list_objects(landing.bucket.client, landing.bucket.name)
        asked = ranges_asked(landing.bucket.client)
        with TableSession(landing.conninfo, JOBS, 0) as session:
            again = load_object(session, landing.bucket.client, item, AT_ONCE)
        assert isinstance(again, Loaded)
        assert (again.load_id, again.item, again.totals.records, again.totals.rejected) == (
            before.load_id,
            before.item,
            3,
            1,
        )
        assert asked == []

    def test_an_overwritten_object_is_a_new_load(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv", b"1,a\n")
        landing.load_one()
        landing.bucket.put("jobs.csv", b"1,b\n")
        landing.load_one()
        assert jobs(landing.database) == [(1, 1, "1", "a"), (2, 1, "1", "b")]

    def test_two_objects_of_equal_bytes_are_two_loads(self, landing: Landing) -> None:
        landing.bucket.put("jobs_a.csv", b"1,a\n")
        landing.bucket.put("jobs_b.csv", b"1,a\n")
        assert len(landing.load()) == 2
        assert [row[2:] for row in jobs(landing.database)] == [("1", "a"), ("1", "a")]

    def test_objects_of_other_tables_and_of_none_are_ignored(self, landing: Landing, connection: Connection) -> None:
        for key in ("jobs.csv", "departments.csv", "jobs/departments.csv", "README.md", "x.csv"):
            landing.bucket.put(key, b"1,a\n")
        assert len(landing.load(DEPARTMENTS)) == 1
        waiting = list_pending(connection, landing.bucket.client, landing.bucket.name)
        assert [(table.name, item.key) for table, item in waiting] == [
            ("jobs", "jobs.csv"),
            ("jobs", "jobs/departments.csv"),
        ]
        assert len(landing.load()) == 2
        assert landing.database.rows("select table_name, count(*) from raw.loads group by 1 order by 1") == [
            ("departments", 1),
            ("jobs", 2),
        ]

    def test_objects_load_in_the_order_of_their_age(self, landing: Landing) -> None:
        """A later load replaces what an earlier one said; by their names a correction may come first."""
        for key, age in [("jobs_a.csv", 10), ("jobs_b.csv", 30), ("jobs_c.csv", 20)]:
            landing.bucket.put(key, key.encode() + b",x\n", age_seconds=age)
        assert [outcome.item.key for outcome in landing.load()] == ["jobs_b.csv", "jobs_c.csv", "jobs_a.csv"]

    def test_more_objects_than_one_question_to_the_ledger_holds_load_once_each(
        self, landing: Landing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestration.ingest.candidates.VERSIONS_PER_QUERY", 3)
        for number in range(10):
            landing.bucket.put(f"jobs_{number}.csv", b"%d,a\n" % number)
        assert len(landing.load()) == 10
        assert landing.load() == []
        assert len(jobs(landing.database)) == 10

    def test_an_object_that_has_not_settled_waits(self, landing: Landing) -> None:
        landing.bucket.put("jobs_fresh.csv", b"1,a\n", age_seconds=0)
        landing.bucket.put("jobs.csv", b"1,a\n", age_seconds=60)
        assert landing.load_one(policy=Policy(settle_seconds=30)).item.key == "jobs.csv"

    def test_keys_with_any_characters_load(self, landing: Landing) -> None:
        keys = ["jobs 1+2 %41 é.csv", 'jobs/it\'s "quoted" & <b>.csv', "jobs/a=b&c?d#e.csv.gz"]
        for key in keys:
            landing.bucket.put(key, gzip.compress(b"1,a\n") if key.endswith(".gz") else b"1,a\n")
        assert all(isinstance(outcome, Loaded) for outcome in landing.load())
        assert landing.load() == []
        assert sorted(landing.database.rows("select key from raw.loads")) == sorted((key,) for key in keys)


def kill_session_at_chunk(database: Database, chunk: int) -> None:
    """Let the server end the loader's session for good inside of the transaction that enters a chunk."""
    database.execute("""
        create function end_session() returns trigger language plpgsql security definer as $$
        begin
            perform pg_terminate_backend(pg_backend_pid());
            return new;
        end
        $$
    """)
    database.execute(f"""
        create trigger crash after insert on raw.load_chunks
        for each row when (new.chunk = {chunk}) execute function end_session()
    """)


def kill_session_at_completion(database: Database) -> None:
    kill_session_at_chunk(database, -1)
    database.execute("""
        create trigger crash after update on raw.loads
        for each row when (new.status = 'complete') execute function end_session()
    """)


def stop_killing(database: Database) -> None:
    database.execute("drop function end_session cascade")


def ranges_asked(client: "S3Client") -> list[str | None]:
    """Record the Range of every later read of a client."""
    asked: list[str | None] = []

    def note(request: Any, **_: Any) -> None:
        asked.append(request.headers["Range"].decode() if "Range" in request.headers else None)

    client.meta.events.register("before-send.s3.GetObject", note)
    return asked


def what_a_load_left(database: Database) -> list[Rows]:
    return [
        database.rows("select _record, id, job from raw.jobs order by 1"),
        database.rows("select record, line, reason, byte_from, raw, raw_bytes from raw.rejected_records order by 1"),
        database.rows("""
            select chunk, first_record, first_line, records, rejected, lines, byte_from, byte_to
            from raw.load_chunks
            order by 1
        """),
        database.rows("select status, columns, records, loaded, rejected, error from raw.loads"),
    ]


@pytest.mark.usefixtures("chunk_by_chunk")
class TestABrokenLoad:
    # A mark, a header in another order, bad records in each chunk, quoted line ends: all depend on the beginning.
    TEXT = b"\xef\xbb\xbfjob,id\r\n" + b"".join(
        b"bad\n" if number % 700 == 0 else b'"job\n%d",%d\n' % (number, number) for number in range(2500)
    )

    @pytest.fixture
    def undisturbed(self, landing: Landing) -> Callable[[], list[Rows]]:
        """The result of an undisturbed load; the database is unchanged."""

        def measure() -> list[Rows]:
            landing.load_one()
            left = what_a_load_left(landing.database)
            landing.database.execute("truncate raw.loads, raw.jobs cascade")
            return left

        return measure

    @pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
    @pytest.mark.parametrize("chunk", [0, 1, 2])
    def test_it_continues_with_the_first_missing_chunk(
        self, landing: Landing, undisturbed: Callable[[], list[Rows]], key: str, chunk: int
    ) -> None:
        database = landing.database
        landing.bucket.put(key, gzip.compress(self.TEXT) if key.endswith(".gz") else self.TEXT)
        expected = undisturbed()
        kill_session_at_chunk(database, chunk)
        with pytest.raises(DatabaseUnavailable):
            landing.load()
        stop_killing(database)
        committed = database.rows("select chunk, loaded_at, byte_to from raw.load_chunks order by chunk")
        assert [number for number, _, _ in committed] == list(range(chunk))
        assert statuses(database) == [(key, "loading")]
        asked = ranges_asked(landing.bucket.client)
        landing.load_one()
        assert what_a_load_left(database) == expected
        entered = database.rows("select chunk, loaded_at, byte_to from raw.load_chunks order by chunk")
        assert entered[:chunk] == committed
        # Gzip can be entered at its beginning only.
        plain_part = f"bytes={committed[-1][2]}-" if committed else None
        assert asked == [None if key.endswith(".gz") else plain_part]

    def test_only_completion_remains_if_all_its_chunks_exist(
        self, landing: Landing, undisturbed: Callable[[], list[Rows]]
    ) -> None:
        landing.bucket.put("jobs.csv", self.TEXT)
        expected = undisturbed()
        kill_session_at_completion(landing.database)
        with pytest.raises(DatabaseUnavailable):
            landing.load()
        stop_killing(landing.database)
        assert statuses(landing.database) == [("jobs.csv", "loading")]
        asked = ranges_asked(landing.bucket.client)
        landing.load_one()
        assert what_a_load_left(landing.database) == expected
        assert asked == []

    def test_it_continues_loads_of_the_previous_version_which_did_not_count_invalid_records(
        self, landing: Landing
    ) -> None:
        lines = [b"bad\n" if number % 700 == 0 else b"%d,\n" % number for number in range(1, 2501)]
        landing.bucket.put("jobs.csv", b"id,job\n" + b"".join(lines))
        kill_session_at_chunk(landing.database, 1)
        with pytest.raises(DatabaseUnavailable):
            landing.load(policy=LENIENT)
        stop_killing(landing.database)
        landing.database.execute("update raw.load_chunks set rejected = malformed, malformed = null, invalid = null")
        landing.database.execute("delete from raw.invalid_records")
        assert landing.load_one(policy=LENIENT).totals == Totals(2500, 3, 1498)
        assert landing.database.rows("select loaded, malformed, invalid, rejected from raw.loads") == [
            (2497, 3, 1498, 1501)
        ]

    def test_it_continues_in_the_same_call_when_the_database_is_back_soon(
        self, landing: Landing, undisturbed: Callable[[], list[Rows]]
    ) -> None:
        landing.bucket.put("jobs.csv", self.TEXT)
        expected = undisturbed()
        seen: list[int] = []

        def end_the_session_after_each_chunk(progress: Progress) -> None:
            seen.append(progress.totals.records)
            landing.database.execute("""
                select pg_terminate_backend(pid, 5000) from pg_stat_activity
                where datname = current_database() and application_name = 'hiring_loader'
            """)

        bucket = landing.bucket
        outcomes = load_pending(
            landing.conninfo, bucket.client, bucket.name, JOBS, PATIENT, end_the_session_after_each_chunk
        )
        assert [type(outcome) for outcome in outcomes] == [Loaded]
        assert what_a_load_left(landing.database) == expected
        assert seen == [1000, 2000, 2500]

    def test_the_server_in_the_bucket_going_away_leaves_it_to_be_tried_again(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv", b"1,a\n")
        (item,) = list_objects(landing.bucket.client, landing.bucket.name)
        nobody = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{free_port()}",
            aws_access_key_id="any",
            aws_secret_access_key="any",  # noqa: S106
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}),
        )
        with TableSession(landing.conninfo, JOBS, 0) as session:
            outcome = load_object(session, nobody, item, AT_ONCE)
        assert isinstance(outcome, Failed)
        assert outcome.status == "loading"
        assert "Could not connect" in outcome.message
        assert landing.database.rows("select status, error from raw.loads") == [("loading", outcome.message)]
        landing.load_one()
        assert landing.database.rows("select status, error from raw.loads") == [("complete", None)]

    def test_it_is_abandoned_once_its_version_is_gone_from_the_bucket(self, landing: Landing) -> None:
        landing.bucket.put("jobs_deleted.csv", JOBS_TEXT, age_seconds=20)
        kill_session_at_chunk(landing.database, 1)
        with pytest.raises(DatabaseUnavailable):
            landing.load()
        (landing.bucket.folder / "jobs_deleted.csv").unlink()
        landing.bucket.put("jobs_overwritten.csv", JOBS_TEXT)
        with pytest.raises(DatabaseUnavailable):
            landing.load()
        stop_killing(landing.database)
        landing.bucket.put("jobs_overwritten.csv", b"1,a\n")
        assert landing.load_one().totals.records == 1
        assert landing.database.rows("select key, status, error from raw.loads order by load_id") == [
            ("jobs_deleted.csv", "abandoned", "the object was overwritten or deleted before it was loaded"),
            ("jobs_overwritten.csv", "abandoned", "the object was overwritten or deleted before it was loaded"),
            ("jobs_overwritten.csv", "complete", None),
        ]

    def test_an_abandoned_version_that_comes_back_is_loaded_from_its_beginning(
        self, landing: Landing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Resuming the abandoned load would keep chunks of the other version."""
        monkeypatch.setattr(loader, "CHUNKS_PER_TRANSACTION", 1)
        text = b"".join(b"%d,%040d\n" % (number, number) for number in range(40_000))
        path = tmp_path / "jobs.csv"
        path.write_bytes(text)
        item = file_version(path)

        def overwrite(_: Progress) -> None:
            path.write_bytes(b"1,other\n" * (len(text) // 8))

        with TableSession(landing.conninfo, JOBS, 1) as session:
            mixed = load_object(session, None, item, Policy(), overwrite)
            others = landing.database.rows("select count(*) > 0 from raw.jobs where job = 'other'")
            path.write_bytes(text)
            changed = int(item.version.split("-")[0], 16)
            os.utime(path, ns=(changed, changed))
            back = load_object(session, None, file_version(path), Policy())
        assert isinstance(mixed, Failed)
        assert mixed.status == "abandoned"
        assert others == [(True,)]
        assert isinstance(back, Loaded)
        assert [row for row in jobs(landing.database) if row[0] == back.load_id] == numbered(back.load_id, text)

    def test_a_deleted_object_that_comes_back_is_loaded_whole(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv", JOBS_TEXT)
        kill_session_at_chunk(landing.database, 1)
        with pytest.raises(DatabaseUnavailable):
            landing.load()
        stop_killing(landing.database)
        (landing.bucket.folder / "jobs.csv").unlink()
        assert landing.load() == []
        assert statuses(landing.database) == [("jobs.csv", "abandoned")]
        landing.bucket.put("jobs.csv", JOBS_TEXT)
        assert jobs(landing.database) == numbered(1, JOBS_TEXT)[:1000]
        back = landing.load_one()
        assert [row for row in jobs(landing.database) if row[0] == back.load_id] == numbered(back.load_id, JOBS_TEXT)
        assert statuses(landing.database) == [("jobs.csv", "abandoned"), ("jobs.csv", "complete")]

    def test_unfinished_loads_of_other_tables_and_buckets_are_not_abandoned(self, landing: Landing) -> None:
        landing.database.execute("""
            insert into raw.loads (table_name, source, bucket, key, version)
            values ('departments', 'object', %s, 'd.csv', 'v'), ('jobs', 'object', 'elsewhere', 'jobs.csv', 'v')
        """, landing.bucket.name)  # fmt: skip
        assert landing.load() == []
        assert [status for _, status in statuses(landing.database)] == ["loading", "loading"]


class TestAnObjectThatCannotBeRead:
    def test_a_damaged_gzip_file_fails_for_good_and_holds_up_no_other(self, landing: Landing) -> None:
        landing.bucket.put("jobs_a.csv.gz", gzip.compress(JOBS_TEXT)[:-10], age_seconds=30)
        landing.bucket.put("jobs_b.csv.gz", b"not gzip at all", age_seconds=20)
        landing.bucket.put("jobs_c.csv", b"1,a\n", age_seconds=10)
        cut_off, not_gzip, good = landing.load()
        assert isinstance(cut_off, Failed)
        assert isinstance(not_gzip, Failed)
        assert isinstance(good, Loaded)
        assert "is cut off" in cut_off.message
        assert "is not valid gzip" in not_gzip.message
        assert (cut_off.status, not_gzip.status) == ("failed", "failed")
        assert landing.database.rows("select status, error from raw.loads order by load_id") == [
            ("failed", cut_off.message),
            ("failed", not_gzip.message),
            ("complete", None),
        ]
        assert landing.load() == []
        assert [status for _, status in statuses(landing.database)] == ["failed", "failed", "complete"]

    def test_a_damaged_gzip_file_that_is_delivered_again_whole_loads(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv.gz", gzip.compress(JOBS_TEXT)[:-10])
        landing.fail_one()
        landing.bucket.put("jobs.csv.gz", gzip.compress(JOBS_TEXT))
        outcome = landing.load_one()
        loaded = [row for row in jobs(landing.database) if row[0] == outcome.load_id]
        assert loaded == numbered(outcome.load_id, JOBS_TEXT)

    def test_a_failed_load_is_retried_if_that_is_requested(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv", b"1\n2\n3,c\n")
        landing.fail_one()
        (item,) = list_objects(landing.bucket.client, landing.bucket.name)
        assert landing.load() == []
        with TableSession(landing.conninfo, JOBS, 0) as session:
            outcome = load_object(session, landing.bucket.client, item, LENIENT)
        assert isinstance(outcome, Loaded)
        assert (outcome.totals.records, outcome.totals.rejected) == (3, 2)
        assert jobs(landing.database) == [(1, 3, "3", "c")]
        assert landing.database.rows("select status, error from raw.loads") == [("complete", None)]

    def test_an_object_that_is_deleted_between_listing_and_reading_is_abandoned_and_holds_up_no_other(
        self, landing: Landing
    ) -> None:
        for key, age in [("jobs_a.csv", 30), ("jobs_b.csv", 20), ("jobs_c.csv", 10)]:
            landing.bucket.put(key, b"1,before\n", age_seconds=age)
        outcomes = half_way(landing)
        (landing.bucket.folder / "jobs_b.csv").unlink()
        failed, loaded = outcomes
        assert isinstance(failed, Failed)
        assert isinstance(loaded, Loaded)
        assert failed.status == "abandoned"
        assert "deleted" in failed.message
        assert landing.database.rows("select key, status, error from raw.loads order by load_id") == [
            ("jobs_a.csv", "complete", None),
            ("jobs_b.csv", "abandoned", failed.message),
            ("jobs_c.csv", "complete", None),
        ]
        assert landing.load() == []

    def test_an_object_overwritten_between_listing_and_reading_is_loaded_in_its_new_version(
        self, landing: Landing
    ) -> None:
        landing.bucket.put("jobs_a.csv", b"1,before\n", age_seconds=30)
        landing.bucket.put("jobs_b.csv", b"1,before\n", age_seconds=20)
        outcomes = half_way(landing)
        landing.bucket.put("jobs_b.csv", b"1,afterwards\n")
        failed, loaded = outcomes
        assert isinstance(failed, Failed)
        assert isinstance(loaded, Loaded)
        assert (failed.item.key, failed.status, loaded.item.key) == ("jobs_b.csv", "abandoned", "jobs_b.csv")
        assert [row[2:] for row in jobs(landing.database)] == [("1", "before"), ("1", "afterwards")]
        assert [status for _, status in statuses(landing.database)] == ["complete", "abandoned", "complete"]

    @pytest.mark.usefixtures("chunk_by_chunk")
    def test_an_object_overwritten_during_a_read_is_loaded_in_its_new_version(self, landing: Landing) -> None:
        """Half of one version and half of another in one load, or the first version's half counting for good."""
        lines = 16 * BLOCK_BYTES // 1000
        before = b"".join(b"%08d,before%b\n" % (number, b"." * 1000) for number in range(lines))
        after = before.replace(b"before", b"after!")
        path = landing.bucket.put("jobs.csv", before)
        changed: list[int] = []

        def overwrite_once(progress: Progress) -> None:
            if not changed:
                changed.append(progress.totals.records)
                # A new file in its place: processes that have the old one open can continue to read it.
                path.unlink()
                landing.bucket.put("jobs.csv", after)

        outcomes = list(
            load_pending(landing.conninfo, landing.bucket.client, landing.bucket.name, JOBS, AT_ONCE, overwrite_once)
        )
        assert [getattr(outcome, "status", "complete") for outcome in outcomes] == ["abandoned", "complete"]
        assert changed == [1000]
        assert landing.database.rows(
            "select count(*), count(distinct id), count(*) filter (where job like 'after!%%') from raw.jobs "
            "where _load_id = %s",
            outcomes[1].load_id,
        ) == [(lines, lines, lines)]

    def test_an_object_that_is_overwritten_all_the_time_does_not_keep_a_load_from_its_end(
        self, landing: Landing
    ) -> None:
        landing.bucket.put("jobs.csv", b"0,a\n")
        versions = iter(range(1, 100))

        def overwrite(*_: Any, **__: Any) -> None:
            landing.bucket.put("jobs.csv", b"%d,a\n" % next(versions))

        landing.bucket.client.meta.events.register("before-send.s3.GetObject", overwrite)
        outcomes = landing.load()
        assert [getattr(outcome, "status", "complete") for outcome in outcomes] == ["abandoned"] * 3
        assert jobs(landing.database) == []


def half_way(landing: Landing, policy: Policy = AT_ONCE) -> Iterator[Loaded | Failed]:
    """Load the first of several objects; iterating loads the others."""
    outcomes = iter(load_pending(landing.conninfo, landing.bucket.client, landing.bucket.name, JOBS, policy))
    assert isinstance(next(outcomes), Loaded)
    return outcomes


def close(outcomes: Iterator[Loaded | Failed]) -> None:
    outcomes.close()  # type: ignore[attr-defined]


# A loader fails that would have to wait for a table.
IMPATIENT = Policy(give_up_seconds=0, lock_wait_seconds=0.05)


class TestTwoLoaders:
    def test_of_the_same_table_load_every_record_once(self, landing: Landing) -> None:
        for number in range(6):
            landing.bucket.put(f"jobs_{number}.csv", JOBS_TEXT[: 4000 * (number + 1)])
        at_once = threading.Barrier(2)
        outcomes: list[Sequence[Loaded | Failed]] = []

        def run() -> None:
            at_once.wait()
            outcomes.append(landing.load())

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert sorted(map(len, outcomes)) == [0, 6]
        assert [status for _, status in statuses(landing.database)] == ["complete"] * 6

    def test_the_second_waits_for_the_first_even_when_that_one_dies(self, landing: Landing) -> None:
        landing.bucket.put("jobs_a.csv", b"1,a\n", age_seconds=20)
        landing.bucket.put("jobs_b.csv", b"1,a\n", age_seconds=10)
        database = landing.database
        first = half_way(landing, PATIENT)
        ((session,),) = database.rows("select pid from pg_stat_activity where application_name = 'hiring_loader'")
        outcomes: list[Loaded | Failed] = []
        second = threading.Thread(target=lambda: outcomes.extend(landing.load()))
        second.start()
        until = time.monotonic() + 10
        while not database.rows("select 1 from pg_locks where locktype = 'advisory' and not granted"):
            assert time.monotonic() < until, "the second loader does not wait"
            time.sleep(0.02)
        assert second.is_alive()
        database.execute("select pg_terminate_backend(%s)", session)
        second.join(timeout=30)
        assert [outcome.item.key for outcome in outcomes] == ["jobs_b.csv"]
        # The first one returns with a new session, and finds the object loaded.
        ((loaded),) = first
        assert isinstance(loaded, Loaded)
        assert loaded.load_id == outcomes[0].load_id
        assert [row[0] for row in jobs(database)] == [1, 2]

    def test_of_different_tables_do_not_wait(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv", b"1,a\n")
        landing.bucket.put("departments.csv", b"1,a\n")
        first = half_way(landing)
        landing.load_one(DEPARTMENTS, IMPATIENT)
        with pytest.raises(LockTimeout):
            landing.load(JOBS, IMPATIENT)
        close(first)

    def test_a_loader_that_stops_half_way_releases_the_table(self, landing: Landing) -> None:
        landing.bucket.put("jobs_a.csv", b"1,a\n", age_seconds=20)
        landing.bucket.put("jobs_b.csv", b"1,a\n", age_seconds=10)
        close(half_way(landing))
        assert landing.load_one(policy=IMPATIENT).item.key == "jobs_b.csv"


def test_a_missing_database_is_reported_immediately(bucket: Bucket) -> None:
    nobody = f"host=127.0.0.1 port={free_port()} user=hiring_loader dbname=none"
    with pytest.raises(psycopg.OperationalError, match="onnection refused"):
        list(load_pending(nobody, bucket.client, bucket.name, JOBS))


GAP = "begins a chunk that leaves a gap or overlaps"
CHUNK_COUNT = "begins a chunk that counts other records than there are"
LOAD_COUNT = "is a load that counts other records than there are"
TWICE = "is kept more than once"
NO_LOAD = "is of no load of its table"
NOT_WHOLE = "is a load whose chunks are not the whole object"


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        pytest.param("delete from raw.jobs where _record = 1500", CHUNK_COUNT, id="a row is missing"),
        pytest.param("delete from raw.jobs", LOAD_COUNT, id="all rows are missing"),
        pytest.param("delete from raw.rejected_records", CHUNK_COUNT, id="a rejected record is missing"),
        pytest.param(
            "insert into raw.jobs select * from raw.jobs where _record = 1500", TWICE, id="a row is there twice"
        ),
        pytest.param(
            "insert into raw.jobs (_load_id, _record) select load_id, record from raw.rejected_records",
            TWICE,
            id="a record is row and rejected",
        ),
        pytest.param(
            "insert into raw.jobs (_load_id, _record) values (1, 2501)", LOAD_COUNT, id="a row is in no chunk"
        ),
        pytest.param("update raw.jobs set _record = 0 where _record = 1", CHUNK_COUNT, id="a row left its chunk"),
        pytest.param("insert into raw.jobs (_load_id, _record) values (99, 1)", NO_LOAD, id="a row is of no load"),
        pytest.param(
            "insert into raw.departments (_load_id, _record) values (1, 1)", NO_LOAD, id="a row is in another table"
        ),
        pytest.param("update raw.load_chunks set byte_from = byte_from - 1 where chunk = 1", GAP, id="bytes overlap"),
        pytest.param("update raw.load_chunks set byte_to = byte_to - 1 where chunk = 1", GAP, id="bytes are left out"),
        pytest.param(
            "update raw.load_chunks set first_record = first_record + 1 where chunk = 1", GAP, id="a record is left out"
        ),
        pytest.param("update raw.load_chunks set chunk = 3 where chunk = 2", GAP, id="a chunk is left out"),
        pytest.param("update raw.load_chunks set byte_to = byte_from - 1 where chunk = 2", GAP, id="a negative chunk"),
        pytest.param("delete from raw.load_chunks where chunk = 2", LOAD_COUNT, id="the last chunk is missing"),
        pytest.param("update raw.load_chunks set malformed = 1 where chunk = 1", CHUNK_COUNT, id="a chunk's malformed"),
        pytest.param("update raw.load_chunks set invalid = 2 where chunk = 1", CHUNK_COUNT, id="a chunk's invalid"),
        pytest.param(
            "update raw.load_chunks set malformed = null, invalid = null, rejected = 1 where chunk = 1",
            CHUNK_COUNT,
            id="a chunk's rejected, of a load before invalid records were counted",
        ),
        pytest.param(
            "delete from raw.invalid_records where record = 7", CHUNK_COUNT, id="an invalid record is missing"
        ),
        pytest.param(
            "update raw.invalid_records set record = 1007 where record = 7",
            CHUNK_COUNT,
            id="an invalid record left its chunk",
        ),
        pytest.param(
            "insert into raw.invalid_records values (1, 1, 1, '{id:missing}')", CHUNK_COUNT, id="an invalid record more"
        ),
        pytest.param("update raw.load_chunks set records = 501 where chunk = 2", CHUNK_COUNT, id="a chunk's records"),
        pytest.param("update raw.load_chunks set records = 499 where chunk = 2", LOAD_COUNT, id="a chunk's too few"),
        pytest.param("update raw.loads set loaded = 2498, records = 2499", LOAD_COUNT, id="a load's records"),
        pytest.param(
            "update raw.loads set loaded = 2498, malformed = 2, rejected = 4", LOAD_COUNT, id="a load's malformed"
        ),
        pytest.param("update raw.loads set invalid = 1, rejected = 2", LOAD_COUNT, id="a load's invalid"),
        pytest.param(
            "update raw.loads set loaded = 2498, malformed = null, invalid = null, rejected = 2",
            LOAD_COUNT,
            id="a load's rejected, before invalid records were counted",
        ),
        pytest.param("update raw.loads set bytes = bytes + 1", NOT_WHOLE, id="a load is shorter than its object"),
        pytest.param(
            """
            delete from raw.jobs where _record > 2000;
            delete from raw.rejected_records where record > 2000;
            delete from raw.load_chunks where chunk = 2;
            update raw.loads set records = 2000, loaded = 2000, malformed = 0, rejected = 2
            """,
            NOT_WHOLE,
            id="a load that ends early and counts so",
        ),
        pytest.param(
            "update raw.loads set status = 'loading'; delete from raw.jobs where _record = 1500",
            CHUNK_COUNT,
            id="a row of a load under way is missing",
        ),
        pytest.param(
            """
            insert into raw.loads (table_name, source, status, records, loaded, rejected, completed_at)
            values ('hired_employees', 'api', 'complete', 2, 2, 0, now());
            insert into raw.hired_employees (_load_id, _record) select max(load_id), 1 from raw.loads
            """,
            LOAD_COUNT,
            id="a batch over HTTP of which a row is missing",
        ),
        pytest.param(
            """
            insert into raw.loads (table_name, source, status, records, loaded, rejected, completed_at)
            values ('hired_employees', 'api', 'complete', 1, 1, 0, now())
            """,
            LOAD_COUNT,
            id="a batch over HTTP without its rows",
        ),
    ],
)
def test_the_view_of_discrepancies_notices(landing: Landing, damage: str, complaint: str) -> None:
    text = JOBS_TEXT.replace(b"2400,job 2400\n", b"2400\n").replace(b"7,job 7\n", b"7,\n")
    text = text.replace(b"1600,job 1600\n", b"0,job 1600\n")
    landing.bucket.put("jobs.csv", text)
    assert landing.load_one().totals == Totals(records=2500, malformed=1, invalid=2)
    assert discrepancies(landing.database) == []
    with psycopg.connect(landing.database.conninfo()) as connection:
        # Several statements cannot be one prepared statement.
        connection.execute(damage, prepare=False)
        found = connection.execute("select complaint from raw.discrepancies").fetchall()
        connection.rollback()
    assert (complaint,) in found
