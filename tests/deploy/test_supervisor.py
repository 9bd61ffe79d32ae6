"""The supervisor on small processes: what it starts is ready or explained, comes back, and is gone at the end."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.services import Service
from deploy.local.supervisor import Interrupted, StackError, Supervisor

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path, tmp_path / "logs")
    yield made
    made.stop()


def service(code: str, is_ready: Callable[[], bool] = lambda: True, name: str = "worker") -> Service:
    return Service(name, (sys.executable, "-c", code), os.environ, is_ready)


def marked(tmp_path: Path) -> list[int]:
    """Return the processes that carry the mark of a state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HIRING_STACK") == str(tmp_path) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_service_is_waited_for_until_it_is_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    ready = tmp_path / "ready"

    supervisor.start(service(f"import pathlib, time; time.sleep(.3); pathlib.Path({str(ready)!r}).touch(); {SLEEP}",
                             ready.exists))  # fmt: skip

    assert ready.exists()


def test_services_do_not_work_in_the_checkout_whose_env_file_dagster_would_take_for_theirs(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    found = tmp_path / "found"
    code = f"import os, pathlib; pathlib.Path({str(found)!r}).write_text(os.getcwd()); {SLEEP}"

    supervisor.start(service(code, lambda: found.exists() and bool(found.read_text())))

    assert Path(found.read_text()) == tmp_path / "logs"


def test_a_service_that_ends_while_it_starts_is_reported_with_its_last_words(supervisor: Supervisor) -> None:
    with pytest.raises(StackError, match="worker ended while starting: no such database"):
        supervisor.start(service("import sys; sys.exit('no such database')", lambda: False))


def test_stopping_ends_services_with_all_that_they_started_even_if_they_will_not(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.supervisor.STOP_TIMEOUT_SECONDS", 0.5)
    child = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
    stubborn = f"import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); " \
               f"subprocess.run([sys.executable, '-c', {child!r}])"  # fmt: skip
    supervisor.start(service(stubborn, lambda: len(marked(tmp_path)) == 2))

    supervisor.stop()

    wait_until(lambda: marked(tmp_path) == [])


def test_a_service_that_ends_comes_back_and_a_process_that_was_to_end_does_not(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    assert supervisor.run(service(f"open({str(runs)!r}, 'a').write('once ')", name="task")) == 0
    supervisor.start(service(f"open({str(runs)!r}, 'a').write('started '); {SLEEP}", runs.exists))
    wait_until(lambda: "started" in runs.read_text())
    lines: list[str] = []
    watcher = threading.Thread(target=lambda: lines.extend(supervisor.watch()))
    watcher.start()

    os.kill(marked(tmp_path)[0], signal.SIGKILL)

    wait_until(lambda: runs.read_text() == "once started started ")
    supervisor.stopping.set()
    watcher.join()
    assert len(lines) == 1
    assert lines[0].startswith("worker ended with status -9, starting it again in 1 s")


def test_the_next_owner_ends_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    killed, bystander = Supervisor(tmp_path, tmp_path / "logs"), Supervisor(tmp_path / "other", tmp_path / "logs")
    killed.start(service(SLEEP))
    bystander.start(service(SLEEP))

    assert Supervisor(tmp_path, tmp_path / "logs").end_leftovers() == 1

    assert marked(tmp_path) == []
    assert len(marked(tmp_path / "other")) == 1
    bystander.stop()


def test_a_stop_while_starting_breaks_the_start_off(supervisor: Supervisor) -> None:
    threading.Timer(0.3, supervisor.stopping.set).start()

    with pytest.raises(Interrupted):
        supervisor.start(service(SLEEP, lambda: False))


def test_a_log_that_has_grown_large_is_set_aside(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.supervisor.LARGEST_LOG_BYTES", 10)
    supervisor.run(service("print('a long line in the log')"))

    supervisor.run(service("print('new')"))

    assert (tmp_path / "logs" / "worker.log").read_text() == "new\n"
    assert (tmp_path / "logs" / "worker.log.1").read_text() == "a long line in the log\n"


def test_ctrl_c_in_the_terminal_does_not_reach_the_services(supervisor: Supervisor, tmp_path: Path) -> None:
    """The supervisor has to stop them in order; a service that got the signal itself would be gone before."""
    supervisor.start(service(SLEEP))

    (pid,) = marked(tmp_path)

    assert os.getpgid(pid) != os.getpgid(0)
