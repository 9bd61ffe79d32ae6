"""Connections to Postgres and locks there, for everything that orchestration does in it."""

import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import LockNotAvailable

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

# A load of an hour is possible; one that is waited for longer than this is more likely stuck.
LOCK_WAIT_SECONDS = 1800.0
# Often enough to be seen by whoever looks why a run stands still.
LOCK_REPORT_INTERVAL_SECONDS = 30.0


class LockTimeout(RuntimeError):
    """Another session kept a lock for longer than one waits for it; the message says which session."""


def connect(conninfo: str) -> Connection:
    """Open a connection that commits each statement, in UTC and UTF-8.

    Commits do not wait for the disk: a crash of the server loses rows and ledger entries of a chunk together, and they
    are loaded again. What has to be durable sets synchronous_commit itself.

    Args:
        conninfo: libpq's connection string; what it leaves out comes from libpq's variables. Its application_name,
            by default its user, is by what others recognise the session.

    Raises:
        psycopg.OperationalError: the server cannot be reached or refuses the login.
    """
    given = conninfo_to_dict(conninfo)
    names = {"application_name": given.get("application_name") or given.get("user") or "hiring"}
    return psycopg.connect(make_conninfo(NETWORK, **given | names), autocommit=True, options=SESSION)


def set_password(connection: psycopg.Connection[Any], role: str, password: str) -> None:
    """Set a role's password without sending it: the server gets its SCRAM verifier.

    A server that logs DDL (log_statement), slow statements or failed ones would otherwise keep the password in its log.

    Args:
        connection: of a role that may alter this one.
        role: the role, which exists.
        password: its password from now on.
    """
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(verifier)))


def acquire_lock(
    connection: Connection, name: str, held: str, wait_seconds: float, on_wait: Callable[[str], object]
) -> None:
    """Take an advisory lock for as long as the session lasts; another session that has it is named and waited for.

    Args:
        connection: commits each statement.
        name: of the lock.
        held: what is the case while another session has it, as the beginning of a sentence.
        wait_seconds: how long to wait.
        on_wait: is called with what is waited for, at once and each half a minute.

    Raises:
        LockTimeout: that time is over.
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
    """Return in words which session holds an advisory lock: its pid, its name, and since when it is connected.

    The last is only known of sessions of the same role, unless a superuser has granted pg_read_all_stats.
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
