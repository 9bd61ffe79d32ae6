"""A hot standby of an embedded Postgres: it accepts connections and reads, but no writes until it is promoted."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from deploy.local.postgres import PASSWORDS_FOR_ALL, PORT, EmbeddedPostgres


@contextmanager
def hot_standby(primary: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """Run a standby that follows `primary` while the block runs."""
    rules = primary.folder / "pg_hba.conf"
    rules.write_text(PASSWORDS_FOR_ALL + "local replication postgres scram-sha-256\n")
    _run(primary, "select pg_reload_conf()")
    # Next to the primary's, where its system user may go.
    folder = primary.folder.with_name("standby")
    folder.mkdir(mode=0o700)
    owner = primary.folder.stat()
    # The log is root's where root has started the server, and a backup reads all that is in the folder.
    for path in (folder, primary.log):
        os.chown(path, owner.st_uid, owner.st_gid)
    subprocess.run(
        [
            *(str(primary.bin / "pg_basebackup"), "--pgdata", str(folder), "--write-recovery-conf"),
            *("--wal-method=stream", "--checkpoint=fast", "--no-sync"),
            *("--host", primary.host, "--port", str(PORT), "--username", "postgres"),
        ],
        user=owner.st_uid,
        env={"PGPASSWORD": primary.password},
        check=True,
    )
    # The primary's socket is in the folder, too.
    (folder / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
    # With other rules it would be treated as a new cluster, which gets passwords.
    (folder / "pg_hba.conf").write_text(PASSWORDS_FOR_ALL)
    standby = EmbeddedPostgres(folder, primary.password)
    standby.start()
    try:
        yield standby
    finally:
        standby.crash()
        shutil.rmtree(folder)
        rules.write_text(PASSWORDS_FOR_ALL)
        _run(primary, "select pg_reload_conf()")


def catch_up(primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
    """Wait until a standby has replayed what its primary has on disk by now."""
    written = _run(primary, "select pg_current_wal_flush_lsn()::text")
    deadline = time.monotonic() + 20
    while not _run(standby, f"select pg_last_wal_replay_lsn() >= '{written}'"):
        assert time.monotonic() < deadline, "the standby does not catch up"
        time.sleep(0.02)


def promote(standby: EmbeddedPostgres) -> None:
    """Promote a standby to a server that accepts writes."""
    assert _run(standby, "select pg_promote()")


def _run(server: EmbeddedPostgres, statement: str) -> object:
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
        assert row is not None
        return row[0]
