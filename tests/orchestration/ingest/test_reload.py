"""Loading a version again is another load; whatever interrupts it, there is exactly one."""

import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.errors import UniqueViolation

from orchestration.database import Connection
from orchestration.ingest import ledger
from orchestration.ingest.candidates import list_pending
from orchestration.ingest.ledger import open_load, start_reload
from orchestration.ingest.limits import RejectLimit
from orchestration.ingest.loader import (
    Failed,
    Loaded,
    OnProgress,
    Outcome,
    Policy,
    Progress,
    load_object,
    reload_object,
)
from orchestration.ingest.objects import current_version
from orchestration.ingest.session import TableSession
from tests.conftest import Bucket, Database, environment
from tests.orchestration.ingest.conftest import AT_ONCE, JOBS, LENIENT, Landing, Rows, jobs

PATIENT = Policy(give_up_seconds=20)
LEDGER = "select reload, status, records from raw.loads order by load_id"
NOBODY_LOADS = """
    select where not exists (
        select from pg_stat_activity
        where datname = current_database() and application_name = 'hiring_loader' and backend_type = 'client backend'
            and state <> 'idle'
    )
"""


def reload(
    landing: Landing, key: str = "jobs.csv", policy: Policy = AT_ONCE, on_progress: OnProgress | None = None
) -> Outcome:
    item = current_version(landing.bucket.client, landing.bucket.name, key)
    with TableSession(landing.conninfo, JOBS, policy.give_up_seconds) as session:
        return reload_object(session, landing.bucket.client, item, policy, on_progress)


def waiting(landing: Landing, connection: Connection) -> list[str]:
    return [item.key for _, item in list_pending(connection, landing.bucket.client, landing.bucket.name)]


@pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
def test_its_records_come_again_under_a_load_of_their_own(landing: Landing, connection: Connection, key: str) -> None:
    text = b"1,a\n2\n3,c\n"
    landing.bucket.put(key, gzip.compress(text) if key.endswith(".gz") else text)
    landing.load_one()
    landing.bucket.put("jobs_later.csv", b"1,b\n")
    landing.load_one()
    first, second = reload(landing, key), reload(landing, key)
    assert isinstance(first, Loaded)
    assert isinstance(second, Loaded)
    assert 2 < first.load_id < second.load_id
    assert [(each.totals.records, each.totals.rejected) for each in (first, second)] == [(3, 1)] * 2
    assert landing.database.rows(LEDGER) == [
        (0, "complete", 3), (0, "complete", 1), (1, "complete", 3), (2, "complete", 3)
    ]  # fmt: skip
    assert [row[1:] for row in jobs(landing.database) if row[0] == second.load_id] == [(1, "1", "a"), (3, "3", "c")]
    completions = landing.database.rows("select load_id from raw.loads order by completion")
    assert completions == [(1,), (2,), (first.load_id,), (second.load_id,)]
    assert waiting(landing, connection) == []
    assert landing.load() == []


def test_an_object_that_was_never_loaded_is_loaded_once(landing: Landing) -> None:
    landing.bucket.put("jobs.csv", b"1,a\n")
    assert isinstance(reload(landing), Loaded)
    assert landing.database.rows(LEDGER) == [(0, "complete", 1)]
    assert landing.load() == []


def test_a_version_that_failed_counts_once_it_is_reloaded_with_another_limit(landing: Landing) -> None:
    """And its records are later than what came between: the first load's number would make them earlier."""
    landing.bucket.put("jobs.csv", b"1,a\n2\n3\n")
    landing.fail_one()
    landing.bucket.put("jobs_later.csv", b"1,b\n")
    landing.load_one()
    outcome = reload(landing, policy=LENIENT)
    assert isinstance(outcome, Loaded)
    assert landing.database.rows(LEDGER) == [
        (0, "abandoned", 3), (0, "complete", 1), (0, "complete", 3)
    ]  # fmt: skip
    assert [row[3] for row in jobs(landing.database) if row[0] == outcome.load_id] == ["a"]
    assert landing.load() == []


def test_a_failed_reload_is_final_and_does_not_change_the_first_load(landing: Landing) -> None:
    landing.bucket.put("jobs.csv", b"1,a\n2\n3,c\n")
    landing.load_one()
    before = jobs(landing.database)
    strict = Policy(RejectLimit(share=0), give_up_seconds=0)
    assert isinstance(reload(landing, policy=strict), Failed)
    counting = "select j._load_id, j._record, j.id, j.job from raw.jobs as j inner join raw.loads as l"
    assert (
        landing.database.rows(f"{counting} on l.load_id = j._load_id and l.status = 'complete' order by 1, 2") == before
    )
    assert landing.load() == []
    assert isinstance(reload(landing), Loaded)
    assert [row[:2] for row in landing.database.rows(LEDGER)] == [(0, "complete"), (1, "abandoned"), (1, "complete")]


def test_the_database_going_away_in_the_middle_makes_no_second_reload(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The completing commit may succeed although its response is lost: starting over would load it twice."""
    monkeypatch.setattr("orchestration.ingest.loader.CHUNKS_PER_TRANSACTION", 1)
    landing.bucket.put("jobs.csv", b"".join(b"%d,a\n" % number for number in range(2500)))
    landing.load_one()

    def end_all_sessions(_: Progress | None = None) -> None:
        landing.database.execute("""
            select pg_terminate_backend(pid, 5000) from pg_stat_activity
            where datname = current_database() and application_name = 'hiring_loader'
        """)

    ended = []
    undisturbed = ledger.finish_load

    def end_without_an_answer(
        connection: Connection, load: ledger.Load, status: ledger.LoadStatus, **more: str | None
    ) -> ledger.Totals:
        totals = undisturbed(connection, load, status, **more)
        if not ended:
            ended.append(load)
            end_all_sessions()
            raise psycopg.OperationalError("the answer was lost")
        return totals

    monkeypatch.setattr(ledger, "finish_load", end_without_an_answer)
    outcome = reload(landing, policy=PATIENT, on_progress=end_all_sessions)
    assert isinstance(outcome, Loaded)
    assert ended
    assert landing.database.rows(LEDGER) == [(0, "complete", 2500), (1, "complete", 2500)]


def test_two_concurrent_reloads_are_two_consecutive_loads(landing: Landing) -> None:
    landing.bucket.put("jobs.csv", b"1,a\n")
    landing.load_one()
    at_once = threading.Barrier(2)

    def run() -> None:
        at_once.wait()
        reload(landing, policy=PATIENT)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [row[:2] for row in landing.database.rows(LEDGER)] == [(n, "complete") for n in range(3)]


def test_the_ledger_itself_refuses_a_second_load_of_the_same_number(landing: Landing) -> None:
    landing.bucket.put("jobs.csv", b"1,a\n")
    landing.load_one()
    with pytest.raises(UniqueViolation), landing.database.connect() as connection:
        connection.execute("""
            insert into raw.loads (table_name, source, bucket, key, version)
            select table_name, source, bucket, key, version from raw.loads
        """)


class TestInterrupted:
    """A reload whose process was killed (kill -9) in a transaction, with others committed before it."""

    RECORDS = 130_000  # two transactions of 64 chunks, and some
    HELD = "select pg_advisory_lock(7)"

    @pytest.fixture
    def killed(self, landing: Landing, database: Database, bucket: Bucket) -> Iterator[Callable[[], int]]:
        """Load, change the object, kill a reload; return the loads and the committed chunks."""
        bucket.put("jobs.csv", b"".join(b"%d,a\n" % number for number in range(self.RECORDS)), age_seconds=60)
        landing.load_one()
        database.execute("""
            create function stand_still() returns trigger language plpgsql security definer as $$
            begin
                perform pg_advisory_xact_lock(7);
                return new;
            end
            $$
        """)
        database.execute("""
            create trigger stand_still after insert on raw.load_chunks
            for each row when (new.chunk = 100) execute function stand_still()
        """)

        def kill() -> int:
            with database.connect() as holder:
                holder.execute(self.HELD)
                process = again(bucket, database)
                await_rows(database, "select from pg_locks where locktype = 'advisory' and not granted")
                process.kill()
                process.wait()
            await_rows(database, NOBODY_LOADS)
            ((chunks,),) = database.rows("select count(*) from raw.load_chunks where load_id = 2")
            return int(chunks)

        yield kill
        database.execute("drop function stand_still cascade")

    def test_the_next_run_resumes_it(self, landing: Landing, connection: Connection, killed: Callable[[], int]) -> None:
        # The server has everything sent before the kill: both transactions or the first.
        committed = killed()
        assert committed in (64, 128)
        assert [row[:2] for row in landing.database.rows(LEDGER)] == [(0, "complete"), (1, "loading")]
        assert waiting(landing, connection) == ["jobs.csv"]
        landing.load_one()
        self.it_is_whole(landing)
        assert landing.load() == []

    def test_requesting_it_again_resumes_it(self, landing: Landing, killed: Callable[[], int]) -> None:
        killed()
        assert isinstance(reload(landing), Loaded)
        self.it_is_whole(landing)

    def test_loading_the_object_manually_resumes_it(self, landing: Landing, killed: Callable[[], int]) -> None:
        killed()
        item = current_version(landing.bucket.client, landing.bucket.name, "jobs.csv")
        with TableSession(landing.conninfo, JOBS, 0) as session:
            assert isinstance(load_object(session, landing.bucket.client, item, AT_ONCE), Loaded)
        self.it_is_whole(landing)

    def test_it_is_abandoned_when_its_version_is_gone_and_the_first_load_stays(
        self, landing: Landing, killed: Callable[[], int]
    ) -> None:
        killed()
        landing.bucket.put("jobs.csv", b"1,b\n")
        landing.load_one()
        assert landing.database.rows(LEDGER) == [
            (0, "complete", self.RECORDS), (1, "abandoned", None), (0, "complete", 1)
        ]  # fmt: skip

    def it_is_whole(self, landing: Landing) -> None:
        """One reload, equal to the first load record for record."""
        assert landing.database.rows(LEDGER) == [(0, "complete", self.RECORDS), (1, "complete", self.RECORDS)]
        differing = """
            select count(*) from (
                (select _record, id, job from raw.jobs where _load_id = 1
                except all select _record, id, job from raw.jobs where _load_id > 1)
                union all
                (select _record, id, job from raw.jobs where _load_id > 1
                except all select _record, id, job from raw.jobs where _load_id = 1)
            ) as differing
        """
        assert landing.database.rows(differing) == [(0,)]


def test_entering_it_twice_enters_it_once(landing: Landing, connection: Connection) -> None:
    landing.bucket.put("jobs.csv", b"1,a\n")
    landing.load_one()
    item = current_version(landing.bucket.client, landing.bucket.name, "jobs.csv")
    for _ in range(2):
        start_reload(connection, JOBS, item)
    assert open_load(connection, JOBS, item).load_id > 1
    assert [row[:2] for row in landing.database.rows(LEDGER)] == [(0, "complete"), (1, "loading")]


def test_a_reload_waits_for_a_load_of_the_same_table(landing: Landing) -> None:
    landing.bucket.put("jobs.csv", b"1,a\n")
    landing.load_one()
    with landing.database.connect() as other:
        other.execute("select pg_advisory_lock(hashtextextended('raw.jobs', 0))")
        thread = threading.Thread(target=reload, args=(landing,))
        thread.start()
        await_rows(landing.database, "select from pg_locks where locktype = 'advisory' and not granted")
        assert [row[:2] for row in landing.database.rows(LEDGER)] == [(0, "complete")]
    thread.join(60)
    assert [row[:2] for row in landing.database.rows(LEDGER)] == [(0, "complete"), (1, "complete")]


def again(bucket: Bucket, database: Database) -> "subprocess.Popen[str]":
    """Start `load … --again` in a separate process."""
    credentials = bucket.client._request_signer._credentials  # type: ignore[attr-defined]
    settings = {
        "S3_ENDPOINT_URL": bucket.endpoint,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "orchestration.ingest", "load", f"s3://{bucket.name}/jobs.csv", "--again"]
    with environment(database.environment | settings):
        return subprocess.Popen(
            command, env=dict(os.environ), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )


def test_the_command_reports_what_it_reloaded_and_requires_one_source(bucket: Bucket, database: Database) -> None:
    bucket.put("jobs.csv", b"1,a\n")
    for load_id in (1, 3):
        out, err = again(bucket, database).communicate(timeout=60)
        assert out.startswith(f"load {load_id}: s3://{bucket.name}/jobs.csv: 1 records, 0 rejected"), err
    command = [sys.executable, "-m", "orchestration.ingest", "load", "--again"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--again needs the file" in " ".join(refused.stderr.replace("│", "").split())


def await_rows(database: Database, query: str) -> Rows:
    deadline = time.monotonic() + 60
    while not (found := database.rows(query)):
        assert time.monotonic() < deadline, query
        time.sleep(0.02)
    return found
