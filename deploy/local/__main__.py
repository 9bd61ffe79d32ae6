"""`python -m deploy.local`: what the Makefile's targets run, up, psql, ingest, dbt, dg, docs and clean call."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from pydantic import ValidationError
from rich.console import Console

from contracts import TABLES
from contracts.tables import ContractError
from deploy.local.docs import docs
from deploy.local.postgres import PostgresRefused
from deploy.local.services import PROGRAMS
from deploy.local.settings import Settings
from deploy.local.stack import Stack, on_servers, own, psql
from deploy.local.supervisor import Interrupted, StackError
from orchestration.ingest.tables import is_hidden, seems_delivered, table_of

YEAR = 2021
STATE = (
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

# A command whose arguments are another program's.
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
QUIET = Console(stderr=True, quiet=True)
PYTHON = (sys.executable, "-m")
# A pipe or a file has no width of its own; the tables want more than the 80 columns of a guess.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@app.command()
def run() -> None:
    """Load the landing folder, build and test the models, print the metrics of 2021, stop."""
    from deploy.local.report import print_loads_since, print_report

    settings = Settings()
    with own(settings, console) as stack:
        stack.start_postgres()
        _fill_landing(stack)
        stack.start_s3()
        stack.prepare_dagster()
        last = _last_load(stack)
        stack.refresh()
        with psycopg.connect(stack.postgres.conninfo("hiring")) as connection:
            print_report(console, connection, YEAR)
            print_loads_since(console, connection, last)
            (failed,) = connection.execute(
                """
                select count(*) from raw.loads
                where status in ('loading', 'held', 'failed') or (status = 'abandoned' and load_id > %s)
                """,
                [last],
            ).fetchone() or (0,)
    not_taken = _not_taken(settings.landing_folder)
    for name in not_taken:
        console.print(f"Not loaded, because its name says no table: {name}", soft_wrap=True, markup=False)
    if failed:
        raise StackError(f"{failed} of the objects could not be loaded; the reasons are in the table above")
    if mistaken := [name for name in not_taken if seems_delivered(name)]:
        tables = ", ".join(f"{table.name}.csv" for table in TABLES)
        raise StackError(f"{', '.join(mistaken)}: not loaded, because a file has to be named after its table: {tables}")


@app.command()
def up() -> None:
    """Start everything and keep it until Ctrl-C."""
    settings = Settings()
    with own(settings, console) as stack:
        stack.start_postgres()
        stack.start_s3()
        stack.prepare_dagster()
        stack.start_dagster_and_api()
        _greet(settings)
        stack.watch()


@app.command(name="psql")
def open_psql(sql: Annotated[str | None, typer.Option(help="Print the result of this and exit.")] = None) -> None:
    """Open psql on the embedded server."""
    raise typer.Exit(psql(Settings(), QUIET, sql))


@app.command(name="ingest", context_settings=PASSED_ON)
def run_ingest(context: typer.Context) -> None:
    """Run `python -m orchestration.ingest` on the embedded servers."""
    raise typer.Exit(on_servers(Settings(), QUIET, [*PYTHON, "orchestration.ingest", *context.args], with_s3=True))


@app.command(name="dbt", context_settings=PASSED_ON)
def run_dbt(context: typer.Context) -> None:
    """Run dbt on the embedded server: `build -s hires_by_quarter`."""
    raise typer.Exit(on_servers(Settings(), QUIET, [*PYTHON, "orchestration.dbt", *context.args]))


@app.command(name="dg", context_settings=PASSED_ON)
def run_dg(context: typer.Context) -> None:
    """Run Dagster's `dg` on the embedded servers: `dev` has an instance of its own, which it forgets at its end."""
    raise typer.Exit(
        on_servers(Settings(), QUIET, [str(PROGRAMS / "dg"), *context.args], with_s3=True, without=["DAGSTER_HOME"])
    )


@app.command()
def status() -> None:
    """Show which services work and what STATE_DIR takes of the disk; exit 1 unless all do and there is room."""
    from deploy.local.status import print_status

    raise typer.Exit(0 if print_status(Settings(), console) else 1)


@app.command(name="docs")
def show_docs() -> None:
    """Write the documentation of the models and serve it until Ctrl-C."""
    docs(Settings(), console)


@app.command()
def clean() -> None:
    """Stop what runs on STATE_DIR and delete what the stack keeps there."""
    settings = Settings()
    if not settings.state_dir.exists():
        return
    with own(settings, Console(quiet=True)) as stack:
        if stack.postgres.is_running():
            stack.postgres.start()
    for name in STATE:
        path = settings.state_dir / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if not any(settings.state_dir.iterdir()):
        settings.state_dir.rmdir()


def _fill_landing(stack: Stack) -> None:
    """Write the sample into the stack's own landing folder while nothing has ever been there."""
    from deploy.local.sample import write_sample

    settings = stack.settings
    folder = settings.landing_folder
    folder.mkdir(parents=True, exist_ok=True)
    if any(table_of(path.relative_to(folder).as_posix()) for path in folder.rglob("*")) or _last_load(stack):
        return
    if settings.landing:
        raise StackError(f"{folder} holds no file that is named after a table (departments*.csv, jobs*.csv, …)")
    with stack.step(f"Sample files in {folder}"):
        write_sample(folder)


def _not_taken(folder: Path) -> list[str]:
    """Return the files in the landing folder that are of no table, but for those that nobody delivers."""
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return [name for name in names if table_of(name) is None and not is_hidden(name)]


def _last_load(stack: Stack) -> int:
    with psycopg.connect(stack.postgres.conninfo("hiring")) as connection:
        (last,) = connection.execute("select coalesce(max(load_id), 0) from raw.loads").fetchone() or (0,)
    return int(last)


def _greet(settings: Settings) -> None:
    console.print(
        f"\n  Dagster UI      http://127.0.0.1:{settings.dagster_port}"
        f"\n  API             http://127.0.0.1:{settings.api_port}  (documentation under /docs)"
        f"\n  S3              http://127.0.0.1:{settings.s3_port}  (bucket {settings.s3_bucket})"
        f"\n  Landing folder  {settings.landing_folder}"
        f"\n  API key         {settings.secrets.api_key}"
        "\n\nCopy CSV files into the landing folder; the sensors load them. Ctrl-C stops everything.\n",
        soft_wrap=True,
    )


def main() -> None:
    """Run a command; what can go wrong ends in one line on standard error and exit status 1, wrong settings in 2."""
    try:
        app()
    except ValidationError as error:
        for each in error.errors():
            variable = "_".join(map(str, each["loc"])).upper()
            print(f"{variable}={each['input']}: {each['msg']}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except Interrupted:
        sys.exit(130)
    except (StackError, PostgresRefused, ContractError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
