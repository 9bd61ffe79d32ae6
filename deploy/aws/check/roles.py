"""Permissions of the tasks in AWS, according to their roles' policies."""

from deploy.aws.check.deployment import PREFIX, TASKS, Check, Deployment, Statement, Violations, statements
from deploy.aws.check.terraform import GITHUB

LIST = {"s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketVersioning"}
READ = {"s3:GetObject", "s3:GetObjectVersion"}
ADD = {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"}
ROLES = [f"{PREFIX}-{task}-{kind}" for task in TASKS for kind in ("task", "execution")]
# Actions that AWS supports for all resources only.
CHANNELS = {f"ssmmessages:{verb}{kind}Channel" for verb in ("Create", "Open") for kind in ("Control", "Data")}
UNNARROWABLE = {
    "ecr:GetAuthorizationToken",
    "ecs:DescribeTaskDefinition",
    "ec2:DescribeNetworkInterfaces",
    *CHANNELS,
}


def _without(task: str) -> Check:
    def check(deployment: Deployment) -> Violations:
        for statement in deployment.allowed(f"{PREFIX}-{task}-task"):
            yield f"it may {', '.join(statement.actions)}"

    return f"The role of {task} has no permissions in AWS", check


def _of_bucket(found: list[Statement], arn: str) -> set[str]:
    return {
        action for statement in found if any(arn in one for one in statement.resources) for action in statement.actions
    }


def _buckets(deployment: Deployment) -> Violations:
    landing, archive = (f"arn:aws:s3:::{deployment.buckets[name]}" for name in ("landing", "archive"))
    wanted = {"run": (LIST | READ, ADD | {"s3:ListBucket"}), "code": (LIST, set()), "daemon": (set(), set())}
    wanted["webserver"] = wanted["daemon"]
    for task, (of_landing, of_archive) in wanted.items():
        found = deployment.allowed(f"{PREFIX}-{task}-task")
        for name, arn, actions in (("landing", landing, of_landing), ("archive", archive, of_archive)):
            if (more := _of_bucket(found, arn) - actions) or (more := actions - _of_bucket(found, arn)):
                yield f"{task} and {name}: {', '.join(sorted(more))}"


def _wide(deployment: Deployment) -> Violations:
    for role in ROLES:
        for statement in deployment.allowed(role):
            if any("*" in action for action in statement.actions):
                yield f"{role} may {', '.join(statement.actions)}"
            if "*" in statement.resources and not set(statement.actions) <= UNNARROWABLE:
                yield f"{role} may {', '.join(statement.actions)} on every resource"
            if any(
                set(statement.allows(pattern)) for pattern in ("s3:Delete*", "iam:Create*", "iam:Put*", "iam:Attach*")
            ):
                yield f"{role} may {', '.join(statement.actions)}"


def _pass(deployment: Deployment) -> Violations:
    run = deployment.definitions["run"]
    wanted = {run["taskRoleArn"], run["executionRoleArn"]}
    for role in ROLES:
        passed = [statement for statement in deployment.allowed(role) if statement.allows("iam:PassRole")]
        if role not in (f"{PREFIX}-daemon-task", f"{PREFIX}-webserver-task"):
            if passed:
                yield f"{role} may pass roles"
            continue
        if [set(statement.resources) for statement in passed] != [wanted]:
            yield f"{role} may pass {[statement.resources for statement in passed]}"
        for statement in passed:
            if statement.conditions.get("StringEquals", {}).get("iam:PassedToService") != "ecs-tasks.amazonaws.com":
                yield f"{role} may pass roles to other services"


def _runs(deployment: Deployment) -> Violations:
    family = deployment.definitions["run"]["taskDefinitionArn"].rpartition(":")[0]
    for task in ("daemon", "webserver"):
        found = deployment.allowed(f"{PREFIX}-{task}-task")
        started = [statement for statement in found if statement.allows("ecs:RunTask")]
        if [statement.resources for statement in started] != [(f"{family}:*",)] or "ecs:cluster" not in str(started):
            yield f"{task} may start {[statement.resources for statement in started]}"
        stopped = [statement for statement in found if statement.allows("ecs:StopTask")]
        if len(stopped) != 1 or "aws:ResourceTag/dagster/run_id" not in str(stopped[0].conditions):
            yield f"{task} may stop tasks that are not runs"


def _channels(deployment: Deployment) -> Violations:
    for role in ROLES:
        found = {action for statement in deployment.allowed(role) for action in statement.actions}
        if role == f"{PREFIX}-ops-task":
            if found != CHANNELS:
                yield f"{role} may {', '.join(sorted(found))}"
        elif opened := [action for action in found if action.startswith(("ssm", "*"))]:
            yield f"{role} may {', '.join(opened)}"


def _secrets(deployment: Deployment) -> Violations:
    for task in TASKS:
        given = {":".join(each["valueFrom"].split(":")[:7]) for each in deployment.container(task).get("secrets", [])}
        found = deployment.allowed(f"{PREFIX}-{task}-execution")
        readable = {arn for each in found if each.allows("secretsmanager:Get*") for arn in each.resources}
        if readable != given:
            yield f"{task}: {sorted(readable ^ given)}"


def _trust(deployment: Deployment) -> Violations:
    for role in ROLES:
        answer = deployment.cloud.client("iam").get_role(RoleName=role)["Role"]
        for statement in statements(answer["AssumeRolePolicyDocument"]):
            if statement.services != ["ecs-tasks.amazonaws.com"] or len(statement.principals) > 1:
                yield f"{role} can be assumed by {statement.principals}"


def _push(deployment: Deployment) -> Violations:
    role = f"{PREFIX}-push"
    document = deployment.cloud.client("iam").get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    trusted = [statement.conditions.get("StringLike", {}) for statement in statements(document)]
    wanted = {"token.actions.githubusercontent.com:sub": f"repo:{GITHUB}:ref:refs/tags/v*"}
    if trusted != [wanted]:
        yield f"it can be assumed by {trusted}"
    repositories = {
        repository["repositoryArn"]
        for repository in deployment.cloud.pages("ecr", "describe_repositories", "repositories")
    }
    for statement in deployment.allowed(role):
        if not set(statement.actions) <= UNNARROWABLE and set(statement.resources) != repositories:
            yield f"it may {', '.join(statement.actions)} on {', '.join(statement.resources)}"
        if not all(action.startswith("ecr:") for action in statement.actions) or statement.allows("ecr:*Delete*"):
            yield f"it may {', '.join(statement.actions)}"


CHECKS: list[Check] = [
    _without("api"),
    _without("migrate"),
    ("Runs may read landing and add to archive, the code server may list landing, others access no bucket", _buckets),
    ("No role may delete objects or change permissions, and none has wildcard actions or resources", _wide),
    ("Daemon and webserver may pass the two roles of runs to ECS, and no other role may pass any", _pass),
    ("Daemon and webserver may start runs in this cluster only, and may only stop runs", _runs),
    ("Only ops may open the channels of ECS Exec, and it may do nothing else", _channels),
    ("Every execution role may read the secrets of its own task only", _secrets),
    ("Roles can be assumed by ECS tasks only", _trust),
    ("The release workflow may push to the two repositories, for tags of one GitHub repository, nothing else", _push),
]
