"""An applied deployment as the checks see it, and what they have in common."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from deploy.aws.check.cloud import Cloud

PREFIX = "hiring-prod"
RUNNING = ("api", "webserver", "daemon", "code")
TASKS = (*RUNNING, "run", "migrate", "ops")

Violations = Iterator[str]
# An expectation, and a function that yields its violations.
Check = tuple[str, Callable[["Deployment"], Violations]]


@dataclass(frozen=True)
class Statement:
    """A statement of a policy, always with lists."""

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    principals: Any
    conditions: Mapping[str, Mapping[str, Any]]

    @property
    def services(self) -> list[str]:
        """The AWS services among its principals."""
        return _listed(self.principals.get("Service")) if isinstance(self.principals, dict) else []

    def allows(self, pattern: str) -> list[str]:
        """Return its allowed actions that match a pattern, or that cover it, as s3:* covers s3:Get*."""
        if self.effect != "Allow":
            return []
        return [action for action in self.actions if fnmatchcase(action, pattern) or fnmatchcase(pattern, action)]


def statements(document: str | Mapping[str, Any]) -> list[Statement]:
    """Return the statements of a policy, given as JSON or as parsed JSON."""
    read = json.loads(document) if isinstance(document, str) else document
    return [
        Statement(
            statement["Effect"],
            tuple(_listed(statement.get("Action"))),
            tuple(_listed(statement.get("Resource"))),
            statement.get("Principal"),
            statement.get("Condition", {}),
        )
        for statement in _listed(read["Statement"])
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


@dataclass(frozen=True)
class Deployment:
    """A deployment in the AWS emulator."""

    cloud: Cloud
    outputs: Mapping[str, Any]
    # Planned resources by address: for attributes that moto does not store.
    planned: Mapping[str, Mapping[str, Any]]

    @cached_property
    def definitions(self) -> dict[str, dict[str, Any]]:
        """The task definitions by name of task."""
        ecs = self.cloud.client("ecs")
        definitions = {}
        for name in TASKS:
            answer = ecs.describe_task_definition(taskDefinition=f"{PREFIX}-{name}")
            definitions[name] = answer["taskDefinition"]
        return definitions

    def container(self, task: str) -> dict[str, Any]:
        """Return the only container of a task.

        Raises:
            ValueError: it has more than one.
        """
        (container,) = self.definitions[task]["containerDefinitions"]
        return dict(container)

    @cached_property
    def services(self) -> dict[str, dict[str, Any]]:
        """The services of the cluster by name."""
        answer = self.cloud.client("ecs").describe_services(cluster=PREFIX, services=list(RUNNING))
        return {service["serviceName"]: service for service in answer["services"]}

    @cached_property
    def balancers(self) -> dict[str, dict[str, Any]]:
        """The load balancers by service."""
        balancers = self.cloud.pages("elbv2", "describe_load_balancers", "LoadBalancers")
        return {balancer["LoadBalancerName"].removeprefix(f"{PREFIX}-"): balancer for balancer in balancers}

    @cached_property
    def groups(self) -> dict[str, dict[str, Any]]:
        """The VPC's security groups by id."""
        vpc = next(iter(self.balancers.values()))["VpcId"]
        groups = self.cloud.pages(
            "ec2", "describe_security_groups", "SecurityGroups", Filters=[{"Name": "vpc-id", "Values": [vpc]}]
        )
        return {group["GroupId"]: group for group in groups}

    def allowed(self, role: str) -> list[Statement]:
        """Return the statements of a role's policies; an attached policy counts as one that allows everything."""
        iam = self.cloud.client("iam")
        allowed = []
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            allowed += statements(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
        for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            allowed.append(Statement("Allow", ("*",), (policy["PolicyArn"],), None, {}))
        return allowed

    @property
    def buckets(self) -> dict[str, str]:
        """The buckets' names by purpose."""
        names = [each["Name"] for each in self.cloud.client("s3").list_buckets()["Buckets"]]
        return {name.removeprefix(f"{PREFIX}-").rpartition("-")[0]: name for name in names}
