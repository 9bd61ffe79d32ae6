"""What the checks look at: a deployment that was applied, and what they have in common when they ask about it."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from deploy.aws.check.cloud import Cloud

PREFIX = "hiring-prod"
RUNNING = ("api", "webserver", "daemon", "code")
TASKS = (*RUNNING, "run", "migrate")

Complaints = Iterator[str]
# A sentence that is to be true, and what yields why it is not.
Check = tuple[str, Callable[["Deployment"], Complaints]]


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
        """The services of AWS that it is about."""
        return _listed(self.principals.get("Service")) if isinstance(self.principals, dict) else []

    def allows(self, pattern: str) -> list[str]:
        """Return the actions that it allows and a pattern covers, or that cover the pattern, as s3:* does s3:Get*."""
        if self.effect != "Allow":
            return []
        return [each for each in self.actions if fnmatchcase(each, pattern) or fnmatchcase(pattern, each)]


def statements(document: str | Mapping[str, Any]) -> list[Statement]:
    """Read a policy, as JSON or as what JSON is in Python."""
    read = json.loads(document) if isinstance(document, str) else document
    return [
        Statement(
            each["Effect"],
            tuple(_listed(each.get("Action"))),
            tuple(_listed(each.get("Resource"))),
            each.get("Principal"),
            each.get("Condition", {}),
        )
        for each in _listed(read["Statement"])
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


@dataclass(frozen=True)
class Deployment:
    """A deployment in an AWS of our own."""

    cloud: Cloud
    outputs: Mapping[str, Any]
    # What was planned, by address: for what moto does not keep.
    planned: Mapping[str, Mapping[str, Any]]

    @cached_property
    def definitions(self) -> dict[str, dict[str, Any]]:
        """The task definitions by the name of their task."""
        ecs = self.cloud.client("ecs")
        found = {}
        for name in TASKS:
            answer = ecs.describe_task_definition(taskDefinition=f"{PREFIX}-{name}")
            found[name] = answer["taskDefinition"]
        return found

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
        return {each["serviceName"]: each for each in answer["services"]}

    @cached_property
    def balancers(self) -> dict[str, dict[str, Any]]:
        """The load balancers by what is behind them."""
        found = self.cloud.pages("elbv2", "describe_load_balancers", "LoadBalancers")
        return {each["LoadBalancerName"].removeprefix(f"{PREFIX}-"): each for each in found}

    @cached_property
    def groups(self) -> dict[str, dict[str, Any]]:
        """The VPC's security groups by id."""
        vpc = next(iter(self.balancers.values()))["VpcId"]
        found = self.cloud.pages(
            "ec2", "describe_security_groups", "SecurityGroups", Filters=[{"Name": "vpc-id", "Values": [vpc]}]
        )
        return {each["GroupId"]: each for each in found}

    def allowed(self, role: str) -> list[Statement]:
        """Return all that the policies of a role say, attached ones as one statement of everything."""
        iam = self.cloud.client("iam")
        found = []
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            found += statements(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
        for each in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            found.append(Statement("Allow", ("*",), (each["PolicyArn"],), None, {}))
        return found

    @property
    def buckets(self) -> dict[str, str]:
        """The buckets' names by what they are for."""
        names = [each["Name"] for each in self.cloud.client("s3").list_buckets()["Buckets"]]
        return {name.removeprefix(f"{PREFIX}-").rpartition("-")[0]: name for name in names}
