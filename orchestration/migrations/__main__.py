"""`python -m orchestration.migrations`: migrate, and set the passwords that the environment gives for the roles."""

import sys

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from contracts.tables import ContractError
from orchestration.migrations import migrate
from orchestration.settings import DatabaseSettings


def main() -> None:
    """Migrate the database of libpq's environment; one line on standard error and exit 1 when that fails."""
    try:
        migrate(passwords=DatabaseSettings.read().passwords)
    except (psycopg.Error, SQLAlchemyError, ContractError) as error:
        sys.exit(f"cannot migrate the database: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main()
