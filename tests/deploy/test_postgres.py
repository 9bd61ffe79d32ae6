"""The embedded Postgres after a kill, in unusual folders, and next to other servers: it recovers, and harms none."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from deploy.local.postgres import TRUST, EmbeddedPostgres, PostgresRefused, running_postgres
from tests.conftest import free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A separate cluster for this module, in a folder with an unusual name, with a password that breaks a URL."""
    folder = tmp_path_factory.mktemp("x y+z%20#ü,&=@") / ("long" * 20) / "postgres"
    with running_postgres(folder, "p w+%41&#@/:?") as running:
        yield running


@pytest.fixture(autouse=True)
def _is_up_again(server: EmbeddedPostgres) -> Iterator[None]:
    yield
    server.start()


def postmaster(server: EmbeddedPostgres) -> psutil.Process:
    return psutil.Process(int((server.folder / "postmaster.pid").read_text().splitlines()[0]))


def kill(server: EmbeddedPostgres) -> None:
    process = postmaster(server)
    process.kill()
    deadline = time.monotonic() + 10
    while server.ended() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answers(server: EmbeddedPostgres) -> bool:
    with psycopg.connect(server.conninfo()) as connection:
        return connection.execute("select true").fetchone() == (True,)


def test_a_folder_with_any_characters_and_a_long_path_serves(server: EmbeddedPostgres) -> None:
    """libpq divides PGHOST at commas, a socket's path has 107 bytes, and a shell divides paths at spaces."""
    assert answers(server)
    assert Path(server.host) != server.folder
    assert Path(server.host).stat().st_mode & 0o077 == 0


def test_a_database_orders_text_by_code_point_in_any_locale(server: EmbeddedPostgres) -> None:
    server.create_database("ordered")
    with psycopg.connect(server.conninfo("ordered")) as connection:
        assert connection.execute(
            "select datlocprovider, datlocale, pg_encoding_to_char(encoding) from pg_database where datname = 'ordered'"
        ).fetchone() == ("b", "C.UTF-8", "UTF8")
        assert connection.execute("select 'B' < 'a' and 'z' < 'ä', upper('ä') = 'Ä'").fetchone() == (True, True)


def test_a_killed_server_reports_how_it_ended_and_restarts_with_everything_committed(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.conninfo()) as connection:
        connection.execute("create table committed as select 1 as one")

    kill(server)

    assert server.ended() == "ended with status -9"
    assert not server.is_ready()
    assert server.start()
    with psycopg.connect(server.conninfo()) as connection:
        assert connection.execute("select one from committed").fetchone() == (1,)


def test_a_session_that_outlives_the_killed_server_is_ended_before_another_server_works_on_its_files(
    server: EmbeddedPostgres,
) -> None:
    """The new server replays the log while the session still writes to the same files."""
    session = psycopg.connect(server.conninfo())
    pid = session.info.backend_pid
    os.kill(pid, signal.SIGSTOP)
    kill(server)
    time.sleep(0.2)
    assert psutil.Process(pid).status() == psutil.STATUS_STOPPED

    server.start()

    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert answers(server)
    with pytest.raises(psycopg.OperationalError):
        session.execute("select 1")


def test_the_lock_of_a_running_server_is_kept(server: EmbeddedPostgres) -> None:
    """Two servers on the same files destroy them."""
    process, lock = postmaster(server), server.folder / "postmaster.pid"
    text = lock.read_text()
    lock.unlink()
    try:
        with pytest.raises(PostgresRefused, match=rf"pid {process.pid}\) is running on .* without its file"):
            server.start()
        assert process.is_running()
    finally:
        lock.write_text(text)
    assert answers(server)


def test_a_server_of_another_folder_with_a_reused_pid_is_not_mistaken_for_this_one(
    server: EmbeddedPostgres, postgres: EmbeddedPostgres
) -> None:
    kill(server)
    lines = (server.folder / "postmaster.pid").read_text().splitlines()
    other = postmaster(postgres)
    (server.folder / "postmaster.pid").write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")

    assert not server.is_running()
    assert server.start()

    assert answers(server)
    assert other.is_running()
    assert answers(postgres)


def test_who_only_uses_the_server_waits_for_the_owner_to_start_it_again(server: EmbeddedPostgres) -> None:
    """Another process that started it, too, would take it from its owner, who watches it."""
    kill(server)
    user = EmbeddedPostgres(server.folder, server.password)
    server.launch()

    user.attach()

    assert answers(user)
    assert postmaster(server).ppid() == os.getpid()


def test_a_server_that_has_not_written_yet_where_its_socket_is_has_to_be_waited_for(server: EmbeddedPostgres) -> None:
    lock = server.folder / "postmaster.pid"
    text = lock.read_text()
    lines = text.splitlines()
    lines[4] = ""
    lock.write_text("\n".join(lines) + "\n")
    try:
        assert not EmbeddedPostgres(server.folder, server.password).find()
    finally:
        lock.write_text(text)
    assert EmbeddedPostgres(server.folder, server.password).find()


def test_a_loopback_port_admits_only_the_reader_and_the_socket_keeps_its_name(tmp_path: Path) -> None:
    """Every user of the machine can reach it: before there are passwords, and for roles that write, it is closed."""
    port = free_port()
    postgres = EmbeddedPostgres(tmp_path / "postgres", "superuser")
    postgres.start()
    postgres.stop()
    (tmp_path / "postgres" / "pg_hba.conf").write_text(TRUST)
    over_tcp = {"host": "127.0.0.1", "port": port, "dbname": "hiring", "password": "secret", "connect_timeout": 5}
    try:
        postgres._tcp_port = port
        postgres.launch()
        while not postgres.is_ready():
            time.sleep(0.05)
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            psycopg.connect(**over_tcp, user="postgres")

        assert not postgres.start(port)
        assert postgres.listens_on(port)
        postgres.create_database("hiring")
        for role in ("hiring_reader", "hiring_api"):
            postgres.ensure_role(role, "secret")
        psycopg.connect(**over_tcp, user="hiring_reader").close()
        for role in ("hiring_api", "postgres"):
            with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
                psycopg.connect(**over_tcp, user=role)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(**over_tcp | {"password": "wrong"}, user="hiring_reader")

        other = EmbeddedPostgres(postgres.folder, "superuser")
        other.attach()
        assert answers(other)
        kill(postgres)
        postgres.start()
        assert answers(postgres)
        assert not postgres.listens_on(port)
    finally:
        postgres.stop()


def test_the_superusers_password_is_not_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c log_statement=ddl")
    with running_postgres(tmp_path / "postgres", "top-secret") as postgres:
        log = postgres.log.read_text()
    assert 'statement: alter role "postgres" password ' in log
    assert "top-secret" not in log
