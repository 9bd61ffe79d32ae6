"""Objects into raw tables on real servers: every record once, whatever a file holds and whenever a load breaks."""

import csv
import gzip
import io
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pytest
from botocore.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.ingest.ledger import Connection
from orchestration.ingest.loader import Failed, Loaded, connect, load_object, load_pending, pending
from orchestration.ingest.objects import list_objects
from orchestration.ingest.tables import TABLES, Table
from tests.conftest import Bucket, Database, free_port
from tests.orchestration.ingest.conftest import WHAT_DOES_NOT_ADD_UP

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DEPARTMENTS, JOBS, HIRED_EMPLOYEES = TABLES

JOBS_TEXT = b"".join(b"%d,job %d\n" % (number, number) for number in range(1, 2501))


def load(connection: Connection, bucket: Bucket, table: Table = JOBS) -> list[Loaded | Failed]:
    return list(load_pending(connection, bucket.client, bucket.name, table))


def load_one(connection: Connection, bucket: Bucket, table: Table = JOBS) -> Loaded:
    (outcome,) = load(connection, bucket, table)
    assert isinstance(outcome, Loaded), outcome
    return outcome


def jobs(database: Database) -> list[tuple[Any, ...]]:
    return database.rows("select _load_id, _record, id, job from raw.jobs order by 1, 2")


def numbered(load_id: int, text: bytes) -> list[tuple[int, int, str, str]]:
    rows = csv.reader(io.StringIO(text.decode(), newline=""))
    return [(load_id, number, row[0], row[1]) for number, row in enumerate(rows, 1)]


def statuses(database: Database) -> list[tuple[str, str]]:
    return database.rows("select key, status from raw.loads order by load_id")


class TestWhatAFileHolds:
    def test_its_records_are_rows_of_untouched_text(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        text = ' 007 ,"Ada ""A."" L,\n Countess"\n1.0,Ünïcødé 🦆\nnull,NULL\n"",\\N\n\\.,\t\n'
        bucket.put("jobs.csv", text.encode())
        assert load_one(connection, bucket).records == 5
        assert jobs(database) == [
            (1, 1, " 007 ", 'Ada "A." L,\n Countess'),
            (1, 2, "1.0", "Ünïcødé 🦆"),
            (1, 3, "null", "NULL"),
            (1, 4, "", "\\N"),
            (1, 5, "\\.", "\t"),
        ]

    def test_a_field_without_anything_in_it_is_null(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("hired_employees.csv", b"1,,2021-01-01T00:00:00Z,,\n,,,,\n")
        load_one(connection, bucket, HIRED_EMPLOYEES)
        assert database.rows("select * from raw.hired_employees order by _record") == [
            (1, 1, "1", None, "2021-01-01T00:00:00Z", None, None),
            (1, 2, None, None, None, None, None),
        ]

    def test_a_header_in_another_order_puts_values_into_their_columns(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("hired_employees.csv", b"\xef\xbb\xbfJob_ID,name,department_id,ID,datetime\r\n5,Ada,4,1,2021\r\n")
        assert load_one(connection, bucket, HIRED_EMPLOYEES).records == 1
        (row,) = database.dicts("select * from raw.hired_employees")
        assert row == {
            "_load_id": 1, "_record": 1,
            "id": "1", "name": "Ada", "datetime": "2021", "department_id": "4", "job_id": "5",
        }  # fmt: skip
        assert database.rows("select columns from raw.loads") == [
            (["job_id", "name", "department_id", "id", "datetime"],)
        ]

    @pytest.mark.parametrize("text", [b"", b"\n\r\n\n", b"id,job\n", b"\xef\xbb\xbfJOB,ID", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
    def test_a_file_without_records_is_a_complete_load_of_none(
        self, connection: Connection, database: Database, bucket: Bucket, key: str, text: bytes
    ) -> None:
        bucket.put(key, gzip.compress(text) if key.endswith(".gz") else text)
        assert load_one(connection, bucket).records == 0
        assert jobs(database) == []
        assert load(connection, bucket) == []

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param(b"1,a\r\n2,b\n3,c\r\n", id="both kinds"),
            pytest.param(b"1,a\n2,b\r\n3,c", id="none at the end"),
            pytest.param(b"1,a\r\n2,b\r\n3,c", id="none at the end of others with returns"),
            pytest.param(b"1,a\n2,b\n3,c\r", id="a return at the end"),
            pytest.param(b"\n1,a\n\r\n\n2,b\n3,c\n\n", id="empty lines"),
        ],
    )
    def test_line_ends_may_be_mixed(
        self, connection: Connection, database: Database, bucket: Bucket, text: bytes
    ) -> None:
        bucket.put("jobs.csv", text)
        assert load_one(connection, bucket).rejected == 0
        assert jobs(database) == [(1, 1, "1", "a"), (1, 2, "2", "b"), (1, 3, "3", "c")]

    def test_carriage_returns_alone_never_make_rows_of_another_load(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        """COPY takes them for line ends where no line feed follows; a second line's numbers would be the file's own."""
        bucket.put("jobs.csv", b"1,a\r77,88,2,b")
        assert load_one(connection, bucket).rejected == 1
        assert jobs(database) == []
        assert database.rows("select reason from raw.rejected_records") == [("stray_return",)]

    def test_a_packed_file_loads_as_the_plain_one(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        text = b"job,id\r\n" + b"".join(b'"job\n%d",%d\r\n' % (n, n) for n in range(2100)) + b"too few\r\n"
        bucket.put("jobs.csv", text, age_seconds=20)
        bucket.put("jobs.csv.gz", gzip.compress(text[:999]) + gzip.compress(text[999:]), age_seconds=10)
        plain, packed = load(connection, bucket)
        assert isinstance(plain, Loaded)
        assert isinstance(packed, Loaded)
        for table, columns in [
            ("jobs", "_record, id, job"),
            ("load_chunks", "chunk, first_record, records, rejected, byte_from, byte_to"),
            ("rejected_records", "record, reason, byte_from, raw"),
            ("loads", "columns, records, loaded, rejected"),
        ]:
            own = "_load_id" if table == "jobs" else "load_id"
            of_plain, of_packed = (
                database.rows(f"select {columns} from raw.{table} where {own} = %s order by 1", outcome.load_id)
                for outcome in (plain, packed)
            )
            assert of_plain == of_packed != []

    def test_every_thousand_records_are_a_chunk_and_the_load_has_their_totals(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("jobs.csv", JOBS_TEXT)
        outcome = load_one(connection, bucket)
        assert (outcome.records, outcome.rejected, outcome.item.key) == (2500, 0, "jobs.csv")
        assert jobs(database) == numbered(outcome.load_id, JOBS_TEXT)
        thousand, two_thousand = JOBS_TEXT.index(b"1001,"), JOBS_TEXT.index(b"2001,")
        assert database.rows(
            "select chunk, first_record, records, rejected, byte_from, byte_to from raw.load_chunks order by chunk"
        ) == [
            (0, 1, 1000, 0, 0, thousand),
            (1, 1001, 1000, 0, thousand, two_thousand),
            (2, 2001, 500, 0, two_thousand, len(JOBS_TEXT)),
        ]
        (entry,) = database.dicts("select * from raw.loads")
        assert {name: entry[name] for name in ("table_name", "source", "bucket", "key", "bytes", "status")} == {
            "table_name": "jobs", "source": "object", "bucket": bucket.name,
            "key": "jobs.csv", "bytes": len(JOBS_TEXT), "status": "complete",
        }  # fmt: skip
        assert (entry["records"], entry["loaded"], entry["rejected"], entry["error"]) == (2500, 2500, 0, None)
        assert entry["completed_at"] >= entry["started_at"]


class TestBadRecords:
    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            (b"2,a\0b\n", "nul_character"),
            (b"2,caf\xe9\n", "invalid_utf8"),
            (b"2\n", "too_few_fields"),
            (b"2,b,c\n", "too_many_fields"),
            (b"2,a\rb\r\n", "stray_return"),
        ],
    )
    def test_a_bad_record_is_kept_with_its_reason_and_its_place_and_the_others_load(
        self, connection: Connection, database: Database, bucket: Bucket, bad: bytes, reason: str
    ) -> None:
        before = b"\xef\xbb\xbfid,job\n1,\xc3\xa9\n\n"
        bucket.put("jobs.csv", before + bad + b"3,c\n")
        outcome = load_one(connection, bucket)
        assert (outcome.records, outcome.rejected) == (3, 1)
        assert jobs(database) == [(1, 1, "1", "é"), (1, 3, "3", "c")]
        (kept,) = database.dicts("select * from raw.rejected_records")
        assert (kept["load_id"], kept["record"], kept["reason"]) == (outcome.load_id, 2, reason)
        assert (kept["byte_from"], kept["raw"]) == (len(before), bad)
        assert kept["message"].startswith(("has ", "is "))

    def test_a_quote_that_stays_open_rejects_what_follows_it_as_one_record(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("jobs.csv", b'1,a\n2,"b\n3,c\n4,d')
        assert load_one(connection, bucket).rejected == 1
        assert jobs(database) == [(1, 1, "1", "a")]
        assert database.rows("select record, reason, byte_from, raw from raw.rejected_records") == [
            (2, "unclosed_quote", 4, b'2,"b\n3,c\n4,d')
        ]

    def test_bad_records_in_any_chunk_point_at_their_bytes_in_the_file(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bad = {1: b"x\n", 1000: b"\xff,y\r\n", 1001: b"1,2,3\n", 2500: b"2,\0"}
        text = b"".join(bad.get(number, b'%d,"job\n%d"\n' % (number, number)) for number in range(1, 2501))
        bucket.put("jobs.csv", text)
        assert load_one(connection, bucket).rejected == 4
        kept = database.rows("select record, byte_from, raw from raw.rejected_records order by record")
        assert {record: raw for record, _, raw in kept} == bad
        assert all(text[at : at + len(raw)] == raw for _, at, raw in kept)
        assert [row[1] for row in jobs(database)] == [number for number in range(1, 2501) if number not in bad]

    def test_a_file_of_nothing_but_bad_records_is_complete(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("jobs.csv", b"\x89PNG\r\n\x1a\n" + b"\xff" * 100)
        outcome = load_one(connection, bucket)
        assert outcome.records == outcome.rejected == 3
        assert jobs(database) == []

    def test_a_file_with_old_line_ends_is_one_bad_record(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        """Its first record once broke the search for a header, and with it every load of the table."""
        bucket.put("jobs.csv", b"1,a\r2,b\r3,c\r", age_seconds=20)
        bucket.put("jobs_good.csv", b"1,a\n", age_seconds=10)
        assert [getattr(outcome, "rejected", None) for outcome in load(connection, bucket)] == [1, 0]
        assert database.rows("select reason from raw.rejected_records") == [("stray_return",)]


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
sound_rows = st.tuples(cells, cells)
rows_of_any_width = sound_rows | st.lists(cells, min_size=1, max_size=4).map(tuple)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows_of_any_width, max_size=30), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_csv_file_ends_up_as_pythons_csv_module_reads_it(
    database: Database, bucket: Bucket, rows: list[tuple[str, ...]], line_end: str, packed: bool
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(rows)
    content = text.getvalue().encode()
    for path in bucket.folder.iterdir():
        path.unlink()
    bucket.put("jobs.csv.gz" if packed else "jobs.csv", gzip.compress(content) if packed else content)
    with connect(database.conninfo("hiring_loader")) as connection:
        outcomes = load(connection, bucket)
    if not outcomes:
        return  # these bytes were an earlier example
    loaded = database.rows("select _record, id, job from raw.jobs where _load_id = %s order by 1", outcomes[0].load_id)
    rejected = database.rows("select record from raw.rejected_records where load_id = %s", outcomes[0].load_id)
    records = list(enumerate(rows, 1))
    assert loaded == [(number, *row) for number, row in records if len(row) == 2]
    assert {number for (number,) in rejected} == {number for number, row in records if len(row) != 2}
    assert database.rows(WHAT_DOES_NOT_ADD_UP) == []


class TestWhichObjects:
    def test_what_is_loaded_is_not_loaded_again(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("jobs.csv", b"1,a\n")
        bucket.put("more/jobs_b.csv.gz", gzip.compress(b"2,b\n"))
        assert len(load(connection, bucket)) == 2
        before = database.rows("select * from raw.loads")
        assert load(connection, bucket) == []
        assert list(pending(connection, bucket.client, bucket.name)) == []
        assert database.rows("select * from raw.loads") == before

    def test_an_overwritten_object_is_a_new_load(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("jobs.csv", b"1,a\n")
        load_one(connection, bucket)
        bucket.put("jobs.csv", b"1,b\n")
        load_one(connection, bucket)
        assert jobs(database) == [(1, 1, "1", "a"), (2, 1, "1", "b")]

    def test_two_objects_of_equal_bytes_are_two_loads(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("jobs_a.csv", b"1,a\n")
        bucket.put("jobs_b.csv", b"1,a\n")
        assert len(load(connection, bucket)) == 2
        assert [row[2:] for row in jobs(database)] == [("1", "a"), ("1", "a")]

    def test_objects_of_other_tables_and_of_none_are_left_alone(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        for key in ("jobs.csv", "departments.csv", "jobs/departments.csv", "README.md", "x.csv"):
            bucket.put(key, b"1,a\n")
        assert len(load(connection, bucket, DEPARTMENTS)) == 1
        assert [(table.name, item.key) for table, item in pending(connection, bucket.client, bucket.name)] == [
            ("jobs", "jobs.csv"),
            ("jobs", "jobs/departments.csv"),
        ]
        assert len(load(connection, bucket)) == 2
        assert database.rows("select table_name, count(*) from raw.loads group by 1 order by 1") == [
            ("departments", 1),
            ("jobs", 2),
        ]

    def test_objects_load_in_the_order_of_their_age(self, connection: Connection, bucket: Bucket) -> None:
        """A later load replaces what an earlier one said; by their names a correction may come first."""
        for key, age in [("jobs_a.csv", 10), ("jobs_b.csv", 30), ("jobs_c.csv", 20)]:
            bucket.put(key, key.encode() + b",x\n", age_seconds=age)
        assert [outcome.item.key for outcome in load(connection, bucket)] == ["jobs_b.csv", "jobs_c.csv", "jobs_a.csv"]

    def test_more_objects_than_one_question_to_the_ledger_holds_load_once_each(
        self, connection: Connection, database: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestration.ingest.loader.VERSIONS_A_QUERY", 3)
        for number in range(10):
            bucket.put(f"jobs_{number}.csv", b"%d,a\n" % number)
        assert len(load(connection, bucket)) == 10
        assert load(connection, bucket) == []
        assert len(jobs(database)) == 10

    def test_an_object_that_has_not_settled_waits(self, connection: Connection, bucket: Bucket) -> None:
        bucket.put("jobs_fresh.csv", b"1,a\n", age_seconds=0)
        bucket.put("jobs.csv", b"1,a\n", age_seconds=60)
        (outcome,) = load_pending(connection, bucket.client, bucket.name, JOBS, settle_seconds=30)
        assert outcome.item.key == "jobs.csv"

    def test_keys_with_any_characters_load(self, connection: Connection, database: Database, bucket: Bucket) -> None:
        keys = ["jobs 1+2 %41 é.csv", 'jobs/it\'s "quoted" & <b>.csv', "jobs/a=b&c?d#e.csv.gz"]
        for key in keys:
            bucket.put(key, gzip.compress(b"1,a\n") if key.endswith(".gz") else b"1,a\n")
        assert all(isinstance(outcome, Loaded) for outcome in load(connection, bucket))
        assert load(connection, bucket) == []
        assert sorted(database.rows("select key from raw.loads")) == sorted((key,) for key in keys)


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
    """Note the Range of every read that a client asks for from here on."""
    asked: list[str | None] = []

    def note(request: Any, **_: Any) -> None:
        asked.append(request.headers["Range"].decode() if "Range" in request.headers else None)

    client.meta.events.register("before-send.s3.GetObject", note)
    return asked


Left = list[list[tuple[Any, ...]]]


def what_a_load_left(database: Database) -> Left:
    return [
        database.rows("select _record, id, job from raw.jobs order by 1"),
        database.rows("select record, reason, byte_from, raw from raw.rejected_records order by 1"),
        database.rows(
            "select chunk, first_record, records, rejected, byte_from, byte_to from raw.load_chunks order by 1"
        ),
        database.rows("select status, columns, records, loaded, rejected, error from raw.loads"),
    ]


class TestABrokenLoad:
    # A mark, a header in another order, bad records in each chunk, quoted line ends: whatever depends on the beginning.
    TEXT = b"\xef\xbb\xbfjob,id\r\n" + b"".join(
        b"bad\n" if number % 700 == 0 else b'"job\n%d",%d\n' % (number, number) for number in range(2500)
    )

    @pytest.fixture
    def undisturbed(self, connection: Connection, database: Database, bucket: Bucket) -> Callable[[], Left]:
        """What a load leaves that nothing disturbs; the database is as before it."""

        def measure() -> Left:
            load_one(connection, bucket)
            left = what_a_load_left(database)
            database.execute("truncate raw.loads, raw.load_chunks, raw.rejected_records, raw.jobs")
            return left

        return measure

    @pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
    @pytest.mark.parametrize("chunk", [0, 1, 2])
    def test_it_goes_on_with_the_first_missing_chunk(
        self,
        connection: Connection,
        database: Database,
        bucket: Bucket,
        undisturbed: Callable[[], Left],
        key: str,
        chunk: int,
    ) -> None:
        bucket.put(key, gzip.compress(self.TEXT) if key.endswith(".gz") else self.TEXT)
        expected = undisturbed()
        kill_session_at_chunk(database, chunk)
        with connect(database.conninfo("hiring_loader")) as doomed, pytest.raises(psycopg.OperationalError):
            load(doomed, bucket)
        stop_killing(database)
        committed = database.rows("select chunk, loaded_at, byte_to from raw.load_chunks order by chunk")
        assert [number for number, _, _ in committed] == list(range(chunk))
        assert statuses(database) == [(key, "loading")]
        asked = ranges_asked(bucket.client)
        load_one(connection, bucket)
        assert what_a_load_left(database) == expected
        assert (
            database.rows("select chunk, loaded_at, byte_to from raw.load_chunks order by chunk")[:chunk] == committed
        )
        # Gzip can be entered at its beginning only.
        plain_part = f"bytes={committed[-1][2]}-" if committed else None
        assert asked == [None if key.endswith(".gz") else plain_part]

    def test_it_only_remains_to_be_completed_when_all_its_chunks_are_there(
        self, connection: Connection, database: Database, bucket: Bucket, undisturbed: Callable[[], Left]
    ) -> None:
        bucket.put("jobs.csv", self.TEXT)
        expected = undisturbed()
        kill_session_at_completion(database)
        with connect(database.conninfo("hiring_loader")) as doomed, pytest.raises(psycopg.OperationalError):
            load(doomed, bucket)
        stop_killing(database)
        assert statuses(database) == [("jobs.csv", "loading")]
        asked = ranges_asked(bucket.client)
        load_one(connection, bucket)
        assert what_a_load_left(database) == expected
        assert asked == []

    def test_the_server_in_the_bucket_going_away_leaves_it_to_be_tried_again(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("jobs.csv", b"1,a\n")
        (item,) = list_objects(bucket.client, bucket.name)
        nobody = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{free_port()}",
            aws_access_key_id="any",
            aws_secret_access_key="any",  # noqa: S106
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}),
        )
        outcome = load_object(connection, nobody, JOBS, item)
        assert isinstance(outcome, Failed)
        assert "Could not connect" in outcome.message
        assert database.rows("select status, error from raw.loads") == [("loading", outcome.message)]
        load_one(connection, bucket)
        assert database.rows("select status, error from raw.loads") == [("complete", None)]

    def test_it_is_abandoned_once_its_version_is_gone_from_the_bucket(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("jobs_deleted.csv", JOBS_TEXT, age_seconds=20)
        kill_session_at_chunk(database, 1)
        with connect(database.conninfo("hiring_loader")) as doomed, pytest.raises(psycopg.OperationalError):
            load(doomed, bucket)
        (bucket.folder / "jobs_deleted.csv").unlink()
        bucket.put("jobs_overwritten.csv", JOBS_TEXT)
        with connect(database.conninfo("hiring_loader")) as doomed, pytest.raises(psycopg.OperationalError):
            load(doomed, bucket)
        stop_killing(database)
        bucket.put("jobs_overwritten.csv", b"1,a\n")
        assert load_one(connection, bucket).records == 1
        assert database.rows("select key, status, error from raw.loads order by load_id") == [
            ("jobs_deleted.csv", "abandoned", "the object was overwritten or deleted before it was loaded"),
            ("jobs_overwritten.csv", "abandoned", "the object was overwritten or deleted before it was loaded"),
            ("jobs_overwritten.csv", "complete", None),
        ]

    def test_an_abandoned_version_that_comes_back_is_taken_up_again(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("jobs.csv", JOBS_TEXT)
        kill_session_at_chunk(database, 1)
        with connect(database.conninfo("hiring_loader")) as doomed, pytest.raises(psycopg.OperationalError):
            load(doomed, bucket)
        stop_killing(database)
        (bucket.folder / "jobs.csv").unlink()
        assert load(connection, bucket) == []
        assert statuses(database) == [("jobs.csv", "abandoned")]
        bucket.put("jobs.csv", JOBS_TEXT)
        assert jobs(database)[:1000] == numbered(1, JOBS_TEXT)[:1000]
        load_one(connection, bucket)
        assert jobs(database) == numbered(1, JOBS_TEXT)

    def test_unfinished_loads_of_other_tables_and_buckets_are_not_abandoned(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        database.execute("""
            insert into raw.loads (table_name, source, bucket, key, version)
            values ('departments', 'object', %s, 'd.csv', 'v'), ('jobs', 'object', 'elsewhere', 'jobs.csv', 'v')
        """, bucket.name)  # fmt: skip
        assert load(connection, bucket) == []
        assert [status for _, status in statuses(database)] == ["loading", "loading"]


class TestAnObjectThatCannotBeRead:
    def test_a_damaged_gzip_file_fails_for_good_and_holds_up_no_other(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("jobs_a.csv.gz", gzip.compress(JOBS_TEXT)[:-10], age_seconds=30)
        bucket.put("jobs_b.csv.gz", b"not gzip at all", age_seconds=20)
        bucket.put("jobs_c.csv", b"1,a\n", age_seconds=10)
        cut_off, not_gzip, good = load(connection, bucket)
        assert isinstance(cut_off, Failed)
        assert isinstance(not_gzip, Failed)
        assert isinstance(good, Loaded)
        assert "is cut off" in cut_off.message
        assert "is not valid gzip" in not_gzip.message
        assert database.rows("select status, error from raw.loads order by load_id") == [
            ("failed", cut_off.message),
            ("failed", not_gzip.message),
            ("complete", None),
        ]
        assert load(connection, bucket) == []
        assert [status for _, status in statuses(database)] == ["failed", "failed", "complete"]

    def test_a_damaged_gzip_file_that_is_delivered_again_whole_loads(
        self, connection: Connection, database: Database, bucket: Bucket
    ) -> None:
        bucket.put("jobs.csv.gz", gzip.compress(JOBS_TEXT)[:-10])
        assert isinstance(load(connection, bucket)[0], Failed)
        bucket.put("jobs.csv.gz", gzip.compress(JOBS_TEXT))
        outcome = load_one(connection, bucket)
        assert [row for row in jobs(database) if row[0] == outcome.load_id] == numbered(outcome.load_id, JOBS_TEXT)

    @pytest.mark.parametrize("change", ["overwritten", "deleted"])
    def test_an_object_that_changes_between_listing_and_reading_is_abandoned_and_holds_up_no_other(
        self, connection: Connection, database: Database, bucket: Bucket, change: str
    ) -> None:
        for key, age in [("jobs_a.csv", 30), ("jobs_b.csv", 20), ("jobs_c.csv", 10)]:
            bucket.put(key, b"1,before\n", age_seconds=age)
        outcomes = load_pending(connection, bucket.client, bucket.name, JOBS)
        assert isinstance(next(outcomes), Loaded)
        if change == "overwritten":
            bucket.put("jobs_b.csv", b"1,afterwards\n")
        else:
            (bucket.folder / "jobs_b.csv").unlink()
        failed, loaded = outcomes
        assert isinstance(failed, Failed)
        assert isinstance(loaded, Loaded)
        assert change in failed.message
        assert database.rows("select key, status, error from raw.loads order by load_id") == [
            ("jobs_a.csv", "complete", None),
            ("jobs_b.csv", "abandoned", failed.message),
            ("jobs_c.csv", "complete", None),
        ]
        assert [type(outcome) for outcome in load(connection, bucket)] == [Loaded] * (change == "overwritten")


class TestTwoLoaders:
    def test_of_the_same_table_load_every_record_once(self, database: Database, bucket: Bucket) -> None:
        for number in range(6):
            bucket.put(f"jobs_{number}.csv", JOBS_TEXT[: 4000 * (number + 1)])
        at_once = threading.Barrier(2)
        outcomes: list[Sequence[Loaded | Failed]] = []

        def run() -> None:
            with connect(database.conninfo("hiring_loader")) as connection:
                at_once.wait()
                outcomes.append(load(connection, bucket))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert sorted(map(len, outcomes)) == [0, 6]
        assert [status for _, status in statuses(database)] == ["complete"] * 6
        assert database.rows(WHAT_DOES_NOT_ADD_UP) == []

    def test_the_second_waits_for_the_first_even_when_that_one_dies(self, database: Database, bucket: Bucket) -> None:
        bucket.put("jobs_a.csv", b"1,a\n", age_seconds=20)
        bucket.put("jobs_b.csv", b"1,a\n", age_seconds=10)
        first, second = (connect(database.conninfo("hiring_loader")) for _ in range(2))
        with first, second:
            half_way = load_pending(first, bucket.client, bucket.name, JOBS)
            next(half_way)
            second.execute("set lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                load(second, bucket)
            second.execute("reset lock_timeout")
            database.execute("select pg_terminate_backend(%s)", first.info.backend_pid)
            assert [outcome.item.key for outcome in load(second, bucket)] == ["jobs_b.csv"]
            with pytest.raises(psycopg.OperationalError):
                next(half_way)
        assert database.rows(WHAT_DOES_NOT_ADD_UP) == []

    def test_of_different_tables_do_not_wait(self, database: Database, bucket: Bucket) -> None:
        bucket.put("jobs.csv", b"1,a\n")
        bucket.put("departments.csv", b"1,a\n")
        first, second = (connect(database.conninfo("hiring_loader")) for _ in range(2))
        with first, second:
            half_way = load_pending(first, bucket.client, bucket.name, JOBS)
            next(half_way)
            second.execute("set lock_timeout = '50ms'")
            load_one(second, bucket, DEPARTMENTS)
            half_way.close()

    def test_whoever_stops_half_way_leaves_the_table_to_others(self, database: Database, bucket: Bucket) -> None:
        bucket.put("jobs_a.csv", b"1,a\n", age_seconds=20)
        bucket.put("jobs_b.csv", b"1,a\n", age_seconds=10)
        first, second = (connect(database.conninfo("hiring_loader")) for _ in range(2))
        with first, second:
            half_way = load_pending(first, bucket.client, bucket.name, JOBS)
            next(half_way)
            half_way.close()
            second.execute("set lock_timeout = '50ms'")
            assert load_one(second, bucket).item.key == "jobs_b.csv"


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("delete from raw.jobs where _record = 1500", "a chunk counts wrong"),
        ("insert into raw.jobs select * from raw.jobs where _record = 1500", "kept twice"),
        ("insert into raw.jobs (_load_id, _record) values (1, 2501)", "in no chunk of its load"),
        ("insert into raw.departments (_load_id, _record) values (1, 1)", "in no chunk of its load"),
        ("update raw.load_chunks set byte_from = byte_from - 1 where chunk = 1", "chunks leave a gap or overlap"),
        ("update raw.load_chunks set rejected = 1 where chunk = 1", "a chunk counts wrong"),
        ("update raw.loads set loaded = 2499, records = 2499", "a load counts wrong"),
        ("update raw.loads set bytes = bytes + 1", "a load counts wrong"),
    ],
)
def test_the_question_that_follows_every_load_notices(
    database: Database, bucket: Bucket, damage: str, complaint: str
) -> None:
    bucket.put("jobs.csv", JOBS_TEXT)
    with connect(database.conninfo("hiring_loader")) as connection:
        load_one(connection, bucket)
    database.execute(damage)
    assert complaint in {row[0] for row in database.rows(WHAT_DOES_NOT_ADD_UP)}
