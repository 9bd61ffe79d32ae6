"""The database's shape outside dbt: schema raw with its ledger, the roles and their rights, as Alembic migrations.

`python -m orchestration.migrations` brings the database of libpq's environment (PGHOST, PGPORT, PGDATABASE, PGUSER,
PGPASSWORD: a role that may create roles) to the newest version. What dbt builds is not here.
"""

from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

# Any number will do, as long as nothing else in the database takes a lock by it.
MIGRATION_LOCK = 0x6869_7265
ROLES = ("hiring_loader", "hiring_transformer", "hiring_api")


def migrate(conninfo: str = "", passwords: Mapping[str, str] | None = None, revision: str = "head") -> None:
    """Apply every migration that the database lacks, then set the roles' passwords.

    Several processes may call this at once: one migrates, the others wait for it and find nothing to do.

    Args:
        conninfo: libpq connection string of a role that may create roles; "" means libpq's environment.
        passwords: role name to password; a role that is not named keeps the password that it has.
        revision: where to stop.

    Raises:
        psycopg.OperationalError: the server cannot be reached or refuses the login.
    """
    # Imported here: most of a second, which commands that do not migrate need not wait for.
    import sqlalchemy
    from alembic import command
    from alembic.config import Config

    with psycopg.connect(conninfo, autocommit=True) as guard:
        guard.execute("select pg_advisory_lock(%s)", [MIGRATION_LOCK])
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo), poolclass=sqlalchemy.NullPool
        )
        with engine.begin() as connection:
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(Path(__file__).parent))
            command.upgrade(config, revision)
        for role, password in (passwords or {}).items():
            guard.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(password)))
