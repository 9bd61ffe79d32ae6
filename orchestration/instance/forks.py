"""A process that forks on request: its children are Dagster's code server, and one process per run."""

import os
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from orchestration.instance.protocol import Request, State, reply

# How many exit statuses are kept; Dagster asks about runs that it believes to be in progress.
ENDED_KEPT = 1000
CODE_SERVER = "code server"
STOP_POLL_SECONDS = 0.05
STOP = (signal.SIGTERM, signal.SIGINT)

# What a fork runs, given a command's arguments; it returns or exits when it is done.
Program = Callable[[Sequence[str]], object]


class ChildProcesses:
    """The forked processes: the code server, and the runs by their ids.

    Args:
        program: runs commands.
        stop_seconds: how long a process may take to stop before it is killed.
    """

    def __init__(self, program: Program, stop_seconds: float) -> None:
        self._program = program
        self._stop_seconds = stop_seconds
        self._pids: dict[str, int] = {}
        self._kill_at: dict[str, float] = {}
        self._ended: dict[str, int] = {}
        # Nothing is ever written to it: the children read its end when this process ends for any reason.
        self._alive, self._alive_here = os.pipe()

    def fork(self, name: str, command: Sequence[str], close_inherited: Callable[[], None]) -> None:
        """Run a command in a fork.

        Args:
            name: the name of the process.
            command: the command's arguments.
            close_inherited: called in the fork, closes files and handlers that belong to the parent.
        """
        # Until then, the fork would handle a signal with the parent's handlers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (*STOP, signal.SIGCHLD))
        pid = os.fork()
        if pid == 0:
            close_inherited()
            os.close(self._alive_here)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if pid == 0:
            threading.Thread(target=_end_with_parent, args=(self._alive,), daemon=True).start()
            _run_child(self._program, command)
        self._ended.pop(name, None)
        self._pids[name] = pid

    def state(self, name: str) -> State:
        """Return the state of a process; a negative exit status is the signal that ended it."""
        self._reap()
        if name in self._pids:
            return State("running", self._pids[name])
        if name in self._ended:
            return State("ended", self._ended[name])
        return State("unknown")

    def interrupt(self, name: str) -> State:
        """Ask a process to stop, which `kill_overdue` enforces; return its state before."""
        state = self.state(name)
        if state.name == "running":
            os.kill(state.number, signal.SIGTERM)
            self._kill_at.setdefault(name, time.monotonic() + self._stop_seconds)
        return state

    def interrupt_all(self) -> None:
        """Ask all processes to stop, and wait until they have."""
        for name in list(self._pids):
            self.interrupt(name)
        while self.kill_overdue() is not None:
            time.sleep(STOP_POLL_SECONDS)

    def kill_overdue(self) -> float | None:
        """Kill processes that have not stopped in time: a frozen one never handles a signal.

        Returns:
            In how many seconds to call this again, None if no process is stopping.
        """
        self._reap()
        now = time.monotonic()
        for name, moment in self._kill_at.items():
            if moment <= now:
                os.kill(self._pids[name], signal.SIGKILL)
                self._kill_at[name] = now + self._stop_seconds
        return max(0, min(self._kill_at.values()) - now) if self._kill_at else None

    def _reap(self) -> None:
        for name, pid in list(self._pids.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._pids[name]
                self._kill_at.pop(name, None)
                self._ended[name] = os.waitstatus_to_exitcode(status)
        while len(self._ended) > ENDED_KEPT:
            del self._ended[next(iter(self._ended))]


def _run_child(program: Program, command: Sequence[str]) -> NoReturn:
    """Run a command in this process, as if the process had been started for it, and exit."""
    status: object = 1
    try:
        program(command)
        status = 0
    except SystemExit as end:
        status = end.code
    except BaseException:  # as at the end of any program
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit, which would run the parent's exit handlers.
    os._exit(status if isinstance(status, int) else 1 if status else 0)


def _end_with_parent(alive: int) -> None:
    """Interrupt this process when its parent is gone: nothing could stop or monitor it any more."""
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def serve(path: Path, code_server: Sequence[str], program: Program, stop_seconds: float) -> int:
    """Fork the code server, then fork a process for each run that is requested on a Unix socket.

    Args:
        path: of the socket; only this user may connect.
        code_server: the command that serves the code. When it ends, everything else is stopped, too.
        program: runs commands.
        stop_seconds: how long a process may take to stop before it is killed.

    Returns:
        The exit status: 0 when asked to stop by a signal.
    """
    children = ChildProcesses(program, stop_seconds)
    with _listening(path) as listener, selectors.DefaultSelector() as selector:
        signals, wakeup = socket.socketpair()
        wakeup.setblocking(False)
        signal.set_wakeup_fd(wakeup.fileno())
        for number in (*STOP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

        def close_inherited() -> None:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for inherited in (listener, signals, wakeup, selector):
                inherited.close()

        children.fork(CODE_SERVER, code_server, close_inherited)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(signals, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(children.kill_overdue()):
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    with connection:
                        reply(connection, lambda request: _handle(children, request, close_inherited))
                elif set(signals.recv(64)) & set(STOP):
                    children.interrupt_all()
                    return 0
            if (state := children.state(CODE_SERVER)).name == "ended":
                children.interrupt_all()
                return abs(state.number) or 1


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    # Any client that can connect can start processes.
    before = os.umask(0o177)
    listener.bind(str(path))
    os.umask(before)
    listener.listen(64)
    return listener


def _handle(children: ChildProcesses, request: Request, close_inherited: Callable[[], None]) -> State:
    match request.what:
        case "start":
            children.fork(request.run_id, request.command, close_inherited)
            return children.state(request.run_id)
        case "interrupt":
            return children.interrupt(request.run_id)
        case "state":
            return children.state(request.run_id)
