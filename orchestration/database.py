"""Connections to Postgres, for everything that orchestration does there."""

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

Connection = psycopg.Connection[tuple[Any, ...]]

# A server that vanished without a word is noticed within half a minute.
NETWORK = "connect_timeout=10 keepalives_idle=10 keepalives_interval=5 keepalives_count=3 tcp_user_timeout=30000"

# The same for the server, which would keep the lock of a client that vanished; and a statement of a client that has
# ended is not continued: by itself, the server would notice at the statement's end.
VIGILANCE = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 "
    "-c client_connection_check_interval=2s"
)
SESSION = f"-c synchronous_commit=off -c timezone=UTC -c client_encoding=UTF8 {VIGILANCE}"

# Classes of SQLSTATE: data exception, integrity constraint violation, program limit exceeded. The last is an
# OperationalError to psycopg, as if the server were away.
REFUSALS = {"22", "23", "54"}


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
    """Return whether an error is the server's or the network's, not the data's: it may pass with time.

    A server that has become a standby refuses writes until the loader finds the new primary.
    """
    if isinstance(error, psycopg.InterfaceError):
        return True
    if not isinstance(error, psycopg.Error) or is_refusal(error):
        return False
    is_standby = error.sqlstate == "25006" or (error.sqlstate == "0A000" and "recovery" in str(error))
    return is_standby or isinstance(error, psycopg.OperationalError)


def is_refusal(error: psycopg.Error) -> bool:
    """Return whether it is the data that the database refuses: wrong values, constraints, a row beyond its limits."""
    return (error.sqlstate or "")[:2] in REFUSALS
