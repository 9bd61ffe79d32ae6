"""Dagster's storage of runs, events and ticks in Postgres, with a connection pool."""

from collections.abc import Mapping
from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from sqlalchemy import ExceptionContext, create_engine, event

from orchestration.instance.database import InstanceSettings

# The UI reads in many threads; other processes need only a few connections.
MAX_CONNECTIONS = 20


READ_ONLY = "25006"  # SQLSTATE read_only_sql_transaction


class PooledPostgresStorage(DagsterPostgresStorage):
    """Dagster's storage in Postgres, with a connection pool.

    Dagster's own storage opens a connection for each statement, some two hundred for a small run: a fifth of its time.
    A pooled connection is tested before it is used, so that a restart of the server has no effect here either. After a
    failover, connections to a read-only server are dropped and not opened again.
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
        """Return the schema of dagster.yaml's options: none, since the environment has the settings."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:  # noqa: ARG003
        """Create a storage from the environment's settings.

        Raises:
            WrongSetting: the database is not set.
        """
        return cls(InstanceSettings.read().url.render_as_string(hide_password=False), inst_data)


def _drop_read_only_connections(context: ExceptionContext) -> None:
    """Make the pool drop connections to a server that has become read-only, which a ping would not detect."""
    if getattr(context.original_exception, "pgcode", None) == READ_ONLY:
        context.is_disconnect = True
