"""The API as in production: uvicorn on a free port with a real Postgres, over HTTP."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import uvicorn
import yaml
from pydantic import SecretStr

from api.main import create_app
from api.protocol.server import options
from api.settings import Settings
from tests.conftest import Database

KEY = "a-key-of-the-tests"
DBT_PROJECT = Path(__file__).parents[2] / "dbt_project"

# A line for each request is for those who run the API.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def settings_for(database: Database, **changes: Any) -> Settings:
    return Settings(
        **{
            "pghost": database.postgres.host,
            "pgdatabase": database.name,
            "hiring_api_password": SecretStr("hiring_api"),
            "api_key": SecretStr(KEY),
            "api_open_reads": True,
            **changes,
        }
    )


def settings_without_database(folder: Path, **changes: Any) -> Settings:
    """Settings with a folder that has no Postgres, and short timeouts."""
    return Settings(
        **{
            "pghost": str(folder),
            "pgdatabase": "absent",
            "hiring_api_password": SecretStr("hiring_api"),
            "api_key": SecretStr(KEY),
            "api_open_reads": True,
            "api_database_timeout_seconds": 0.3,
            **changes,
        }
    )


@contextmanager
def serving(settings: Settings, **changes: Any) -> Iterator[httpx.Client]:
    """Serve the application, with other metrics than there are where a test says so."""
    app = create_app(settings, **changes)
    server = uvicorn.Server(uvicorn.Config(app, port=0, **options(settings)))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the application did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def marts() -> dict[str, str]:
    """Return the columns of each mart as SQL, by the contract in its yml."""
    models = [
        model
        for path in sorted((DBT_PROJECT / "models" / "marts").rglob("*.yml"))
        for model in yaml.safe_load(path.read_text()).get("models", ())
    ]
    return {model["name"]: ", ".join(map(column_definition, model["columns"])) for model in models}


def column_definition(column: Mapping[str, Any]) -> str:
    collation = ' collate "C"' if column["data_type"] == "text" else ""
    return f"{column['name']} {column['data_type']}{collation}"


def build_marts(database: Database) -> None:
    """Create the marts, empty, as dbt does."""
    for name, columns in marts().items():
        database.execute(f"create table marts.{name} ({columns})")
    database.execute("grant select on all tables in schema marts to hiring_api")


def publish(database: Database, change: str = "select 1", names: Iterable[str] = ()) -> None:
    """Change the marts as a build does: the change, the new versions and the word of it in one transaction."""
    with database.connect() as connection, connection.transaction():
        connection.execute(change)
        for mart in names or marts():
            connection.execute(
                """
                insert into marts.publications values (%(mart)s, 1, clock_timestamp())
                on conflict (mart) do update set version = publications.version + 1, published_at = clock_timestamp()
                """,
                {"mart": mart},
            )
        # Once: of several words the last ones would arrive after a test has seen the first take effect.
        connection.execute("select pg_notify('marts_changed', %s)", [mart])


def eventually(holds: Callable[[], bool], seconds: float = 5) -> None:
    """Wait until something holds, which may take a moment between processes."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def client(module_database: Database) -> Iterator[httpx.Client]:
    """A running API whose marts exist and are empty."""
    build_marts(module_database)
    with serving(settings_for(module_database)) as client:
        yield client
