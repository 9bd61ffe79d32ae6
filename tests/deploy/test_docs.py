"""`make docs` serves the models' documentation on loopback, opens on its overview, and ends without a traceback."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from deploy.local.docs import PageHandler, PageServer
from tests.conftest import free_port

PROJECT = Path(__file__).parents[2]


def start(state_dir: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.local", "docs"],
        cwd=PROJECT,
        env=os.environ | {"STATE_DIR": str(state_dir), "DOCS_PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As from a terminal: a shell that starts it in the background has it ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The documentation of an unused STATE_DIR."""
    port = free_port()
    process = start(tmp_path_factory.mktemp("state"), port)
    try:
        assert process.stdout
        assert any(f"http://127.0.0.1:{port}" in line for line in process.stdout)
        yield process, port
    finally:
        process.kill()
        process.communicate()


def test_before_anything_is_built_the_page_opens_on_the_overview_of_the_project(
    served: tuple[subprocess.Popen[str], int],
) -> None:
    _, port = served
    page = httpx.get(f"http://127.0.0.1:{port}/", timeout=30).text
    assert "# Hiring records, from files to metrics" in page


def test_a_port_in_use_is_named_in_one_line(served: tuple[subprocess.Popen[str], int], tmp_path: Path) -> None:
    _, port = served
    second = start(tmp_path, port)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert said.startswith(f"port {port} for the documentation is taken")
    assert said.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_is_starting_ends_it_without_a_traceback(number: signal.Signals, tmp_path: Path) -> None:
    port = free_port()
    process = start(tmp_path, port)
    while process.poll() is None and not _accepts(port):
        time.sleep(0.05)
    process.send_signal(number)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in said
    assert not _accepts(port)


def test_sigterm_ends_it_without_a_traceback(served: tuple[subprocess.Popen[str], int]) -> None:
    process, port = served
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    assert not _accepts(port)


def test_a_browser_that_leaves_in_the_middle_of_the_page_is_not_reported(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index.html").write_bytes(b"x" * 50_000_000)
    server = PageServer(("127.0.0.1", 0), partial(PageHandler, directory=str(tmp_path)))
    # Closing the server then waits for the end of the response.
    server.daemon_threads = False
    with server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        with socket.create_connection(server.server_address[:2]) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            client.recv(1000)
        server.shutdown()
        serving.join()
    assert capfd.readouterr().err == ""


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
