"""`python -m deploy.migrate`: the one-off task before every new version. Dagster's database, then hiring's.

It connects to PGDATABASE by libpq's variables, as a role that may create roles and databases, and waits while the
server is starting or a standby, or other sessions have locked what it changes. Running it again changes nothing.
"""

import os
import sys
from collections.abc import Mapping

import psycopg

from contracts.tables import ContractError
from deploy.databases import ensure_database, ensure_role
from deploy.waiting import GaveUp, in_one_line, until
from orchestration.database import LockTimeout
from orchestration.instance.database import InstanceSettings
from orchestration.migrations import ROLES, migrate, version_of
from orchestration.settings import WrongSetting


def main() -> None:
    """Migrate both databases; on failure, print one line to standard error and exit with status 1."""
    try:
        passwords = {role: _required(f"{role.upper()}_PASSWORD") for role in ROLES}
        _required("DAGSTER_HOME")
        until(_server_takes_writes)
        _dagster()
        until(lambda: _blocked(passwords))
        with psycopg.connect(autocommit=True) as connection:
            _say(f"the database {connection.info.dbname} is at version {version_of(connection)}")
    except (WrongSetting, GaveUp, ContractError, psycopg.Error) as error:
        sys.exit(f"cannot migrate: {in_one_line(error)}")


def _dagster() -> None:
    """Create Dagster's role and database, and bring its tables up to date."""
    url = InstanceSettings.read().url
    if not (url.username and url.database and url.password):
        raise WrongSetting("DAGSTER_PG_URL has to name a role, its password and a database")
    with psycopg.connect(autocommit=True) as connection:
        ensure_role(connection, url.username, str(url.password))
        ensure_database(connection, url.database, owner=url.username)
    # Imported here, because it takes two seconds: a missing setting is reported first.
    from dagster import DagsterInstance

    with DagsterInstance.get() as instance:
        instance.upgrade(_say)
    _say(f"the database {url.database} is migrated to this version of Dagster")


def _server_takes_writes() -> str | None:
    try:
        # A standby accepts connections, too, but cannot be migrated.
        psycopg.connect(connect_timeout=5, target_session_attrs="read-write").close()
    except psycopg.OperationalError as error:
        return in_one_line(error)
    return None


def _blocked(passwords: Mapping[str, str]) -> str | None:
    """Migrate schema raw; return which sessions prevent that, None if it is done."""
    try:
        migrate(passwords=passwords)
    except LockTimeout as error:
        return str(error)
    return None


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise WrongSetting(f"{name} is not set")
    return value


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
