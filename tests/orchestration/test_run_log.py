"""The log of a run, as the UI shows it."""

import threading
import time
from pathlib import Path

import dagster as dg
import yaml

from contracts import TABLES
from orchestration.defs.raw import raw_asset
from orchestration.defs.resources import Warehouse
from tests.conftest import Bucket, Database, environment
from tests.orchestration.conftest import landing_of

INSTANCE = Path(__file__).parents[2] / "deploy" / "dagster.yaml"
LOCK = "select pg_advisory_lock(hashtextextended('raw.jobs', 0))"


def test_it_has_what_the_load_engine_warns_of(database: Database, bucket: Bucket) -> None:
    """A run that waits silently seems to hang."""
    jobs = next(table for table in TABLES if table.name == "jobs")
    resources = {
        "landing": landing_of(bucket),
        "warehouse": Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer"),  # noqa: S106
    }
    bucket.put("jobs.csv", b"1,a\n")
    logs = {"python_logs": yaml.safe_load(INSTANCE.read_text())["python_logs"]}
    with (
        environment(database.environment),
        dg.DagsterInstance.local_temp(overrides=logs) as instance,
        database.connect() as other,
    ):
        other.execute(LOCK)
        release = threading.Thread(target=release_when_waited_for, args=(database, other.info.backend_pid))
        release.start()
        result = dg.materialize([raw_asset(jobs)], resources=resources, instance=instance)
        release.join()
        messages = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert result.success
    assert [message for message in messages if message.startswith("raw.jobs is being loaded by another session, pid ")]


def release_when_waited_for(database: Database, holder: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if database.rows("select from pg_locks where locktype = 'advisory' and not granted"):
            break
        time.sleep(0.05)
    database.execute("select pg_terminate_backend(%s)", holder)
