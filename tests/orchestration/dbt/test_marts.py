"""Metadata of marts in the UI: numbers for any mart, and more if a module with its name provides it."""

from typing import Any

import dagster as dg

from orchestration.dbt.marts import mart_metadata
from orchestration.dbt.project import manifest
from tests.conftest import Database

MART: dict[str, Any] = {
    "schema": "marts",
    "name": "leavers",
    "constraints": [{"type": "primary_key", "columns": ["year", "department_id"]}],
    "columns": {
        name: {"name": name, "data_type": kind}
        for name, kind in {"year": "integer", "department_id": "integer", "department": "text", "left": "bigint",
                           "cost": "numeric(10, 2)"}.items()
    },
}  # fmt: skip
TABLE = 'create table marts.leavers (year int, department_id int, department text, "left" bigint, cost numeric(10, 2))'


def shown(database: Database, mart: dict[str, Any], instance: dg.DagsterInstance) -> dict[str, Any]:
    with database.connect("hiring_transformer") as connection:
        return {name: value.value for name, value in mart_metadata(connection, instance, mart).items()}


def test_a_mart_without_a_module_shows_its_newest_year_and_the_totals_of_its_numbers_but_not_of_its_key(
    database: Database,
) -> None:
    database.execute(TABLE)
    database.execute("grant select on marts.leavers to hiring_transformer")
    with dg.DagsterInstance.ephemeral() as instance:
        assert shown(database, MART, instance) == {"version": 0, "total_left": 0.0, "total_cost": 0.0}
        database.execute(
            "insert into marts.leavers values (2020, 1, 'A', 2, 1.5), (2021, 1, 'A', 3, 2), (2999, 1, 'A', 1, 1)"
        )
        assert shown(database, MART, instance) == {
            "version": 0, "newest_year": 2021, "total_left": 6.0, "total_cost": 4.5
        }  # fmt: skip


def test_metadata_is_kept_while_the_mart_does_not_change(database: Database) -> None:
    """Otherwise the metadata would be computed in each build, and another chart be stored."""
    database.execute(TABLE)
    database.execute("grant select on marts.leavers to hiring_transformer")
    database.execute("insert into marts.publications values ('leavers', 3, now())")
    with dg.DagsterInstance.ephemeral() as instance:
        before = {"version": 3, "total_left": 8.0, "dagster/row_count": 1}
        instance.report_runless_asset_event(dg.AssetMaterialization(["marts", "leavers"], metadata=before))
        assert shown(database, MART, instance) == {"version": 3, "total_left": 8.0}
        database.execute("update marts.publications set version = 4")
        assert shown(database, MART, instance)["total_left"] == 0.0


def test_every_published_mart_of_the_project_is_found_by_its_name(database: Database) -> None:
    database.execute("create table marts.hires_by_quarter (year int, department_id int, department text, q1 int)")
    database.execute("grant select on marts.hires_by_quarter to hiring_transformer")
    (mart,) = [node for node in manifest()["nodes"].values() if node["name"] == "hires_by_quarter"]
    with dg.DagsterInstance.ephemeral() as instance:
        assert shown(database, mart, instance)["chart"] == "Nobody has been hired yet."
