"""Where Dagster's own database is: what its storage, its migration and its health check connect to."""

import os
from collections.abc import Mapping

from psycopg.conninfo import make_conninfo
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

NAME = "dagster"


def database_url(variables: Mapping[str, str] = os.environ) -> URL:
    """Return DAGSTER_PG_URL or, without it, role and database `dagster` with DAGSTER_PASSWORD, where libpq looks.

    A password in a variable of its own may have any characters; in DAGSTER_PG_URL they are percent-encoded.

    Raises:
        ValueError: neither variable is set, or DAGSTER_PG_URL is no URL.
    """
    if given := variables.get("DAGSTER_PG_URL"):
        try:
            return make_url(given)
        except ArgumentError:
            # Its own message may have the password.
            raise ValueError("DAGSTER_PG_URL is no URL; has its password characters to percent-encode?") from None
    if not (password := variables.get("DAGSTER_PASSWORD")):
        raise ValueError("DAGSTER_PASSWORD or DAGSTER_PG_URL has to be set")
    # Without a host and a port libpq takes PGHOST and PGPORT.
    return URL.create("postgresql", NAME, password, database=NAME)


def database_conninfo(variables: Mapping[str, str] = os.environ) -> str:
    """Return the same as a libpq connection string; raises what `database_url` does."""
    url = database_url(variables)
    parts = url.translate_connect_args(username="user", database="dbname")
    return make_conninfo("", **parts, **url.query)
