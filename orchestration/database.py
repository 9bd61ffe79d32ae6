"""Connections to Postgres, for everything that orchestration does there."""

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

Connection = psycopg.Connection[tuple[Any, ...]]

# A server that vanished without a word is noticed within half a minute.
NETWORK = "connect_timeout=10 keepalives_idle=10 keepalives_interval=5 keepalives_count=3 tcp_user_timeout=30000"

# The same for the server, which would keep the lock of a loader that vanished.
SESSION = (
    "-c synchronous_commit=off -c timezone=UTC -c client_encoding=UTF8 "
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)


def connect(conninfo: str) -> Connection:
    """Open a connection that commits each statement, in UTC and UTF-8.

    Commits do not wait for the disk: a crash of the server loses rows and ledger entries of a chunk together, and they
    are loaded again. What has to be durable sets synchronous_commit itself.

    Args:
        conninfo: libpq's connection string; what it leaves out comes from libpq's variables.

    Raises:
        psycopg.OperationalError: the server cannot be reached or refuses the login.
    """
    return psycopg.connect(
        make_conninfo(NETWORK, **conninfo_to_dict(conninfo)),
        autocommit=True,
        application_name="hiring_loader",
        options=SESSION,
    )


def is_outage(error: BaseException) -> bool:
    """Return whether an error is the server's or the network's, not the data's: it may pass with time."""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
