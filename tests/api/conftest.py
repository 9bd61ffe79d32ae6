"""The API as it runs: uvicorn on a free port, against a real Postgres, asked over HTTP."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from api.main import create_app
from api.settings import Settings
from tests.conftest import Database

KEY = "a-key-of-the-tests"


def settings_for(database: Database, **changes: Any) -> Settings:
    return Settings(
        **{
            "pghost": database.postgres.host,
            "pgdatabase": database.name,
            "hiring_api_password": SecretStr("hiring_api"),
            "api_key": SecretStr(KEY),
            **changes,
        }
    )


def settings_without_database(folder: Path, **changes: Any) -> Settings:
    """Settings that look for Postgres in a folder without any, and do not look for long."""
    return Settings(
        **{
            "pghost": str(folder),
            "pgdatabase": "absent",
            "hiring_api_password": SecretStr("hiring_api"),
            "api_key": SecretStr(KEY),
            "api_database_timeout_seconds": 0.3,
            **changes,
        }
    )


@contextmanager
def serving(settings: Settings) -> Iterator[httpx.Client]:
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), host="127.0.0.1", port=0, log_config=None, access_log=False)
    )
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


def build_marts(database: Database) -> None:
    """Create the marts, empty, as dbt does."""
    database.execute("""
        create table marts.hires_by_quarter (
            year integer, department_id integer, department text collate "C", job_id integer,
            job text collate "C", q1 integer, q2 integer, q3 integer, q4 integer
        )
    """)
    database.execute("""
        create table marts.departments_above_mean (
            year integer, id integer, department text collate "C", hired integer, mean double precision
        )
    """)
    database.execute("grant select on all tables in schema marts to hiring_api")


@pytest.fixture(scope="module")
def client(module_database: Database) -> Iterator[httpx.Client]:
    """A running API whose marts exist and are empty."""
    build_marts(module_database)
    with serving(settings_for(module_database)) as client:
        yield client
