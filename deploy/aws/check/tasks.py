"""Tasks and services: hardening of containers, their secrets and images, and rollouts."""

import re
from collections.abc import Mapping
from typing import Any

from deploy.aws.check.deployment import PREFIX, RUNNING, TASKS, Check, Deployment, Violations
from deploy.aws.check.terraform import FOLDER

DOCKERFILE = FOLDER.parent / "docker" / "Dockerfile"
# Where the images have the file that deploy/aws/fetch-certificates writes.
BUNDLE = "/app/certificates/global-bundle.pem"
VOLUME = re.compile(r"^VOLUME\s.*/tmp\b", re.MULTILINE)
SECRETS = {
    "api": {"API_KEYS", "HIRING_API_PASSWORD"},
    "webserver": {"DAGSTER_PG_URL"},
    "daemon": {"DAGSTER_PG_URL"},
    "ops": set(),
}
# Tasks whose root file system and capabilities are left to ECS Exec's agent, which runs as root.
WITH_ECS_EXEC = {"ops"}
MAX_OPS_HOURS = 8
# Minimum and maximum percentage of healthy tasks during a rollout.
STOP_FIRST, START_FIRST = (0, 100), (100, 200)
ROLLOUTS = {"daemon": STOP_FIRST, "code": STOP_FIRST, "webserver": START_FIRST, "api": START_FIRST}


def _hardened(deployment: Deployment) -> Violations:
    for task in TASKS:
        container = deployment.container(task)
        mounts = [(mount["containerPath"], mount.get("readOnly", False)) for mount in container.get("mountPoints", [])]
        linux = container.get("linuxParameters", {})
        has_exec = task in WITH_ECS_EXEC
        for what, is_so in (
            ("has a writable root file system", not has_exec and container.get("readonlyRootFilesystem") is not True),
            (f"can write to {mounts}", mounts != [("/tmp", False)]),  # noqa: S108 - the only writable folder
            (f"runs as {container.get('user', 'root')}", container.get("user") != "10001:10001"),
            ("is privileged", container.get("privileged") is True),
            ("keeps capabilities", not has_exec and linux.get("capabilities", {}).get("drop") != ["ALL"]),
            ("gets capabilities", bool(linux.get("capabilities", {}).get("add"))),
            ("has no init process", linux.get("initProcessEnabled") is not True),
        ):
            if is_so:
                yield f"{task} {what}"


def _volume(_deployment: Deployment) -> Violations:
    if not VOLUME.search(DOCKERFILE.read_text()):
        yield "the Dockerfile has no VOLUME /tmp: on Fargate only root could write to the folder"


def _references(deployment: Deployment) -> Violations:
    secret_names = set(deployment.outputs["secret_arns"]) | {"PGPASSWORD", "PGUSER", "API_KEY"}
    for task in TASKS:
        container = deployment.container(task)
        for variable in container.get("environment", []):
            if variable["name"] in secret_names or "PASSWORD" in variable["name"]:
                yield f"{task} has {variable['name']} in plain text"
        for secret in container.get("secrets", []):
            if not secret["valueFrom"].startswith("arn:aws:secretsmanager:"):
                yield f"{task} gets {secret['name']} from {secret['valueFrom']}"


def _needed(deployment: Deployment) -> Violations:
    for task, needed in SECRETS.items():
        secrets = {secret["name"] for secret in deployment.container(task).get("secrets", [])}
        if secrets != needed:
            yield f"{task} has the secrets {sorted(secrets)}"
    for task in TASKS:
        secrets = {secret["name"] for secret in deployment.container(task).get("secrets", [])}
        if task != "migrate" and "PGPASSWORD" in secrets:
            yield f"{task} has the administrator's password"


def _version(deployment: Deployment) -> Violations:
    for task in TASKS:
        image = deployment.container(task)["image"]
        repository = deployment.outputs["repositories"]["api" if task == "api" else "orchestration"]
        if image != f"{repository}:checked":
            yield f"{task} runs {image}"


def _run(deployment: Deployment) -> Violations:
    wanted = deployment.outputs["run_task_definition_arn"]
    if deployment.definitions["run"]["taskDefinitionArn"] != wanted:
        yield f"{wanted} is not the newest definition of runs"
    for task in ("daemon", "webserver"):
        variables = {variable["name"]: variable["value"] for variable in deployment.container(task)["environment"]}
        if variables.get("DAGSTER_RUN_TASK_DEFINITION") != wanted:
            yield f"{task} starts {variables.get('DAGSTER_RUN_TASK_DEFINITION')}"


def _healthy(deployment: Deployment) -> Violations:
    for task in RUNNING:
        if not deployment.container(task).get("healthCheck", {}).get("command"):
            yield f"{task} has no health check"


def _rollouts(deployment: Deployment) -> Violations:
    for name, wanted in ROLLOUTS.items():
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


def _closed(deployment: Deployment) -> Violations:
    for name in RUNNING:
        if _service(deployment, name)["enable_execute_command"]:
            yield f"a shell can be opened in {name}"


def _exec_works(deployment: Deployment) -> Violations:
    for task in WITH_ECS_EXEC:
        if deployment.container(task).get("readonlyRootFilesystem") is True:
            yield f"{task} has a read-only root file system, on which ECS Exec's agent does not start"


def _ends(deployment: Deployment) -> Violations:
    program, seconds = deployment.container("ops")["command"]
    if program != "sleep" or int(seconds) > MAX_OPS_HOURS * 3600:
        yield f"ops runs {program} {seconds}"


def _verified(deployment: Deployment) -> Violations:
    for task in TASKS:
        if task == "ops":
            continue
        variables = {variable["name"]: variable["value"] for variable in deployment.container(task)["environment"]}
        found = (variables.get("PGSSLMODE"), variables.get("PGSSLROOTCERT"))
        if found != ("verify-full", BUNDLE):
            yield f"{task} connects with PGSSLMODE {found[0]} and PGSSLROOTCERT {found[1]}"
        # The certificate has the endpoint's name, not that of an alias or an address.
        if variables.get("PGHOST") != deployment.outputs["database_host"]:
            yield f"{task} connects to {variables.get('PGHOST')}"


def _logs(deployment: Deployment) -> Violations:
    groups = deployment.cloud.pages("logs", "describe_log_groups", "logGroups")
    known = {each["logGroupName"]: each for each in groups}
    for task in TASKS:
        group = deployment.container(task)["logConfiguration"]["options"]["awslogs-group"]
        if group != f"/{PREFIX}/{task}" or group not in known:
            yield f"{task} logs to {group}"
    for name, group in known.items():
        if not group.get("retentionInDays"):
            yield f"{name} is kept forever"
        if not group.get("kmsKeyId"):
            yield f"{name} is not encrypted"


CHECKS: list[Check] = [
    ("The images declare /tmp a volume, so that their user can write there on Fargate", _volume),
    ("Containers run unprivileged, and without capabilities and with /tmp writable only, except for ops", _hardened),
    ("The root of ops is writable, as ECS Exec requires", _exec_works),
    ("The task ops ends by itself", _ends),
    ("Every task that connects to the database verifies its certificate and its name", _verified),
    ("Containers get secrets by reference only", _references),
    (
        "API, webserver, daemon and ops have only the secrets that they need; only migrate has the administrator's",
        _needed,
    ),
    ("Every task runs the image with the configured tag", _version),
    ("Daemon and webserver start runs of their own version", _run),
    ("Every service has a health check", _healthy),
    ("Daemons never overlap, the API has no downtime, and failed rollouts are rolled back", _rollouts),
    ("Nobody can open a shell in a service", _closed),
    ("Every log is encrypted and has a retention period", _logs),
]
