"""Alarms: whether each has recipients, and whether services may publish to the topic."""

import json
from typing import Any, cast

from deploy.aws.check.cloud import REGION
from deploy.aws.check.deployment import PREFIX, RUNNING, TASKS, Check, Deployment, Violations, statements

WANTED = {
    "failed-runs",
    "rejected-records",
    "waiting-loads",
    "nightly-builds",
    "unlaunched-runs",
    "given-up",
    "failed-ticks",
    "finished-ticks",
    "api-errors",
    "api-unreachable",
    "api-slow",
    "api-down",
    "ui-down",
    "database-capacity",
    "database-storage",
    "database-deadlocks",
    "database-memory",
}
CLUSTER = f"arn:aws:ecs:{REGION}:123456789012:cluster/{PREFIX}"
STOPPED = {"clusterArn": CLUSTER, "lastStatus": "STOPPED"}
NOT_STARTED = STOPPED | {"stopCode": "TaskFailedToStart"}
EXITED = STOPPED | {"stopCode": "EssentialContainerExited"}
# Events of ECS by their meaning, and whether they should raise an alert. Containers are really a list, whose elements
# EventBridge matches one by one; moto does not.
EVENTS: dict[str, tuple[str, dict[str, Any], bool]] = {
    **{
        f"a task of {task} that cannot start": (
            "ECS Task State Change",
            NOT_STARTED | {"group": f"service:{task}" if task in RUNNING else f"family:{PREFIX}-{task}"},
            True,
        )
        for task in TASKS
    },
    "a run that was killed": (
        "ECS Task State Change",
        EXITED | {"group": f"family:{PREFIX}-run", "containers": {"exitCode": 137}},
        True,
    ),
    "a run that succeeded": (
        "ECS Task State Change",
        EXITED | {"group": f"family:{PREFIX}-run", "containers": {"exitCode": 0}},
        False,
    ),
    "tasks of another cluster": ("ECS Task State Change", NOT_STARTED | {"clusterArn": f"{CLUSTER}x"}, False),
    "a service that cannot start tasks": ("ECS Service Action", {"eventName": "SERVICE_TASK_START_IMPAIRED"}, True),
    "a service without capacity": ("ECS Service Action", {"eventName": "SERVICE_TASK_PLACEMENT_FAILURE"}, True),
    "a healthy service": ("ECS Service Action", {"eventName": "SERVICE_STEADY_STATE"}, False),
    "a version that fails": ("ECS Deployment State Change", {"eventName": "SERVICE_DEPLOYMENT_FAILED"}, True),
}


def _recipients(deployment: Deployment) -> Violations:
    topic = deployment.outputs["alarm_topic_arn"]
    found = deployment.cloud.pages("cloudwatch", "describe_alarms", "MetricAlarms")
    ours = {
        alarm["AlarmName"].removeprefix("hiring-prod-"): alarm for alarm in found if topic in str(alarm["AlarmActions"])
    }
    if missing := WANTED - set(ours):
        yield f"nobody is notified of {', '.join(sorted(missing))}"
    if not deployment.cloud.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        yield "nobody subscribes to the topic"


def _publishers(deployment: Deployment) -> Violations:
    topic = deployment.outputs["alarm_topic_arn"]
    policy = deployment.cloud.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    may = {name for statement in statements(policy) if statement.allows("sns:Publish") for name in statement.services}
    for service in ("cloudwatch", "events", "budgets"):
        if f"{service}.amazonaws.com" not in may:
            yield f"{service} may not publish to the topic"


def _counted(deployment: Deployment) -> Violations:
    filters = deployment.cloud.pages("logs", "describe_metric_filters", "metricFilters")
    emitted = {metric_filter["metricTransformations"][0]["metricName"] for metric_filter in filters}
    for alarm in deployment.cloud.pages("cloudwatch", "describe_alarms", "MetricAlarms"):
        if alarm["Namespace"] == "hiring-prod/pipeline" and alarm["MetricName"] not in emitted:
            yield f"{alarm['AlarmName']} uses {alarm['MetricName']}, which no filter emits"


def _events(deployment: Deployment) -> Violations:
    # moto implements patterns, but not TestEventPattern.
    from moto.events.models import EventPattern

    client, topic = deployment.cloud.client("events"), deployment.outputs["alarm_topic_arn"]
    patterns = [
        rule["EventPattern"]
        for rule in client.list_rules()["Rules"]
        if topic in [target["Arn"] for target in client.list_targets_by_rule(Rule=rule["Name"])["Targets"]]
    ]
    for meaning, (kind, detail, is_alert) in EVENTS.items():
        service = f"{CLUSTER.replace(':cluster/', ':service/')}/api"
        event = {
            "id": "1",
            "account": "123456789012",
            "source": "aws.ecs",
            "time": "2026-01-01T00:00:00Z",
            "region": REGION,
            "detail-type": kind,
            "resources": [service],
            "detail": detail,
        }
        matching = [
            pattern
            for pattern in patterns
            if EventPattern(pattern, json.loads(pattern)).matches_event(cast("Any", event))
        ]
        if bool(matching) != is_alert:
            yield f"{meaning} raises {'no' if is_alert else 'an'} alert"


CHECKS: list[Check] = [
    ("Every alarm notifies the topic, which has subscribers", _recipients),
    ("Alarms, events and the budget may publish to the topic", _publishers),
    ("Tasks that cannot start, killed runs and failed rollouts raise an alert, and nothing else does", _events),
    ("Every metric of an alarm is emitted by a filter", _counted),
]
