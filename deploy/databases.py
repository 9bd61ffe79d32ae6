"""Roles and databases of a Postgres server, made where they lack: what is there before the first migration."""

from typing import Any

import psycopg
from psycopg import sql


def ensure_role(connection: psycopg.Connection[Any], name: str, password: str) -> None:
    """Create a login role unless it exists, and set its password.

    Args:
        connection: commits each statement; of a superuser, or of a role that may create roles (Postgres 16 or later).
        name: the role.
        password: its password from now on.
    """
    # Who may create roles without being a superuser has no say over them otherwise, and cannot give them a database.
    connection.execute("set createrole_self_grant to 'set, inherit'")
    exists = connection.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone()
    connection.execute(
        sql.SQL("{} role {} login password {}").format(
            sql.SQL("alter" if exists else "create"), sql.Identifier(name), sql.Literal(password)
        )
    )


def ensure_database(
    connection: psycopg.Connection[Any], name: str, owner: str | None = None, template: str | None = None
) -> None:
    """Create a database unless it exists. Text that names no order of its own is ordered as in `template`.

    Args:
        connection: commits each statement; of a role that may create databases.
        name: the database.
        owner: its owner; None is whoever is connected.
        template: what it is a copy of; None is an empty one.
    """
    if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
        return
    statement = sql.SQL("create database {} template {}").format(
        sql.Identifier(name), sql.Identifier(template or "template0")
    )
    if owner:
        statement += sql.SQL(" owner {}").format(sql.Identifier(owner))
    connection.execute(statement)
