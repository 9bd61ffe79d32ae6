"""Dagster's storage of runs, events and ticks uses the connections of one pool."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg
import pytest
from sqlalchemy import QueuePool, event

from deploy.local.postgres import EmbeddedPostgres
from tests.conftest import environment

OURS = {"module": "orchestration.instance.storage", "class": "PooledPostgresStorage", "config": {}}


@pytest.fixture
def pooled(postgres: EmbeddedPostgres) -> Iterator[dg.DagsterInstance]:
    postgres.create_database("pooled")
    url = f"postgresql://postgres:{postgres.password}@/pooled?host={postgres.host}&port=5432"
    with (
        environment({"DAGSTER_PG_URL": url}),
        dg.DagsterInstance.local_temp(overrides={"storage": {"custom": OURS}}) as opened,
    ):
        yield opened


def test_dagsters_storages_take_their_connections_from_the_engine_that_they_are_given(
    pooled: dg.DagsterInstance,
) -> None:
    """A storage with its own engine would open a connection for each statement, some two hundred per run."""
    (engine,) = {part._engine for part in (pooled.run_storage, pooled.event_log_storage, pooled.schedule_storage)}
    assert isinstance(engine.pool, QueuePool)
    counts: Counter[str] = Counter()
    for name in ("connect", "checkout"):
        event.listen(engine, name, lambda *_, name=name: counts.update([name]))

    @dg.asset
    def made() -> None:
        pass

    assert dg.materialize([made], instance=pooled).success
    assert pooled.get_latest_materialization_event(made.key) is not None
    pooled.all_instigator_state()
    assert counts["checkout"] > 10 * counts["connect"]
