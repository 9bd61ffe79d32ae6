"""Loaders that are killed: at a hundred random moments, and at the two most critical ones."""

import gzip
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from deploy.local.settings import Settings
from tests.conftest import Bucket, Database
from tests.faults.kills import HIRED_EMPLOYEES, Job, Killing, Loader, fork_server
from tests.faults.outcome import Left, discrepancies, forget, what_counts
from tests.faults.texts import hires_text

CHUNKS = 24
KILLS_PER_SEED = 26
SEEDS = range(4)
ANY_LOCK = 4711


@pytest.fixture(scope="module", autouse=True)
def _fork_server() -> Iterator[None]:
    with fork_server():
        yield


@pytest.fixture
def job(database: Database, bucket: Bucket, s3_server: tuple[Settings, Path]) -> Job:
    secrets = s3_server[0].secrets
    return Job(
        database.conninfo("hiring_loader"), bucket.endpoint, secrets.s3_access_key, secrets.s3_secret_key, bucket.name
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_load_whose_loaders_are_killed_leaves_what_an_undisturbed_one_leaves(
    job: Job, database: Database, bucket: Bucket, seed: int
) -> None:
    packed = seed % 2 == 1
    text = hires_text(CHUNKS * 1000 - seed, seed)
    bucket.put("hires/employees.csv.gz" if packed else "employees.csv", gzip.compress(text, 1) if packed else text)
    killing = Killing(job, database.conninfo(), packed, seed)
    try:
        tally = killing.run(KILLS_PER_SEED)
    finally:
        killing.close()
    assert tally.differences == []
    assert tally.kills == KILLS_PER_SEED
    # Else the load is over too soon, or the kills come too early, for this to be a test.
    within = [chunks for chunks in tally.fell if 0 < chunks < CHUNKS]
    assert len(within) >= 3, f"seed {seed}: the kills fell at {sorted(tally.fell.items())}"


class TestTheMomentsOfACommit:
    """The session of a killed loader is blocked in a trigger, and continues after the loader is dead."""

    @pytest.fixture
    def expected(self, job: Job, database: Database, bucket: Bucket) -> Left:
        bucket.put("employees.csv", hires_text(6000))
        loader = Loader(job)
        assert loader.ended()
        loader.close()
        left = what_counts(database.conninfo(), HIRED_EMPLOYEES.name)
        assert len(left["load_chunks"]) == 6
        forget(database.conninfo())
        return left

    @pytest.mark.parametrize(
        ("moment", "chunks_after"),
        [
            pytest.param("trigger stand_still after insert on raw.load_chunks", 2, id="between copy and commit"),
            # Deferred triggers run in the COMMIT, which the loader has sent and whose response nobody receives.
            pytest.param(
                "constraint trigger stand_still after insert on raw.load_chunks deferrable initially deferred",
                4,
                id="in the commit",
            ),
        ],
    )
    def test_leave_a_transaction_whole_or_not_at_all(
        self, job: Job, database: Database, expected: Left, moment: str, chunks_after: int
    ) -> None:
        with standing_still(database, moment, "new.chunk = 3") as holder:
            killed = Loader(job)
            wait_until_somebody_stands_still(holder)
            before = loaded_at(database)
            killed.kill()
            killed.close()
            assert sorted(before) == [0, 1]
            # The next one has to wait for the killed one's session, which still holds the table's lock.
            following = Loader(job)
            following.begun()
            assert not following.ended(0.2)
            assert loaded_at(database) == before
        assert following.ended()
        told = following.close()
        after = loaded_at(database)
        assert after.items() >= before.items()
        ((end,),) = database.rows("select byte_to from raw.load_chunks where chunk = %s", chunks_after - 1)
        assert [each[1] for each in told if each[0] == "read"] == [f"bytes={end}-"]
        assert what_counts(database.conninfo(), HIRED_EMPLOYEES.name) == expected

    @pytest.mark.parametrize(
        "moment",
        [
            pytest.param("trigger stand_still after update on raw.loads", id="before it"),
            pytest.param(
                "constraint trigger stand_still after update on raw.loads deferrable initially deferred", id="in it"
            ),
        ],
    )
    def test_that_completes_the_load_leaves_only_that_to_do(
        self, job: Job, database: Database, expected: Left, moment: str
    ) -> None:
        with standing_still(database, moment, "new.status = 'complete'") as holder:
            killed = Loader(job)
            wait_until_somebody_stands_still(holder)
            before = loaded_at(database)
            killed.kill()
            killed.close()
        following = Loader(job)
        assert following.ended()
        told = following.close()
        assert [each[1] for each in told if each[0] == "read"] == []
        assert loaded_at(database) == before
        assert len(before) == 6
        assert what_counts(database.conninfo(), HIRED_EMPLOYEES.name) == expected
        assert discrepancies(database.conninfo()) == []


def loaded_at(database: Database) -> dict[int, object]:
    return dict(database.rows("select chunk, loaded_at from raw.load_chunks"))


@contextmanager
def standing_still(
    database: Database, moment: str, condition: str
) -> "Iterator[psycopg.Connection[tuple[object, ...]]]":
    """Let a trigger wait until the end of the block."""
    # A lock, not pg_sleep: it is over when the test says so.
    database.execute(f"""
        create function stand_still() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock_shared({ANY_LOCK}); return null; end $$
    """)
    database.execute(f"create {moment} for each row when ({condition}) execute function stand_still()")
    try:
        with database.connect() as holder:
            holder.execute(f"select pg_advisory_lock({ANY_LOCK})")
            yield holder
            holder.execute("select pg_advisory_unlock_all()")
    finally:
        # Waits for a load in progress, whose records would otherwise still be in the table.
        database.execute("drop function stand_still cascade")


def wait_until_somebody_stands_still(holder: "psycopg.Connection[tuple[object, ...]]") -> None:
    question = f"select from pg_locks where locktype = 'advisory' and objid = {ANY_LOCK} and not granted"
    deadline = time.monotonic() + 20
    while holder.execute(question).fetchone() is None:
        assert time.monotonic() < deadline, "the loader does not come to that point"
        time.sleep(0.01)
