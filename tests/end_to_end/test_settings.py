"""An invalid setting ends in one line that says what to change, without a traceback or a half-started stack."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.postgres import EmbeddedPostgres
from tests.conftest import Bucket, Database
from tests.end_to_end.conftest import PROJECT, ports


def command(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=PROJECT, env=os.environ | ports() | settings, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def only_line(text: str) -> str:
    (line,) = text.strip().splitlines()
    return line


@pytest.mark.parametrize(("variable", "service"), [("S3_PORT", "s3"), ("PG_PORT", "postgres")])
def test_a_port_in_use_is_named_with_its_setting(tmp_path: Path, variable: str, service: str) -> None:
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", 0))
        taker.listen()
        port = taker.getsockname()[1]

        done = command("deploy.local", "up", STATE_DIR=str(tmp_path / "state"), **{variable: str(port)})

    assert done.returncode == 1
    assert f"port {port} for {service} is taken" in only_line(done.stderr)
    assert f"{variable}=" in done.stderr
    assert not EmbeddedPostgres(tmp_path / "state" / "postgres", "").is_running()


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("API_PORT", "eight thousand", "API_PORT=eight thousand"),
        ("DAGSTER_PORT", "0", "DAGSTER_PORT=0"),
        ("S3_BUCKET", "Not A Bucket", "S3_BUCKET=Not A Bucket"),
        (
            "LANDING",
            "/there/is/no/such/folder",
            "LANDING=/there/is/no/such/folder: /there/is/no/such/folder is not a folder",
        ),
        # Dagster treats the path as a pattern, finds no settings, and stores its runs in another database.
        ("STATE_DIR", "/srv/state[1]", "choose a folder without *, ?, [, ] or control characters in its path"),
    ],
)
def test_a_setting_out_of_its_range_is_named(tmp_path: Path, setting: str, value: str, words: str) -> None:
    done = command("deploy.local", "run", **{"STATE_DIR": str(tmp_path / "state"), setting: value})

    assert done.returncode == 2
    assert words in only_line(done.stderr)


def test_a_state_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = command("deploy.local", "run", STATE_DIR=str(tmp_path / "file" / "state"))
    assert done.returncode == 1
    assert only_line(done.stderr) == f"STATE_DIR={tmp_path}/file/state: Not a directory"


def test_a_folder_without_any_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to load")

    done = command("deploy.local", "run", STATE_DIR=str(tmp_path / "state"), LANDING=str(tmp_path))

    assert done.returncode == 1
    assert "has no file that is named after a table" in only_line(done.stderr)


def test_a_state_folder_of_any_name_and_length_works(tmp_path: Path) -> None:
    """What becomes part of a URL, a shell's line, a socket's path or a list with commas breaks only then."""
    state = tmp_path / "x y+z%20#ü" / ("a:b,c'd\"e\\f$x=1;&{p}@" + 100 * "l") / "state"

    done = command("deploy.local", "run", STATE_DIR=str(state), LANDING="")
    shown = command("deploy.local", "psql", "--sql", "select key from raw.loads", STATE_DIR=str(state))

    command("deploy.local", "clean", STATE_DIR=str(state))
    assert done.returncode == 0, done.stderr
    assert "Departments that hired" in done.stdout
    assert "hired_employees.csv" in shown.stdout
    assert not state.exists()


def test_secrets_that_do_not_belong_to_the_database_are_named(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert command("deploy.local", "psql", "--sql", "select 1", STATE_DIR=str(state)).returncode == 0
    secrets = json.loads((state / "secrets.json").read_text())
    (state / "secrets.json").write_text(json.dumps(secrets | {"postgres": "not it"}))

    done = command("deploy.local", "psql", "--sql", "select 1", STATE_DIR=str(state))

    (state / "secrets.json").write_text(json.dumps(secrets))
    command("deploy.local", "clean", STATE_DIR=str(state))
    assert done.returncode == 1
    assert "does not accept the password in" in only_line(done.stderr)


def refresh(tmp_path: Path, database: Database, bucket: Bucket, **settings: str) -> str:
    """Run the refresh job in a separate process, like the stack, and return the reasons of its failure."""
    keys = bucket.client._request_signer._credentials
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = database.environment | {
        "S3_ENDPOINT_URL": bucket.endpoint,
        "S3_BUCKET": bucket.name,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "DAGSTER_HOME": str(tmp_path / "dagster"),
        "REFRESH_ERRORS": str(tmp_path / "errors"),
    }
    done = command("deploy.local.refresh", **environment | settings)
    assert done.returncode == 1, done.stderr
    return (tmp_path / "errors").read_text()


def test_a_bucket_that_does_not_exist_is_named(tmp_path: Path, database: Database, bucket: Bucket) -> None:
    reasons = refresh(tmp_path, database, bucket, S3_BUCKET="no-such-bucket")

    assert "bucket 'no-such-bucket' does not exist: create it, or name another in S3_BUCKET" in only_line(reasons)


def test_a_missing_variable_of_the_dbt_profile_is_named(database: Database) -> None:
    environment = database.environment | {"PATH": os.environ["PATH"]}
    del environment["PGHOST"]

    done = subprocess.run(
        [Path(sys.executable).with_name("dbt"), "--quiet", "build", "--profiles-dir", "."],
        cwd=PROJECT / "dbt_project", env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert done.returncode == 2
    assert "Env var required but not provided: 'PGHOST'" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
