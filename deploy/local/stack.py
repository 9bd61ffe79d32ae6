"""The embedded stack as a whole: one owner per STATE_DIR, which starts servers in order and stops everything."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import psycopg
from rich.console import Console
from rich.markup import escape

from deploy.local import services
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.services import Service
from deploy.local.settings import PROJECT, Settings, orchestration_environment
from deploy.local.supervisor import Interrupted, StackError, Supervisor, require_free_port
from orchestration.instance.tables import unfinished_runs
from orchestration.migrations import ROLES, migrate
from orchestration.warehouse.published import built_marts, unpublished_loads

# Users of `make psql` own the server: this keeps a typo from changing what the pipeline wrote.
READ_EVERYTHING = "-c role=pg_read_all_data -c default_transaction_read_only=on"


class Stack:
    """The servers of one STATE_DIR, started step by step; created by `own`."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self.settings = settings
        self.console = console
        self.postgres = EmbeddedPostgres(settings.state_dir / "postgres", settings.secrets.postgres)
        self.supervisor = Supervisor(settings.state_dir, settings.logs)

    def start_postgres(self, tcp_port: int | None = None) -> None:
        """Start Postgres, create its two databases and the roles, and migrate schema raw.

        Args:
            tcp_port: a loopback port for BI tools; without one it listens on its socket only.

        Raises:
            StackError: the port is taken.
        """
        with self.step("Postgres"):
            if tcp_port is not None and not self.postgres.listens_on(tcp_port):
                # One that a killed stack left running has another port, or none.
                self.postgres.stop()
                require_free_port("postgres", tcp_port, "PG_PORT")
            self.postgres.start(tcp_port)
            self.supervisor.adopt(self.postgres)
            secrets = self.settings.secrets
            self.postgres.ensure_role("dagster", secrets.dagster)
            self.postgres.create_database("dagster", owner="dagster")
            self.postgres.create_database("hiring")
            migrate(self.postgres.conninfo("hiring"), {role: getattr(secrets, role) for role in ROLES})

    def start_s3(self) -> None:
        """Start the S3 server on the landing folder."""
        with self.step("S3"):
            self.supervisor.start(services.s3(self.settings, self.postgres.host))

    def prepare_dagster(self) -> None:
        """Write Dagster's instance settings, and mark runs as failed whose processes are gone."""
        home = self.settings.dagster_home
        home.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / "deploy" / "dagster.yaml", home / "dagster.yaml")
        with psycopg.connect(self.postgres.conninfo("dagster")) as connection:
            unfinished = unfinished_runs(connection)
        if unfinished:
            with self.step("Interrupted runs"):
                if self.supervisor.run(self.module("deploy.local.interrupted_runs")):
                    log = self.settings.logs / "interrupted-runs.log"
                    raise StackError(f"interrupted runs cannot be marked as failed in Dagster; the log is {log}")

    def start_dagster_and_api(self) -> None:
        """Start Dagster's code server, UI and daemon, and the API."""
        settings, host = self.settings, self.postgres.host
        with self.step("API and Dagster's code server"):
            self.supervisor.start(services.api(settings, host), services.code_server(settings, host))
        with self.step("Dagster's UI and daemon"):
            # The first process creates Dagster's tables; two that do so at the same time would collide.
            self.supervisor.start(services.webserver(settings, host))
            self.supervisor.start(services.daemon(settings, host, self.postgres.conninfo("dagster")))

    def refresh(self) -> None:
        """Run Dagster's refresh job in a process of its own and show its progress.

        Raises:
            StackError: the job failed; the message says why.
        """
        started = time.monotonic()
        errors = self.settings.logs / "refresh.errors"
        errors.unlink(missing_ok=True)
        with self.console.status("Dagster's job refresh") as status:

            def show() -> None:
                seconds = time.monotonic() - started
                status.update(f"Dagster's job refresh: {self._progress()} ({seconds:.0f} s)")

            failed = self.supervisor.run(self.module("deploy.local.refresh", {"REFRESH_ERRORS": str(errors)}), show)
        if failed:
            reasons = errors.read_text().strip() if errors.exists() else ""
            raise StackError(reasons or f"the job refresh failed; its log is {self.settings.logs / 'refresh.log'}")
        self.console.print(f"[green]✓[/] Dagster's job refresh [dim]{time.monotonic() - started:.1f} s[/]")

    def watch(self) -> None:
        """Keep the services, including Postgres, running until the stack is asked to stop."""
        for line in self.supervisor.watch():
            self.console.print("[yellow]![/]", escape(line), soft_wrap=True)

    def module(self, module: str, extra: Mapping[str, str] | None = None) -> Service:
        """Return a one-off process of this package in Dagster's environment.

        Args:
            module: its full name.
            extra: further environment variables.
        """
        environment = orchestration_environment(self.settings, self.postgres.host) | dict(extra or {})
        return Service(
            module.rpartition(".")[2].replace("_", "-"),
            (sys.executable, "-m", module),
            environment,
            lambda: True,
        )

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show that a step of the start is in progress, and then how long it took."""
        started = time.monotonic()
        with self.console.status(name):
            yield
        self.console.print(f"[green]✓[/] {name} [dim]{time.monotonic() - started:.1f} s[/]")

    def _progress(self) -> str:
        with psycopg.connect(self.postgres.conninfo("hiring")) as connection:
            objects, records, loading = connection.execute(
                """
                select
                    count(distinct l.load_id), coalesce(sum(c.records), 0), count(*) filter (where l.status = 'loading')
                from raw.loads as l
                left join raw.load_chunks as c using (load_id)
                where l.source = 'object'
                """
            ).fetchone() or (0, 0, 0)
            is_unpublished = bool(unpublished_loads(connection, built_marts(connection)))
        stage = "loading" if loading else "building and testing the models" if is_unpublished else "starting"
        return f"{stage}, {records:,} records of {objects} objects in raw"


@contextmanager
def own(settings: Settings, console: Console) -> Iterator[Stack]:
    """Own STATE_DIR for the duration of a block, then stop everything. Leftovers of a killed owner are ended first.

    Raises:
        StackError: another process owns it, or it cannot be written to.
    """
    with _lock(settings):
        stack = Stack(settings, console)
        stop_on_signals(stack.supervisor)
        stack.supervisor.end_leftovers()
        try:
            yield stack
        finally:
            with console.status("Stopping"):
                stack.supervisor.stop()
                stack.postgres.stop()


def stop_on_signals(supervisor: Supervisor) -> None:
    """Let Ctrl-C and SIGTERM shut the stack down in order instead of interrupting it."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        supervisor.stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)


@contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    """Lock STATE_DIR. The system releases the lock when this process ends, however it ends."""
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        lock_file = (settings.state_dir / "lock").open("a+")
    except OSError as error:
        raise StackError(f"STATE_DIR={settings.state_dir}: {error.strerror}") from None
    with lock_file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StackError(
                f"{settings.state_dir} is in use by process {lock.read().strip()}: stop that one first, or choose "
                "another STATE_DIR"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _is_owned(settings: Settings) -> bool:
    with (settings.state_dir / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def psql(settings: Settings, console: Console, sql: str | None, is_superuser: bool) -> int:
    """Run psql on the embedded server, which is started if necessary; return its exit status.

    Args:
        settings: of the stack.
        console: shows the progress of a start.
        sql: the statement to run; None opens an interactive session.
        is_superuser: whether it may change anything.
    """
    with servers(settings, console, with_s3=False) as postgres:
        address = {"PGHOST": postgres.host, "PGPORT": "5432", "PGDATABASE": "hiring", "PGUSER": "postgres"}
        options = "" if is_superuser else READ_EVERYTHING
        return _run(
            [str(postgres.bin / "psql"), "-X", *(["-c", sql] if sql else [])],
            os.environ
            | address
            | {"PGPASSWORD": postgres.password, "PGOPTIONS": f"{os.environ.get('PGOPTIONS', '')} {options}".strip()},
        )


def on_servers(
    settings: Settings, console: Console, command: Sequence[str], with_s3: bool = False, without: Sequence[str] = ()
) -> int:
    """Run a program of the project on the embedded servers, started if necessary; return its exit status.

    Args:
        settings: of the stack.
        console: shows the progress of a start.
        command: the program and its arguments.
        with_s3: whether it needs the S3 server.
        without: variables of the stack's environment that are not passed to it.
    """
    with servers(settings, console, with_s3) as postgres:
        variables = orchestration_environment(settings, postgres.host)
        return _run(command, {name: value for name, value in variables.items() if name not in without})


def _run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program in this terminal until it ends, and forward termination signals to it."""
    process = subprocess.Popen(command, env=environment)  # noqa: S603
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: process.send_signal(number))
    return process.wait()


@contextmanager
def servers(settings: Settings, console: Console, with_s3: bool) -> Iterator[EmbeddedPostgres]:
    """Yield the running stack's Postgres for the duration of a block, or start one for it.

    Args:
        settings: of the stack.
        console: shows the progress of a start.
        with_s3: whether the S3 server has to run, too.

    Raises:
        StackError: a server does not start.
        Interrupted: a signal arrived while it was starting.
    """
    postgres = EmbeddedPostgres(settings.state_dir / "postgres", settings.secrets.postgres)
    # The owner restarts a Postgres that was killed. Postgres outlives an owner that was killed, the S3 server does not.
    if _is_owned(settings) or (postgres.is_running() and not with_s3):
        postgres.attach()
        yield postgres
        return
    with own(settings, console) as stack:
        stack.start_postgres()
        if with_s3:
            stack.start_s3()
        if stack.supervisor.stopping.is_set():
            raise Interrupted
        # The program handles Ctrl-C itself: for psql it ends the statement, not the session.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        yield stack.postgres
