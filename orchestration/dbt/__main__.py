"""`python -m orchestration.dbt COMMAND…`: dbt by hand, with what follows from the contract, and never next to a build.

The database is the one that libpq's PGHOST, PGPORT and PGDATABASE name. Compiled SQL goes to a temporary folder, unless
--target-path names another: what Dagster's processes read of the project stays as it is.
"""

import sys
import tempfile
from contextlib import nullcontext

from orchestration.database import connect
from orchestration.dbt.generated import PROJECT_DIR, write_generated
from orchestration.dbt.project import PROJECT, session_variables
from orchestration.settings import DatabaseSettings, set_variables
from orchestration.warehouse.build_lock import acquire_build_lock

# Those that write models, or test them and must not see half of a build.
BUILDING = {"build", "run", "test", "retry"}


def main() -> None:
    """Run dbt with this process's arguments; exits with its status."""
    arguments = sys.argv[1:]
    write_generated()
    parsed = PROJECT.manifest_path.with_name("partial_parse.msgpack")
    with tempfile.TemporaryDirectory(prefix="dbt-") as target:
        set_variables(
            {
                "DBT_PROJECT_DIR": str(PROJECT_DIR),
                "DBT_PROFILES_DIR": str(PROJECT_DIR),
                "DBT_TARGET_PATH": target,
                "DBT_LOG_PATH": target,
                # Dagster has not parsed the project before its first start, and dbt refuses a file that is not there.
                **({"DBT_PARTIAL_PARSE_FILE_PATH": str(parsed)} if parsed.exists() else {}),
                **session_variables(),
            }
        )
        with (
            connect(DatabaseSettings.read().transformer_conninfo)
            if BUILDING & {*arguments}
            else nullcontext() as connection
        ):
            if connection:
                acquire_build_lock(connection, lambda line: print(line, file=sys.stderr))  # noqa: T201
            # Imported here: what it finds in the environment counts from then on.
            from dbt.cli.main import cli

            cli.main(arguments or ["--help"], prog_name="dbt")


if __name__ == "__main__":
    main()
