"""The file of secrets that docker-compose.yml reads."""

import re
import stat
from pathlib import Path

import yaml

from deploy.docker.secrets import VALUES, write_secrets

COMPOSE_FILE = Path(__file__).parents[3] / "docker-compose.yml"


def values(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def test_they_are_random_and_readable_only_by_their_owner(tmp_path: Path) -> None:
    for name in ("one", "other"):
        assert write_secrets(tmp_path / name) == list(VALUES)
    one, other = values(tmp_path / "one"), values(tmp_path / "other")
    secret = set(VALUES) - {"FILES_OWNER"}
    assert all(len(one[name]) >= 32 and one[name] != other[name] for name in secret)
    assert len({one[name] for name in secret}) == len(secret)
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600


def test_existing_values_are_kept(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# ours\nAPI_KEY=chosen by hand\nPOSTGRES_PASSWORD=in use")
    added = write_secrets(path)
    assert {"API_KEY", "POSTGRES_PASSWORD"}.isdisjoint(added)
    assert path.read_text().startswith("# ours\nAPI_KEY=chosen by hand\nPOSTGRES_PASSWORD=in use\n")
    assert set(values(path)) == set(VALUES)
    before = path.read_bytes()
    assert write_secrets(path) == []
    assert path.read_bytes() == before


def test_they_are_those_that_the_compose_file_requires() -> None:
    """A required variable that is not generated would prevent every newcomer from starting."""
    asked = set(re.findall(r"\$\{([A-Z_0-9]+):\?", COMPOSE_FILE.read_text()))
    assert asked == set(VALUES)


def test_no_service_gets_a_secret_that_it_has_no_use_for() -> None:
    services = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    secrets_of = {
        name: {variable for variable in VALUES if f"${{{variable}" in str(service)}
        for name, service in services.items()
    }
    assert secrets_of["api"] == {"HIRING_API_PASSWORD", "API_KEY"}
    assert secrets_of["postgres"] == {"POSTGRES_PASSWORD"}
    assert secrets_of["webserver"] == secrets_of["daemon"] == {"DAGSTER_PASSWORD"}
    assert "POSTGRES_PASSWORD" not in secrets_of["code-server"]


def test_only_the_api_and_the_ui_are_published_and_to_this_machine_alone() -> None:
    services = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"api", "webserver"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_the_api_shares_a_network_only_with_postgres() -> None:
    services = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    reachable = {
        name for name, service in services.items() if set(service["networks"]) & set(services["api"]["networks"])
    }
    assert reachable == {"api", "postgres"}
