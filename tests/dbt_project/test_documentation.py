"""What the dbt project says of itself: each column described, a page that needs no internet, how fresh raw is."""

import re
from pathlib import Path

from dbt.task.docs import DOCS_INDEX_FILE_PATH

from orchestration.dbt.project import manifest
from tests.conftest import Database
from tests.dbt_project.conftest import Dbt, deliver


def test_every_column_of_every_model_and_source_is_described(module_dbt: Dbt) -> None:
    """A column without a description, or a description of a removed column, misleads readers without an error."""
    assert module_dbt("run").success
    catalog = module_dbt("docs", "generate").result

    models = {name: node for name, node in manifest()["nodes"].items() if node["resource_type"] == "model"}
    documented = manifest()["sources"] | models
    stored = catalog.sources | catalog.nodes
    assert stored.keys() == documented.keys()
    for name, node in documented.items():
        assert node["description"], name
        described = {column["name"] for column in node["columns"].values() if column["description"]}
        assert (name, described) == (name, set(stored[name].columns))


def test_the_page_of_the_documentation_loads_no_external_resources() -> None:
    page = Path(DOCS_INDEX_FILE_PATH).read_text()
    assert "<script>" in page
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=.?(https?:)?//", page)
    # Where this is true, the page reports its visits.
    assert manifest()["metadata"]["send_anonymous_usage_stats"] is False


def test_a_table_without_recent_deliveries_is_reported_and_blocks_nothing(
    module_database: Database, module_dbt: Dbt
) -> None:
    never = module_dbt("source", "freshness")
    for table in ("departments", "jobs", "hired_employees"):
        deliver(module_database, table, [])
    module_database.execute("update raw.loads set completed_at = now() - interval '20 days' where table_name <> 'jobs'")
    deliver(module_database, "hired_employees", [], status="loading")
    later = module_dbt("source", "freshness")

    assert never.success
    assert {each.status for each in never.result} == {"warn"}
    assert later.success
    assert {each.node.name: each.status for each in later.result} == {
        "departments": "pass",
        "jobs": "pass",
        "hired_employees": "warn",
        "loads": "pass",
    }
