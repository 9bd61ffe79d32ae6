"""Tasks and services: how containers run, what they are given, how a version follows another."""

import re
from collections.abc import Mapping
from typing import Any

from deploy.aws.check.deployment import PREFIX, RUNNING, TASKS, Check, Complaints, Deployment
from deploy.aws.check.terraform import FOLDER

DOCKERFILE = FOLDER.parent / "docker" / "Dockerfile"
VOLUME = re.compile(r"^VOLUME\s.*/tmp\b", re.MULTILINE)
SECRETS = {
    "api": {"API_KEYS", "HIRING_API_PASSWORD"},
    "webserver": {"DAGSTER_PG_URL"},
    "daemon": {"DAGSTER_PG_URL"},
}
ONE_AT_ONCE, NO_GAP = (0, 100), (100, 200)
TAKE_OVER = {"daemon": ONE_AT_ONCE, "code": ONE_AT_ONCE, "webserver": NO_GAP, "api": NO_GAP}


def _hardened(deployment: Deployment) -> Complaints:
    for task in TASKS:
        container = deployment.container(task)
        mounts = [(each["containerPath"], each.get("readOnly", False)) for each in container.get("mountPoints", [])]
        linux = container.get("linuxParameters", {})
        for what, is_so in (
            ("has a root file system that can be written to", container.get("readonlyRootFilesystem") is not True),
            (f"can write to {mounts}", mounts != [("/tmp", False)]),  # noqa: S108 - the one place there is
            (f"runs as {container.get('user', 'root')}", container.get("user") != "10001:10001"),
            ("is privileged", container.get("privileged") is True),
            ("keeps capabilities", linux.get("capabilities", {}).get("drop") != ["ALL"]),
            ("has no init process", linux.get("initProcessEnabled") is not True),
        ):
            if is_so:
                yield f"{task} {what}"


def _volume(_deployment: Deployment) -> Complaints:
    if not VOLUME.search(DOCKERFILE.read_text()):
        yield "the Dockerfile has no VOLUME /tmp: Fargate gives a folder that is none to root alone"


def _references(deployment: Deployment) -> Complaints:
    secret_names = set(deployment.outputs["secret_arns"]) | {"PGPASSWORD", "PGUSER", "API_KEY"}
    for task in TASKS:
        container = deployment.container(task)
        for each in container.get("environment", []):
            if each["name"] in secret_names or "PASSWORD" in each["name"]:
                yield f"{task} has {each['name']} in plain text"
        for each in container.get("secrets", []):
            if not each["valueFrom"].startswith("arn:aws:secretsmanager:"):
                yield f"{task} takes {each['name']} from {each['valueFrom']}"


def _needed(deployment: Deployment) -> Complaints:
    for task, needed in SECRETS.items():
        given = {each["name"] for each in deployment.container(task).get("secrets", [])}
        if given != needed:
            yield f"{task} is given {sorted(given)}"
    for task in TASKS:
        given = {each["name"] for each in deployment.container(task).get("secrets", [])}
        if task != "migrate" and "PGPASSWORD" in given:
            yield f"{task} is given the administrator's password"


def _version(deployment: Deployment) -> Complaints:
    for task in TASKS:
        image = deployment.container(task)["image"]
        repository = deployment.outputs["repositories"]["api" if task == "api" else "orchestration"]
        if image != f"{repository}:checked":
            yield f"{task} runs {image}"


def _run(deployment: Deployment) -> Complaints:
    wanted = deployment.outputs["run_task_definition_arn"]
    if deployment.definitions["run"]["taskDefinitionArn"] != wanted:
        yield f"{wanted} is not the newest definition of runs"
    for task in ("daemon", "webserver"):
        given = {each["name"]: each["value"] for each in deployment.container(task)["environment"]}
        if given.get("DAGSTER_RUN_TASK_DEFINITION") != wanted:
            yield f"{task} starts {given.get('DAGSTER_RUN_TASK_DEFINITION')}"


def _healthy(deployment: Deployment) -> Complaints:
    for task in RUNNING:
        if not deployment.container(task).get("healthCheck", {}).get("command"):
            yield f"nothing asks whether {task} is well"


def _take_over(deployment: Deployment) -> Complaints:
    for name, wanted in TAKE_OVER.items():
        service = _service(deployment, name)
        found = (service["deployment_minimum_healthy_percent"], service["deployment_maximum_percent"])
        if found != wanted:
            yield f"{name} is replaced with {found[0]} to {found[1]} % of its tasks"
        if service["deployment_circuit_breaker"] != [{"enable": True, "rollback": True}]:
            yield f"{name} is not rolled back when its new version fails"


def _service(deployment: Deployment, name: str) -> Mapping[str, Any]:
    address = (
        "module.api.aws_ecs_service.this" if name == "api" else f'module.orchestration.aws_ecs_service.this["{name}"]'
    )
    return deployment.planned[address]


def _closed(deployment: Deployment) -> Complaints:
    for name in RUNNING:
        if _service(deployment, name)["enable_execute_command"]:
            yield f"a shell can be opened in {name}"


def _logs(deployment: Deployment) -> Complaints:
    groups = deployment.cloud.pages("logs", "describe_log_groups", "logGroups")
    known = {each["logGroupName"]: each for each in groups}
    for task in TASKS:
        group = deployment.container(task)["logConfiguration"]["options"]["awslogs-group"]
        if group != f"/{PREFIX}/{task}" or group not in known:
            yield f"{task} logs to {group}"
    for name, group in known.items():
        if not group.get("retentionInDays"):
            yield f"{name} is kept for ever"
        if not group.get("kmsKeyId"):
            yield f"{name} is not encrypted"


CHECKS: list[Check] = [
    ("The images declare /tmp a volume, so that their user may write there on Fargate", _volume),
    ("Containers run as nobody, without capabilities, and write to /tmp only", _hardened),
    ("Containers are given secrets by reference only", _references),
    ("The API, webserver and daemon are given no secret but what they need; the administrator's has migrate", _needed),
    ("Every task runs the image with the tag that was asked for", _version),
    ("Daemon and webserver start runs of their own version", _run),
    ("Every service has a health check", _healthy),
    ("Two daemons never run at once, the API never pauses, and what fails is rolled back", _take_over),
    ("Nobody can open a shell in a task", _closed),
    ("Every log is encrypted and kept for a time", _logs),
]
