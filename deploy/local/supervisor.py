"""Starts processes in waves, watches them, restarts those that end unexpectedly, and stops all of them reliably."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import psutil

from deploy.local.logs import rotate
from deploy.local.services import LOOPBACK, Service

READY_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 15
# Nobody needs the results of processes that a killed stack left behind: they get time to close files, not more.
LEFTOVER_TIMEOUT_SECONDS = 3
POLL_SECONDS = 0.1
# If a program ends within this time after its start, the restart did not help: the next one waits longer.
STABLE_SECONDS = 60
# The first restart is immediate, the others wait for 1, 2, 4 and 8 s; after that the stack gives up.
MAX_RESTARTS = 5
LAST_LINES = 10
ROTATION_SECONDS = 10
MARK = "HIRING_STACK"


class StackError(RuntimeError):
    """The stack cannot start or continue; the message is for the person who started it."""


class Interrupted(Exception):
    """Somebody asked the stack to stop while it was still starting."""


class Program(Protocol):
    """A program to watch: a service's process, or Postgres, which may be another process's child."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def log(self) -> Path:
        """The file that it logs to."""

    @property
    def ready_timeout_seconds(self) -> float:
        """How long it may take from its start until it is ready."""

    def launch(self) -> None:
        """Start it without waiting until it is ready."""

    def ended(self) -> str | None:
        """Return how it ended, such as "ended with status 1"; None while it runs."""

    def is_ready(self) -> bool:
        """Return whether it is serving. Polled after a start until it returns True."""

    def stop(self) -> None:
        """Stop it and all processes that it started, and wait until they have ended."""


@dataclass
class _Watched:
    """A program and its state. `ended_at` and `restart_at` are set while it is down."""

    program: Program
    wave: int
    started_at: float = field(default_factory=time.monotonic)
    is_ready: bool = True
    crashes: int = 0
    ended_at: float = 0
    restart_at: float | None = None


class Supervisor:
    """The processes of one STATE_DIR. Their environment has a mark by which a later start finds leftover processes."""

    def __init__(self, state_dir: Path, logs: Path) -> None:
        self._mark = str(state_dir)
        self._logs = logs
        self._running: list[_Watched] = []
        self._waves = 0
        self.stopping = threading.Event()

    def end_leftovers(self) -> int:
        """End every process that an earlier stack of this STATE_DIR left behind; return how many there were."""
        left = [process for process in psutil.process_iter() if _mark_of(process) == self._mark]
        for process in left:
            _send(process, signal.SIGTERM)
        _, alive = psutil.wait_procs(left, timeout=LEFTOVER_TIMEOUT_SECONDS)
        for process in alive:
            _send(process, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=STOP_TIMEOUT_SECONDS)
        return len(left)

    def adopt(self, program: Program) -> None:
        """Watch and stop a program that is already running, as a wave of its own."""
        self._waves += 1
        self._running.append(_Watched(program, self._waves))

    def start(self, *services: Service) -> None:
        """Start services in parallel and wait until all of them are ready.

        Raises:
            StackError: a port is taken, or a service ended or did not get ready in time.
            Interrupted: `stopping` was set meanwhile.
        """
        for service in services:
            if service.port is not None:
                require_free_port(service.name, service.port, service.port_variable)
        wave = [self._process(service) for service in services]
        self._waves += 1
        for process in wave:
            process.launch()
            self._running.append(_Watched(process, self._waves))
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        waiting = list(wave)
        while waiting:
            if self.stopping.wait(POLL_SECONDS):
                raise Interrupted
            for process in waiting:
                if process.ended():
                    raise StackError(
                        f"{process.name} ended while starting: {_last_lines(process.log, 1)} ({process.log})"
                    )
                if time.monotonic() > deadline:
                    raise StackError(
                        f"{process.name} is not ready after {READY_TIMEOUT_SECONDS} s; its log is {process.log}"
                    )
            waiting = [process for process in waiting if not process.is_ready()]

    def watch(self) -> Iterator[str]:
        """Restart programs that end, and yield a message about each end and recovery, until `stopping` is set.

        Later waves depend on earlier ones: a program is not restarted before all earlier waves are ready.

        Raises:
            StackError: a program ends repeatedly; the message has the last lines of its log.
        """
        rotation = 0.0
        while not self.stopping.wait(POLL_SECONDS):
            if time.monotonic() >= rotation:
                self._rotate_logs()
                rotation = time.monotonic() + ROTATION_SECONDS
            for watched in self._running:
                earlier = (other for other in self._running if other.wave < watched.wave)
                if all(other.is_ready for other in earlier) and (line := _supervise(watched)):
                    self._note(line)
                    if watched.crashes > MAX_RESTARTS:
                        raise StackError(
                            f"{line}. Everything is stopped. The last lines of {watched.program.log}:\n"
                            f"{_last_lines(watched.program.log, LAST_LINES)}"
                        )
                    yield line

    def stop(self) -> None:
        """Stop all programs and all processes that they started, in reverse order."""
        while self._running:
            self._running.pop().program.stop()
        self.end_leftovers()

    def run(self, service: Service, meanwhile: Callable[[], None] = lambda: None) -> int:
        """Run a process until it ends, and return its exit status.

        Args:
            service: the process; it is not restarted.
            meanwhile: called a few times per second.

        Raises:
            Interrupted: `stopping` was set first; `stop` ends the process.
        """
        process = self._process(service)
        process.launch()
        watched = _Watched(process, self._waves)
        self._running.append(watched)
        while (status := process.poll()) is None:
            if self.stopping.wait(POLL_SECONDS):
                raise Interrupted
            meanwhile()
        self._running.remove(watched)
        return status

    def _process(self, service: Service) -> "_Process":
        return _Process(service, self._logs, self._mark)

    def _rotate_logs(self) -> None:
        for log in {*self._logs.glob("*.log"), *(watched.program.log for watched in self._running)}:
            rotate(log)

    def _note(self, line: str) -> None:
        with (self._logs / "supervisor.log").open("a") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC {line}\n")


def _supervise(watched: _Watched) -> str | None:
    """Restart a program if it is due; return a message if its state has changed."""
    program, now = watched.program, time.monotonic()
    if watched.restart_at is not None:
        if now >= watched.restart_at:
            program.launch()
            watched.started_at, watched.restart_at = now, None
        return None
    how = program.ended()
    if how is None and not watched.is_ready:
        if program.is_ready():
            watched.is_ready = True
            return f"{program.name} is ready again, {now - watched.ended_at:.1f} s after its end"
        if now - watched.started_at > program.ready_timeout_seconds:
            program.stop()
            how = f"was not ready after {program.ready_timeout_seconds:.0f} s and was stopped"
    if how is None:
        return None
    watched.crashes = watched.crashes + 1 if now - watched.started_at < STABLE_SECONDS else 1
    if watched.is_ready:
        watched.ended_at, watched.is_ready = now, False
    if watched.crashes > MAX_RESTARTS:
        return f"{program.name} {how}, after {MAX_RESTARTS} restarts that did not last for {STABLE_SECONDS} s"
    pause = 2.0 ** (watched.crashes - 2) if watched.crashes > 1 else 0
    watched.restart_at = now + pause
    when = f"in {pause:.0f} s" if pause else "now"
    return f"{program.name} {how}, starting it again {when}; its log is {program.log}"


class _Process:
    """The process of a service."""

    ready_timeout_seconds = READY_TIMEOUT_SECONDS

    def __init__(self, service: Service, logs: Path, mark: str) -> None:
        self._service = service
        self._mark = mark
        self.name = service.name
        self.log = logs / f"{service.name}.log"
        self.is_ready = service.is_ready
        self._popen: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        if self._popen:
            # Children that outlive a killed parent hold its port, and a probe would mistake them for the new process.
            _end_group(self._popen.pid)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        rotate(self.log)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(  # noqa: S603
                self._service.command,
                env=dict(self._service.environment) | {MARK: self._mark},
                # Not the checkout: Dagster reads the file .env in its working folder, and that one is for containers.
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C goes to the terminal's process group: only the supervisor gets it, and stops all in order.
                start_new_session=True,
            )

    def poll(self) -> int | None:
        return self._popen.poll() if self._popen else None

    def ended(self) -> str | None:
        status = self.poll()
        return None if status is None else f"ended with status {status}"

    def stop(self) -> None:
        if self._popen is None:
            return
        _signal_group(self._popen.pid, signal.SIGTERM)
        try:
            self._popen.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            _signal_group(self._popen.pid, signal.SIGKILL)
            self._popen.wait()


def _last_lines(log: Path, count: int) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()[-count:]
    return "\n".join(line.strip() for line in lines) or "its log is empty"


def require_free_port(name: str, port: int, variable: str) -> None:
    """Check that a port is free on loopback.

    Args:
        name: the service that needs it.
        port: its number.
        variable: the setting to change if it is taken.

    Raises:
        StackError: it is taken; the message names the process that listens, if known, and the setting to change.
    """
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise StackError(
                f"port {port} for {name} is taken{_listener(port)} ({error.strerror}): free it, or choose another with "
                f"{variable}={port + 1}"
            ) from None


def _listener(port: int) -> str:
    try:
        pid = next(
            c.pid
            for c in psutil.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN and c.laddr[1:] == (port,) and c.pid
        )
        return f" by {psutil.Process(pid).name()} (pid {pid})"
    except (StopIteration, psutil.Error):
        return ""


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK) if process.pid != os.getpid() else None
    except (psutil.Error, OSError):
        return None


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _end_group(pid: int) -> None:
    """End what is left of the group of a process that has ended: terminate it, then kill it."""
    deadline = time.monotonic() + LEFTOVER_TIMEOUT_SECONDS
    _signal_group(pid, signal.SIGTERM)
    while _signal_group(pid, 0) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS / 2)
    _signal_group(pid, signal.SIGKILL)


def _signal_group(pid: int, number: int) -> bool:
    """Send a signal, 0 for none, to a process group; return whether the group has any processes."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    return True
