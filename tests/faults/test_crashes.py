"""A Postgres that crashes (pg_ctl stop -m immediate) and restarts during a load."""

import threading
from collections.abc import Callable, Iterator

import pytest

from deploy.local.postgres import running_postgres
from orchestration.ingest.loader import Progress
from orchestration.migrations import ROLES, migrate
from tests.conftest import Bucket, Database
from tests.faults.conftest import Engine, at
from tests.faults.outcome import Left, what_counts
from tests.faults.texts import jobs_text

CHUNKS = 6
TEXT = jobs_text(CHUNKS * 1000)


@pytest.fixture(scope="module")
def module_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A separate cluster for this module, which writes asynchronous commits to disk as late as possible."""
    folder = tmp_path_factory.mktemp("crashing") / "postgres"
    with running_postgres(folder, "superuser") as server:
        server.create_database("crashing")
        migrate(server.conninfo("crashing"), {role: role for role in ROLES})
        database = Database(server, "crashing")
        database.execute("alter system set wal_writer_delay = '10s'")
        database.execute("alter system set wal_writer_flush_after = '1GB'")
        database.execute("select pg_reload_conf()")
        yield database


@pytest.mark.parametrize("chunks", [1, 4, CHUNKS])
def test_chunks_that_did_not_wait_for_the_disk_are_lost_and_loaded_again(
    engine: Engine, database: Database, bucket: Bucket, undisturbed: Callable[[], Left], chunks: int
) -> None:
    """A loader that continued from its memory instead of the ledger would leave a gap."""
    bucket.put("jobs.csv", TEXT)
    expected = undisturbed()
    starting = threading.Thread(target=database.postgres.start)
    told: list[int] = []

    def crash() -> None:
        database.postgres.crash()
        starting.start()

    crash_once = at(chunks * 1000, crash)

    def watch(progress: Progress) -> None:
        told.append(progress.totals.records)
        crash_once(progress)

    engine.load_one(give_up_seconds=60, on_progress=watch)
    starting.join()
    assert what_counts(database.conninfo()) == expected
    # Some were reported as committed twice: the crash did lose them.
    assert len(told) > CHUNKS


def test_a_load_that_was_reported_as_complete_is_never_lost(engine: Engine, database: Database, bucket: Bucket) -> None:
    bucket.put("jobs.csv", TEXT)
    engine.load_one()
    left = what_counts(database.conninfo())
    database.postgres.crash()
    database.postgres.start()
    assert what_counts(database.conninfo()) == left
    assert engine.load() == []
