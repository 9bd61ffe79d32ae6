"""Metadata about a mart's content in the UI: numbers, which Dagster plots over time, and a chart of its metric.

The default derives it from the mart's columns (default.py); a module with the mart's name in this package and a
function `metadata(connection)` replaces it. Metadata of all models is in orchestration/dbt/metadata.py.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from dagster import AssetKey, DagsterInstance, MetadataValue

from orchestration.dbt.marts.default import Metadata, default_metadata

if TYPE_CHECKING:
    from orchestration.database import Connection

# The mart's version, which changes with its content: metadata of the same version is not computed again.
VERSION = "version"


def mart_metadata(connection: "Connection", instance: DagsterInstance, mart: Mapping[str, Any]) -> Metadata:
    """Return the metadata of a mart; if the mart has not changed, that of its last materialization.

    Args:
        connection: of a role that reads the marts.
        instance: Dagster's instance, which has the mart's last materialization.
        mart: its node in dbt's manifest.
    """
    row = connection.execute("select version from marts.publications where mart = %s", [mart["name"]]).fetchone()
    version = int(row[0]) if row else 0
    previous = _previous(instance, AssetKey([mart["schema"], mart["name"]]))
    if previous.get(VERSION) == MetadataValue.int(version):
        return previous
    return {VERSION: MetadataValue.int(version), **_metadata(connection, mart)}


def _metadata(connection: "Connection", mart: Mapping[str, Any]) -> Metadata:
    module = f"{__name__}.{mart['name']}"
    if find_spec(module) is None:
        return default_metadata(connection, mart)
    metadata: Metadata = import_module(module).metadata(connection)
    return metadata


def _previous(instance: DagsterInstance, key: AssetKey) -> Metadata:
    """Return the metadata of a mart's last materialization, without that of Dagster and dbt itself."""
    event = instance.get_latest_materialization_event(key)
    metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
    return {name: value for name, value in metadata.items() if "/" not in name and value is not None}
