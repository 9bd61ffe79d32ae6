"""`python -m orchestration.migrations`: migrate, and set the roles' passwords from the environment."""

import sys

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from contracts.tables import ContractError
from orchestration.database import LockTimeout
from orchestration.migrations import migrate
from orchestration.settings import DatabaseSettings


def main() -> None:
    """Migrate the database of libpq's variables; on failure, print one line to standard error and exit with 1."""
    try:
        migrate(passwords=DatabaseSettings.read().passwords)
    except (psycopg.Error, SQLAlchemyError, ContractError, LockTimeout) as error:
        sys.exit(f"cannot migrate the database: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main()
