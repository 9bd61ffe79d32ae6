"""The backup service's script on a real Postgres: when it dumps, what it deletes, and how it handles failures."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.postgres import EmbeddedPostgres, running_postgres

SCRIPT = Path(__file__).parents[3] / "deploy" / "docker" / "backup"
HOUR, DAY = 3600, 86400


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with running_postgres(tmp_path_factory.mktemp("backed-up") / "postgres", "superuser") as postgres:
        if not (postgres.bin / "pg_dump").exists():
            pytest.skip("this Postgres comes without pg_dump")
        for database in ("hiring", "dagster"):
            postgres.create_database(database)
        yield postgres


def backup(server: EmbeddedPostgres, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [SCRIPT, *arguments],
        env={
            "PATH": f"{server.bin}:{os.environ['PATH']}",
            "BACKUP_FOLDER": str(folder),
            "BACKUP_HOURS": "24",
            "BACKUP_DAYS": "14",
            "PGHOST": server.host,
            "PGUSER": "postgres",
            "PGPASSWORD": "superuser",
        },
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process: "subprocess.Popen[str]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def dumped(server: EmbeddedPostgres, folder: Path) -> None:
    """Start the service, wait for its dump, and end it."""
    process = backup(server, folder)
    assert process.stdout
    assert process.stdout.readline().startswith("Dumped dagster and hiring")
    end(process)


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def names(folder: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in folder.iterdir())


def is_recent(server: EmbeddedPostgres, folder: Path) -> bool:
    return backup(server, folder, "is-recent").wait(30) == 0


def test_both_databases_are_dumped_at_the_first_start(server: EmbeddedPostgres, tmp_path: Path) -> None:
    assert not is_recent(server, tmp_path)
    dumped(server, tmp_path)
    assert names(tmp_path) == ["dagster", "hiring"]
    assert all(path.read_bytes().startswith(b"PGDMP") for path in tmp_path.iterdir())
    assert is_recent(server, tmp_path)


def test_a_restart_makes_no_dump_more_until_the_newest_one_is_old(server: EmbeddedPostgres, tmp_path: Path) -> None:
    for database in ("dagster", "hiring"):
        (tmp_path / f"{database}-20260101T000000Z.dump").touch()
    age(tmp_path / "hiring-20260101T000000Z.dump", 23 * HOUR)
    process = backup(server, tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3)
    end(process)
    assert names(tmp_path) == ["dagster", "hiring"]

    age(tmp_path / "hiring-20260101T000000Z.dump", 25 * HOUR)
    dumped(server, tmp_path)
    assert names(tmp_path) == ["dagster", "dagster", "hiring", "hiring"]


def test_old_dumps_are_deleted_when_there_is_a_new_one(server: EmbeddedPostgres, tmp_path: Path) -> None:
    for name, days in (("hiring-a.dump", 16), ("hiring-b.dump", 2), ("notes.txt", 16)):
        (tmp_path / name).touch()
        age(tmp_path / name, days * DAY)
    assert not is_recent(server, tmp_path)
    process = backup(server, tmp_path)
    deadline = time.monotonic() + 60
    while (tmp_path / "hiring-a.dump").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    end(process)
    assert {"hiring-b.dump", "notes.txt"} <= {path.name for path in tmp_path.iterdir()}
    assert len(list(tmp_path.glob("*.dump"))) == 3


def test_a_failed_dump_ends_the_service_and_leaves_no_file(server: EmbeddedPostgres, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    folder = tmp_path / "backups"
    folder.mkdir()
    program.write_text('#!/bin/sh\necho half > "$4"\nexit 1\n')
    program.chmod(0o755)
    failing = type("Server", (), {"bin": f"{program.parent}:{server.bin}", "host": server.host})
    assert backup(failing, folder).wait(60) == 1  # type: ignore[arg-type]
    assert not list(folder.glob("*.dump"))
