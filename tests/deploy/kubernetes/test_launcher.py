"""A run on Kubernetes: the dagster.yaml that the chart writes, a real launcher, and an API server that fails."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster_k8s.client
import pytest
import yaml
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, job
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.launcher import WorkerStatus
from dagster_shared.yaml_utils import load_yaml_from_path

from deploy.kubernetes.check.__main__ import read_secrets, read_values
from deploy.kubernetes.check.chart import instance_config, make_run_job
from deploy.kubernetes.check.manifests import CHECKS, Manifests
from tests.conftest import Database, environment
from tests.deploy.kubernetes.api_server import CUT, Cluster, running_cluster
from tests.deploy.runs import new_run

PROJECT = Path(__file__).parents[3]
IMAGE = "registry.example.com/hiring-orchestration:v1.0.0"
PASSWORD = "a-password-of-dagster"  # noqa: S105
JOB = "prune_history"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture(autouse=True)
def _healthy(cluster: Cluster) -> None:
    cluster.jobs.clear()
    cluster.faults.clear()
    cluster.attempts = 0


@pytest.fixture(scope="module")
def home(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the chart's dagster.yaml, which knows this cluster and this Postgres by files and variables."""
    folder = tmp_path_factory.mktemp("home")
    config = instance_config(read_values())
    for storage in ("schedule_storage", "run_storage", "event_log_storage"):
        config[storage]["config"] = {"postgres_url": {"env": "DATABASE_URL"}}
    config["run_launcher"]["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(folder / "kubeconfig")}
    (folder / "dagster.yaml").write_text(yaml.safe_dump(config))
    cluster_of_its_own = {"name": "test", "cluster": {"server": cluster.url}}
    context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
    (folder / "kubeconfig").write_text(
        yaml.safe_dump({"clusters": [cluster_of_its_own], "contexts": [context], "current-context": "test"})
    )
    return folder


@pytest.fixture(scope="module")
def variables(module_database: Database) -> dict[str, str]:
    postgres = module_database.postgres
    postgres.ensure_role("dagster", PASSWORD)
    postgres.create_database("dagster_on_kubernetes")
    module_database.execute("alter database dagster_on_kubernetes owner to dagster")
    url = f"postgresql://dagster:{PASSWORD}@/dagster_on_kubernetes?host={postgres.host}&port=5432"
    return {**module_database.environment, "DATABASE_URL": url}


@pytest.fixture(scope="module")
def instance(home: Path, variables: dict[str, str]) -> Iterator[DagsterInstance]:
    """Dagster as webserver and daemon have it on Kubernetes."""
    with environment(variables), DagsterInstance.from_config(str(home)) as opened:
        yield opened


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher waits ten seconds between attempts."""
    monkeypatch.setattr(dagster_k8s.client, "time", SimpleNamespace(sleep=lambda _seconds: None, time=time.time))


def launched(instance: DagsterInstance, **tags: str) -> DagsterRun:
    run = new_run(instance, JOB, IMAGE, **tags)
    instance.launch_run(run.run_id, cast(Any, None))
    return current(instance, run)


def current(instance: DagsterInstance, run: DagsterRun) -> DagsterRun:
    return cast(DagsterRun, instance.get_run_by_id(run.run_id))


def only_job(cluster: Cluster) -> dict[str, Any]:
    (made,) = cluster.jobs.values()
    return made


def container_of(made: dict[str, Any]) -> dict[str, Any]:
    (container,) = made["spec"]["template"]["spec"]["containers"]
    return dict(container)


def executed(made: dict[str, Any], variables: dict[str, str], home: Path) -> "subprocess.CompletedProcess[str]":
    """Execute a Job's command, whose run fails by itself as soon as it begins."""
    given = {**variables, "PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "DAGSTER_KEEP_DAYS": "for ever"}
    return subprocess.run(container_of(made)["args"], cwd=home, env=given, capture_output=True, text=True, check=False)


@job
def nothing() -> None:
    """A job without a step."""


def test_a_run_is_a_job_with_the_code_servers_image_and_what_values_yaml_says_of_runs(
    instance: DagsterInstance, cluster: Cluster
) -> None:
    launched(instance)

    container = container_of(only_job(cluster))
    assert container["image"] == IMAGE
    assert container["envFrom"] == [
        {"configMapRef": {"name": "hiring-settings"}},
        {"secretRef": {"name": "hiring-pipeline"}},
    ]
    assert only_job(cluster)["spec"]["template"]["spec"]["serviceAccountName"] == "hiring-pipeline"


def test_the_job_is_the_one_that_kubernetes_check_looks_at(instance: DagsterInstance, cluster: Cluster) -> None:
    """The check makes it without a launcher: what it says of runs would be said of something else."""
    launched(instance)

    made, supposed = (container_of(each) for each in (only_job(cluster), make_run_job(read_values())))
    for its_own in ("args", "env", "image"):
        made.pop(its_own), supposed.pop(its_own)
    assert made == supposed


def test_a_runs_job_passes_every_check_of_pods(instance: DagsterInstance, cluster: Cluster) -> None:
    launched(instance)
    made = only_job(cluster)
    config_map = {"kind": "ConfigMap", "metadata": {"name": "hiring-settings"}}
    manifests = Manifests([made | {"metadata": {"name": "dagster-run"}}, config_map], read_secrets())

    of_pods = [complaints for _, complaints in CHECKS[:7]]
    assert [each for complaints in of_pods for each in complaints(manifests)] == []


def test_a_run_has_the_usual_size_unless_its_tag_asks_for_another(instance: DagsterInstance, cluster: Cluster) -> None:
    launched(instance)
    usual = container_of(only_job(cluster))["resources"]
    cluster.jobs.clear()
    size = {"cpu": "4", "memory": "16Gi"}
    tag = {"container_config": {"resources": {"requests": size, "limits": size}}}
    launched(instance, **{"dagster-k8s/config": json.dumps(tag)})

    assert usual == read_values()["runLauncher"]["config"]["k8sRunLauncher"]["resources"]
    large = container_of(only_job(cluster))
    assert large["resources"] == {"requests": size, "limits": size}
    assert large["envFrom"] == [
        {"configMapRef": {"name": "hiring-settings"}},
        {"secretRef": {"name": "hiring-pipeline"}},
    ]


def test_no_password_is_in_a_job(instance: DagsterInstance, cluster: Cluster) -> None:
    launched(instance)

    assert PASSWORD not in json.dumps(only_job(cluster))
    (reference,) = (each for each in container_of(only_job(cluster))["env"] if each["name"] == "DAGSTER_PG_PASSWORD")
    assert reference["valueFrom"] == {"secretKeyRef": {"name": "hiring-dagster", "key": "postgresql-password"}}


def test_a_run_that_the_cluster_refuses_fails_at_once(instance: DagsterInstance, cluster: Cluster) -> None:
    """A quota, a right that is missing: a run that stays queued would keep the sensors from starting another."""
    cluster.faults.append(403)
    run = new_run(instance, JOB, IMAGE)

    with pytest.raises(dagster_k8s.client.DagsterK8sUnrecoverableAPIError):
        instance.launch_run(run.run_id, cast(Any, None))

    assert current(instance, run).status == DagsterRunStatus.FAILURE
    assert (cluster.attempts, cluster.jobs) == (1, {})


@pytest.mark.usefixtures("_impatient")
def test_a_run_that_cannot_be_launched_in_four_attempts_fails(instance: DagsterInstance, cluster: Cluster) -> None:
    cluster.faults += [503] * 4
    run = new_run(instance, JOB, IMAGE)

    with pytest.raises(dagster_k8s.client.DagsterK8sAPIRetryLimitExceeded):
        instance.launch_run(run.run_id, cast(Any, None))

    assert current(instance, run).status == DagsterRunStatus.FAILURE
    assert cluster.jobs == {}


@pytest.mark.usefixtures("_impatient")
def test_a_run_starts_where_the_api_server_fails_for_a_moment(instance: DagsterInstance, cluster: Cluster) -> None:
    cluster.faults.append(503)

    run = launched(instance)

    assert run.status == DagsterRunStatus.STARTING
    assert cluster.attempts == 2
    assert only_job(cluster)["metadata"]["labels"]["dagster/run-id"] == run.run_id


@pytest.mark.usefixtures("_impatient")
def test_a_run_whose_job_was_made_although_the_connection_broke_fails_and_its_job_does_nothing(
    instance: DagsterInstance, cluster: Cluster
) -> None:
    """The launcher takes the Job for another one of that name, and the sensor starts another run."""
    cluster.faults.append(CUT)
    run = new_run(instance, JOB, IMAGE)

    with pytest.raises(dagster_k8s.client.DagsterK8sUnrecoverableAPIError):
        instance.launch_run(run.run_id, cast(Any, None))
    assert current(instance, run).status == DagsterRunStatus.FAILURE
    # What the Job's command does once it has imported the job.
    worker = execute_run_iterator(InMemoryJob(nothing), current(instance, run), instance)

    assert only_job(cluster)["metadata"]["labels"]["dagster/run-id"] == run.run_id
    assert [event.message for event in worker] == [
        "Ignoring a run worker that started after the run had already finished."
    ]


def test_dagster_knows_whether_a_runs_job_runs_has_failed_or_is_gone_and_can_stop_it(
    instance: DagsterInstance, cluster: Cluster
) -> None:
    run = launched(instance)
    (name,) = cluster.jobs
    health = instance.run_launcher.check_run_worker_health

    assert health(run).status == WorkerStatus.RUNNING
    cluster.jobs[name]["status"] = {"failed": 1}
    assert health(run).status == WorkerStatus.FAILED
    assert instance.run_launcher.terminate(run.run_id)
    assert health(run).status == WorkerStatus.UNKNOWN
    assert cluster.jobs == {}


def test_the_jobs_command_executes_the_run_without_asking_kubernetes(
    instance: DagsterInstance, cluster: Cluster, home: Path, variables: dict[str, str]
) -> None:
    """A run's pod has no token: a launcher that was made in it would end the run."""
    run = launched(instance)
    (home / "kubeconfig").rename(home / "away")
    try:
        done = executed(only_job(cluster), variables, home)
    finally:
        (home / "away").rename(home / "kubeconfig")

    assert current(instance, run).status == DagsterRunStatus.FAILURE, done.stderr
    assert "DAGSTER_KEEP_DAYS" in done.stderr


def test_monitoring_gives_a_pod_ten_minutes_to_start_and_runs_are_retried_as_elsewhere(
    instance: DagsterInstance,
) -> None:
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_start_timeout_seconds == 600
    assert instance.run_retries_enabled
    assert instance.run_retries_max_retries == 2


def test_the_instance_is_the_one_of_aws_but_for_storage_and_launcher() -> None:
    chart = instance_config(read_values())
    aws = cast(dict[str, Any], load_yaml_from_path(str(PROJECT / "deploy" / "aws" / "dagster" / "dagster.yaml")))
    of_its_own = {"run_launcher", "storage", "schedule_storage", "run_storage", "event_log_storage"}
    aws["run_monitoring"].pop("enabled")
    assert chart["run_monitoring"].pop("enabled")
    assert chart["run_coordinator"].pop("config") == {}

    assert {name: chart[name] for name in chart if name not in of_its_own} == {
        name: aws[name] for name in aws if name not in of_its_own
    }
