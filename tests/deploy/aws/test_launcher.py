"""A run on AWS: the real dagster.yaml, a real job and a real ECS launcher, against an AWS of our own."""

import inspect
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import boto3
import dagster._daemon.sensor
import dagster._scheduler.scheduler
import pytest
from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    build_sensor_context,
)
from dagster._core.launcher import WorkerStatus
from dagster_shared.yaml_utils import load_yaml_from_path

from deploy.aws.check.cloud import REGION, Cloud, running_cloud
from orchestration.arrivals.backoff import Backoff, digest_of
from orchestration.arrivals.run_gate import RunGate
from orchestration.defs.checks import late_marts
from orchestration.defs.resources import Warehouse
from tests.conftest import Database, environment
from tests.deploy.runs import new_run

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient

AWS = Path(__file__).parents[3] / "deploy" / "aws"
CLUSTER = "hiring-prod"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/hiring-prod/orchestration:v1"
REFERENCE = "arn:aws:secretsmanager:us-east-1:123456789012:secret:hiring-prod/dagster_pg_url-abcdef"
JOB = "prune_history"


@dataclass(frozen=True)
class Ecs:
    """The cluster, as the daemon finds it: itself a task of it, and a definition for runs."""

    client: "ECSClient"
    run_definition: str
    daemon_task: str
    subnet: str
    group: str


def definition(ecs: "ECSClient", name: str) -> str:
    """Register a definition with what Terraform's have: roles, a secret, a size, a root that cannot be written to."""
    answer = ecs.register_task_definition(
        family=f"{CLUSTER}-{name}",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="1024",
        memory="2048",
        taskRoleArn=f"arn:aws:iam::123456789012:role/{CLUSTER}-{name}-task",
        executionRoleArn=f"arn:aws:iam::123456789012:role/{CLUSTER}-{name}-execution",
        containerDefinitions=[
            {
                "name": name,
                "image": IMAGE,
                "memory": 2048,
                "readonlyRootFilesystem": True,
                "secrets": [{"name": "DAGSTER_PG_URL", "valueFrom": REFERENCE}],
            }
        ],
    )
    return answer["taskDefinition"]["taskDefinitionArn"]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with running_cloud() as running:
        yield running


@pytest.fixture(scope="module")
def ecs(cloud: Cloud) -> Ecs:
    client, ec2 = cast("ECSClient", cloud.client("ecs")), cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="orchestration", Description="tasks", VpcId=vpc)["GroupId"]
    client.create_cluster(clusterName=CLUSTER)
    daemon = client.run_task(
        cluster=CLUSTER,
        taskDefinition=definition(client, "daemon"),
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group]}},
    )
    return Ecs(client, definition(client, "run"), daemon["tasks"][0]["taskArn"], subnet, group)


@pytest.fixture(scope="module")
def metadata(ecs: Ecs) -> Iterator[str]:
    """The URL at which a Fargate task requests its metadata."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"Cluster": CLUSTER, "TaskARN": ecs.daemon_task}).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def storage(module_database: Database) -> dict[str, str]:
    """What every task of Dagster's is given: where the databases are."""
    postgres = module_database.postgres
    postgres.create_database("dagster_on_aws")
    return {
        **module_database.environment,
        "DAGSTER_PG_URL": f"postgresql://postgres:{postgres.password}@/dagster_on_aws?host={postgres.host}&port=5432",
    }


@pytest.fixture(scope="module")
def instance(cloud: Cloud, ecs: Ecs, metadata: str, storage: dict[str, str]) -> Iterator[DagsterInstance]:
    """Dagster as webserver and daemon have it on AWS."""
    given = {
        **storage,
        "AWS_ENDPOINT_URL": cloud.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "ECS_CONTAINER_METADATA_URI_V4": metadata,
        "DAGSTER_RUN_TASK_DEFINITION": ecs.run_definition,
    }
    with environment(given), DagsterInstance.from_config(str(AWS / "dagster")) as opened:
        yield opened
    # boto3 caches these credentials for every client of this process.
    boto3.DEFAULT_SESSION = None


def launched(instance: DagsterInstance, **tags: str) -> DagsterRun:
    run = new_run(instance, JOB, IMAGE, **tags)
    instance.launch_run(run.run_id, cast(Any, None))
    return cast(DagsterRun, instance.get_run_by_id(run.run_id))


def task_of(ecs: Ecs, run: DagsterRun) -> dict[str, Any]:
    (task,) = ecs.client.describe_tasks(cluster=CLUSTER, tasks=[run.tags["ecs/task_arn"]], include=["TAGS"])["tasks"]
    return dict(task)


def command_of(task: dict[str, Any]) -> list[str]:
    (container,) = task["overrides"]["containerOverrides"]
    assert container["name"] == "run"
    return list(container["command"])


def test_launching_a_run_starts_a_task_of_terraforms_definition_where_the_daemon_is(
    instance: DagsterInstance, ecs: Ecs
) -> None:
    task = task_of(ecs, launched(instance))

    assert task["taskDefinitionArn"] == ecs.run_definition
    assert task["launchType"] == "FARGATE"
    (interface,) = task["attachments"]
    assert {"name": "subnetId", "value": ecs.subnet} in interface["details"]


def test_no_definition_is_registered_for_a_run(instance: DagsterInstance, ecs: Ecs) -> None:
    before = ecs.client.list_task_definitions()["taskDefinitionArns"]

    launched(instance)

    # One of Dagster's own making would have neither the secrets nor the root that cannot be written to.
    assert ecs.client.list_task_definitions()["taskDefinitionArns"] == before


def test_a_run_has_the_size_of_its_definition_unless_its_tags_ask_for_another(
    instance: DagsterInstance, ecs: Ecs
) -> None:
    usual = task_of(ecs, launched(instance))["overrides"]
    large = task_of(ecs, launched(instance, **{"ecs/cpu": "4096", "ecs/memory": "16384"}))["overrides"]

    assert "cpu" not in usual
    assert (large["cpu"], large["memory"]) == ("4096", "16384")


def test_a_runs_task_is_named_by_its_run_so_that_only_runs_can_be_stopped(instance: DagsterInstance, ecs: Ecs) -> None:
    run = launched(instance)

    assert {"key": "dagster/run_id", "value": run.run_id} in task_of(ecs, run)["tags"]


def test_a_runs_command_is_short_enough_for_ecs_and_holds_no_password(
    instance: DagsterInstance, ecs: Ecs, storage: dict[str, str]
) -> None:
    task = task_of(ecs, launched(instance))
    password = re.findall(r":([^:@]+)@", storage["DAGSTER_PG_URL"])[0]

    assert len(json.dumps(task["overrides"])) < 8192
    assert password not in json.dumps(task)


def test_dagster_knows_whether_a_runs_task_runs_and_can_stop_it(instance: DagsterInstance, ecs: Ecs) -> None:
    run = launched(instance)

    assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    assert instance.run_launcher.terminate(run.run_id)
    assert task_of(ecs, run)["desiredStatus"] == "STOPPED"


def test_monitoring_gives_fargate_ten_minutes_to_start_a_run_before_it_is_run_again(instance: DagsterInstance) -> None:
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_start_timeout_seconds == 600
    assert instance.run_retries_enabled
    assert instance.run_retries_max_retries == 2


def test_the_instance_is_the_embedded_one_but_for_where_runs_are_and_what_they_leave() -> None:
    embedded, aws = (
        cast(dict[str, Any], load_yaml_from_path(str(AWS.parent / name)))
        for name in ("dagster.yaml", "aws/dagster/dagster.yaml")
    )
    of_its_own = {"run_launcher", "run_monitoring", "compute_logs", "local_artifact_storage"}

    assert {name: aws[name] for name in aws if name not in of_its_own} == {
        name: embedded[name] for name in embedded if name not in of_its_own
    }


@pytest.fixture(scope="module")
def failed_run(
    instance: DagsterInstance, ecs: Ecs, storage: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[DagsterRun, "subprocess.CompletedProcess[str]"]:
    """A run whose job fails by itself, executed by the command of its task with what its task is given."""
    run = launched(instance)
    given = {
        **storage,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(AWS.parents[1]),
        "DAGSTER_KEEP_DAYS": "for ever",
    }
    folder = tmp_path_factory.mktemp("task")  # without a file .env, which Dagster would heed
    command = command_of(task_of(ecs, run))
    done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False)
    return cast(DagsterRun, instance.get_run_by_id(run.run_id)), done


def test_the_tasks_command_executes_the_run_without_options_of_the_launcher(
    failed_run: tuple[DagsterRun, "subprocess.CompletedProcess[str]"],
) -> None:
    run, done = failed_run

    assert run.status == DagsterRunStatus.FAILURE, done.stderr
    assert "DAGSTER_KEEP_DAYS" in done.stderr


def test_a_failed_run_exits_with_0_and_is_logged_in_the_pattern_of_an_alarm(
    failed_run: tuple[DagsterRun, "subprocess.CompletedProcess[str]"],
) -> None:
    _, done = failed_run

    assert done.returncode == 0
    assert any(matches("failed_runs", line) for line in (done.stdout + done.stderr).splitlines())
    assert not matches("failed_runs", "- dagster - DEBUG - refresh - 463919eb - 24868 - RUN_SUCCESS - Finished.")


def test_a_load_that_waits_too_long_for_the_marts_is_logged_in_the_pattern_of_an_alarm(
    module_database: Database,
) -> None:
    """Where files keep coming some load always waits for a few seconds: the alarm must not count those."""
    module_database.execute("select raw.store_batch('[]', '[]', null, null, null, '{}')")
    assert not matches("waiting_loads", tick_of_late_marts(module_database))
    module_database.execute("update raw.loads set completed_at = completed_at - interval '1 hour'")

    # The first tick reports it, each one after that is skipped.
    cursor = "{}"
    with late_marts_context(module_database, cursor) as context:
        cursor = str(cast(SensorResult, late_marts(context)).cursor)
    assert matches("waiting_loads", tick_of_late_marts(module_database, cursor))
    assert matches("finished_ticks", tick_of_late_marts(module_database, cursor))


@contextmanager
def late_marts_context(database: Database, cursor: str) -> Iterator[SensorEvaluationContext]:
    warehouse = Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer")  # noqa: S106
    with (
        environment(database.environment),
        DagsterInstance.ephemeral() as other,
        build_sensor_context(instance=other, cursor=cursor, resources={"warehouse": warehouse}) as context,
    ):
        yield context


def tick_of_late_marts(database: Database, cursor: str = "{}") -> str:
    """Return the line that the daemon writes of a tick that is skipped."""
    with late_marts_context(database, cursor) as context:
        return f"Sensor late_marts skipped: {cast(SkipReason, late_marts(context)).skip_message}"


@pytest.mark.parametrize("module", [dagster._daemon.sensor, dagster._scheduler.scheduler])
def test_dagster_still_has_the_words_of_runs_that_are_not_launched_and_of_ticks_that_fail(module: ModuleType) -> None:
    """Another version of Dagster with other words would silence the alarms."""
    messages = re.findall(r'log_message=f?"(.*)"', inspect.getsource(module))
    for name in ("unlaunched_runs", "failed_ticks"):
        assert any(matches(name, message) for message in messages)


def test_a_sensor_that_gives_up_logs_the_pattern_of_an_alarm() -> None:
    gate, backoff = RunGate(), Backoff(tried=[digest_of("work")], made=2)
    with DagsterInstance.ephemeral() as idle:
        skipped, _ = gate.request_run(idle, backoff, ["work"], "1 object", [], limit=2)

    assert matches("given_up", f"Sensor arrivals skipped: {cast(SkipReason, skipped).skip_message}")


def matches(name: str, line: str) -> bool:
    """Return whether a line contains every quoted part of a CloudWatch pattern that Terraform defines under a name."""
    text = (AWS / "modules" / "observability" / "pipeline.tf").read_text()
    (pattern,) = re.findall(rf"\b{name} = {{\s+log_group = \S+\s+pattern\s+= \"(.*)\"\n", text)
    parts = re.findall(r'\\"(.*?)\\"', pattern)
    assert parts
    return all(part in line for part in parts)
