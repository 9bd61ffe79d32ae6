"""Where Dagster keeps its runs, events and ticks: its own tables in Postgres, over connections that are kept."""

from collections.abc import Mapping
from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from sqlalchemy import ExceptionContext, create_engine, event

from orchestration.instance.database import InstanceSettings

# The UI reads in many threads; nobody else needs more than a few.
MAX_CONNECTIONS = 20


READ_ONLY = "25006"  # SQLSTATE read_only_sql_transaction


class PooledPostgresStorage(DagsterPostgresStorage):
    """Dagster's storage in Postgres, with a pool.

    Dagster's own opens a connection for each statement, some two hundred for a small run: a fifth of its time. Before
    a kept connection is used it is tried, so that a server that was restarted meanwhile is not noticed here either.
    After a failover, connections to a server that takes no writes are not kept, and new ones not made.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        engine = create_engine(
            postgres_url,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            max_overflow=MAX_CONNECTIONS - 1,
            pool_pre_ping=True,
            connect_args={"target_session_attrs": "read-write", "application_name": "dagster"},
        )
        event.listen(engine, "handle_error", _drop_read_only_connections)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return what dagster.yaml may say: nothing, the environment has it."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:  # noqa: ARG003
        """Make one of what the environment says.

        Raises:
            WrongSetting: it does not say where the database is.
        """
        return cls(InstanceSettings.read().url.render_as_string(hide_password=False), inst_data)


def _drop_read_only_connections(context: ExceptionContext) -> None:
    """Let the pool treat a server that has become read-only as one that is gone: a ping would find it well."""
    if getattr(context.original_exception, "pgcode", None) == READ_ONLY:
        context.is_disconnect = True
