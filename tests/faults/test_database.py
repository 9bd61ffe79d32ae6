"""Databases that fail during a load, before or after a commit, or refuse statements: every record is loaded once."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from orchestration.ingest import loader
from orchestration.ingest.ledger import Totals
from orchestration.ingest.loader import Loaded, Outcome, Progress
from orchestration.ingest.session import DatabaseUnavailable
from tests.conftest import Bucket, Database
from tests.faults.conftest import Engine, at
from tests.faults.outcome import Left, discrepancies, forget, what_counts
from tests.faults.s3_faults import Fault, S3Proxy
from tests.faults.tcp_faults import PostgresProxy
from tests.faults.texts import jobs_text

if TYPE_CHECKING:
    from collections.abc import Sequence

Undisturbed = Callable[[], Left]

CHUNKS = 6
TEXT = jobs_text(CHUNKS * 1000)


def loaded_at(database: Database) -> dict[int, object]:
    return dict(database.rows("select chunk, loaded_at from raw.load_chunks"))


class TestAConnectionThatIsCut:
    @pytest.mark.parametrize("key", ["jobs.csv", "jobs.csv.gz"])
    @pytest.mark.parametrize("chunks", [1, 3, CHUNKS])
    def test_after_a_commit_is_reopened_and_the_load_continues(
        self, cut_off_engine: Engine, database: Database, bucket: Bucket, tcp: PostgresProxy,
        undisturbed: Undisturbed, chunks: int, key: str,
    ) -> None:  # fmt: skip
        bucket.put(key, gzip.compress(TEXT, mtime=0) if key.endswith(".gz") else TEXT)
        expected = undisturbed()
        committed: dict[int, object] = {}

        def cut() -> None:
            committed.update(loaded_at(database))
            tcp.cut()

        cut_off_engine.load_one(on_progress=at(chunks * 1000, cut))
        assert len(committed) == chunks
        assert what_counts(database.conninfo()) == expected
        assert loaded_at(database).items() >= committed.items()

    @pytest.mark.parametrize("share", [0.05, 0.301, 0.302, 0.304, 0.305, 0.95])
    def test_during_a_copy_rolls_it_back(
        self,
        cut_off_engine: Engine,
        database: Database,
        bucket: Bucket,
        tcp: PostgresProxy,
        undisturbed: Undisturbed,
        monkeypatch: pytest.MonkeyPatch,
        share: float,
    ) -> None:
        """A session that is cut during a write does not seem closed to psycopg, but accepts no statement."""
        monkeypatch.setattr(loader, "CHUNKS_PER_TRANSACTION", 3)
        # Far more than the sockets' buffers hold.
        text = jobs_text(CHUNKS * 1000, width=600)
        bucket.put("jobs.csv", text)
        expected = undisturbed()
        tcp.cut_after_bytes = int(share * len(text))
        cut_off_engine.load_one(give_up_seconds=3)
        assert tcp.cut_after_bytes is None
        assert what_counts(database.conninfo()) == expected

    @pytest.mark.parametrize("side", ["before", "after"])
    @pytest.mark.parametrize("commit", [1, 4, CHUNKS])
    def test_at_the_commit_of_a_chunk_leaves_it_once(
        self, cut_off_engine: Engine, database: Database, bucket: Bucket, tcp: PostgresProxy,
        undisturbed: Undisturbed, commit: int, side: str,
    ) -> None:  # fmt: skip
        """A loader that treats a commit without a response as failed loads the chunk a second time."""
        bucket.put("jobs.csv", TEXT)
        expected = undisturbed()
        tcp.at_commit = {commit: "before" if side == "before" else "after"}
        cut_off_engine.load_one()
        assert what_counts(database.conninfo()) == expected
        # The chunk whose commit never arrived is committed again; the one whose response was lost is not.
        assert tcp.commits == CHUNKS + 1 + (side == "before")

    @pytest.mark.parametrize("side", ["before", "after"])
    def test_at_the_commit_that_completes_the_load_leaves_it_complete(
        self, cut_off_engine: Engine, database: Database, bucket: Bucket, tcp: PostgresProxy,
        undisturbed: Undisturbed, side: str,
    ) -> None:  # fmt: skip
        bucket.put("jobs.csv", TEXT)
        expected = undisturbed()
        tcp.at_commit = {CHUNKS + 1: "before" if side == "before" else "after"}
        outcome = cut_off_engine.load_one()
        assert outcome.totals == Totals(records=CHUNKS * 1000, malformed=CHUNKS * 20, invalid=CHUNKS * 20)
        assert what_counts(database.conninfo()) == expected
        assert tcp.commits == CHUNKS + 1 + (side == "before")

    def test_at_every_second_commit_still_lets_the_load_come_to_its_end(
        self, cut_off_engine: Engine, database: Database, bucket: Bucket, tcp: PostgresProxy,
        undisturbed: Undisturbed,
    ) -> None:  # fmt: skip
        """Each commit shows that the database is available: without a restart of the time it would be over."""
        bucket.put("jobs.csv", TEXT)
        expected = undisturbed()
        tcp.at_commit = dict.fromkeys(range(2, 30, 2), "after")
        cut_off_engine.load_one(give_up_seconds=0.3)
        assert what_counts(database.conninfo()) == expected


class TestADatabaseThatIsAway:
    def test_for_a_while_is_waited_for(
        self, cut_off_engine: Engine, database: Database, bucket: Bucket, tcp: PostgresProxy,
        undisturbed: Undisturbed,
    ) -> None:  # fmt: skip
        bucket.put("jobs.csv", TEXT)
        expected = undisturbed()

        def leave() -> None:
            tcp.leave()
            threading.Timer(0.5, tcp.come_back).start()

        cut_off_engine.load_one(on_progress=at(3000, leave))
        assert what_counts(database.conninfo()) == expected

    def test_for_longer_than_a_loader_waits_is_reported_and_the_next_load_finishes(
        self, cut_off_engine: Engine, database: Database, bucket: Bucket, tcp: PostgresProxy,
        undisturbed: Undisturbed,
    ) -> None:  # fmt: skip
        bucket.put("jobs.csv", TEXT)
        expected = undisturbed()
        before = time.monotonic()
        with pytest.raises(
            DatabaseUnavailable,
            match=r"^Postgres accepted nothing for 1 s: .+; "
            "committed records are kept, and the next load continues after them$",
        ):
            cut_off_engine.load(give_up_seconds=1, on_progress=at(3000, tcp.leave))
        assert time.monotonic() - before >= 1
        committed = loaded_at(database)
        assert len(committed) == 3
        assert discrepancies(database.conninfo()) == []
        with pytest.raises(psycopg.OperationalError):
            cut_off_engine.load()
        tcp.come_back()
        cut_off_engine.load_one()
        assert what_counts(database.conninfo()) == expected
        assert loaded_at(database).items() >= committed.items()

    def test_for_a_moment_after_a_long_read_is_waited_for_as_well(
        self, engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, tcp: PostgresProxy,
        undisturbed: Undisturbed,
    ) -> None:  # fmt: skip
        """A large gzip file is read from its beginning to the first missing chunk: that may take longer than a
        loader waits, and is no fault of the database's."""
        bucket.put("jobs.csv", TEXT)
        expected = undisturbed()
        s3.script([Fault("call", action=lambda: time.sleep(0.8))])
        tcp.at_commit = {1: "before"}
        through_proxy = Engine(tcp.conninfo(engine.conninfo), engine.client, engine.bucket)
        through_proxy.load_one(give_up_seconds=0.5)
        assert what_counts(database.conninfo()) == expected


class TestTwoEngines:
    """The first is half-way and the second waits for its table when the first loses its session."""

    @pytest.fixture
    def half_way(self, engine: Engine, bucket: Bucket) -> Iterator["Pair"]:
        bucket.put("jobs.csv", TEXT)
        with ThreadPoolExecutor(2) as pool:
            pair = Pair(engine, pool)
            try:
                yield pair
            finally:
                pair.let_go()

    def test_never_load_concurrently_and_the_disconnected_one_finds_the_load_complete(
        self, undisturbed: Undisturbed, bucket: Bucket, database: Database, half_way: "Pair"
    ) -> None:
        expected = undisturbed_of(bucket, undisturbed)
        half_way.begin(database)
        terminate(database, half_way.first_pid)
        half_way.second_is_half_way.wait(10)
        half_way.first_may_go_on.set()
        # The first has noticed, is back, and is the one that waits.
        waiting_for_the_table(database)
        told = list(half_way.told_by_first)
        half_way.second_may_go_on.set()
        first, second = half_way.outcomes()
        assert isinstance(first, Loaded)
        assert isinstance(second, Loaded)
        assert (first.totals.records, second.totals.records) == (CHUNKS * 1000, CHUNKS * 1000)
        assert half_way.told_by_first == told == [1000, 2000]
        assert half_way.told_by_second == [3000, 4000, 5000, 6000]
        assert what_counts(database.conninfo()) == expected

    def test_never_load_concurrently_even_if_waiting_for_the_table_is_interrupted(
        self, undisturbed: Undisturbed, bucket: Bucket, database: Database, half_way: "Pair"
    ) -> None:
        """A lock_timeout or a cancelled statement ends the waiting but not the session: that may not write."""
        expected = undisturbed_of(bucket, undisturbed)
        half_way.begin(database)
        terminate(database, half_way.first_pid)
        half_way.second_is_half_way.wait(10)
        half_way.first_may_go_on.set()
        (pid,) = waiting_for_the_table(database)
        database.execute("select pg_cancel_backend(%s)", pid)
        time.sleep(0.5)  # longer than the first pause
        told = list(half_way.told_by_first)
        half_way.second_may_go_on.set()
        first, second = half_way.outcomes()
        assert isinstance(first, Loaded)
        assert isinstance(second, Loaded)
        assert half_way.told_by_first == told == [1000, 2000]
        assert half_way.told_by_second == [3000, 4000, 5000, 6000]
        assert what_counts(database.conninfo()) == expected


def undisturbed_of(bucket: Bucket, undisturbed: Undisturbed) -> Left:
    bucket.put("jobs.csv", TEXT)
    return undisturbed()


class Pair:
    """Two engines: the first stops after two chunks, the second waits for it, and stops after its first one."""

    def __init__(self, engine: Engine, pool: ThreadPoolExecutor) -> None:
        self._engine = engine
        self._pool = pool
        self._futures: list[Future[list[Outcome]]] = []
        self._first_is_half_way = threading.Event()
        self.first_may_go_on, self.second_may_go_on = threading.Event(), threading.Event()
        self.second_is_half_way = threading.Event()
        self.told_by_first: list[int] = []
        self.told_by_second: list[int] = []
        self.first_pid = 0

    def begin(self, database: Database) -> None:
        self._futures.append(self._pool.submit(self._engine.load, 20, self._watch_first))
        assert self._first_is_half_way.wait(10)
        ((self.first_pid,),) = database.rows(
            "select pid from pg_stat_activity where application_name = 'hiring_loader'"
        )
        self._futures.append(self._pool.submit(self._engine.load, 20, self._watch_second))
        waiting_for_the_table(database)

    def _watch_first(self, progress: Progress) -> None:
        self.told_by_first.append(progress.totals.records)
        if progress.totals.records == 2000:
            self._first_is_half_way.set()
            self.first_may_go_on.wait(20)

    def _watch_second(self, progress: Progress) -> None:
        self.told_by_second.append(progress.totals.records)
        if not self.second_is_half_way.is_set():
            self.second_is_half_way.set()
            self.second_may_go_on.wait(20)

    def outcomes(self) -> "Sequence[Outcome]":
        return [outcome for future in self._futures for outcome in future.result(timeout=30)]

    def let_go(self) -> None:
        self.first_may_go_on.set()
        self.second_may_go_on.set()


def waiting_for_the_table(database: Database) -> list[int]:
    """Wait until some session waits for an advisory lock, and return which do."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        waiting = database.rows("""
            select pid from pg_locks inner join pg_database as d on d.oid = database and datname = current_database()
            where locktype = 'advisory' and not granted
        """)
        if waiting:
            return [pid for (pid,) in waiting]
        time.sleep(0.01)
    raise AssertionError("nobody waits for the table")


def terminate(database: Database, pid: int) -> None:
    assert database.rows("select pg_terminate_backend(%s, 5000)", pid) == [(True,)]


class TestATableThatRefuses:
    def test_for_want_of_disk_space_is_tried_again(
        self, engine: Engine, database: Database, bucket: Bucket, undisturbed: Undisturbed
    ) -> None:
        bucket.put("jobs.csv", TEXT)
        expected = undisturbed()
        with refusing(
            database,
            "raw.load_chunks",
            # nextval is not rolled back, so that it can count the attempts that are.
            "if new.chunk = 3 and nextval('attempts') <= 3 then raise exception using errcode = '53100'; end if;",
        ):
            engine.load_one()
            assert database.rows("select last_value from attempts") == [(4,)]
        assert what_counts(database.conninfo()) == expected

    def test_for_lack_of_disk_space_for_too_long_is_reported(
        self, engine: Engine, database: Database, bucket: Bucket, undisturbed: Undisturbed
    ) -> None:
        bucket.put("jobs.csv", TEXT)
        expected = undisturbed()
        full = "if new.chunk = 3 then raise exception using errcode = '53100', message = 'no space left'; end if;"
        with (
            refusing(database, "raw.load_chunks", full),
            pytest.raises(DatabaseUnavailable, match=r"accepted nothing for 0.6 s: no space left;"),
        ):
            engine.load(give_up_seconds=0.6)
        assert len(loaded_at(database)) == 3
        engine.load_one()
        assert what_counts(database.conninfo()) == expected

    @pytest.mark.parametrize("transaction", [1, 64])
    @pytest.mark.parametrize(
        ("change", "back", "refused"),
        [
            pytest.param(
                "alter table raw.jobs add constraint own check (id not in ('1', '2500', '2501', '6000'))",
                "alter table raw.jobs drop constraint own",
                [1, 2500, 2501, 6000],
                id="constraint",
            ),
            pytest.param(
                "alter table raw.jobs alter column id type integer using id::integer",
                "alter table raw.jobs alter column id type text",
                [2222, 4444],
                id="type",
            ),
        ],
    )
    def test_some_records_is_given_the_others(
        self, engine: Engine, database: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch,
        change: str, back: str, refused: list[int], transaction: int,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(loader, "CHUNKS_PER_TRANSACTION", transaction)
        lines = [b"%d,job %d" % (number, number) for number in range(1, CHUNKS * 1000 + 1)]
        if "type" in change:
            for number in refused:
                lines[number - 1] = b"no number,job %d" % number
        text = b"\n".join(lines)
        bucket.put("jobs.csv", text)
        database.execute(change)
        try:
            assert engine.load_one().totals.rejected == len(refused)
            assert discrepancies(database.conninfo()) == []
            # Row for row what the file has, but for these.
            assert [
                tuple(map(str, row)) for row in database.rows("select _record, id, job from raw.jobs order by 1")
            ] == [
                (str(number), *line.decode().split(","))
                for number, line in enumerate(lines, 1)
                if number not in refused
            ]
            kept = database.rows(
                "select record, line, byte_from, reason, raw, raw_bytes from raw.rejected_records order by 1"
            )
        finally:
            forget(database.conninfo())
            database.execute(back)
        assert kept == [
            (number, number, text.index(lines[number - 1]), "refused_by_table", line, len(line))
            for number in refused
            for line in [lines[number - 1]]
        ]


@contextmanager
def refusing(database: Database, table: str, body: str) -> Iterator[None]:
    """Let a trigger refuse rows of a table while the block runs."""
    database.execute("create sequence attempts")
    database.execute("grant usage on attempts to hiring_loader")
    database.execute(f"create function refuse() returns trigger language plpgsql as $$ begin {body} return new; end $$")
    database.execute(f"create trigger refuse before insert on {table} for each row execute function refuse()")
    try:
        yield
    finally:
        database.execute("drop function refuse cascade")
        database.execute("drop sequence attempts")


def test_all_faults_together_have_the_result_of_an_undisturbed_load(
    engine: Engine, database: Database, bucket: Bucket, s3: S3Proxy, tcp: PostgresProxy, undisturbed: Undisturbed
) -> None:
    bucket.put("jobs.csv", TEXT)
    expected = undisturbed()
    s3.script([Fault("status"), Fault("close", after=150_000), Fault("reset", after=99_999), Fault("close", after=1)])
    tcp.at_commit = {2: "after", 5: "before", 7: "after", 8: "after"}
    tcp.cut_after_bytes = len(TEXT) // 2
    Engine(tcp.conninfo(engine.conninfo), engine.client, engine.bucket).load_one()
    assert what_counts(database.conninfo()) == expected
