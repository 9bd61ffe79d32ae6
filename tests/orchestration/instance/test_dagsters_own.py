"""Dagster's own launcher, coordinator and storage can replace this project's by editing dagster.yaml alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.test_utils import create_run_for_test, create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy import NullPool

from tests.conftest import Bucket, Database, environment
from tests.orchestration.instance.test_forks import eventually

DEPLOYED = Path(__file__).parents[3] / "deploy" / "dagster.yaml"
JOBS = dg.AssetKey(["raw", "jobs"])


@pytest.fixture
def instance(database: Database, bucket: Bucket, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance as deploy/dagster.yaml says, but for the three blocks that name classes of ours."""
    database.postgres.create_database("own")
    text: dict[str, Any] = yaml.safe_load(DEPLOYED.read_text())
    del text["run_launcher"], text["run_coordinator"]
    text["storage"] = {"postgres": {"postgres_url": {"env": "DAGSTER_PG_URL"}}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(text))
    assert "orchestration.instance" not in (tmp_path / "dagster.yaml").read_text()
    keys = bucket.client._request_signer._credentials  # type: ignore[attr-defined]
    given = {
        **database.environment,
        "DAGSTER_PG_URL": f"postgresql://postgres:{database.postgres.password}@/own?host={database.postgres.host}",
        "DAGSTER_STORAGE": str(tmp_path / "storage"),
        "S3_BUCKET": bucket.name,
        "S3_ENDPOINT_URL": bucket.endpoint,
        "S3_SETTLE_SECONDS": "0",
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with environment(given), dg.DagsterInstance.from_config(str(tmp_path)) as opened:
        yield opened


def test_a_load_runs_on_dagsters_own_launcher_and_storage(
    instance: dg.DagsterInstance, database: Database, bucket: Bucket
) -> None:
    """This project's versions only improve speed, and internals that they use may change with any Dagster version."""
    assert isinstance(instance.run_launcher, dg.DefaultRunLauncher)
    assert isinstance(instance.run_coordinator, dg.QueuedRunCoordinator)
    assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
    assert isinstance(instance.event_log_storage._engine.pool, NullPool)
    bucket.put("jobs.csv", b"1,Clerk\n")
    target = ModuleTarget("orchestration.definitions", None, None, "hiring")
    with create_test_daemon_workspace_context(target, instance) as workspace:
        context = workspace.create_request_context()
        job = context.get_code_location("hiring").get_job(
            JobSubsetSelector("hiring", "__repository__", "refresh", None, asset_selection=[JOBS])
        )
        run = create_run_for_test(
            instance,
            "refresh",
            asset_selection=frozenset([JOBS]),
            job_snapshot=job.job_snapshot,
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
        )
        instance.launch_run(run.run_id, context)
        eventually(lambda: is_finished(instance, run.run_id), seconds=120)
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.is_success, [entry.user_message for entry in instance.all_logs(run.run_id)]
    assert database.rows("select id, job from raw.jobs") == [("1", "Clerk")]
    assert instance.get_materialized_partitions(dg.AssetKey(["landing", "jobs"])) == {"jobs.csv"}


def is_finished(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.is_finished
