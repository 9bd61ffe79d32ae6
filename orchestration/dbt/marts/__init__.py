"""What a mart's page in the UI shows of its content: numbers that plot over time, and its metric as a picture.

A mart is described by its columns (default.py), or by a module of its name in this package with a function
`metadata(connection)`. What is shown of every model is in orchestration/dbt/metadata.py.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from dagster import AssetKey, DagsterInstance, MetadataValue

from orchestration.dbt.marts.default import Metadata, default_metadata

if TYPE_CHECKING:
    from orchestration.database import Connection

# How often the mart has changed: as long as it is the same, so is everything here.
VERSION = "version"


def mart_metadata(connection: "Connection", instance: DagsterInstance, mart: Mapping[str, Any]) -> Metadata:
    """Return the metadata of a mart, as it was before when it has not changed since.

    Args:
        connection: of a role that reads the marts.
        instance: where the mart's last materialization is.
        mart: its node in dbt's manifest.
    """
    found = connection.execute("select version from marts.publications where mart = %s", [mart["name"]]).fetchone()
    version = int(found[0]) if found else 0
    before = _before(instance, AssetKey([mart["schema"], mart["name"]]))
    if before.get(VERSION) == MetadataValue.int(version):
        return before
    return {VERSION: MetadataValue.int(version), **_metadata(connection, mart)}


def _metadata(connection: "Connection", mart: Mapping[str, Any]) -> Metadata:
    module = f"{__name__}.{mart['name']}"
    if find_spec(module) is None:
        return default_metadata(connection, mart)
    metadata: Metadata = import_module(module).metadata(connection)
    return metadata


def _before(instance: DagsterInstance, key: AssetKey) -> Metadata:
    """Return what the last materialization showed of a mart's content: all that is not Dagster's or dbt's own."""
    event = instance.get_latest_materialization_event(key)
    metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
    return {name: value for name, value in metadata.items() if "/" not in name and value is not None}
