"""The supervisor with small processes: starting until ready or failed, restarting, and stopping all of them."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.logs import rotate
from deploy.local.services import Service
from deploy.local.supervisor import Interrupted, StackError, Supervisor

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path, tmp_path / "logs")
    yield made
    made.stop()


@pytest.fixture
def watch(supervisor: Supervisor) -> Iterator[Callable[[], list[str]]]:
    """Begin to watch; what the supervisor says comes into the list, that it gave up is the last entry."""
    lines: list[str] = []

    def collect() -> None:
        try:
            lines.extend(supervisor.watch())
        except StackError as error:
            lines.append(f"gave up: {error}")

    watcher = threading.Thread(target=collect)

    def begin() -> list[str]:
        watcher.start()
        return lines

    yield begin
    supervisor.stopping.set()
    watcher.join()


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
    supervisor: Supervisor, tmp_path: Path, watch: Callable[[], list[str]]
) -> None:
    runs = tmp_path / "runs"
    assert supervisor.run(service(f"open({str(runs)!r}, 'a').write('once ')", name="task")) == 0
    supervisor.start(service(f"open({str(runs)!r}, 'a').write('started '); {SLEEP}", runs.exists))
    wait_until(lambda: "started" in runs.read_text())

    watched = watch()
    os.kill(marked(tmp_path)[0], signal.SIGKILL)

    wait_until(lambda: len(watched) == 2)
    assert watched[0].startswith("worker ended with status -9, starting it again now; its log is ")
    assert watched[1].startswith("worker is ready again, ")
    wait_until(lambda: runs.read_text() == "once started started ")
    noted = (tmp_path / "logs" / "supervisor.log").read_text().splitlines()
    assert [line.partition(" UTC ")[2] for line in noted] == watched


def test_a_service_that_ends_again_and_again_is_given_up_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path, watch: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack that continues without one of its services seems healthy but is not."""
    monkeypatch.setattr("deploy.local.supervisor.MAX_RESTARTS", 2)
    runs, end = tmp_path / "runs", tmp_path / "end"
    code = (
        f"import pathlib, sys, time; open({str(runs)!r}, 'a').write('x'); print('the reason', flush=True)\n"
        f"while not pathlib.Path({str(end)!r}).exists(): time.sleep(.02)\n"
        "sys.exit(7)"
    )
    supervisor.start(service(SLEEP, name="other"), service(code, runs.exists))

    watched = watch()
    end.touch()

    wait_until(lambda: "gave up" in watched[-1] if watched else False)
    assert watched[-1].startswith("gave up: worker ended with status 7, after 2 restarts")
    assert watched[-1].endswith("the reason\nthe reason\nthe reason")
    assert runs.read_text() == "xxx"


def test_what_needs_a_service_that_is_down_waits_for_it(
    supervisor: Supervisor, tmp_path: Path, watch: Callable[[], list[str]]
) -> None:
    """It would end again, and be treated as a crash loop."""
    is_up = tmp_path / "is_up"
    is_up.touch()
    supervisor.start(service(SLEEP, is_up.exists, name="needed"))
    supervisor.start(service(SLEEP, name="needing"))
    is_up.unlink()
    needed, needing = marked(tmp_path)

    watched = watch()
    for pid in (needing, needed):
        os.kill(pid, signal.SIGKILL)

    wait_until(lambda: len(marked(tmp_path)) == 1)
    time.sleep(0.5)
    assert [line.split()[0] for line in watched] == ["needed"]
    is_up.touch()
    wait_until(lambda: len(watched) == 4)
    assert [line.split(",")[0] for line in watched[1:]] == [
        "needed is ready again",
        "needing ended with status -9",
        "needing is ready again",
    ]
    assert len(marked(tmp_path)) == 2


def test_what_outlives_a_killed_service_is_ended_before_the_next_one_is_started(
    supervisor: Supervisor, tmp_path: Path, watch: Callable[[], list[str]]
) -> None:
    """It occupies the port, and responds in place of a service that does not start."""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
    supervisor.start(service(code, lambda: len(marked(tmp_path)) == 2))
    parent, child = sorted(marked(tmp_path))

    watched = watch()
    os.kill(parent, signal.SIGKILL)

    wait_until(lambda: len(watched) == 2)
    assert child not in marked(tmp_path)
    assert len(marked(tmp_path)) == 2


def test_the_next_owner_ends_only_the_processes_of_a_killed_one(tmp_path: Path) -> None:
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


def test_a_log_that_grows_large_is_rotated_while_its_service_writes_it(
    supervisor: Supervisor, tmp_path: Path, watch: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack that runs for months is never restarted."""
    monkeypatch.setattr("deploy.local.logs.MAX_BYTES", 100)
    monkeypatch.setattr("deploy.local.supervisor.ROTATION_SECONDS", 0)
    log, end = tmp_path / "logs" / "worker.log", tmp_path / "end"
    code = (
        "import pathlib, time\n"
        "for n in range(100):\n"
        "    print(f'line {n:05}', flush=True); time.sleep(.02)\n"
        f"pathlib.Path({str(end)!r}).touch(); time.sleep(60)"
    )

    supervisor.start(service(code))

    watched = watch()
    wait_until(end.exists)
    kept = [log.with_name(f"worker.log.{n}") for n in (3, 2, 1)] + [log]
    lines = "".join(path.read_text() for path in kept).splitlines()
    first = int(lines[0].split()[1])
    assert 100 - first >= len(lines) - 1 > 20
    assert lines[-1] == "line 00099"
    assert lines == sorted(set(lines))
    assert all(path.stat().st_size < 1000 for path in kept)
    assert not log.with_name("worker.log.4").exists()
    assert watched == []


def test_a_log_is_rotated_after_a_week_however_small(tmp_path: Path) -> None:
    """Else a quiet service's log keeps names and addresses of years."""
    log = tmp_path / "worker.log"
    log.write_text("old\n")
    assert not rotate(log)
    begun = time.time() - 8 * 86400
    os.utime(log.with_name("worker.log.1"), (begun, begun))

    assert rotate(log)

    assert (log.read_text(), log.with_name("worker.log.1").read_text()) == ("", "old\n")
    log.write_text("new\n")
    assert not rotate(log)


def test_ctrl_c_in_the_terminal_does_not_reach_the_services(supervisor: Supervisor, tmp_path: Path) -> None:
    """The supervisor has to stop them in order; a service that got the signal itself would be gone before."""
    supervisor.start(service(SLEEP))

    (pid,) = marked(tmp_path)

    assert os.getpgid(pid) != os.getpgid(0)
