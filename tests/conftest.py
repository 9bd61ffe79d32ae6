"""The real servers that tests run against: one Postgres cluster a worker, a fresh database a test."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row, tuple_row

from deploy.local.postgres import EmbeddedPostgres, running_postgres
from orchestration.migrations import ROLES, migrate

_names = (f"test_{number}" for number in itertools.count())


@dataclass(frozen=True)
class Database:
    """A migrated database of its own; every role's password is the role's name."""

    postgres: EmbeddedPostgres
    name: str

    def conninfo(self, role: str | None = None) -> str:
        """Return a libpq connection string for a role, the superuser by default."""
        if role is None:
            return self.postgres.conninfo(self.name)
        return self.postgres.conninfo(self.name, role, role)

    def connect(self, role: str | None = None) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection that commits each statement."""
        return psycopg.connect(self.conninfo(role), autocommit=True)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a query as superuser and return all its rows."""
        with self.connect() as connection:
            return connection.cursor(row_factory=tuple_row).execute(query, parameters).fetchall()

    def dicts(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run a query as superuser and return all its rows by column name."""
        with self.connect() as connection:
            return connection.cursor(row_factory=dict_row).execute(query, parameters).fetchall()

    def execute(self, statement: str, *parameters: Any) -> None:
        """Run a statement as superuser."""
        with self.connect() as connection:
            connection.execute(statement, parameters or None)

    @property
    def environment(self) -> dict[str, str]:
        """libpq's variables and the roles' passwords for this database."""
        return {
            "PGHOST": self.postgres.host,
            "PGPORT": "5432",
            "PGDATABASE": self.name,
            **{f"{role.upper()}_PASSWORD": role for role in ROLES},
        }


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A cluster for this worker's tests, with a migrated database to copy from."""
    folder = tmp_path_factory.mktemp("server", numbered=True) / "postgres"
    with running_postgres(folder, "superuser") as server:
        server.create_database("template_migrated")
        migrate(server.conninfo("template_migrated"), {role: role for role in ROLES})
        yield server


def _fresh_database(server: EmbeddedPostgres) -> Iterator[Database]:
    name = next(_names)
    server.create_database(name, template="template_migrated")
    yield Database(server, name)
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A migrated, empty database for one test."""
    yield from _fresh_database(postgres)


@pytest.fixture(scope="module")
def module_database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A migrated, empty database that the tests of one module share."""
    yield from _fresh_database(postgres)
