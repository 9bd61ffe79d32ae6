"""`hiring`, also `python -m deploy.local`: the embedded stack's commands, which the Makefile's targets call."""

import shutil
import sys
import time
from pathlib import Path
from shlex import quote
from typing import Annotated
from urllib.parse import quote as quote_url

import psycopg
import typer
from pydantic import ValidationError
from rich.console import Console

from api.version import VERSION
from contracts import TABLES
from contracts.tables import ContractError
from deploy.local.docs import docs
from deploy.local.engine import add_engine_commands, examples_of
from deploy.local.postgres import PostgresRefused
from deploy.local.services import LOOPBACK, PROGRAMS
from deploy.local.settings import SETTLE_SECONDS, Settings, settings_help
from deploy.local.stack import Stack, on_servers, own, psql
from deploy.local.supervisor import Interrupted, StackError
from orchestration.database import LockTimeout
from orchestration.ingest.tables import is_hidden, seems_delivered, table_of

YEAR = 2021
# What `clean` deletes in STATE_DIR.
STATE_PATHS = (
    "postgres",
    "postgres.new",
    "s3",
    "dagster",
    "dbt",
    "docs",
    "logs",
    "run",
    "bench",
    "bench-env",
    "bench.json",
    "secrets.json",
    "secrets.new",
    "lock",
)

# For commands whose arguments are passed to another program.
PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    add_completion=False,
    help="Hiring records from CSV files to metrics over HTTP, all on this machine.",
    epilog=settings_help(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
RUN, LOOK, CLEAN_UP = "Run the pipeline", "Look inside", "Clean up"
QUIET = Console(stderr=True, quiet=True)
PYTHON = (sys.executable, "-m")
# Pipes and files have no width; the tables need more than the default of 80 columns.
console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        sys.stdout.write(f"{VERSION}\n")
        raise typer.Exit


@app.callback()
def hiring(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Accept the options that belong to no command; the help is that of `app`."""


@app.command(rich_help_panel=RUN, epilog=examples_of("hiring run", "LANDING=path/to/folder hiring run"))
def run() -> None:
    """Load the landing folder, print metrics and rejected records, stop.

    Everything in the folder is loaded through Dagster's job, then dbt builds and
    tests the models. An empty landing folder is filled with a generated sample
    unless something was loaded before. The exit status is 1 if a file could not be
    loaded, was still changing, or does not have the name of a table.
    """
    from deploy.local.report import changed_files, print_loads_since, print_report

    settings = Settings()
    with own(settings, console) as stack:
        stack.start_postgres()
        _fill_landing(stack)
        stack.start_s3()
        stack.prepare_dagster()
        last, started = _last_load(stack), time.time()
        stack.refresh()
        with psycopg.connect(stack.postgres.conninfo("hiring")) as connection:
            print_report(console, connection, YEAR)
            failed = print_loads_since(console, connection, last)
            changed = changed_files(connection, settings.landing_folder, started - SETTLE_SECONDS)
    ignored = _ignored_files(settings.landing_folder)
    for name in ignored:
        console.print(f"Not loaded, because its name does not match a table: {name}", soft_wrap=True, markup=False)
    if failed:
        raise StackError(f"{failed} of the objects could not be loaded; the reasons are in the table above")
    if changed:
        raise StackError(
            f"{', '.join(changed)}: not loaded, because it changed meanwhile: run this again when it is whole"
        )
    if misnamed := [name for name in ignored if seems_delivered(name)]:
        tables = ", ".join(f"{table.name}.csv" for table in TABLES)
        raise StackError(f"{', '.join(misnamed)}: not loaded, because a file has to be named after its table: {tables}")


@app.command(rich_help_panel=RUN, epilog=examples_of("hiring up", "LANDING=path/to/folder API_PORT=8001 hiring up"))
def up() -> None:
    """Start everything and keep it running until Ctrl-C.

    That is Dagster, the API, Postgres and S3; their addresses and keys are printed.
    Files that are copied into the landing folder are loaded automatically.
    """
    settings = Settings()
    with own(settings, console) as stack:
        stack.start_postgres(settings.pg_port)
        stack.start_s3()
        stack.prepare_dagster()
        stack.start_dagster_and_api()
        _print_addresses(settings)
        stack.watch()


@app.command(rich_help_panel=RUN)
def status() -> None:
    """Show which services are up and how much disk space STATE_DIR takes.

    The exit status is 1 unless all are up and the disk has enough free space.
    """
    from deploy.local.status import print_status

    raise typer.Exit(0 if print_status(Settings(), console) else 1)


# Here, because the help lists its panels in the order of their first commands.
add_engine_commands(app)


@app.command(
    name="psql",
    rich_help_panel=LOOK,
    epilog=examples_of("hiring psql", 'hiring psql --sql "select key, status, error from raw.loads"'),
)
def open_psql(
    sql: Annotated[str | None, typer.Option(help="Print the result of this statement and exit.")] = None,
    superuser: Annotated[
        bool, typer.Option("--superuser", help="Connect as superuser, who may change anything.")
    ] = False,
) -> None:
    """Open psql, read-only by default.

    The embedded server is started if it is not running.
    """
    raise typer.Exit(psql(Settings(), QUIET, sql, superuser))


@app.command(
    name="dbt",
    context_settings=PASS_THROUGH,
    rich_help_panel=LOOK,
    epilog=examples_of(
        "hiring dbt show -s hires_by_quarter", "hiring dbt build -s hires_by_quarter", "hiring dbt test"
    ),
)
def run_dbt(context: typer.Context) -> None:
    """Run dbt on the embedded server, with dbt's own arguments."""
    raise typer.Exit(on_servers(Settings(), QUIET, [*PYTHON, "orchestration.dbt", *context.args]))


@app.command(
    name="dg",
    context_settings=PASS_THROUGH,
    rich_help_panel=LOOK,
    epilog=examples_of("hiring dg list defs", "hiring dg dev      # the UI with the current code"),
)
def run_dg(context: typer.Context) -> None:
    """Run Dagster's dg on the embedded servers, with dg's own arguments.

    `dev` uses a temporary instance, which is deleted when it ends.
    """
    raise typer.Exit(
        on_servers(Settings(), QUIET, [str(PROGRAMS / "dg"), *context.args], with_s3=True, without=["DAGSTER_HOME"])
    )


@app.command(name="docs", rich_help_panel=LOOK)
def show_docs() -> None:
    """Generate the documentation of the models and serve it until Ctrl-C."""
    docs(Settings(), console)


@app.command(rich_help_panel=CLEAN_UP)
def clean() -> None:
    """Stop whatever runs on STATE_DIR and delete all state.

    That includes its own landing folder, but not one that LANDING names.
    """
    settings = Settings()
    if not settings.state_dir.exists():
        return
    with own(settings, Console(quiet=True)) as stack:
        if stack.postgres.is_running():
            stack.postgres.start()
    for name in STATE_PATHS:
        path = settings.state_dir / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if not any(settings.state_dir.iterdir()):
        settings.state_dir.rmdir()


def _fill_landing(stack: Stack) -> None:
    """Write the sample into the stack's own landing folder if it is empty and nothing was ever loaded."""
    from deploy.local.sample import write_sample

    settings = stack.settings
    folder = settings.landing_folder
    folder.mkdir(parents=True, exist_ok=True)
    if any(table_of(path.relative_to(folder).as_posix()) for path in folder.rglob("*")) or _last_load(stack):
        return
    if settings.landing:
        raise StackError(f"{folder} has no file that is named after a table (departments*.csv, jobs*.csv, …)")
    with stack.step(f"Sample files in {folder}"):
        write_sample(folder)


def _ignored_files(folder: Path) -> list[str]:
    """Return the files in the landing folder that belong to no table, except for hidden ones."""
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return [name for name in names if table_of(name) is None and not is_hidden(name)]


def _last_load(stack: Stack) -> int:
    with psycopg.connect(stack.postgres.conninfo("hiring")) as connection:
        (last,) = connection.execute("select coalesce(max(load_id), 0) from raw.loads").fetchone() or (0,)
    return int(last)


def _print_addresses(settings: Settings) -> None:
    """Print all addresses and keys, in lines that can be pasted into a shell or a BI tool."""
    secrets, api, s3 = (
        settings.secrets,
        f"http://{LOOPBACK}:{settings.api_port}",
        f"http://{LOOPBACK}:{settings.s3_port}",
    )
    keys = f"AWS_ACCESS_KEY_ID={quote(secrets.s3_access_key)} AWS_SECRET_ACCESS_KEY={quote(secrets.s3_secret_key)}"
    database = f"{LOOPBACK}:{settings.pg_port}/hiring"
    for name, *lines in (
        ("Dagster UI", f"http://{LOOPBACK}:{settings.dagster_port}"),
        ("API", api, f"{api}/docs", f"export API_KEY={quote(secrets.api_key)}"),
        ("Files", f"cp FILE.csv {quote(str(settings.landing_folder))}/"),
        ("S3", s3, f"{keys} aws --endpoint-url {s3} s3 cp FILE.csv s3://{settings.s3_bucket}/"),
        ("Postgres", f"postgresql://hiring_reader:{quote_url(secrets.hiring_reader, safe='')}@{database}"),
    ):
        text = "\n".join(f"  {label:<12}{line}" for label, line in zip((name, *len(lines) * [""]), lines, strict=False))
        console.print(f"\n{text}", soft_wrap=True, markup=False)
    console.print("\nFiles that arrive in either way are loaded automatically. Ctrl-C stops everything.\n")


def main() -> None:
    """Run a command; expected errors are one line on standard error and exit status 1, invalid settings 2."""
    try:
        app(prog_name="hiring")
    except ValidationError as error:
        for problem in error.errors():
            variable = "_".join(map(str, problem["loc"])).upper()
            message = problem["msg"].removeprefix("Value error, ")
            print(f"{variable}={problem['input']}: {message}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except Interrupted:
        sys.exit(130)
    except (StackError, PostgresRefused, ContractError, LockTimeout) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
