"""Objects whose server fails during a read: resumed after the last byte, or given up entirely, never half loaded."""

import functools
import gzip
import os
import time
from collections.abc import Callable
from typing import Literal

import pytest

from orchestration.ingest.loader import Failed, Loaded, Policy, Progress, reload_object
from orchestration.ingest.objects import BucketRefused, current_version
from orchestration.ingest.reading import PIECE_BYTES
from orchestration.ingest.session import TableSession
from tests.conftest import Bucket, Database
from tests.faults.conftest import JOBS, Engine
from tests.faults.outcome import Left, discrepancies, forget, what_counts
from tests.faults.s3_faults import Fault, S3Proxy
from tests.faults.texts import jobs_text

Undisturbed = Callable[[], Left]
Break = Literal["reset", "close", "stall"]

# More than two of the blocks that the engine reads, packed or not.
TEXT = jobs_text(5_000, width=300)
OTHER_TEXT = jobs_text(5_000, seed=1, width=300)


@functools.cache
def stored(key: str) -> bytes:
    return gzip.compress(TEXT, 1, mtime=0) if key.endswith(".gz") else TEXT


def statuses(database: Database) -> list[tuple[str, str]]:
    return database.rows("select key, status from raw.loads order by load_id")


def loaded_at(database: Database) -> dict[int, object]:
    return dict(database.rows("select chunk, loaded_at from raw.load_chunks"))


@pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
class TestAReadThatBreaksOff:
    @pytest.mark.parametrize("kind", ["reset", "close", "stall"])
    def test_continues_and_has_the_result_of_an_undisturbed_one(
        self, engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, undisturbed: Undisturbed,
        kind: Break, key: str,
    ) -> None:  # fmt: skip
        bucket.put(key, stored(key))
        expected = undisturbed()
        s3.script([Fault(kind, after=600_000)])
        engine.load_one()
        assert what_counts(database.conninfo()) == expected
        assert s3.faults == []
        assert len(s3.ranges) == 2

    @pytest.mark.parametrize("kind", ["reset", "close", "stall"])
    def test_requests_only_the_bytes_that_have_not_arrived(
        self, engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, undisturbed: Undisturbed,
        kind: Break, key: str,
    ) -> None:  # fmt: skip
        """A read that began again somewhere before would end as well, only later, and on a bad line never."""
        bucket.put(key, stored(key))
        expected = undisturbed()
        s3.script([Fault(kind, after=600_000), Fault(kind, after=100_000)])
        engine.load_one()
        first, second = (int(str(asked).removeprefix("bytes=").removesuffix("-")) for asked in s3.ranges[1:])
        # A body that merely ends is kept to its last byte; of a broken one the piece is lost that was being received.
        lost = 1 if kind == "close" else PIECE_BYTES
        assert 0 <= 600_000 - first < lost
        assert 0 <= first + 100_000 - second < lost
        assert what_counts(database.conninfo()) == expected

    @pytest.mark.parametrize("kind", ["reset", "close"])
    def test_comes_to_its_end_if_every_connection_brings_only_a_little(
        self, engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, undisturbed: Undisturbed,
        kind: Break, key: str,
    ) -> None:  # fmt: skip
        """A loader that discards truncated blocks reads the same bytes until it gives up."""
        bucket.put(key, stored(key))
        expected = undisturbed()
        s3.script([Fault(kind, after=300_000)] * 20)
        engine.load_one(give_up_seconds=1)
        assert what_counts(database.conninfo()) == expected

    def test_survives_a_server_that_is_busy_or_broken_for_a_while(
        self, engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, undisturbed: Undisturbed, key: str
    ) -> None:
        bucket.put(key, stored(key))
        expected = undisturbed()
        s3.script(
            [
                Fault("status", status=500, code="InternalError", of="list"),
                Fault("status", status=503, code="SlowDown"),
                Fault("status", status=500, code="InternalError"),
                Fault("close", after=600_000),
                Fault("status", status=503, code="ServiceUnavailable"),
                Fault("reset"),
                Fault("status", status=503, of="list"),
            ]
        )
        engine.load_one()
        assert what_counts(database.conninfo()) == expected
        assert s3.faults == []
        assert s3.ranges == [None, None, None, *["bytes=600000-"] * 3]

    def test_fails_for_now_after_a_long_outage_and_the_next_load_continues(
        self, engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, undisturbed: Undisturbed, key: str
    ) -> None:
        bucket.put(key, stored(key))
        expected = undisturbed()

        def go_away() -> None:
            s3.is_away = True

        s3.script([Fault("close", after=600_000, action=go_away)])
        before = time.monotonic()
        (outcome,) = engine.load(give_up_seconds=1)
        assert time.monotonic() - before >= 1
        assert isinstance(outcome, Failed)
        assert outcome.status == "loading"
        assert "SlowDown" in outcome.message
        assert statuses(database) == [(key, "loading")]
        committed = loaded_at(database)
        assert 1 <= len(committed) < 5
        s3.is_away = False
        s3.script([])
        ((end,),) = database.rows("select max(byte_to) from raw.load_chunks")
        engine.load_one()
        assert what_counts(database.conninfo()) == expected
        assert loaded_at(database).items() >= committed.items()
        # Gzip can be entered at its beginning only.
        assert s3.ranges == [None if key.endswith(".gz") else f"bytes={end}-"]


ARCHIVED = Fault("status", status=403, code="InvalidObjectState", details={"StorageClass": "DEEP_ARCHIVE"})


class TestAnObjectThatCannotBeRead:
    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            pytest.param(
                ARCHIVED,
                "is archived (storage class DEEP_ARCHIVE): restore it, then load it with the job reload_object",
                id="an archive",
            ),
            pytest.param(
                Fault("status", status=403, code="AccessDenied"),
                "may be listed, but not read: it takes s3:GetObject (s3:GetObjectVersion in a bucket with versions), "
                "kms:Decrypt where a KMS key encrypts it, and the consent of its owner where that is another account; "
                "grant what is missing, then load it with the job reload_object (AccessDenied: by the script)",
                id="missing rights",
            ),
            pytest.param(
                Fault("status", status=400, code="KMS.DisabledException"),
                "cannot be decrypted: see to its KMS key, then load it with the job reload_object "
                "(KMS.DisabledException: by the script)",
                id="a KMS key that is switched off",
            ),
            pytest.param(
                Fault("status", status=400, code="InvalidRequest"),
                "cannot be read (InvalidRequest: by the script)",
                id="a key of the sender's own",
            ),
        ],
    )
    def test_fails_immediately_with_its_reason_and_blocks_no_other(
        self, engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, fault: Fault, reason: str
    ) -> None:
        """It was retried for two minutes in each load, and the credentials were blamed."""
        bucket.put("jobs.csv", TEXT)
        bucket.put("jobs_later.csv", TEXT, age_seconds=10)
        s3.script([fault])
        before = time.monotonic()
        failed, loaded = engine.load(give_up_seconds=60)
        assert time.monotonic() - before < 20
        assert isinstance(failed, Failed)
        assert (failed.status, failed.message) == ("failed", f"s3://{bucket.name}/jobs.csv {reason}")
        assert isinstance(loaded, Loaded)
        assert s3.ranges == [None, None]
        assert statuses(database) == [("jobs.csv", "failed"), ("jobs_later.csv", "complete")]
        assert engine.load() == []

    def test_loads_when_it_is_requested_after_that_was_fixed(
        self, engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, undisturbed: Undisturbed
    ) -> None:
        bucket.put("jobs.csv", TEXT)
        expected = undisturbed()
        s3.script([ARCHIVED])
        (failed,) = engine.load()
        assert isinstance(failed, Failed)
        item = current_version(bucket.client, bucket.name, "jobs.csv")
        with TableSession(engine.conninfo, JOBS, 0) as session:
            assert isinstance(reload_object(session, engine.client, item, Policy()), Loaded)
        assert what_counts(database.conninfo()) == expected

    @pytest.mark.parametrize("code", ["ThrottlingException", "RequestTimeout", "KMS.ThrottlingException"])
    def test_just_now_is_requested_again(self, engine: Engine, bucket: Bucket, s3: S3Proxy, code: str) -> None:
        bucket.put("jobs.csv", TEXT)
        s3.script([Fault("status", status=400, code=code)])
        engine.load_one()
        assert s3.ranges == [None, None]


class TestAServerThatRefuses:
    @pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
    def test_the_credentials_is_not_retried_and_the_load_can_be_resumed(
        self, engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, code: str
    ) -> None:
        bucket.put("jobs.csv", TEXT)
        s3.script([Fault("status", status=403, code=code)])
        (outcome,) = engine.load(give_up_seconds=60)
        assert isinstance(outcome, Failed)
        assert outcome.status == "loading"
        assert "access denied, check the AWS credentials" in outcome.message
        assert s3.ranges == [None]
        assert what_counts(database.conninfo())["jobs"] == []

    def test_to_list_the_bucket_is_not_retried(self, engine: Engine, bucket: Bucket, s3: S3Proxy) -> None:
        bucket.put("jobs.csv", TEXT)
        s3.script([Fault("status", status=403, code="AccessDenied", of="list")])
        with pytest.raises(BucketRefused, match="access denied, check the AWS credentials"):
            engine.load(give_up_seconds=60)

    def test_in_the_middle_leaves_a_load_that_can_be_resumed(
        self, engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, undisturbed: Undisturbed
    ) -> None:
        bucket.put("jobs.csv", TEXT)
        expected = undisturbed()
        s3.script([Fault("close", after=600_000), Fault("status", status=403, code="AccessDenied")])
        (outcome,) = engine.load(give_up_seconds=60)
        assert isinstance(outcome, Failed)
        assert outcome.status == "loading"
        assert s3.ranges == [None, "bytes=600000-"]
        assert len(loaded_at(database)) >= 1
        engine.load_one()
        assert what_counts(database.conninfo()) == expected


def is_abandoned(outcome: object) -> bool:
    return isinstance(outcome, Failed) and outcome.status == "abandoned"


class TestAnObjectThatChangesUnderItsReader:
    @pytest.fixture
    def overwrite(self, bucket: Bucket) -> Callable[[], object]:
        return lambda: bucket.put("jobs.csv", OTHER_TEXT)

    @pytest.fixture
    def replace(self, bucket: Bucket) -> Callable[[], object]:
        """Put the new version into the old one's place: who has that open reads it to its end."""

        def act() -> None:
            bucket.put("landing/new", OTHER_TEXT).rename(bucket.folder / "jobs.csv")
            (bucket.folder / "landing").rmdir()

        return act

    @pytest.fixture
    def expected(self, bucket: Bucket, undisturbed: Undisturbed) -> Left:
        """The result has to be that of a load of only the new version."""
        bucket.put("jobs.csv", OTHER_TEXT)
        left = undisturbed()
        bucket.put("jobs.csv", TEXT)
        return left

    @staticmethod
    def expect_a_new_beginning(engine: Engine, database: Database, expected: Left) -> None:
        abandoned, loaded = engine.load()
        assert is_abandoned(abandoned)
        assert isinstance(loaded, Loaded)
        assert statuses(database) == [("jobs.csv", "abandoned"), ("jobs.csv", "complete")]
        # Not only was it noticed: some of the old version had been loaded by then.
        assert database.rows(
            "select count(*) > 0 from raw.load_chunks where load_id = %s", getattr(abandoned, "load_id", None)
        ) == [(True,)]
        assert what_counts(database.conninfo()) == expected
        assert engine.load() == []

    def test_which_the_server_reports_is_abandoned_and_its_new_version_loaded(
        self, engine: Engine, database: Database, s3: S3Proxy, overwrite: Callable[[], object], expected: Left
    ) -> None:
        s3.script(
            [
                Fault("close", after=1_000_000, action=overwrite),
                Fault("status", status=412, code="PreconditionFailed"),
            ]
        )
        self.expect_a_new_beginning(engine, database, expected)
        assert s3.ranges == [None, "bytes=1000000-", None]

    @pytest.mark.parametrize("kind", ["close", "reset"])
    def test_between_two_reads_is_abandoned_and_its_new_version_loaded(
        self, engine: Engine, database: Database, s3: S3Proxy, overwrite: Callable[[], object], expected: Left,
        kind: Break,
    ) -> None:  # fmt: skip
        """The second read would continue in the new version's bytes, and the mixture would pass for a file."""
        s3.script([Fault(kind, after=1_000_000, action=overwrite)])
        self.expect_a_new_beginning(engine, database, expected)

    @pytest.mark.parametrize("change", ["overwrite", "replace"])
    def test_without_a_word_in_mid_read_is_abandoned_and_its_new_version_loaded(
        self, engine: Engine, database: Database, s3: S3Proxy, expected: Left, change: str,
        request: pytest.FixtureRequest,
    ) -> None:  # fmt: skip
        """The read ends without an error, with bytes of no version."""
        s3.script([Fault("call", after=1_000_000, action=request.getfixturevalue(change))])
        self.expect_a_new_beginning(engine, database, expected)

    def test_after_a_part_was_loaded_by_an_earlier_call_is_abandoned(
        self, engine: Engine, database: Database, s3: S3Proxy, overwrite: Callable[[], object], expected: Left
    ) -> None:
        s3.script(
            [Fault("close", after=1_000_000, action=overwrite), *[Fault("status", status=503, code="SlowDown")] * 50]
        )
        (failed,) = engine.load(give_up_seconds=0.3)
        assert isinstance(failed, Failed)
        assert failed.status == "loading"
        s3.script([])
        engine.load_one()
        assert statuses(database) == [("jobs.csv", "abandoned"), ("jobs.csv", "complete")]
        assert what_counts(database.conninfo()) == expected

    @pytest.mark.parametrize("kind", ["call", "close", "reset"])
    def test_by_being_deleted_is_abandoned_and_none_of_its_records_count(
        self, engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, kind: Literal["call", "close", "reset"]
    ) -> None:
        path = bucket.put("jobs.csv", TEXT)
        s3.script([Fault(kind, after=1_000_000, action=path.unlink)])
        (outcome,) = engine.load()
        assert is_abandoned(outcome)
        assert statuses(database) == [("jobs.csv", "abandoned")]
        assert len(loaded_at(database)) >= 1
        assert set(map(tuple, what_counts(database.conninfo()).values())) == {()}
        assert engine.load() == []

    def test_at_every_read_keeps_no_load_from_its_end_and_is_loaded_once_it_holds_still(
        self, engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, undisturbed: Undisturbed
    ) -> None:
        path = bucket.put("jobs_a.csv", TEXT)
        bucket.put("jobs_b.csv", TEXT, age_seconds=10)

        def touch() -> None:
            with path.open("ab") as file:
                file.write(b"another,1\n")
            os.utime(path, (0, 0))  # stays the oldest

        s3.script([Fault("call", after=600_000, action=touch)] * 10)
        outcomes = engine.load()
        assert list(map(is_abandoned, outcomes)) == [True, False, True, True]
        s3.script([])
        assert engine.load_one().item.key == "jobs_a.csv"
        left = what_counts(database.conninfo())
        assert discrepancies(database.conninfo()) == []
        forget(database.conninfo())
        assert left == undisturbed()


def test_a_broken_read_counts_as_progress_only_if_it_delivered_bytes(
    engine: Engine, bucket: Bucket, s3: S3Proxy
) -> None:
    bucket.put("jobs.csv", TEXT)
    told: list[Progress] = []
    s3.script([Fault("close", after=600_000), Fault("status"), Fault("reset", after=50_000)])
    engine.load_one(on_progress=told.append)
    assert [each.totals.records for each in told] == [1000, 2000, 3000, 4000, 5000]
    assert told[-1].bytes == len(TEXT)
