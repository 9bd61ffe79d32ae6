"""`python -m orchestration.migrations`: migrate, and set the passwords that the environment gives for the roles."""

import os
import sys

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from contracts.tables import ContractError
from orchestration.migrations import ROLES, migrate


def main() -> None:
    """Migrate the database of libpq's environment; one line on standard error and exit 1 when that fails."""
    given = {role: os.environ.get(f"{role.upper()}_PASSWORD") for role in ROLES}
    try:
        migrate(passwords={role: password for role, password in given.items() if password})
    except (psycopg.Error, SQLAlchemyError, ContractError) as error:
        sys.exit(f"cannot migrate the database: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main()
