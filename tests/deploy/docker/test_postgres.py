"""The Postgres of docker-compose.yml."""

from pathlib import Path

import yaml

COMPOSE_FILE = Path(__file__).parents[3] / "docker-compose.yml"


def test_its_order_of_text_changes_with_no_pull_of_its_image() -> None:
    """postgres:17 alone moves to the next Debian and its C library: indexes would be in another order than it."""
    postgres = yaml.safe_load(COMPOSE_FILE.read_text())["services"]["postgres"]
    version, _, debian = postgres["image"].removeprefix("postgres:").partition("-")
    assert version.isdecimal()
    assert debian.isalpha()
    assert "--locale-provider=builtin --builtin-locale=C.UTF-8" in postgres["environment"]["POSTGRES_INITDB_ARGS"]
