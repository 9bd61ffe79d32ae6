"""`python -m orchestration.dbt COMMAND…`: run dbt manually, with the files generated from the contract.

A command that builds or tests models waits for a build in progress. The database is that of PGHOST, PGPORT and
PGDATABASE. Compiled SQL goes to a temporary folder unless --target-path names another, so that files that Dagster's
processes read do not change.
"""

import sys
import tempfile
from contextlib import nullcontext

from orchestration.database import connect
from orchestration.dbt.generated import PROJECT_DIR, write_generated
from orchestration.dbt.project import PROJECT, session_variables
from orchestration.settings import DatabaseSettings, set_variables
from orchestration.warehouse.build_lock import acquire_build_lock

# Commands that write models, or test them and must not see a build in progress.
BUILDING = {"build", "run", "test", "retry"}


def main() -> None:
    """Run dbt with this process's arguments, and exit with its status."""
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
                # The file does not exist before Dagster's first start, and dbt refuses a missing file.
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
            # Imported here, because it reads the environment when it is imported.
            from dbt.cli.main import cli

            cli.main(arguments or ["--help"], prog_name="dbt")


if __name__ == "__main__":
    main()
