"""The run server forks on request and reports the states of its forks to a launcher."""

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from orchestration.instance.forks import Program, serve
from orchestration.instance.protocol import Request, State, send


def program(command: Sequence[str]) -> None:
    """What a fork becomes in these tests: it does what the command says, and leaves a file with its process id."""
    what, *places = command
    for place in places:
        Path(place).write_text(str(os.getpid()))
    match what:
        case "wait":
            signal.pause()
        case "fail":
            raise ValueError("on purpose")
        case "exit":
            raise SystemExit(3)


STOP_SECONDS = 1.0


class Server:
    """A run server, from outside."""

    def __init__(self, folder: Path, program: Program = program) -> None:
        self.path = folder / "runs.sock"
        self.code_server_pid = folder / "code-server"
        command = ["wait", str(self.code_server_pid)]
        # Forked: this process has imported the program.
        self.process = multiprocessing.get_context("fork").Process(
            target=lambda: os._exit(serve(self.path, command, program, STOP_SECONDS))
        )
        self.process.start()
        eventually(lambda: self.code_server_pid.exists() and self.code_server_pid.read_text() != "")

    def ask(self, what: str, run_id: str, *command: str) -> State:
        return send(self.path, Request(what, run_id, command))  # type: ignore[arg-type]

    def state(self, run_id: str) -> State:
        return self.ask("state", run_id)

    def ended(self, run_id: str) -> int:
        eventually(lambda: self.state(run_id).name == "ended")
        return self.state(run_id).number


def eventually(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)


def freeze(pid: int) -> None:
    """Stop a process with all of its threads: a running thread would still handle a signal."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    eventually(lambda: all(state(thread / "stat") == "T" for thread in threads.iterdir()))


def state(stat: Path) -> str:
    return stat.read_text().rpartition(")")[2].split()[0]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Its parent may not have reaped it yet.
    return state(Path(f"/proc/{pid}/stat")) != "Z"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    if running.process.is_alive():
        running.process.terminate()
    running.process.join()


def test_a_run_is_a_process_of_its_own_whose_end_is_known(server: Server) -> None:
    started = server.ask("start", "a", "wait")
    assert started == State("running", started.number)
    assert started.number not in (server.process.pid, int(server.code_server_pid.read_text()))
    server.ask("start", "b", "done")
    assert server.ended("b") == 0
    assert server.state("a") == started


@pytest.mark.parametrize(("what", "status"), [("fail", 1), ("exit", 3)])
def test_a_failed_run_has_an_exit_status(server: Server, what: str, status: int) -> None:
    server.ask("start", "a", what)
    assert server.ended("a") == status


def test_a_run_can_be_interrupted(server: Server) -> None:
    server.ask("start", "a", "wait")
    assert server.ask("interrupt", "a").name == "running"
    assert server.ended("a") == -signal.SIGTERM
    assert server.ask("interrupt", "a").name == "ended"


def test_a_run_that_does_not_stop_is_killed(server: Server) -> None:
    """A frozen process handles no other signal: its run would be canceling for ever."""
    frozen, other = (server.ask("start", name, "wait").number for name in ("a", "b"))
    freeze(frozen)
    for _ in range(3):
        assert server.ask("interrupt", "a") == State("running", frozen)
    assert server.ended("a") == -signal.SIGKILL
    assert server.state("b") == State("running", other)


def test_a_server_that_is_asked_to_stop_waits_for_no_frozen_run(server: Server) -> None:
    run = server.ask("start", "a", "wait").number
    freeze(run)
    server.process.terminate()
    server.process.join(30)
    assert server.process.exitcode == 0
    assert not is_alive(run)


def test_a_killed_run_affects_no_other_process(server: Server) -> None:
    one, other = (server.ask("start", name, "wait").number for name in ("a", "b"))
    os.kill(one, signal.SIGKILL)
    assert server.ended("a") == -signal.SIGKILL
    assert server.state("b") == State("running", other)


def test_a_run_that_was_never_started_here_is_unknown(server: Server) -> None:
    assert server.state("a") == State("unknown")
    assert server.ask("interrupt", "a") == State("unknown")


def test_on_shutdown_it_interrupts_the_runs_and_the_code_server_and_exits_with_0(server: Server) -> None:
    run, code_server = server.ask("start", "a", "wait").number, int(server.code_server_pid.read_text())
    server.process.terminate()
    server.process.join()
    assert server.process.exitcode == 0
    assert not is_alive(run)
    assert not is_alive(code_server)


def test_without_its_code_server_it_ends_so_that_both_are_started_again(server: Server) -> None:
    run = server.ask("start", "a", "wait").number
    os.kill(int(server.code_server_pid.read_text()), signal.SIGKILL)
    server.process.join()
    assert server.process.exitcode == signal.SIGKILL
    assert not is_alive(run)


def test_runs_end_with_a_server_that_is_killed(server: Server) -> None:
    run, code_server = server.ask("start", "a", "wait").number, int(server.code_server_pid.read_text())
    server.process.kill()
    eventually(lambda: not is_alive(run) and not is_alive(code_server))


def test_a_client_that_sends_nothing_or_nonsense_does_not_stop_it(server: Server) -> None:
    for said in (b"", b"\n", b"no json\n", b"[]\n", b'["start"]\n'):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(server.path))
            connection.sendall(said)
    assert server.state("a") == State("unknown")


def test_only_the_user_that_runs_it_may_connect(server: Server) -> None:
    assert server.path.stat().st_mode & 0o777 == 0o600


def test_without_a_server_asking_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        send(tmp_path / "none.sock", Request("state", "a"))
