"""Creates roles and databases on a Postgres server unless they exist, before the first migration."""

from typing import Any

import psycopg
from psycopg import sql

from orchestration.database import set_password


def ensure_role(connection: psycopg.Connection[Any], name: str, password: str) -> None:
    """Create a login role unless it exists, and set its password.

    Args:
        connection: in autocommit mode; of a superuser, or of a role that may create roles (Postgres 16 or later).
        name: the role.
        password: its new password.
    """
    # Otherwise a creator that is not a superuser is no member of the role, and cannot give it a database.
    connection.execute("set createrole_self_grant to 'set, inherit'")
    exists = connection.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone()
    action = sql.SQL("alter" if exists else "create")
    connection.execute(sql.SQL("{} role {} login").format(action, sql.Identifier(name)))
    set_password(connection, name, password)


def ensure_database(connection: psycopg.Connection[Any], name: str, owner: str | None = None) -> None:
    """Create an empty database in UTF-8, ordered by code point, unless it exists.

    That order, on which indexes depend, is the same on every machine and after every upgrade of its C library.

    Args:
        connection: in autocommit mode; of a role that may create databases.
        name: the database.
        owner: its owner; None is the connected role.
    """
    if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
        return
    # Postgres has C.UTF-8 built in since version 17; before, only the order of C does not change.
    provider = "builtin builtin_locale 'C.UTF-8'" if connection.info.server_version >= 170000 else "libc locale 'C'"
    statement = sql.SQL("create database {} template template0 encoding 'UTF8' locale_provider {}").format(
        sql.Identifier(name), sql.SQL(provider)
    )
    if owner:
        statement += sql.SQL(" owner {}").format(sql.Identifier(owner))
    connection.execute(statement)
