"""A step during an outage, when somebody has to fix something, and when its run is canceled."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from contracts import TABLES
from orchestration.database import connect
from orchestration.dbt.cli import InProcessDbt
from orchestration.defs import raw, retries
from orchestration.defs.models import BuildConfig, dbt_models
from orchestration.defs.resources import Landing, Warehouse
from orchestration.ingest.objects import BucketUnavailable
from orchestration.ingest.session import DatabaseUnavailable, acquire_table_lock
from tests.conftest import Bucket, Database, environment
from tests.orchestration.conftest import landing_of

JOBS = next(table for table in TABLES if table.name == "jobs")
RECORDS = 200_000

Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def run(database: Database, bucket: Bucket, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Materialize an asset on real servers, without the pauses between attempts."""
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.0)

    def materialize(asset: dg.AssetsDefinition, landing: Landing | None = None, **config: Any) -> Any:
        resources = {
            "landing": landing or landing_of(bucket),
            "warehouse": Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer"),  # noqa: S106
        }
        with environment(database.environment):
            return dg.materialize([asset], instance=instance, resources=resources, raise_on_error=False, **config)

    return materialize


def steps(result: dg.ExecuteInProcessResult, kind: str) -> list[dg.DagsterEvent]:
    return [event for event in result.all_events if event.event_type_value == kind]


def reason(result: dg.ExecuteInProcessResult) -> str:
    """Return what the failed step says of itself."""
    (event,) = steps(result, "STEP_FAILURE")
    assert event.step_failure_data.user_failure_data
    return str(event.step_failure_data.user_failure_data.description)


@pytest.mark.parametrize("error", [DatabaseUnavailable("Postgres is down"), BucketUnavailable("503 Slow Down")])
def test_a_load_is_tried_again_when_a_server_was_away(
    error: Exception, run: Run, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("jobs.csv", b"1,Clerk\n")
    load_pending = raw.load_pending
    outages = [error]

    def away_at_first(*arguments: Any) -> Iterator[Any]:
        if outages:
            raise outages.pop()
        return load_pending(*arguments)

    monkeypatch.setattr(raw, "load_pending", away_at_first)
    result = run(raw.raw_asset(JOBS))

    assert result.success
    assert len(steps(result, "STEP_UP_FOR_RETRY")) == 1
    (materialization,) = result.asset_materializations_for_node("raw__jobs")
    assert materialization.metadata["records"].value == 1


def test_a_permanent_outage_fails_the_step_after_the_last_attempt_with_its_error(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Iterator[Any]:
        raise DatabaseUnavailable("Postgres accepted nothing for 120 s")

    monkeypatch.setattr(raw, "load_pending", away)
    result = run(raw.raw_asset(JOBS))

    assert len(steps(result, "STEP_RESTARTED")) == retries.RETRIES
    assert reason(result) == "Postgres accepted nothing for 120 s"


def test_a_missing_bucket_fails_the_step_immediately(run: Run, bucket: Bucket) -> None:
    elsewhere = landing_of(bucket, "nowhere")
    result = run(raw.raw_asset(JOBS), elsewhere)

    assert reason(result) == "bucket 'nowhere' does not exist: create it, or name another in S3_BUCKET"
    assert not steps(result, "STEP_UP_FOR_RETRY")


def test_a_table_locked_by_another_session_fails_the_step_immediately_and_names_the_session(
    run: Run, database: Database, bucket: Bucket
) -> None:
    landing = landing_of(bucket, lock_wait_seconds=0.1)
    bucket.put("jobs.csv", b"1,Clerk\n")
    with connect(database.conninfo("hiring_loader")) as holder:
        acquire_table_lock(holder, JOBS, wait_seconds=0)
        result = run(raw.raw_asset(JOBS), landing)
        expected = f"raw.jobs is being loaded by another session, pid {holder.info.backend_pid}, hiring_loader,"

    assert reason(result).startswith(expected)
    assert not steps(result, "STEP_UP_FOR_RETRY")


def test_damaged_objects_are_not_tried_again(run: Run, bucket: Bucket) -> None:
    bucket.put("jobs.csv.gz", b"not gzip")
    result = run(raw.raw_asset(JOBS))

    assert result.success
    assert not steps(result, "STEP_UP_FOR_RETRY")


def test_a_table_that_lacks_a_column_fails_the_step_immediately_and_its_check_names_the_column(
    run: Run, database: Database, bucket: Bucket
) -> None:
    bucket.put("jobs.csv", b"1,Clerk\n")
    database.execute("alter table raw.jobs drop column job")
    result = run(raw.raw_asset(JOBS))

    assert reason(result) == "raw.jobs: job (text) is missing: run the migrations"
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("columns_as_agreed", False)
    assert database.rows("select * from raw.loads") == []


def test_a_build_that_fails_for_another_reason_is_not_tried_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise dg.Failure("dbt: a test has failed", allow_retries=False)

    monkeypatch.setattr(InProcessDbt, "cli", fails)
    result = run(dbt_models, run_config=dg.RunConfig(ops={"dbt_models": BuildConfig()}))

    assert reason(result) == "dbt: a test has failed"
    assert not steps(result, "STEP_UP_FOR_RETRY")


def test_what_a_cancelled_run_has_loaded_is_not_loaded_again_by_the_next(
    run: Run, database: Database, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal is how Dagster, Ctrl-C and a machine that is shut down end a run."""
    bucket.put("jobs.csv", b"".join(b"%d,job\n" % number for number in range(RECORDS)))
    with monkeypatch.context() as patch:
        patch.setattr(raw.LoadLog, "progressed", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        cancelled = run(raw.raw_asset(JOBS))
    assert not cancelled.success
    assert not steps(cancelled, "STEP_UP_FOR_RETRY")
    before = database.rows("select chunk, loaded_at from raw.load_chunks order by chunk")
    assert 0 < len(before) < RECORDS // 1000

    result = run(raw.raw_asset(JOBS))

    assert result.success
    assert database.rows("select chunk, loaded_at from raw.load_chunks order by chunk")[: len(before)] == before
    assert database.rows("select status, records from raw.loads") == [("complete", RECORDS)]
    assert database.rows("select count(*), count(distinct _record) from raw.jobs") == [(RECORDS, RECORDS)]
