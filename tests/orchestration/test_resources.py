"""External resources of assets and sensors that do not follow from the settings alone."""

import dagster as dg
import pytest

from orchestration.defs.resources import Warehouse
from tests.conftest import Database, environment


@pytest.mark.parametrize("role", ["loader", "transformer"])
def test_a_wrong_database_password_is_named_with_its_setting(database: Database, role: str) -> None:
    warehouse = Warehouse(loader_password="wrong", transformer_password="wrong")  # noqa: S106
    connected = warehouse.loader() if role == "loader" else warehouse.transformer()

    with environment(database.environment), pytest.raises(dg.Failure) as raised, connected:
        pass

    said = str(raised.value.description)
    assert said.startswith(f"cannot connect to Postgres as hiring_{role}: ")
    assert "password authentication failed" in said
    assert f"HIRING_{role.upper()}_PASSWORD" in said
    assert "\n" not in said
    assert not raised.value.allow_retries


def test_sessions_of_a_run_are_named_after_it(database: Database) -> None:
    """Who waits for a lock is given the name of the session that has it, and has to find the run by that."""

    @dg.op
    def ask(warehouse: Warehouse) -> list[str]:
        names = []
        for connected in (warehouse.loader(), warehouse.transformer()):
            with connected as connection:
                names += connection.execute("select current_setting('application_name')").fetchone() or ()
        return names

    @dg.job
    def asking() -> None:
        ask()

    warehouse = Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer")  # noqa: S106
    with environment(database.environment):
        result = asking.execute_in_process(resources={"warehouse": warehouse})

    assert result.output_for_node("ask") == [f"hiring_loader {result.run_id}", f"hiring_transformer {result.run_id}"]
