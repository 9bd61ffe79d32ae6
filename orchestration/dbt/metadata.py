"""What the UI shows of a model beside its run: its rows, its columns, and which columns these come from."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagster import AssetKey, DagsterInstance, MetadataValue

from orchestration.dbt.marts import mart_metadata
from orchestration.dbt.project import published_marts
from orchestration.markdown import table_of_rows
from orchestration.warehouse.rejected import rejected_fields, rejected_totals

if TYPE_CHECKING:
    from orchestration.database import Connection

# Beyond so many rows the planner's estimate has to do: counting would take longer than a build of what is new.
COUNTED_ROWS = 100_000
# What follows from the models' text alone, and is as it was in the last full refresh.
STRUCTURE = ("dagster/column_schema", "dagster/column_lineage")
REJECTED = AssetKey(["staging", "rejected_records"])
# Dagster takes what depends on a model only after it.
AFTER_REJECTED = AssetKey(["staging", "rejected_fields"])


def in_database(connection: "Connection", project: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dbt manifest with the relations of the database that is connected to; it may be parsed without one."""
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
    """Return the number of rows of a relation as metadata.

    Args:
        connection: of a role that reads the relation.
        relation: its name as SQL has it.
    """
    counted = connection.execute(
        f"select count(*) from (select from {relation} limit {COUNTED_ROWS}) as counted".encode()  # noqa: S608
    ).fetchone()
    if counted is not None and counted[0] < COUNTED_ROWS:
        return {"dagster/row_count": counted[0]}
    plan = connection.execute(f"explain (format json) select from {relation}".encode()).fetchone()
    return {"dagster/row_count": round(plan[0][0]["Plan"]["Plan Rows"]) if plan else COUNTED_ROWS}


def column_history(connection: "Connection", project: Mapping[str, Any], unique_id: str) -> dict[str, Any]:
    """Return the columns of a node and of its parents, as dagster-dbt wants them to tell the columns' lineage.

    Args:
        connection: of a role that reads them.
        project: dbt's manifest.
        unique_id: the node's in it.
    """
    nodes = {**project["nodes"], **project["sources"]}
    parents = [nodes[parent]["relation_name"] for parent in project["parent_map"][unique_id] if parent in nodes]
    columns = {name: {"columns": _columns(connection, name)} for name in [nodes[unique_id]["relation_name"], *parents]}
    return columns[nodes[unique_id]["relation_name"]] | {"parents": {name: columns[name] for name in parents}}


def _columns(connection: "Connection", relation: str) -> dict[str, dict[str, str]]:
    found = connection.execute(
        """
        select attname::text, format_type(atttypid, atttypmod)
        from pg_attribute
        where attrelid = %s::regclass and attnum > 0 and not attisdropped
        order by attnum
        """,
        [relation],
    )
    return {name: {"data_type": data_type} for name, data_type in found}


def previous_schema(instance: DagsterInstance, key: AssetKey) -> dict[str, Any]:
    """Return what the last materialization of an asset told of its structure, as metadata."""
    event = instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        return {}
    return {name: value for name, value in event.asset_materialization.metadata.items() if name in STRUCTURE}


def has_deferred_metadata(project: Mapping[str, Any], key: AssetKey) -> bool:
    """Return whether more is shown of a model once everything is built: what takes time must not keep readers waiting.

    Args:
        project: dbt's manifest.
        key: of an asset.
    """
    return key in (REJECTED, AFTER_REJECTED) or key.path[-1] in published_marts(project)


def deferred_metadata(
    connection: "Connection", instance: DagsterInstance, project: Mapping[str, Any], key: AssetKey
) -> dict[str, MetadataValue]:
    """Return what the page of such a model has besides its rows and columns, as metadata."""
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
