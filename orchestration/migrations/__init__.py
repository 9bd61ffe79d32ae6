"""The database schema outside dbt: schema raw with its ledger, the roles and their privileges.

`python -m orchestration.migrations` migrates the database of libpq's variables (PGHOST, PGPORT, PGDATABASE, PGUSER,
PGPASSWORD: a role that may create roles) to the newest version, in one transaction: Alembic's revisions (versions/),
then tables and columns of the contract that raw lacks (contract.py), then functions and views (objects/). What dbt
builds is in dbt_project.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg.errors import LockNotAvailable, UndefinedTable

from contracts import TABLES
from contracts.tables import contract_version
from orchestration.database import LockTimeout, set_password
from orchestration.migrations.contract import follow_contract, follows_newer_contract
from orchestration.migrations.objects import replace_objects

if TYPE_CHECKING:
    from alembic.config import Config

# Any number that no other advisory lock in the database uses.
MIGRATION_LOCK = 0x6869_7265
# application_name of its sessions.
NAME = "hiring_migrations"
# Readers queue behind a migration that waits for a lock, for no longer than this.
LOCK_TIMEOUT_SECONDS = 5
HOLDERS = """
    select
        format('session %%s (%%s)', pid, coalesce(nullif(application_name, ''), usename)),
        string_agg(distinct relation::regclass::text, ', '),
        to_char(min(xact_start), 'YYYY-MM-DD HH24:MI:SS')
    from pg_locks
    inner join pg_stat_activity using (pid)
    inner join pg_class on relation = pg_class.oid
    where
        granted and pg_locks.database = (select oid from pg_database where datname = current_database())
        and relnamespace = to_regnamespace('raw') and relkind <> 'i' and application_name <> %s
    group by pid, application_name, usename
    order by min(xact_start), pid
"""
ROLES = ("hiring_loader", "hiring_transformer", "hiring_api", "hiring_restorer", "hiring_reader")


def migrate(conninfo: str = "", passwords: Mapping[str, str] | None = None, revision: str = "head") -> None:
    """Migrate the database to this version of the project and of the contract, then set the roles' passwords.

    Several processes may call this concurrently: one migrates, the others wait and find nothing to do. A database that
    a newer version of either has migrated stays as it is: each version's schema serves the previous version, too.

    Args:
        conninfo: libpq connection string of a role that may create roles; "" means libpq's variables.
        passwords: passwords by role; other roles keep theirs.
        revision: where to stop; before the newest one, tables of the contract and objects stay as they are.

    Raises:
        ContractError: raw has tables or columns that the contract lacks; nothing was changed, and the message says what
            to do.
        LockTimeout: other sessions hold locks that it needs, which the message names; nothing was changed.
        psycopg.OperationalError: the server cannot be reached or refuses the login.
    """
    # Imported here, because it takes most of a second that other commands do not need.
    import sqlalchemy
    from alembic import command

    with psycopg.connect(conninfo, autocommit=True, application_name=NAME) as guard:
        guard.execute("select pg_advisory_lock(%s)", [MIGRATION_LOCK])
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(conninfo, application_name=NAME),
            poolclass=sqlalchemy.NullPool,
        )
        if (version_of(guard) or "") <= newest_version():
            with _naming_holders(guard), engine.begin() as connection:
                connection.exec_driver_sql(f"set local lock_timeout = {LOCK_TIMEOUT_SECONDS * 1000:.0f}")
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
                session = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
                if revision == "head" and not follows_newer_contract(session, contract_version()):
                    follow_contract(session, TABLES, contract_version())
                    replace_objects(session, TABLES)
        for role, password in (passwords or {}).items():
            set_password(guard, role, password)


@contextmanager
def _naming_holders(guard: psycopg.Connection[Any]) -> Iterator[None]:
    """Raise LockTimeout in place of a lock timeout of the block, with the sessions that hold locks in schema raw."""
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except (OperationalError, LockNotAvailable) as error:
        if not isinstance(error.orig if isinstance(error, OperationalError) else error, LockNotAvailable):
            raise
        holders = [
            f"{session} has locked {relations}" + (f" since {since} UTC" if since else "")
            for session, relations, since in guard.execute(HOLDERS, [NAME])
        ]
        raise LockTimeout(f"the migration waits: {'; '.join(holders) or str(error)}") from None


def version_of(connection: psycopg.Connection[Any]) -> str | None:
    """Return a database's version, "0001" and up; None before the first migration.

    Args:
        connection: in autocommit mode; of any of the roles, or of the one that migrates.
    """
    try:
        row = connection.execute("select version_num from public.alembic_version").fetchone()
    except UndefinedTable:
        return None
    return str(row[0]) if row else None


@cache
def newest_version() -> str:
    """Return the version that this project migrates to. Versions sort as text."""
    from alembic.script import ScriptDirectory

    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest, "there are no migrations"
    return newest


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    # A percent sign begins a reference to another option.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
