"""Metadata of models in the UI: row counts, columns and column lineage, and numbers for marts and rejected records."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagster import AssetKey, DagsterInstance, MetadataValue

from orchestration.dbt.marts import mart_metadata
from orchestration.dbt.project import published_marts
from orchestration.markdown import table_of_rows
from orchestration.warehouse.rejected import rejected_fields, rejected_totals

if TYPE_CHECKING:
    from orchestration.database import Connection

# With more rows, the planner's estimate is used: counting would take longer than an incremental build.
COUNTED_ROWS = 100_000
# Metadata that depends only on the models' text, unchanged since the last full refresh.
STRUCTURE = ("dagster/column_schema", "dagster/column_lineage")
REJECTED = AssetKey(["staging", "rejected_records"])
# Depends on rejected_records, so that Dagster processes it later.
AFTER_REJECTED = AssetKey(["staging", "rejected_fields"])


def in_database(connection: "Connection", project: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dbt manifest with relation names of the connected database; it may have been parsed without one."""
    moved = {
        kind: {
            unique_id: node | {"relation_name": f'"{connection.info.dbname}"."{node["schema"]}"."{node["name"]}"'}
            if node.get("relation_name")
            else node
            for unique_id, node in project[kind].items()
        }
        for kind in ("nodes", "sources")
    }
    return {**project, **moved}


def rows(connection: "Connection", relation: str) -> dict[str, int]:
    """Return the number of rows of a relation, exact or estimated, as metadata.

    Args:
        connection: of a role that reads the relation.
        relation: its name, quoted for SQL.
    """
    counted = connection.execute(
        f"select count(*) from (select from {relation} limit {COUNTED_ROWS}) as counted".encode()  # noqa: S608
    ).fetchone()
    if counted is not None and counted[0] < COUNTED_ROWS:
        return {"dagster/row_count": counted[0]}
    plan = connection.execute(f"explain (format json) select from {relation}".encode()).fetchone()
    return {"dagster/row_count": round(plan[0][0]["Plan"]["Plan Rows"]) if plan else COUNTED_ROWS}


def column_history(connection: "Connection", project: Mapping[str, Any], unique_id: str) -> dict[str, Any]:
    """Return the columns of a node and of its parents, from which dagster-dbt computes column lineage.

    Args:
        connection: of a role that reads them.
        project: dbt's manifest.
        unique_id: the node's id in the manifest.
    """
    nodes = {**project["nodes"], **project["sources"]}
    parents = [nodes[parent]["relation_name"] for parent in project["parent_map"][unique_id] if parent in nodes]
    columns = {name: {"columns": _columns(connection, name)} for name in [nodes[unique_id]["relation_name"], *parents]}
    return columns[nodes[unique_id]["relation_name"]] | {"parents": {name: columns[name] for name in parents}}


def _columns(connection: "Connection", relation: str) -> dict[str, dict[str, str]]:
    columns = connection.execute(
        """
        select attname::text, format_type(atttypid, atttypmod)
        from pg_attribute
        where attrelid = %s::regclass and attnum > 0 and not attisdropped
        order by attnum
        """,
        [relation],
    )
    return {name: {"data_type": data_type} for name, data_type in columns}


def previous_schema(instance: DagsterInstance, key: AssetKey) -> dict[str, Any]:
    """Return column schema and lineage from the last materialization of an asset, as metadata."""
    event = instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        return {}
    return {name: value for name, value in event.asset_materialization.metadata.items() if name in STRUCTURE}


def has_deferred_metadata(project: Mapping[str, Any], key: AssetKey) -> bool:
    """Return whether a model has metadata that is computed after the build, so that readers need not wait for it.

    Args:
        project: dbt's manifest.
        key: of the model's asset.
    """
    return key in (REJECTED, AFTER_REJECTED) or key.path[-1] in published_marts(project)


def deferred_metadata(
    connection: "Connection", instance: DagsterInstance, project: Mapping[str, Any], key: AssetKey
) -> dict[str, MetadataValue]:
    """Return the metadata of such a model in addition to rows and columns.

    Args:
        connection: of a role that reads the models.
        instance: Dagster's instance.
        project: dbt's manifest.
        key: of the model's asset.
    """
    if key == AFTER_REJECTED:
        return {}
    if key != REJECTED:
        (mart,) = [node for node in project["nodes"].values() if [node["schema"], node["name"]] == key.path]
        return mart_metadata(connection, instance, mart)
    sample, query = rejected_fields(connection)
    malformed, invalid = rejected_totals(connection)
    return {
        "rejected": MetadataValue.int(malformed + invalid),
        "malformed": MetadataValue.int(malformed),
        "invalid": MetadataValue.int(invalid),
        "sample": MetadataValue.md(table_of_rows(sample)),
        "query": MetadataValue.md(f"```sql\n{query}\n```"),
    }
