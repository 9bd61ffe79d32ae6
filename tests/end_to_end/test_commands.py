"""`hiring` with a separate STATE_DIR: the list of commands, and the commands that start servers themselves."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from api.version import VERSION
from deploy.local.__main__ import app
from deploy.local.engine import COMMANDS, ENGINE_NAMES
from orchestration.ingest.__main__ import app as engine
from tests.end_to_end.conftest import PROJECT, ports

Hiring = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands") / "state"


@pytest.fixture(scope="module")
def hiring(state: Path) -> Iterator[Hiring]:
    """Run a command as a shell does."""
    variables = os.environ | ports() | {"STATE_DIR": str(state), "LANDING": "", "PGOPTIONS": ""}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deploy.local", *arguments],
            cwd=PROJECT, env=variables, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    yield run
    run("clean")


def names(commands: list[str]) -> set[str]:
    """Return the commands that a help text lists."""
    listed = CliRunner().invoke(app, [*commands, "--help"], env={"COLUMNS": "120"}).output
    return set(re.findall(r"^│ ([a-z]+) ", listed, re.MULTILINE))


def test_each_command_of_the_load_engine_is_one_of_hiring_and_of_hiring_ingest() -> None:
    of_engine = {each.name or getattr(each.callback, "__name__", "") for each in engine.registered_commands}
    assert {ENGINE_NAMES.get(name, name) for name in COMMANDS} == of_engine
    assert names(["ingest"]) == of_engine
    assert set(COMMANDS) < names([])


def test_each_command_that_the_makefile_calls_exists() -> None:
    called = re.findall(r"\$\(BIN\)/hiring ([a-z]+)", (PROJECT / "Makefile").read_text())
    assert len(called) > 5
    assert set(called) <= names([])


def test_the_version_is_that_of_the_project(hiring: Hiring) -> None:
    assert hiring("--version").stdout == f"{VERSION}\n"


def test_a_dry_run_of_a_file_starts_no_server(hiring: Hiring, state: Path, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("id,job\n1,a\n2\n")
    found = hiring("validate", str(tmp_path / "jobs.csv"))
    assert found.returncode == 0
    assert "2 records, 1 rejected" in found.stdout
    assert not state.exists()


def test_a_wrong_argument_is_named_with_the_command_that_was_typed_before_anything_starts(
    hiring: Hiring, state: Path
) -> None:
    for command in (["load"], ["ingest", "load"]):
        found = hiring(*command, "--reject-share", "2")
        assert found.returncode == 2
        assert f"Usage: hiring {' '.join(command)} " in found.stderr
    assert not state.exists()


def test_a_file_is_loaded_manually_and_both_commands_show_the_loads(hiring: Hiring, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("id,job\n1,a\n2\n")
    loaded = hiring("load", str(tmp_path / "jobs.csv"))
    assert loaded.returncode == 0, loaded.stderr
    shown = [hiring("loads"), hiring("ingest", "status")]
    assert [each.returncode for each in shown] == [0, 0]
    assert shown[0].stdout == shown[1].stdout
    assert "Every record is accounted for" in shown[0].stdout


def test_errors_during_a_command_name_the_command_that_was_typed(hiring: Hiring) -> None:
    found = hiring("load", "--again")
    assert found.returncode == 2
    assert "Usage: hiring load " in found.stderr


def test_psql_is_read_only_unless_a_superuser_is_requested(hiring: Hiring) -> None:
    """A slip of the hand in psql would change what the pipeline wrote, and no record would say so."""
    read = hiring("psql", "--sql", "select count(*) as loads from raw.loads, raw.discrepancies, raw.batch_answers")
    assert read.returncode == 0, read.stderr
    refused = hiring("psql", "--sql", "create table raw.mine (id integer)")
    assert "read-only transaction" in refused.stderr
    assert refused.returncode == 1
    escaped = hiring("psql", "--sql", "begin read write; create table raw.mine (id integer)")
    assert "permission denied" in escaped.stderr
    changed = hiring("psql", "--superuser", "--sql", "create table raw.mine (id integer); drop table raw.mine")
    assert changed.returncode == 0, changed.stderr


def test_what_ends_a_command_ends_the_program_that_it_runs(tmp_path: Path) -> None:
    """`dg dev` would keep running without a terminal, and keep the servers that it uses from being stopped."""
    variables = os.environ | ports() | {"STATE_DIR": str(tmp_path / "state"), "LANDING": "", "PGOPTIONS": ""}
    command = [sys.executable, "-m", "deploy.local", "psql", "--sql", "select pg_sleep(300)"]
    with subprocess.Popen(command, cwd=PROJECT, env=variables) as hiring:
        program = None
        while program is None:
            assert hiring.poll() is None
            program = next((each for each in psutil.Process(hiring.pid).children() if each.name() == "psql"), None)
            time.sleep(0.05)
        hiring.terminate()
        assert hiring.wait(60) != 0
        assert not program.is_running() or program.status() == psutil.STATUS_ZOMBIE
