"""What counts as a new delivery: bytes that differ from those of the object's latest load."""

import gzip
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.database import Connection
from orchestration.ingest import ledger
from orchestration.ingest.candidates import Candidates, list_pending
from orchestration.ingest.ledger import LoadStatus, open_load, pending
from orchestration.ingest.loader import Failed, Loaded, Policy, load_object, reload_object
from orchestration.ingest.objects import ObjectVersion, current_version, file_version
from orchestration.ingest.session import TableSession
from tests.orchestration.ingest.conftest import AT_ONCE, DEPARTMENTS, JOBS, Landing, jobs, statuses

A, B = b"1,accounting\n", b"1,bookkeeping\n"
SETTLING = Policy(give_up_seconds=0, settle_seconds=1)


def with_etag(item: ObjectVersion, etag: str) -> ObjectVersion:
    """Return what a server with ETags would have listed."""
    return replace(item, version=etag, etag=etag, is_weak=False)


class TestAnObjectThatIsPutBack:
    def test_to_bytes_that_it_had_before_is_a_new_delivery(self, landing: Landing) -> None:
        """Withdrawing a correction would silently change nothing."""
        for text in (A, B, A):
            landing.bucket.put("jobs.csv", text)
            landing.load_one()
            assert landing.load() == []
        assert [row[3] for row in jobs(landing.database)] == ["accounting", "bookkeeping", "accounting"]
        assert statuses(landing.database) == [("jobs.csv", "complete")] * 3

    def test_with_its_old_date_is_a_new_delivery(self, landing: Landing) -> None:
        path = landing.bucket.put("jobs.csv", A)
        before = path.stat()
        landing.load_one()
        landing.bucket.put("jobs.csv", B)
        landing.load_one()
        path.write_bytes(A)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        landing.load_one()
        assert landing.load() == []
        (first, *_), (second, *_), (third, *_) = found = landing.database.rows(
            "select version, reload from raw.loads order by load_id"
        )
        assert first == third != second
        assert [reload for _, reload in found] == [0, 0, 1]

    def test_on_a_server_with_etags_is_a_new_delivery(self, landing: Landing, connection: Connection) -> None:
        path = landing.bucket.put("jobs.csv", A)
        weak = current_version(landing.bucket.client, landing.bucket.name, path.name)
        for etag in ("a", "b", "a"):
            item = with_etag(weak, etag)
            assert pending(connection, [item]) == [item]
            complete(connection, item)
            assert pending(connection, [item]) == []
        assert landing.database.rows("select version, reload from raw.loads order by load_id") == [
            ("a", 0), ("b", 0), ("a", 1)
        ]  # fmt: skip

    def test_is_the_load_that_a_loader_has_begun_and_comes_back_to(
        self, landing: Landing, connection: Connection
    ) -> None:
        landing.bucket.put("jobs.csv", A)
        weak = current_version(landing.bucket.client, landing.bucket.name, "jobs.csv")
        for etag in ("a", "b"):
            complete(connection, with_etag(weak, etag))
        begun = open_load(connection, JOBS, with_etag(weak, "a"))
        assert pending(connection, [with_etag(weak, "a")]) == [with_etag(weak, "a")]
        assert open_load(connection, JOBS, with_etag(weak, "a")).load_id == begun.load_id
        assert (begun.load_id > 2, begun.status) == (True, "loading")

    def test_before_its_first_load_was_finished_leaves_no_load_unfinished(
        self, landing: Landing, connection: Connection
    ) -> None:
        """Of the version that the object has, it would be waited for at every load."""
        path = landing.bucket.put("jobs.csv", A)
        before = path.stat()
        open_load(connection, JOBS, current_version(landing.bucket.client, landing.bucket.name, "jobs.csv"))
        connection.execute(
            "insert into raw.loads (table_name, source, bucket, key, version) values "
            "('jobs', 'object', %s, 'jobs.csv', 'b')",
            [landing.bucket.name],
        )
        path.write_bytes(A)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        landing.load_one()
        assert [status for _, status in statuses(landing.database)] == ["abandoned", "abandoned", "complete"]

    def test_after_a_version_that_failed_is_a_new_delivery(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv", A)
        landing.load_one()
        landing.bucket.put("jobs.csv", b"1\n2\n")
        landing.fail_one()
        landing.bucket.put("jobs.csv", A)
        landing.load_one()
        assert [status for _, status in statuses(landing.database)] == ["complete", "failed", "complete"]

    def test_to_a_version_with_an_id_is_the_load_that_this_has(self, landing: Landing, connection: Connection) -> None:
        """A loader that returns with an old listing would load an outdated version as the latest."""
        landing.bucket.put("jobs.csv", A)
        weak = current_version(landing.bucket.client, landing.bucket.name, "jobs.csv")
        first, second = (replace(with_etag(weak, "e"), version=version) for version in ("v1", "v2"))
        for item in (first, second):
            complete(connection, item)
        assert pending(connection, [first, second]) == []
        assert [open_load(connection, JOBS, item).load_id for item in (second, first)] == [2, 1]


def complete(connection: Connection, item: ObjectVersion) -> None:
    """Record a complete load without records of an object that is listed as larger."""
    load = open_load(connection, JOBS, item)
    connection.execute("update raw.loads set bytes = 0 where load_id = %s", [load.load_id])
    ledger.finish_load(connection, load, LoadStatus.COMPLETE)


def test_the_end_of_a_load_is_durable_with_its_statement(landing: Landing, connection: Connection) -> None:
    """A crash of the server right after it would revert a load that was already reported as complete."""
    landing.bucket.put("jobs.csv", A)
    item = current_version(landing.bucket.client, landing.bucket.name, "jobs.csv")
    assert connection.execute("show synchronous_commit").fetchone() == ("off",)
    with connection.transaction():
        complete(connection, item)
        assert connection.execute("show synchronous_commit").fetchone() == ("on",)
    assert connection.execute("show synchronous_commit").fetchone() == ("off",)


def test_a_small_object_takes_two_requests(landing: Landing) -> None:
    """For many small objects, most of the time is spent on requests: for its bytes, and whether they are unchanged."""
    landing.bucket.put("jobs.csv", A)
    item = current_version(landing.bucket.client, landing.bucket.name, "jobs.csv")
    made: list[str] = []
    landing.bucket.client.meta.events.register("before-call.s3", lambda model, **_: made.append(model.name))
    with TableSession(landing.conninfo, JOBS, give_up_seconds=0) as session:
        assert isinstance(load_object(session, landing.bucket.client, item, AT_ONCE), Loaded)
    assert made == ["GetObject", "ListObjectsV2"]


class TestAnObjectThatIsTouched:
    @pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
    def test_is_not_a_new_delivery_and_is_read_only_once(
        self, landing: Landing, connection: Connection, key: str
    ) -> None:
        """Copied into the folder again, as people do, it would be loaded again each time."""
        landing.bucket.put(key, gzip.compress(A, mtime=0) if key.endswith(".gz") else A)
        landing.load_one()
        os.utime(landing.bucket.folder / key)
        assert [item.key for _, item in list_pending(connection, landing.bucket.client, landing.bucket.name)] == [key]
        assert landing.load() == []
        assert list(list_pending(connection, landing.bucket.client, landing.bucket.name)) == []
        assert statuses(landing.database) == [(key, "complete")]

    def test_and_holds_other_bytes_of_the_same_size_is_a_new_delivery(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv", b"1,a\n")
        landing.load_one()
        landing.bucket.put("jobs.csv", b"1,b\n")
        landing.load_one()
        assert [row[3] for row in jobs(landing.database)] == ["a", "b"]

    def test_after_a_load_in_two_parts_is_loaded_again(self, landing: Landing) -> None:
        """No digest of all its text is known, and to load it again is right at any rate."""
        landing.bucket.put("jobs.csv", A)
        landing.load_one()
        landing.database.execute("update raw.loads set digest = null")
        os.utime(landing.bucket.folder / "jobs.csv")
        landing.load_one()

    def test_after_it_failed_is_tried_again(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv", b"1\n2\n")
        landing.fail_one()
        assert landing.load() == []
        os.utime(landing.bucket.folder / "jobs.csv")
        landing.fail_one()

    def test_a_file_of_this_machine_is_the_load_that_it_has(self, landing: Landing, tmp_path: Path) -> None:
        path = tmp_path / "jobs.csv"
        path.write_bytes(A)
        with TableSession(landing.conninfo, JOBS, 0) as session:
            first = load_object(session, None, file_version(path), AT_ONCE)
            os.utime(path, (0, 0))
            second = load_object(session, None, file_version(path), AT_ONCE)
        assert isinstance(first, Loaded)
        assert isinstance(second, Loaded)
        assert (first.load_id, first.is_new) == (second.load_id, not second.is_new)
        assert statuses(landing.database) == [(str(path), "complete")]

    def test_may_be_loaded_again_on_purpose(self, landing: Landing) -> None:
        landing.bucket.put("jobs.csv", A)
        landing.load_one()
        os.utime(landing.bucket.folder / "jobs.csv")
        item = current_version(landing.bucket.client, landing.bucket.name, "jobs.csv")
        with TableSession(landing.conninfo, JOBS, 0) as session:
            reload_object(session, landing.bucket.client, item, AT_ONCE)
        assert landing.load() == []
        assert [row[3] for row in jobs(landing.database)] == ["accounting"] * 2


class TestALoadFromWhenTheServerGaveETags:
    @pytest.fixture
    def item(self, landing: Landing) -> ObjectVersion:
        landing.bucket.put("jobs.csv", A)
        landing.load_one()
        return current_version(landing.bucket.client, landing.bucket.name, "jobs.csv")

    @pytest.mark.parametrize("accuracy", ["microseconds", "second"])
    @pytest.mark.parametrize("status", ["complete", "failed"])
    def test_stays_the_load_of_the_object(
        self, landing: Landing, item: ObjectVersion, accuracy: str, status: str
    ) -> None:
        """After an upgrade the whole bucket would be loaded again."""
        landing.database.execute(
            """
            update raw.loads
            set version = md5('a'), digest = null, status = %s, last_modified = date_trunc(%s, last_modified)
            """,
            status,
            accuracy,
        )
        assert landing.load() == []
        with TableSession(landing.conninfo, JOBS, 0) as session:
            assert load_object(session, landing.bucket.client, item, AT_ONCE).load_id == 1

    @pytest.mark.usefixtures("item")
    def test_that_was_interrupted_is_resumed(self, landing: Landing) -> None:
        landing.database.execute("update raw.loads set version = md5('a'), status = 'loading', completed_at = null")
        assert landing.load_one().load_id == 1

    @pytest.mark.usefixtures("item")
    def test_does_not_keep_another_version_from_being_loaded(self, landing: Landing) -> None:
        landing.database.execute("update raw.loads set version = md5('a'), digest = null")
        landing.bucket.put("jobs.csv", b"1,accountant\n"[: len(A)])
        assert landing.load_one().load_id > 1


class TestAFileThatIsDatedAhead:
    AHEAD = -90 * 60

    def test_is_loaded_once_it_was_the_same_twice(self, landing: Landing) -> None:
        """Its date would keep it waiting until that has come."""
        landing.bucket.put("departments.csv", A, age_seconds=self.AHEAD)
        before = time.monotonic()
        assert landing.load_one(DEPARTMENTS, SETTLING).totals.records == 1
        assert time.monotonic() - before >= 1
        assert landing.load(DEPARTMENTS, SETTLING) == []

    def test_waits_while_it_changes(
        self, landing: Landing, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = landing.bucket.put("jobs.csv", A, age_seconds=self.AHEAD)
        landing.bucket.put("jobs_settled.csv", A)

        def grow(_: float) -> None:
            path.write_bytes(A * 2)
            os.utime(path, (time.time() - self.AHEAD,) * 2)

        monkeypatch.setattr("orchestration.ingest.candidates.time.sleep", grow)
        found = Candidates(landing.bucket.client, landing.bucket.name, settle_seconds=1).pending(connection, JOBS)
        assert [item.key for item in found] == ["jobs_settled.csv"]

    def test_needs_no_second_request_when_it_is_loaded(
        self, landing: Landing, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        landing.bucket.put("jobs.csv", A, age_seconds=self.AHEAD)
        landing.load_one(policy=SETTLING)
        monkeypatch.setattr("orchestration.ingest.candidates.time.sleep", pytest.fail)
        assert Candidates(landing.bucket.client, landing.bucket.name, settle_seconds=1).pending(connection, JOBS) == []


def test_a_name_that_is_not_utf_8_fails_once_and_holds_up_no_other(landing: Landing) -> None:
    """Listed with a wrong key, it was requested and not found in every load."""
    (landing.bucket.folder / os.fsdecode(b"jobs_\xff.csv")).write_bytes(A)
    landing.bucket.put("jobs_good.csv", A)
    outcomes = landing.load(policy=Policy(give_up_seconds=60))
    (failed,) = (outcome for outcome in outcomes if isinstance(outcome, Failed))
    assert (failed.status, len(outcomes)) == ("failed", 2)
    assert failed.message == (
        f"s3://{landing.bucket.name}/jobs_\ufffd.csv cannot be asked for by its name, which is not UTF-8: rename it"
    )
    assert landing.load() == []


def test_a_row_beyond_a_limit_of_the_table_is_rejected_and_not_an_outage(landing: Landing) -> None:
    """Postgres has responded: waiting would not help."""
    landing.database.execute("create index too_small on raw.jobs (job)")
    try:
        too_long = os.urandom(8000).hex().encode()
        landing.bucket.put("jobs.csv", b"1,a\n2," + too_long + b"\n3,c\n")
        outcome = landing.load_one(policy=Policy(give_up_seconds=60))
    finally:
        landing.database.execute("drop index raw.too_small")
    assert (outcome.totals.records, outcome.totals.rejected) == (3, 1)
    ((reason, message),) = landing.database.rows("select reason, message from raw.rejected_records")
    assert reason == "refused_by_table"
    assert "index row requires 16016 bytes" in message


def test_what_the_ledger_refuses_fails_the_object_with_the_reason(landing: Landing) -> None:
    landing.database.execute("alter table raw.rejected_records add constraint short check (length(message) < 5)")
    try:
        landing.bucket.put("jobs.csv", b"1,a\n2\n3,c\n")
        failed = landing.fail_one(policy=Policy(give_up_seconds=60))
    finally:
        landing.database.execute("alter table raw.rejected_records drop constraint short")
    assert failed.status == "failed"
    assert 'violates check constraint "short"' in failed.message
    assert landing.load() == []


def test_a_server_that_is_read_only_for_a_while_is_waited_for(landing: Landing) -> None:
    """After a failover the old primary responds as a standby until the loader reconnects."""
    landing.bucket.put("jobs.csv", A)
    role = f"alter role hiring_loader in database {landing.database.name}"
    landing.database.execute(f"{role} set default_transaction_read_only = on")
    end = threading.Timer(1.5, landing.database.execute, [f"{role} reset default_transaction_read_only"])
    end.start()
    try:
        landing.load_one(policy=Policy(give_up_seconds=30))
    finally:
        end.join()
