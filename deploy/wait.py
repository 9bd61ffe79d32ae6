"""`python -m deploy.wait WHAT COMMAND…`: wait for what a service needs, then exec COMMAND.

database     migrated, with all columns of the contract, checked as hiring_loader: the code server waits for this.
             `python -m deploy.migrate` migrates Dagster's database first, so hiring's implies both
code-server  Dagster's, at DAGSTER_CODE_HOST and DAGSTER_CODE_PORT: webserver and daemon wait for this
"""

import os
import sys

import psycopg

from deploy.probes import serves_grpc
from deploy.waiting import GaveUp, in_one_line, until
from orchestration.migrations import newest_version, version_of
from orchestration.migrations.contract import missing_columns


def main() -> None:
    """Wait, then replace this process by the command; exit with status 1 if the wait times out."""
    match sys.argv[1:]:
        case ["database", *command] if command:
            what_is_missing = _missing_in_database
        case ["code-server", *command] if command:
            what_is_missing = _missing_code_server
        case _:
            sys.exit(__doc__)
    try:
        until(what_is_missing)
    except GaveUp as error:
        sys.exit(f"gave up: {error}")
    os.execvp(command[0], command)  # noqa: S606 - a container's command, from its own definition


def _missing_in_database() -> str | None:
    try:
        with psycopg.connect(
            user="hiring_loader",
            password=os.environ.get("HIRING_LOADER_PASSWORD"),
            connect_timeout=5,
            autocommit=True,
        ) as connection:
            version, missing = version_of(connection), missing_columns(connection)
    except psycopg.Error as error:
        return in_one_line(error)
    if (version or "") < newest_version():
        return f"the database is at version {version}, not yet at {newest_version()}: python -m deploy.migrate"
    return f"the database lacks {', '.join(missing)}: python -m deploy.migrate" if missing else None


def _missing_code_server() -> str | None:
    host, port = os.environ["DAGSTER_CODE_HOST"], int(os.environ["DAGSTER_CODE_PORT"])
    return None if serves_grpc(host, port) else f"Dagster's code server does not serve at {host}:{port}"


if __name__ == "__main__":
    main()
