"""The scripts of a release and of manual tasks, with fake `aws` and `terraform` that return prepared answers."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.aws.check.terraform import SERVICES

SCRIPTS = Path(__file__).parents[3] / "deploy" / "aws"
TASK = "arn:aws:ecs:eu-west-1:1:task/hiring/0a1b"
MIGRATED = {"lastStatus": "STOPPED", "containers": [{"name": "migrate", "exitCode": 0}]}
ANSWERS: dict[str, Any] = {
    "terraform cluster_name": "hiring",
    "terraform migrate_task_definition_arn": "hiring-migrate:7",
    "terraform run_task_definition_arn": "hiring-run:7",
    "terraform service_names": ["api"],
    "terraform ": {"private_subnet_ids": {"value": ["subnet-1"]}, "task_security_group_id": {"value": "sg-1"}},
    "aws run-task": {"tasks": [{"taskArn": TASK}], "failures": []},
    "aws wait": "",
    "aws describe-tasks": {"tasks": [MIGRATED]},
    "aws describe-services": "hiring-api:7",
    "aws describe-task-definition": "registry/hiring/api:v1.2.3",
}

pytestmark = pytest.mark.skipif(shutil.which("jq") is None, reason="the scripts need jq")


def run(
    folder: Path, script: str, *arguments: str, answers: dict[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script; answers are named by program and subcommand, and None is a command that fails."""
    for program, word in (("aws", "$2"), ("terraform", "$3")):
        (folder / program).write_text(
            f'#!/bin/sh\necho "$*" >> "{folder}/asked"\nexec cat "{folder}/answers/{program} {word}"\n'
        )
        (folder / program).chmod(0o755)
    (folder / "answers").mkdir()
    for command, answer in (ANSWERS | (answers or {})).items():
        if answer is not None:
            text = answer if isinstance(answer, str) else json.dumps(answer)
            (folder / "answers" / command).write_text(text)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run([SCRIPTS / script, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_a_release_continues_after_a_successful_migration(tmp_path: Path) -> None:
    assert run(tmp_path, "run-task", "migrate").returncode == 0


@pytest.mark.parametrize(
    ("task", "error"),
    [
        ({"lastStatus": "STOPPED", "containers": [{"name": "migrate", "exitCode": 1}]}, "failed"),
        ({"lastStatus": "STOPPED", "containers": [{"name": "migrate", "reason": "CannotPullContainer"}]}, "failed"),
        ({"lastStatus": "STOPPED", "containers": []}, "failed"),
        ({"lastStatus": "RUNNING", "containers": [{"name": "migrate"}]}, "is still running after half an hour"),
    ],
    ids=["failed", "never ran", "without a container", "still running"],
)
def test_a_release_stops_at_a_migration_that(tmp_path: Path, task: Any, error: str) -> None:
    ended = run(tmp_path, "run-task", "migrate", answers={"aws describe-tasks": {"tasks": [task]}})
    assert ended.returncode == 1
    assert f"::error::The task {error}" in ended.stdout
    assert "/hiring/migrate" in ended.stdout


def test_a_release_stops_with_the_reason_when_the_migration_does_not_start(tmp_path: Path) -> None:
    refusal = {"tasks": [], "failures": [{"reason": "RESOURCE:CPU"}]}
    ended = run(tmp_path, "run-task", "migrate", answers={"aws run-task": refusal})
    assert ended.returncode == 1
    assert "RESOURCE:CPU" in ended.stdout


@pytest.mark.parametrize("script", ["run-task", "await-services"])
def test_a_release_stops_when_terraform_fails(tmp_path: Path, script: str) -> None:
    assert run(tmp_path, script, "migrate", answers={"terraform cluster_name": None}).returncode != 0


def test_a_manual_command_runs_with_the_same_environment_as_runs(tmp_path: Path) -> None:
    assert run(tmp_path, "run-task", "run", "python", "-m", "a.module", "two words").returncode == 0
    (asked,) = [line for line in (tmp_path / "asked").read_text().splitlines() if line.startswith("ecs run-task")]
    assert "--task-definition hiring-run:7" in asked
    wanted = {"containerOverrides": [{"name": "run", "command": ["python", "-m", "a.module", "two words"]}]}
    assert json.dumps(wanted, separators=(",", ":")) in asked


def test_a_release_is_over_when_all_services_run_its_version(tmp_path: Path) -> None:
    assert run(tmp_path, "await-services", "v1.2.3").returncode == 0


def test_a_release_fails_when_a_service_went_back_to_the_version_before(tmp_path: Path) -> None:
    ended = run(tmp_path, "await-services", "v1.2.4")
    assert ended.returncode == 1
    assert "::error::api runs registry/hiring/api:v1.2.3, not v1.2.4" in ended.stdout


def test_a_release_fails_when_services_do_not_come_to_rest(tmp_path: Path) -> None:
    ended = run(tmp_path, "await-services", "v1.2.3", answers={"aws wait": None})
    assert ended.returncode == 1
    assert "not stable" in ended.stdout


def test_a_plan_is_known_again_by_its_digest_and_written_down_for_who_approves(tmp_path: Path) -> None:
    digests = []
    for text in ("+ aws_lb.this", "+ aws_lb.this", "- aws_lb.this"):
        (tmp_path / "terraform").write_text(f'#!/bin/sh\n[ "$1" = plan ] || echo "{text}"\n')
        (tmp_path / "terraform").chmod(0o755)
        command = [SCRIPTS / "plan-digest", tmp_path / "plan.txt"]
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        digests.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        assert (tmp_path / "plan.txt").read_text() == f"{text}\n"
    first, again, other = digests
    assert first == again != other


def test_the_policies_of_a_release_cover_every_service_that_terraform_calls() -> None:
    """One that is missing shows in the first release that needs it, after the approval."""
    asked = set(SERVICES) - {"s3control", "sts", "elbv2", "cloudwatchlogs", "applicationautoscaling"}
    asked |= {"elasticloadbalancing", "logs", "application-autoscaling", "route53", "wafv2"}
    for name in ("plan", "deploy"):
        policy = json.loads((SCRIPTS / "release" / f"{name}.json").read_text())
        assert {action.partition(":")[0] for each in policy["Statement"] for action in each["Action"]} == asked
        # What a role's policy may have.
        assert len(json.dumps(policy, separators=(",", ":"))) < 6144


def test_a_plan_changes_nothing() -> None:
    policy = json.loads((SCRIPTS / "release" / "plan.json").read_text())
    looks = ("Describe", "Get", "List", "View", "Decrypt")
    assert all(action.partition(":")[2].startswith(looks) for each in policy["Statement"] for action in each["Action"])
