"""Terraform's state and plans: no secrets, no unexpected changes, and new passwords on request."""

import json
from collections.abc import Iterator
from typing import Any

from deploy.aws.check.cloud import Cloud
from deploy.aws.check.deployment import Violations
from deploy.aws.check.terraform import Terraform

# Attributes that moto does not store, or invents, by type of resource. Only these may differ in a second plan.
UNKNOWN_TO_MOTO = {
    "aws_appautoscaling_target": {"tags_all"},
    "aws_budgets_budget": {"tags_all", "notification"},
    "aws_ecs_service": {
        "availability_zone_rebalancing",
        "enable_ecs_managed_tags",
        "health_check_grace_period_seconds",
    },
    "aws_rds_cluster": {"enable_http_endpoint", "scaling_configuration"},
    "aws_rds_cluster_instance": {"performance_insights_enabled", "performance_insights_kms_key_id"},
    "aws_vpc_security_group_egress_rule": {"description"},
    "aws_vpc_security_group_ingress_rule": {"description"},
}
# Shorter ones may occur as names.
MIN_SECRET_CHARACTERS = 12
VERSIONS = "module.secrets.aws_secretsmanager_secret_version"
# Four roles and Dagster.
MIN_PASSWORDS = 5


def planned(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the planned attributes of each resource, by address."""
    return {resource["address"]: resource["change"]["after"] or {} for resource in plan["resource_changes"]}


def secret_values(cloud: Cloud) -> dict[str, str]:
    """Return the values of all secrets that have one, by name; of a URL, only the password."""
    client, found = cloud.client("secretsmanager"), {}
    for secret in cloud.pages("secretsmanager", "list_secrets", "SecretList"):
        if secret.get("SecretVersionsToStages"):
            value = client.get_secret_value(SecretId=secret["ARN"])["SecretString"]
            found[secret["Name"]] = _password(value)
    return found


def _password(value: str) -> str:
    if value.startswith("postgresql://"):
        return value.split("@")[0].rpartition(":")[2]
    return str(json.loads(value)["password"]) if value.startswith("{") else value


def exposed_secrets(values: dict[str, str], texts: dict[str, str]) -> Violations:
    """Yield each secret whose value is in one of the texts."""
    passwords = [name for name, value in values.items() if len(value) >= MIN_SECRET_CHARACTERS]
    if len(passwords) < MIN_PASSWORDS:
        yield f"only {passwords} have values"
    for name, value in values.items():
        for where, text in texts.items():
            if len(value) >= MIN_SECRET_CHARACTERS and value in text:
                yield f"the value of {name} is in the {where}"


def unexpected_changes(plan: dict[str, Any]) -> Violations:
    """Yield each attribute that a second plan would change."""
    for address, differing in _changes(plan):
        yield f"{address}: {', '.join(sorted(differing))}"


def _changes(plan: dict[str, Any]) -> Iterator[tuple[str, set[str]]]:
    for resource in plan.get("resource_changes", []):
        change = resource["change"]
        if change["actions"] in (["no-op"], ["read"]):
            continue
        before, after = change["before"] or {}, change["after"] or {}
        differing = {key for key in before | after if before.get(key) != after.get(key)}
        differing |= {key for key, value in change["after_unknown"].items() if value is True}
        if more := differing - UNKNOWN_TO_MOTO.get(resource["type"], set()):
            yield resource["address"], more


def rotation_problems(terraform: Terraform, cloud: Cloud) -> Violations:
    """Increment passwords_version, and yield everything else that changes and each password that does not."""
    rotation = ("-refresh=false", "-var=passwords_version=2")
    changing = dict(_changes(terraform.plan(*rotation)))
    for address, differing in changing.items():
        if not address.startswith(VERSIONS):
            yield f"{address} would change, too: {', '.join(sorted(differing))}"
    if len(changing) < MIN_PASSWORDS:
        yield f"only {list(changing)} would change"
    before = secret_values(cloud)
    # Only these: other changes of the plan are attributes that moto does not store, and a database takes a while.
    terraform.plan(*rotation, f"-target={VERSIONS}.password")
    terraform.apply_planned()
    after = secret_values(cloud)
    for name in before:
        if name.endswith("_password") and before[name] == after[name]:
            yield f"{name} has not changed"
