"""Processes: started in waves, watched, restarted when they end by themselves, and stopped for certain."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.local.services import LOOPBACK, Service

READY_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 15
# Nobody waits for what a killed stack left behind; it gets the time to close files, not to finish work.
LEFTOVER_TIMEOUT_SECONDS = 3
POLL_SECONDS = 0.1
# A service that ends again within this time was not healed by its restart; the next one waits longer.
STABLE_SECONDS = 60
LONGEST_PAUSE_SECONDS = 60
LARGEST_LOG_BYTES = 10 << 20
MARK = "HIRING_STACK"


class StackError(RuntimeError):
    """The stack cannot start or go on; the message is one line for the person who started it."""


class Interrupted(Exception):
    """Somebody asked the stack to stop while it was still starting."""


@dataclass
class _Running:
    service: Service
    process: subprocess.Popen[bytes]
    started: float
    restarts: int = 0
    not_before: float = 0


class Supervisor:
    """The processes of one STATE_DIR. Their environment carries a mark by which a later start finds leftovers."""

    def __init__(self, state_dir: Path, logs: Path) -> None:
        self._mark = str(state_dir)
        self._logs = logs
        self._running: list[_Running] = []
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

    def start(self, *services: Service) -> None:
        """Start services side by side and wait until all of them are ready.

        Raises:
            StackError: a port is taken, or a service ended or did not get ready in time.
            Interrupted: `stopping` was set meanwhile.
        """
        for service in services:
            require_free_port(service)
        wave = [self._launch(service) for service in services]
        self._running += wave
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        waiting = list(wave)
        while waiting:
            if self.stopping.wait(POLL_SECONDS):
                raise Interrupted
            for each in waiting:
                if each.process.poll() is not None:
                    raise StackError(f"{each.service.name} ended while starting: {self._last_words(each.service)}")
                if time.monotonic() > deadline:
                    raise StackError(
                        f"{each.service.name} is not ready after {READY_TIMEOUT_SECONDS} s; its log is "
                        f"{self._log(each.service)}"
                    )
            waiting = [each for each in waiting if not each.service.is_ready()]

    def watch(self) -> Iterator[str]:
        """Restart services that end, and yield a line about each, until `stopping` is set."""
        while not self.stopping.wait(1):
            for each in self._running:
                now = time.monotonic()
                if each.not_before and now >= each.not_before:
                    each.process, each.started, each.not_before = self._launch(each.service).process, now, 0
                elif not each.not_before and (status := each.process.poll()) is not None:
                    each.restarts = each.restarts + 1 if now - each.started < STABLE_SECONDS else 1
                    pause = min(2.0 ** (each.restarts - 1), LONGEST_PAUSE_SECONDS)
                    each.not_before = now + pause
                    yield (
                        f"{each.service.name} ended with status {status}, starting it again in {pause:.0f} s; "
                        f"its log is {self._log(each.service)}"
                    )

    def stop(self) -> None:
        """Stop all services, the last started first, each with everything that it started."""
        while self._running:
            each = self._running.pop()
            _signal_group(each.process.pid, signal.SIGTERM)
            try:
                each.process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                _signal_group(each.process.pid, signal.SIGKILL)
                each.process.wait()
        self.end_leftovers()

    def run(self, service: Service, meanwhile: Callable[[], None] = lambda: None) -> int:
        """Run a process that comes to its end by itself, and return its exit status.

        `meanwhile` is called a few times a second.

        Raises:
            Interrupted: `stopping` was set first; `stop` ends the process.
        """
        each = self._launch(service)
        self._running.append(each)
        while (status := each.process.poll()) is None:
            if self.stopping.wait(POLL_SECONDS):
                raise Interrupted
            meanwhile()
        self._running.remove(each)
        return status

    def _launch(self, service: Service) -> _Running:
        self._logs.mkdir(parents=True, exist_ok=True)
        path = self._log(service)
        if path.exists() and path.stat().st_size > LARGEST_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                service.command,
                env=dict(service.environment) | {MARK: self._mark},
                # Not the checkout: Dagster heeds the file .env of its working folder, and that one is for containers.
                cwd=self._logs,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C goes to the terminal's group: only the supervisor is in it, and stops the others in order.
                start_new_session=True,
            )
        return _Running(service, process, time.monotonic())

    def _log(self, service: Service) -> Path:
        return self._logs / f"{service.name}.log"

    def _last_words(self, service: Service) -> str:
        lines = self._log(service).read_text(errors="replace").strip().splitlines()
        return f"{lines[-1].strip() if lines else 'it said nothing'} ({self._log(service)})"


def require_free_port(service: Service) -> None:
    """Make sure that a service's port is free on loopback.

    Raises:
        StackError: it is taken; the message names the taker, where it can be told, and the setting to change.
    """
    if service.port is None:
        return
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, service.port))
        except OSError as error:
            raise StackError(
                f"port {service.port} for {service.name} is taken{_taker(service.port)} ({error.strerror}): free it, "
                f"or choose another with {service.port_variable}={service.port + 1}"
            ) from None


def _taker(port: int) -> str:
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


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)
