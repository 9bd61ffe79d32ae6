"""What assets and sensors reach outside for, where it is not what the settings say."""

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
