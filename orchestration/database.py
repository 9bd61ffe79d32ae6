"""Connections to Postgres, advisory locks, and classification of errors, for all of orchestration."""

import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import LockNotAvailable

Connection = psycopg.Connection[tuple[Any, ...]]

# A server that disappears without closing the connection is noticed within half a minute.
NETWORK = "connect_timeout=10 keepalives_idle=10 keepalives_interval=5 keepalives_count=3 tcp_user_timeout=30000"

# The same for the server, which would otherwise keep the locks of a client that disappeared. A statement whose client
# has ended is cancelled: by default the server would notice only after the statement.
VIGILANCE = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 "
    "-c client_connection_check_interval=2s"
)
SESSION = f"-c synchronous_commit=off -c timezone=UTC -c client_encoding=UTF8 {VIGILANCE}"

# Classes of SQLSTATE: data exception, integrity constraint violation, program limit exceeded. The last is an
# OperationalError in psycopg, like a server that is down.
REFUSALS = {"22", "23", "54"}

# A load may take an hour, but one that blocks others for longer than this is probably stuck.
LOCK_WAIT_SECONDS = 1800.0
# Often enough to explain in the log why a run is waiting.
LOCK_REPORT_INTERVAL_SECONDS = 30.0


class LockTimeout(RuntimeError):
    """Another session held a lock for too long; the message names the session."""


def connect(conninfo: str) -> Connection:
    """Open a connection in autocommit mode, with time zone UTC and encoding UTF-8.

    Commits do not wait for the disk: a crash of the server loses rows and ledger entries of a chunk together, and they
    are loaded again. Commits that have to be durable set synchronous_commit themselves.

    Args:
        conninfo: libpq's connection string; libpq's variables supply what it omits. Its application_name, by default
            its user, identifies the session to others.

    Raises:
        psycopg.OperationalError: the server cannot be reached or refuses the login.
    """
    parameters = conninfo_to_dict(conninfo)
    names = {"application_name": parameters.get("application_name") or parameters.get("user") or "hiring"}
    return psycopg.connect(make_conninfo(NETWORK, **parameters | names), autocommit=True, options=SESSION)


def set_password(connection: psycopg.Connection[Any], role: str, password: str) -> None:
    """Set a role's password by sending only its SCRAM verifier.

    A server that logs DDL (log_statement), slow statements or failed ones would otherwise have the password in its log.

    Args:
        connection: of a role that may alter this one.
        role: an existing role.
        password: its new password.
    """
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(verifier)))


def acquire_lock(
    connection: Connection, name: str, held: str, wait_seconds: float, on_wait: Callable[[str], object]
) -> None:
    """Acquire an advisory lock for the rest of the session, waiting for another session that holds it.

    Args:
        connection: in autocommit mode.
        name: of the lock.
        held: what it means that another session holds it, as the beginning of a sentence.
        wait_seconds: how long to wait.
        on_wait: called with a message that names the other session, immediately and every half minute.

    Raises:
        LockTimeout: the other session still holds it after that time.
    """
    if connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", [name]).fetchone() == (True,):
        return
    deadline = time.monotonic() + wait_seconds
    while (left := deadline - time.monotonic()) > 0:
        on_wait(f"{held}, {_holder(connection, name)}; waiting for that to end, for {left:.0f} s at most")
        if _is_acquired_within(connection, name, min(left, LOCK_REPORT_INTERVAL_SECONDS)):
            return
    raise LockTimeout(
        f"{held}, {_holder(connection, name)}, for longer than {wait_seconds:g} s (LOCK_WAIT_SECONDS). If it is stuck, "
        "end it with select pg_terminate_backend(pid)"
    )


def _is_acquired_within(connection: Connection, name: str, seconds: float) -> bool:
    try:
        with connection.transaction():
            # 0 would be no limit at all.
            connection.execute("select set_config('lock_timeout', %s, true)", [f"{max(1, seconds * 1000):.0f}ms"])
            connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [name])
    except LockNotAvailable:
        return False
    return True


def _holder(connection: Connection, name: str) -> str:
    """Return a description of the session that holds an advisory lock: pid, name, and time of connection.

    The last is only visible for sessions of the same role, unless a superuser has granted pg_read_all_stats.
    """
    holder = connection.execute(
        """
        select pid, coalesce(nullif(application_name, ''), usename), to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS')
        from pg_locks inner join pg_stat_activity using (pid)
        where
            locktype = 'advisory' and granted and objsubid = 1
            and pg_locks.database = (select oid from pg_database where datname = current_database())
            and (classid::bigint << 32) | objid::bigint = hashtextextended(%s, 0)
        """,
        [name],
    ).fetchone()
    if holder is None:
        return "which has just ended"
    pid, application, since = holder
    return f"pid {pid}, {application}" + (f", connected since {since} UTC" if since else "")


def is_outage(error: BaseException) -> bool:
    """Return whether an error is transient: caused by the server or the network, not by the data.

    That includes a server that has become a standby, which refuses writes until the loader finds the new primary.
    """
    if isinstance(error, psycopg.InterfaceError):
        return True
    if not isinstance(error, psycopg.Error) or is_refusal(error):
        return False
    is_standby = error.sqlstate == "25006" or (error.sqlstate == "0A000" and "recovery" in str(error))
    return is_standby or isinstance(error, psycopg.OperationalError)


def is_refusal(error: psycopg.Error) -> bool:
    """Return whether the database refuses the data: invalid values, constraints, a row that exceeds its limits."""
    return (error.sqlstate or "")[:2] in REFUSALS
