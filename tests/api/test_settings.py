"""`python -m api` with a wrong environment: one line that names the variable, and never its value."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPLETE = {
    "PGHOST": "/nowhere",
    "PGDATABASE": "hiring",
    "HIRING_API_PASSWORD": "secret-password",
    "API_KEY": "0123456789abcdef",
}


def start(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {
            "API_KEY": "fifteen-letters",
            "API_KEYS": '[{"name": "x", "sha256": "not-a-digest", "scopes": ["write"]}]',
            "API_KEYS_FILE": "/nowhere/keys.json",
            "API_RATE_LIMIT": "often",
            "API_CORS_ORIGINS": '["*"]',
            "API_PORT": "eighty",
        },
        {"API_KEYS": "not-json"},
        {"API_KEYS_FILE": __file__},
        {"PGHOST": "", "HIRING_API_PASSWORD": None},
    ],
)
def test_a_wrong_variable_ends_the_start_with_one_line_that_names_it(changes: dict[str, str | None]) -> None:
    ended = start({name: value for name, value in (COMPLETE | changes).items() if value is not None})
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert all(name in ended.stderr.upper() for name in changes)
    assert not any(value in ended.stderr for value in changes.values() if value)
    assert ended.stdout == ""


def test_without_any_key_it_does_not_start() -> None:
    ended = start({name: value for name, value in COMPLETE.items() if name != "API_KEY"})
    assert ended.returncode == 2
    assert ended.stderr == "api: one of API_KEY, API_KEYS, API_KEYS_FILE is required\n"


def test_it_listens_on_the_loopback_interface_at_the_port_of_the_environment() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = start({**COMPLETE, "API_PORT": str(port)})
    assert ended.returncode != 0
    assert f"('127.0.0.1', {port}): address already in use" in ended.stderr
