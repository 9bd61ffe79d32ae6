"""What Terraform keeps and plans: no secrets, nothing left to do, new passwords when they are asked for."""

import json
from collections.abc import Iterator
from typing import Any

from deploy.aws.check.cloud import Cloud
from deploy.aws.check.deployment import Complaints
from deploy.aws.check.terraform import Terraform

# What moto does not keep, or makes up, by type of resource. Nothing else may differ in a second plan.
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
# Shorter ones may be anything's name.
LEAST_CHARACTERS = 12
VERSIONS = "module.secrets.aws_secretsmanager_secret_version"
# Four roles and Dagster.
LEAST_PASSWORDS = 5


def planned(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a plan makes of each resource, by address."""
    return {each["address"]: each["change"]["after"] or {} for each in plan["resource_changes"]}


def secret_values(cloud: Cloud) -> dict[str, str]:
    """Return the values of all secrets that have one, by name; of an address, the password alone."""
    client, found = cloud.client("secretsmanager"), {}
    for each in cloud.pages("secretsmanager", "list_secrets", "SecretList"):
        if each.get("SecretVersionsToStages"):
            value = client.get_secret_value(SecretId=each["ARN"])["SecretString"]
            found[each["Name"]] = _password(value)
    return found


def _password(value: str) -> str:
    if value.startswith("postgresql://"):
        return value.split("@")[0].rpartition(":")[2]
    return str(json.loads(value)["password"]) if value.startswith("{") else value


def without_secrets(values: dict[str, str], texts: dict[str, str]) -> Complaints:
    """Complain of each secret whose value is in one of the texts."""
    passwords = [name for name, value in values.items() if len(value) >= LEAST_CHARACTERS]
    if len(passwords) < LEAST_PASSWORDS:
        yield f"only {passwords} have values"
    for name, value in values.items():
        for where, text in texts.items():
            if len(value) >= LEAST_CHARACTERS and value in text:
                yield f"the value of {name} is in the {where}"


def nothing_to_do(plan: dict[str, Any]) -> Complaints:
    """Complain of each attribute that a second plan would change."""
    for address, differing in _changes(plan):
        yield f"{address}: {', '.join(sorted(differing))}"


def _changes(plan: dict[str, Any]) -> Iterator[tuple[str, set[str]]]:
    for each in plan.get("resource_changes", []):
        change = each["change"]
        if change["actions"] in (["no-op"], ["read"]):
            continue
        before, after = change["before"] or {}, change["after"] or {}
        differing = {key for key in before | after if before.get(key) != after.get(key)}
        differing |= {key for key, value in change["after_unknown"].items() if value is True}
        if more := differing - UNKNOWN_TO_MOTO.get(each["type"], set()):
            yield each["address"], more


def rotated(terraform: Terraform, cloud: Cloud) -> Complaints:
    """Raise passwords_version, and complain of what changes too and of each password that does not."""
    anew = ("-refresh=false", "-var=passwords_version=2")
    changing = dict(_changes(terraform.plan(*anew)))
    for address, differing in changing.items():
        if not address.startswith(VERSIONS):
            yield f"{address} would change too: {', '.join(sorted(differing))}"
    if len(changing) < LEAST_PASSWORDS:
        yield f"only {list(changing)} would change"
    before = secret_values(cloud)
    # These alone: the others of a plan are what moto does not keep, and a database takes its time.
    terraform.plan(*anew, f"-target={VERSIONS}.password")
    terraform.apply_planned()
    after = secret_values(cloud)
    for name in before:
        if name.endswith("_password") and before[name] == after[name]:
            yield f"{name} is as it was"
