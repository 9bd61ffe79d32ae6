"""Alarms: whether each tells somebody, and whether who tells may do so."""

from deploy.aws.check.deployment import Check, Complaints, Deployment, statements

WANTED = {
    "failed-runs",
    "rejected-records",
    "waiting-loads",
    "nightly-builds",
    "silent-daemon",
    "api-errors",
    "api-unreachable",
    "database-capacity",
    "database-storage",
    "database-deadlocks",
    "database-memory",
}


def _told(deployment: Deployment) -> Complaints:
    topic = deployment.outputs["alarm_topic_arn"]
    found = deployment.cloud.pages("cloudwatch", "describe_alarms", "MetricAlarms")
    ours = {
        each["AlarmName"].removeprefix("hiring-prod-"): each for each in found if topic in str(each["AlarmActions"])
    }
    if missing := WANTED - set(ours):
        yield f"nobody is told of {', '.join(sorted(missing))}"
    if not deployment.cloud.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        yield "nobody subscribes to the topic"


def _may_tell(deployment: Deployment) -> Complaints:
    topic = deployment.outputs["alarm_topic_arn"]
    policy = deployment.cloud.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    may = {name for each in statements(policy) if each.allows("sns:Publish") for name in each.services}
    for service in ("cloudwatch", "events", "budgets"):
        if f"{service}.amazonaws.com" not in may:
            yield f"{service} may not write to the topic"


def _counted(deployment: Deployment) -> Complaints:
    filters = deployment.cloud.pages("logs", "describe_metric_filters", "metricFilters")
    emitted = {each["metricTransformations"][0]["metricName"] for each in filters}
    for each in deployment.cloud.pages("cloudwatch", "describe_alarms", "MetricAlarms"):
        if each["Namespace"] == "hiring-prod/pipeline" and each["MetricName"] not in emitted:
            yield f"{each['AlarmName']} waits for {each['MetricName']}, which nothing counts"


CHECKS: list[Check] = [
    ("Every alarm tells the topic, which somebody subscribes to", _told),
    ("Alarms, events and the budget may write to the topic", _may_tell),
    ("Every line that an alarm waits for is counted", _counted),
]
