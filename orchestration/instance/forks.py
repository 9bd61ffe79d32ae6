"""A process that forks on request: its children are Dagster's code server, and a run each."""

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

# Of the runs that have ended; Dagster asks about those that it believes to be under way.
ENDED_KEPT = 1000
CODE_SERVER = "code server"
STOP_POLL_SECONDS = 0.05
STOP = (signal.SIGTERM, signal.SIGINT)

# What a fork becomes, given a command's arguments; it returns, or exits, when it is done.
Program = Callable[[Sequence[str]], object]


class ChildProcesses:
    """The processes that were forked off: the code server, and the runs by their ids.

    Args:
        program: what runs commands.
        stop_seconds: how long one of them may take to stop before it is killed.
    """

    def __init__(self, program: Program, stop_seconds: float) -> None:
        self._program = program
        self._stop_seconds = stop_seconds
        self._pids: dict[str, int] = {}
        self._kill_at: dict[str, float] = {}
        self._ended: dict[str, int] = {}
        # Nothing is ever written to it: it ends for the children when this process does, however that happens.
        self._alive, self._alive_here = os.pipe()

    def fork(self, name: str, command: Sequence[str], close_inherited: Callable[[], None]) -> None:
        """Run a command in a fork.

        Args:
            name: what to call it by.
            command: the command's arguments.
            close_inherited: closes, in the fork, what belongs to this process alone.
        """
        # Until the fork has done so, a signal that is meant for it would be taken as the parent takes its own.
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
        """Return how one of them is doing; a status below zero is the signal that ended it."""
        self._reap()
        if name in self._pids:
            return State("running", self._pids[name])
        if name in self._ended:
            return State("ended", self._ended[name])
        return State("unknown")

    def interrupt(self, name: str) -> State:
        """Ask one of them to stop, which `kill_overdue` sees to; return how it was doing."""
        state = self.state(name)
        if state.name == "running":
            os.kill(state.number, signal.SIGTERM)
            self._kill_at.setdefault(name, time.monotonic() + self._stop_seconds)
        return state

    def interrupt_all(self) -> None:
        """Ask all of them to stop, and wait until they have."""
        for name in list(self._pids):
            self.interrupt(name)
        while self.kill_overdue() is not None:
            time.sleep(STOP_POLL_SECONDS)

    def kill_overdue(self) -> float | None:
        """Kill those that were asked to stop and have not: one that is frozen never takes note of a signal.

        Returns:
            In how many seconds to look again, None when nobody is being waited for.
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
    """Be the process of a command from here on, as if it had been started as one."""
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
    # Not sys.exit: what the parent wants done at its own end is not to be done here.
    os._exit(status if isinstance(status, int) else 1 if status else 0)


def _end_with_parent(alive: int) -> None:
    """Interrupt this process when its parent is gone: nobody could stop it, or ask how it is doing, any more."""
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def serve(path: Path, code_server: Sequence[str], program: Program, stop_seconds: float) -> int:
    """Fork the code server, and then whatever is asked for on a Unix socket.

    Args:
        path: the socket's; only this user may connect.
        code_server: the command that serves the code. When it ends, so does all of this.
        program: what runs commands.
        stop_seconds: how long a fork that is asked to stop may take before it is killed.

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
            for each in (listener, signals, wakeup, selector):
                each.close()

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
    # Whoever may connect may start processes here.
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
        case "look":
            return children.state(request.run_id)
