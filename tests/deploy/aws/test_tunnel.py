"""The script that forwards a port into the VPC, between stand-ins for `aws` and `terraform` with prepared answers."""

import json
import os
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "deploy" / "aws" / "tunnel"
TASK = "arn:aws:ecs:eu-west-1:1:task/hiring/0a1b"
REFERENCE = "arn:aws:secretsmanager:eu-west-1:1:secret:hiring/hiring_reader_password"
AGENT = {"name": "ExecuteCommandAgent", "lastStatus": "RUNNING"}
RUNNING = {
    "lastStatus": "RUNNING",
    "containers": [
        {
            "runtimeId": "0a1b-22",
            "managedAgents": [AGENT],
            "networkInterfaces": [{"privateIpv4Address": "10.40.128.7"}],
        }
    ],
}
OUTPUTS = {
    "cluster_name": "hiring",
    "database_host": "hiring.cluster-1.rds.amazonaws.com",
    "database_port": 5432,
    "ops_task_definition_arn": "hiring-ops:7",
    "ops_security_group_id": "sg-ops",
    "private_subnet_ids": ["subnet-1"],
    "secret_arns": {"HIRING_READER_PASSWORD": REFERENCE},
}
ANSWERS: dict[str, Any] = {
    "terraform output": {name: {"value": value} for name, value in OUTPUTS.items()},
    "aws run-task": {"tasks": [{"taskArn": TASK}], "failures": []},
    "aws list-tasks": "arn:aws:ecs:eu-west-1:1:task/hiring/webserver",
    "aws describe-tasks": {"tasks": [RUNNING]},
    "aws start-session": "Port 15432 opened for sessionId 1.",
    "aws stop-task": "{}",
}
# Waits like a session that is open, until somebody presses Ctrl-C.
OPEN_SESSION = "sleep 60"

pytestmark = pytest.mark.skipif(shutil.which("jq") is None, reason="the script needs jq")


def prepare(folder: Path, answers: dict[str, Any], session: str = "true") -> dict[str, str]:
    """Write the stand-ins, which record what they are asked, and return the environment that has them."""
    programs = {
        "aws": f'[ $2 != start-session ] || {session}\nexec cat "{folder}/answers/aws $2"',
        "terraform": f'exec cat "{folder}/answers/terraform $1"',
        "session-manager-plugin": "",
        # The script does not wait between its attempts.
        "sleep": "[ $1 = 10 ] || exec /bin/sleep $1",
    }
    for name, body in programs.items():
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{folder}/asked"\n{body}\n')
        (folder / name).chmod(0o755)
    (folder / "answers").mkdir()
    for command, answer in (ANSWERS | answers).items():
        if answer is not None:
            (folder / "answers" / command).write_text(answer if isinstance(answer, str) else json.dumps(answer))
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def run(folder: Path, *arguments: str, **answers: Any) -> subprocess.CompletedProcess[str]:
    """Run the script; answers are named by the command of `aws`, and one that is None is a command that fails."""
    named = {f"aws {command.replace('_', '-')}": answer for command, answer in answers.items()}
    environment = prepare(folder, named)
    return subprocess.run([SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=False)


def asked(folder: Path, words: str) -> list[str]:
    """Return the commands so far that begin with some words."""
    file = folder / "asked"
    return [line for line in file.read_text().splitlines() if line.startswith(words)] if file.exists() else []


def test_the_database_is_reached_through_a_task_that_is_stopped_afterwards(tmp_path: Path) -> None:
    ended = run(tmp_path, "database")

    assert ended.returncode == 0, ended.stderr
    (started,) = asked(tmp_path, "aws ecs run-task")
    assert "--task-definition hiring-ops:7" in started
    assert "--enable-execute-command" in started
    assert '"subnets":["subnet-1"],"securityGroups":["sg-ops"],"assignPublicIp":"DISABLED"' in started
    (session,) = asked(tmp_path, "aws ssm start-session")
    assert "--target ecs:hiring_0a1b_0a1b-22 " in session
    assert "--document-name AWS-StartPortForwardingSessionToRemoteHost" in session
    assert (
        '{"host":["hiring.cluster-1.rds.amazonaws.com"],"portNumber":["5432"],"localPortNumber":["15432"]}' in session
    )
    (stopped,) = asked(tmp_path, "aws ecs stop-task")
    assert f"--task {TASK} " in stopped


def test_the_line_for_psql_reads_the_password_and_does_not_contain_it(tmp_path: Path) -> None:
    ended = run(tmp_path, "database", "6000")

    assert f"--secret-id {REFERENCE}" in ended.stdout
    assert "host=hiring.cluster-1.rds.amazonaws.com hostaddr=127.0.0.1 port=6000 dbname=hiring" in ended.stdout
    assert "user=hiring_reader" in ended.stdout
    assert asked(tmp_path, "aws secretsmanager") == []


def test_a_restored_cluster_is_reached_by_its_own_name(tmp_path: Path) -> None:
    ended = run(tmp_path, "database", "6000", "hiring-restored.cluster-1.rds.amazonaws.com")

    assert '"host":["hiring-restored.cluster-1.rds.amazonaws.com"]' in asked(tmp_path, "aws ssm start-session")[0]
    assert "host=hiring-restored.cluster-1.rds.amazonaws.com hostaddr=127.0.0.1" in ended.stdout


def test_the_ui_is_reached_at_the_address_of_its_task(tmp_path: Path) -> None:
    ended = run(tmp_path, "ui")

    (session,) = asked(tmp_path, "aws ssm start-session")
    assert '{"host":["10.40.128.7"],"portNumber":["3000"],"localPortNumber":["13000"]}' in session
    assert "http://127.0.0.1:13000" in ended.stdout


def test_without_a_webserver_no_task_is_started(tmp_path: Path) -> None:
    ended = run(tmp_path, "ui", list_tasks="None", describe_tasks=None)

    assert ended.returncode == 1
    assert "webserver of hiring has no running task" in ended.stderr
    assert asked(tmp_path, "aws ecs run-task") == []


def test_the_task_is_stopped_when_the_session_fails(tmp_path: Path) -> None:
    ended = run(tmp_path, "database", start_session=None)

    assert ended.returncode != 0
    assert len(asked(tmp_path, "aws ecs stop-task")) == 1


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_task_is_stopped_when_the_tunnel_is_interrupted(tmp_path: Path, sent: signal.Signals) -> None:
    """It would cost money for hours."""
    environment = prepare(tmp_path, {}, session=OPEN_SESSION)
    tunnel = subprocess.Popen(
        [SCRIPT, "database"],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        # Tests that nohup started ignore SIGHUP, and so would the script.
        preexec_fn=partial(signal.signal, sent, signal.SIG_DFL),  # noqa: PLW1509
    )
    deadline = time.monotonic() + 30
    while not asked(tmp_path, "sleep 60") and time.monotonic() < deadline:
        time.sleep(0.05)
    # As a terminal does it: to the script and to the session.
    os.killpg(tunnel.pid, sent)
    tunnel.wait(timeout=30)

    assert len(asked(tmp_path, "aws ecs stop-task")) == 1


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"lastStatus": "STOPPED", "stoppedReason": "CannotPullContainerError"}, "CannotPullContainerError"),
        (
            {"lastStatus": "RUNNING", "containers": [{"managedAgents": [AGENT | {"lastStatus": "PENDING"}]}]},
            '"lastStatus": "PENDING"',
        ),
    ],
    ids=["stopped", "without an agent"],
)
def test_no_session_is_opened_to_a_task_that_does_not_run(tmp_path: Path, task: Any, reason: str) -> None:
    ended = run(tmp_path, "database", describe_tasks={"tasks": [task]})

    assert ended.returncode == 1
    assert reason in ended.stderr
    assert asked(tmp_path, "aws ssm") == []
    assert len(asked(tmp_path, "aws ecs stop-task")) == 1


def test_a_task_that_cannot_be_started_is_reported_with_the_reason(tmp_path: Path) -> None:
    ended = run(tmp_path, "database", run_task={"tasks": [], "failures": [{"reason": "RESOURCE:CPU"}]})

    assert ended.returncode == 1
    assert "RESOURCE:CPU" in ended.stderr
    assert asked(tmp_path, "aws ecs stop-task") == []


def test_a_task_that_cannot_be_stopped_is_named(tmp_path: Path) -> None:
    ended = run(tmp_path, "database", stop_task=None)

    assert f"{TASK} was not stopped" in ended.stderr


def test_without_the_plugin_nothing_is_started(tmp_path: Path) -> None:
    environment = prepare(tmp_path, {})
    (tmp_path / "session-manager-plugin").unlink()
    ended = subprocess.run([SCRIPT, "database"], env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "session-manager-plugin is not on PATH" in ended.stderr
    assert asked(tmp_path, "aws") == []


def test_something_else_than_the_database_or_the_ui_is_refused(tmp_path: Path) -> None:
    assert run(tmp_path, "api").returncode == 2
