"""The one-off migration task before a new version, and waiting for it, on a server whose owner is not a superuser."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from deploy import migrate, waiting
from deploy.databases import ensure_role
from deploy.local.postgres import EmbeddedPostgres, running_postgres
from orchestration import migrations
from orchestration.database import LockTimeout
from orchestration.migrations import ROLES, newest_version

REPOSITORY = Path(__file__).parents[2]
OWNER = "owner"
# Characters that break a URL that is built by concatenation.
ANY_CHARACTERS = "d@g st+er/100%41#?&:="


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server as clouds rent them out: an empty database, and an owner who may create roles and databases."""
    with running_postgres(tmp_path_factory.mktemp("rented") / "postgres", "superuser") as postgres:
        with psycopg.connect(postgres.conninfo(), autocommit=True) as connection:
            ensure_role(connection, OWNER, OWNER)
            connection.execute(f"alter role {OWNER} createrole createdb")
        postgres.create_database("hiring", owner=OWNER)
        yield postgres


def environment(server: EmbeddedPostgres) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "HIRING_", "DAGSTER"))}
    return inherited | {
        "PGHOST": server.host,
        "PGPORT": "5432",
        "PGDATABASE": "hiring",
        "PGUSER": OWNER,
        "PGPASSWORD": OWNER,
        **{f"{role.upper()}_PASSWORD": role for role in ROLES},
        "DAGSTER_PASSWORD": ANY_CHARACTERS,
        "DAGSTER_HOME": str(REPOSITORY / "deploy"),
        "DAGSTER_STORAGE": str(server.folder.parent / "storage"),
        "RUN_SERVER_SOCKET": str(server.folder.parent / "runs.sock"),
    }


def module(name: str, variables: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", name, *arguments],
        cwd=REPOSITORY, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_service_waits_until_the_owner_has_migrated_and_becomes_its_command_then(server: EmbeddedPostgres) -> None:
    variables = environment(server)
    command = "import os; print('started as', os.getpid())"
    waiting = module("deploy.wait", variables, "database", sys.executable, "-c", command)
    assert waiting.stderr
    assert "waiting: " in waiting.stderr.readline()
    migration = module("deploy.migrate", variables)
    out, err = migration.communicate(timeout=120)
    assert migration.returncode == 0, err
    assert f"the database hiring is at version {newest_version()}" in out
    out, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (0, f"started as {waiting.pid}\n"), err
    with psycopg.connect(server.conninfo("dagster", "dagster", ANY_CHARACTERS)) as connection:
        assert connection.execute("select count(*) from runs").fetchone() == (0,)
        connection.execute(
            "insert into daemon_heartbeats (daemon_type, timestamp) values ('SENSOR', now() at time zone 'UTC')"
        )


def test_a_migration_waits_for_a_read_only_server(server: EmbeddedPostgres) -> None:
    """After a failover a one-off task may reach a standby first: failing there would leave the version half out."""
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute("alter system set default_transaction_read_only = on")
        connection.execute("select pg_reload_conf()")
        migration = module("deploy.migrate", environment(server))
        try:
            assert migration.stderr
            assert "read-only" in migration.stderr.readline()
        finally:
            connection.execute("set default_transaction_read_only = off")
            connection.execute("alter system reset default_transaction_read_only")
            connection.execute("select pg_reload_conf()")
    _, err = migration.communicate(timeout=120)
    assert migration.returncode == 0, err


def test_a_migration_waits_for_sessions_that_hold_locks_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holders = iter(["the migration waits: session 4711 (DBeaver) has locked raw.loads"])

    def migrate_once_nothing_is_locked(**_: object) -> None:
        if (holder := next(holders, None)) is not None:
            raise LockTimeout(holder)

    monkeypatch.setattr(migrate, "migrate", migrate_once_nothing_is_locked)
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0)
    waiting.until(lambda: migrate._blocked({}))
    assert capsys.readouterr().err == "waiting: the migration waits: session 4711 (DBeaver) has locked raw.loads\n"


@pytest.mark.parametrize("is_url", [False, True])
def test_the_daemons_health_check_works_with_any_password(server: EmbeddedPostgres, is_url: bool) -> None:
    """A container whose probe cannot connect is unhealthy for ever, while the daemon works."""
    variables = environment(server)
    if is_url:
        del variables["DAGSTER_PASSWORD"]
        variables["DAGSTER_PG_URL"] = (
            f"postgresql://dagster:{quote(ANY_CHARACTERS, safe='')}@/dagster?host={server.host}&port=5432"
        )
    assert module("deploy.probes", variables, "daemon").wait(60) == 0
    assert module("deploy.probes", variables | {"PGHOST": "/", "DAGSTER_PG_URL": ""}, "daemon").wait(60) == 1


def test_migrating_again_changes_a_password_and_nothing_else(server: EmbeddedPostgres) -> None:
    migration = module("deploy.migrate", environment(server) | {"HIRING_API_PASSWORD": "new"})
    _, err = migration.communicate(timeout=120)
    assert migration.returncode == 0, err
    psycopg.connect(server.conninfo("hiring", "hiring_api", "new")).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.conninfo("hiring", "hiring_api", "hiring_api"))


def test_a_service_waits_for_the_columns_of_the_contract_too(server: EmbeddedPostgres) -> None:
    """A contract that has got a column since the last migration comes with no other version of the database."""
    with psycopg.connect(server.conninfo("hiring"), autocommit=True) as connection:
        connection.execute("alter table raw.jobs drop column job")
    variables = environment(server)
    waiting = module("deploy.wait", variables, "database", sys.executable, "-c", "print('started')")
    assert waiting.stderr
    assert "waiting: the database lacks raw.jobs.job: python -m deploy.migrate" in waiting.stderr.readline()
    migration = module("deploy.migrate", variables)
    _, err = migration.communicate(timeout=120)
    assert migration.returncode == 0, err
    out, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (0, "started\n"), err


def test_no_password_is_in_the_log_of_a_server_that_logs_ddl(server: EmbeddedPostgres) -> None:
    """deploy/aws sends that log to CloudWatch, which more people may read than the secrets."""
    roles = (*ROLES, "dagster")
    secrets = {f"{role.upper()}_PASSWORD": f"rotated-{role}" for role in roles}
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute("alter system set log_statement = 'ddl'")
        connection.execute("select pg_reload_conf()")
        try:
            migration = module("deploy.migrate", environment(server) | secrets)
            _, err = migration.communicate(timeout=120)
        finally:
            connection.execute("alter system reset log_statement")
            connection.execute("select pg_reload_conf()")
    assert migration.returncode == 0, err
    log = server.log.read_text()
    for role in roles:
        # Quoted or not, each was altered before the eyes of the log.
        assert re.search(rf'statement: alter role "?{role}"? password ', log)
        psycopg.connect(server.conninfo("hiring", role, f"rotated-{role}")).close()
    assert "rotated-" not in log


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"HIRING_API_PASSWORD": ""}, "cannot migrate: HIRING_API_PASSWORD is not set"),
        ({"DAGSTER_HOME": ""}, "cannot migrate: DAGSTER_HOME is not set"),
        ({"DAGSTER_PASSWORD": ""}, "DAGSTER_PASSWORD is not set"),
        ({"DAGSTER_PG_URL": "postgresql://dagster@/dagster"}, "DAGSTER_PG_URL has to name a role, its password"),
        ({"DAGSTER_PG_URL": "dagster at home"}, "DAGSTER_PG_URL is not a URL"),
    ],
)
def test_missing_settings_are_named_in_one_line(
    server: EmbeddedPostgres, variables: dict[str, str], complaint: str
) -> None:
    migration = module("deploy.migrate", environment(server) | variables)
    _, err = migration.communicate(timeout=60)
    assert migration.returncode == 1
    assert complaint in err
    assert len(err.splitlines()) == 1


def test_a_checkout_in_a_folder_with_a_percent_sign_has_its_migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "__file__", "/srv/100%(sure)/__init__.py")
    assert migrations._config().get_main_option("script_location") == "/srv/100%(sure)"
