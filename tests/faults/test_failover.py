"""A database that accepts connections but no writes, as after a failover: loaders wait for the new primary."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy
from dagster_postgres.utils import create_pg_connection

from deploy.local.postgres import EmbeddedPostgres
from orchestration.ingest.session import DatabaseUnavailable
from orchestration.instance.storage import PooledPostgresStorage
from tests.api.conftest import KEY, build_marts, eventually, marts, serving, settings_for
from tests.api.test_employees import hire
from tests.conftest import Bucket, Database
from tests.faults.conftest import Engine, at
from tests.faults.outcome import Left, discrepancies, forget, what_counts
from tests.faults.standby import catch_up, hot_standby, promote
from tests.faults.tcp_faults import SOCKET_NAME, PostgresProxy
from tests.faults.test_database import refusing
from tests.faults.texts import jobs_text

CHUNKS = 6
TEXT = jobs_text(CHUNKS * 1000)


@pytest.fixture
def standby(database: Database) -> Iterator[Database]:
    """The test's database on a hot standby."""
    with hot_standby(database.postgres) as server:
        catch_up(database.postgres, server)
        yield Database(server, database.name)


@pytest.fixture(autouse=True)
def _writable_for_others(database: Database) -> Iterator[None]:
    yield
    read_only(database, "off")


def lead_to(tcp: PostgresProxy, server: EmbeddedPostgres) -> None:
    """Let the proxy's address be another server's for connections that are made from now on."""
    tcp.upstream = Path(server.host) / SOCKET_NAME


def test_a_load_that_finds_a_standby_waits_until_it_is_promoted(
    cut_off_engine: Engine, database: Database, standby: Database, bucket: Bucket, tcp: PostgresProxy,
    undisturbed: Callable[[], Left],
) -> None:  # fmt: skip
    """A standby accepts connections and locks: a loader that handles only unreachable servers fails here."""
    bucket.put("jobs.csv", TEXT)
    expected = undisturbed()

    def fail_over() -> None:
        lead_to(tcp, standby.postgres)
        tcp.cut()
        threading.Timer(1, promote, [standby.postgres]).start()

    cut_off_engine.load_one(on_progress=at(3000, fail_over))
    assert what_counts(standby.conninfo()) == expected
    assert discrepancies(standby.conninfo()) == []
    forget(database.conninfo())


def test_a_load_that_begins_on_a_standby_ends_on_the_server_that_the_name_then_resolves_to(
    cut_off_engine: Engine, database: Database, standby: Database, bucket: Bucket, tcp: PostgresProxy,
    undisturbed: Callable[[], Left],
) -> None:  # fmt: skip
    """The connection to the standby is never cut: a loader that keeps it waits for ever."""
    bucket.put("jobs.csv", TEXT)
    expected = undisturbed()
    lead_to(tcp, standby.postgres)
    threading.Timer(1, lead_to, [tcp, database.postgres]).start()
    cut_off_engine.load_one()
    assert what_counts(database.conninfo()) == expected


def test_a_load_waits_for_a_server_that_has_become_read_only(
    cut_off_engine: Engine, database: Database, bucket: Bucket, undisturbed: Callable[[], Left]
) -> None:
    """As providers do to a server whose disk is nearly full: sessions stay, and each write is refused."""
    bucket.put("jobs.csv", TEXT)
    expected = undisturbed()

    def close_for_a_second() -> None:
        read_only(database, "on")
        threading.Timer(1, read_only, [database, "off"]).start()

    cut_off_engine.load_one(on_progress=at(3000, close_for_a_second))
    assert what_counts(database.conninfo()) == expected


def test_a_server_that_stays_read_only_is_named_and_the_next_load_finishes(
    cut_off_engine: Engine, database: Database, bucket: Bucket, undisturbed: Callable[[], Left]
) -> None:
    bucket.put("jobs.csv", TEXT)
    expected = undisturbed()
    with pytest.raises(DatabaseUnavailable, match="read-only transaction; committed records are kept"):
        cut_off_engine.load(give_up_seconds=1, on_progress=at(3000, lambda: read_only(database, "on")))
    read_only(database, "off")
    cut_off_engine.load_one()
    assert what_counts(database.conninfo()) == expected


def read_only(database: Database, value: str) -> None:
    """Set what transactions of the database are by default; sessions that there are go by it, too, after a reload."""
    with database.connect() as connection:
        # The superuser's own sessions as well.
        connection.execute("set default_transaction_read_only = off")
        connection.execute(f"alter system set default_transaction_read_only = {value}")
        connection.execute("select pg_reload_conf()")


class TestTheApi:
    """It has connections to a standby, which are never closed."""

    @pytest.fixture
    def client(self, database: Database, standby_with_marts: Database, tcp: PostgresProxy) -> Iterator[httpx.Client]:
        lead_to(tcp, standby_with_marts.postgres)
        with serving(settings_for(database, pghost=str(tcp.folder), api_pool_size=4)) as client:
            yield client

    @pytest.fixture
    def standby_with_marts(self, database: Database) -> Iterator[Database]:
        build_marts(database)
        try:
            with hot_standby(database.postgres) as server:
                catch_up(database.postgres, server)
                yield Database(server, database.name)
        finally:
            database.execute(f"drop table {', '.join(f'marts.{name}' for name in marts())} cascade")

    def test_reads_from_a_standby_and_asks_writers_to_retry(self, client: httpx.Client) -> None:
        """Before the first POST, too: a load balancer has to know without one."""
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["detail"]) == (
            503,
            "The database is not ready for writes; try again later.",
        )
        for _ in range(20):
            answer = post(client)
            assert (answer.status_code, answer.json()["detail"]) == (503, ready.json()["detail"])
            assert int(answer.headers["retry-after"]) > 0
        assert client.get("/metrics/hires-by-quarter?year=2021").status_code == 200
        assert client.get("/health/live").status_code == 200

    def test_writes_by_itself_once_the_standby_is_promoted(
        self, client: httpx.Client, standby_with_marts: Database
    ) -> None:
        assert post(client).status_code == 503
        promote(standby_with_marts.postgres)
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert [post(client).status_code for _ in range(8)] == [201] * 8

    def test_leaves_the_standby_when_its_address_leads_elsewhere(
        self, client: httpx.Client, database: Database, tcp: PostgresProxy
    ) -> None:
        """A pool that keeps its connections would continue to fail although the primary is available."""
        assert post(client).status_code == 503
        lead_to(tcp, database.postgres)
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert [post(client).status_code for _ in range(8)] == [201] * 8
        assert database.rows("select count(*) from raw.hired_employees") == [(8,)]

    def test_asks_writers_to_retry_whatever_makes_the_server_read_only(self, database: Database) -> None:
        with (
            refusing(database, "raw.loads", "raise exception using errcode = '25006';"),
            serving(settings_for(database)) as client,
        ):
            answer = post(client)
        assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5")


def post(client: httpx.Client) -> httpx.Response:
    return client.post("/employees", json=[hire()], headers={"X-API-Key": KEY})


class TestDagstersStorage:
    @pytest.fixture
    def dagster(self, database: Database) -> Iterator[Database]:
        """A database of Dagster's own on the test's server."""
        own = Database(database.postgres, f"{database.name}_dagster")
        own.postgres.create_database(own.name)
        yield own
        database.execute(f"drop database {own.name} with (force)")

    @pytest.fixture
    def engine(self, dagster: Database, standby: Database, tcp: PostgresProxy) -> sqlalchemy.Engine:
        """The storage's connections, one of which leads to the primary."""
        url = f"postgresql://postgres:{dagster.postgres.password}@/{dagster.name}?host={tcp.folder}"
        engine = PooledPostgresStorage(url).run_storage._engine
        assert data_directory(engine) == str(dagster.postgres.folder)
        catch_up(dagster.postgres, standby.postgres)
        return engine

    def test_leaves_a_server_that_has_become_read_only(
        self, engine: sqlalchemy.Engine, dagster: Database, standby: Database, tcp: PostgresProxy
    ) -> None:
        """A connection is tested before use, but not for writes: it would be kept for ever."""
        read_only(dagster, "on")
        with create_pg_connection(engine) as connection, pytest.raises(sqlalchemy.exc.DBAPIError, match="read-only"):
            connection.execute(sqlalchemy.text("create table anything ()"))
        promote(standby.postgres)
        lead_to(tcp, standby.postgres)
        assert data_directory(engine) == str(standby.postgres.folder)
        read_only(dagster, "off")

    def test_waits_for_a_standby_to_be_promoted(
        self, engine: sqlalchemy.Engine, standby: Database, tcp: PostgresProxy
    ) -> None:
        lead_to(tcp, standby.postgres)
        tcp.cut()
        threading.Timer(1, promote, [standby.postgres]).start()
        with create_pg_connection(engine) as connection:
            assert connection.execute(sqlalchemy.text("select not pg_is_in_recovery()")).scalar()


def data_directory(engine: sqlalchemy.Engine) -> str:
    with create_pg_connection(engine) as connection:
        return str(connection.execute(sqlalchemy.text("show data_directory")).scalar())
