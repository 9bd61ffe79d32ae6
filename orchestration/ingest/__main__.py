"""`python -m orchestration.ingest`: dry-run a file, load manually, show all loads, work on rejected records."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import psycopg
import typer
from rich import box
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Grid

from contracts import TABLES, Table
from orchestration.database import LockTimeout, connect
from orchestration.ingest.candidates import Candidates
from orchestration.ingest.file_format import FileFormat
from orchestration.ingest.limits import RejectLimit
from orchestration.ingest.loader import Loaded, OnProgress, Outcome, Policy, load_object, load_pending, reload_object
from orchestration.ingest.loader import Progress as LoadProgress
from orchestration.ingest.objects import (
    BucketUnavailable,
    ObjectChanged,
    ObjectUnreadable,
    ObjectVersion,
    current_version,
    file_version,
)
from orchestration.ingest.rejected import NothingBuilt, dismiss, rejected_records, write_csv
from orchestration.ingest.session import DatabaseUnavailable, TableSession
from orchestration.ingest.status import print_incomplete, print_rejected, print_status
from orchestration.ingest.tables import table_of
from orchestration.ingest.validate import dry_run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from orchestration.settings import BucketSettings, DatabaseSettings

SAMPLES_SHOWN = 3
EXPECTED = (
    BucketUnavailable,
    ObjectChanged,
    ObjectUnreadable,
    DatabaseUnavailable,
    LockTimeout,
    NothingBuilt,
    psycopg.OperationalError,
)

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
# Keys and records may contain what rich would read as markup. A pipe or a file has no width of its own, and the tables
# need more than rich's default of 80 columns.
out = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120)
err = Console(highlight=False, markup=False, emoji=False, stderr=True)

Source = Annotated[str, typer.Argument(help="A file, or s3://bucket/key.")]
TableName = Annotated[
    str | None, typer.Option("--table", help="departments, jobs or hired_employees; derived from the name by default.")
]
Share = Annotated[float, typer.Option(envvar="REJECT_SHARE", min=0, max=1, help="Share that may be rejected.")]
WithdrawShare = Annotated[
    float,
    typer.Option(envvar="WITHDRAW_SHARE", min=0, max=1, help="Share of a whole table's ids that an object may lack."),
]
Count = Annotated[int, typer.Option(envvar="REJECT_COUNT", min=0, help="Number that may be rejected.")]


@app.command()
def validate(
    source: Source,
    table: TableName = None,
    reject_share: Share = RejectLimit.share,
    reject_count: Count = RejectLimit.count,
) -> None:
    """Dry-run a file: what a load would reject, or why it would fail.

    Nothing is written, no database is needed. The exit status is 1 when the load
    would fail.
    """
    owner, client, item = _table(source, table), _client(source), _item(source)
    with _progress_bar() as on_progress:
        result = dry_run(client, owner, item, RejectLimit(reject_share, reject_count), on_progress)
    out.print(f"{item} for raw.{owner.name}: {result.totals}")
    if result.file_format:
        _print_format(result.file_format, result.repeated_headers)
    if result.by_reason:
        grid = Grid("reason", "records", "for example", box=box.SIMPLE_HEAD)
        for count, samples in result.by_reason:
            grid.add_row(samples[0].reason, f"{count:,}", "\n".join(map(str, samples[:SAMPLES_SHOWN])))
        out.print(grid)
    if result.failure:
        err.print(f"would fail: {result.failure}", soft_wrap=True)
        raise typer.Exit(1)
    out.print("would load")


def _print_format(file_format: FileFormat, repeated_headers: int) -> None:
    """Print the format detected in a file."""
    out.print(f"encoding: {file_format.encoding}")
    out.print(f"delimiter: {file_format.dialect}")
    out.print(
        f"header: {f'line {file_format.header_line}' if file_format.header_line else 'none, columns by position'}"
    )
    out.print(f"columns: {', '.join(file_format.columns)}")
    if file_format.left_out:
        out.print(f"left out: {', '.join(name or '(without a name)' for name in file_format.left_out)}")
    if repeated_headers:
        out.print(f"repeated headers: {repeated_headers:,}")


@app.command()
def load(
    source: Annotated[
        str | None, typer.Argument(help="A file or s3://bucket/key; by default everything new in S3_BUCKET.")
    ] = None,
    table: TableName = None,
    reject_share: Share = RejectLimit.share,
    reject_count: Count = RejectLimit.count,
    withdraw_share: WithdrawShare = Policy.withdraw_share,
    settle_seconds: Annotated[
        float,
        typer.Option(envvar="S3_SETTLE_SECONDS", min=0, help="How long an object has to have been unchanged."),
    ] = 0,
    lock_wait_seconds: Annotated[
        float, typer.Option(envvar="LOCK_WAIT_SECONDS", min=0, help="How long to wait for another load of the table.")
    ] = Policy.lock_wait_seconds,
    again: Annotated[
        bool, typer.Option("--again", help="Load it again, as the latest: its records replace others by id.")
    ] = False,
) -> None:
    """Load a file or an object, or everything new in the bucket.

    Nothing is loaded twice. A failed object is retried when you name it.
    The exit status is 1 when something could not be loaded.
    """
    if again and source is None:
        raise typer.BadParameter("--again needs the file or s3://bucket/key to load again")
    policy = Policy(
        RejectLimit(reject_share, reject_count),
        withdraw_share,
        settle_seconds=settle_seconds,
        lock_wait_seconds=lock_wait_seconds,
    )
    load_one = reload_object if again else load_object
    with _progress_bar() as on_progress:
        outcomes = [_printed(outcome) for outcome in _outcomes(source, table, policy, on_progress, load_one)]
    if not outcomes:
        out.print("nothing new")
    if not all(isinstance(outcome, Loaded) for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def status() -> None:
    """Show the loads, and whether every record is accounted for.

    Also shows which records are in no metric. The exit status is 1 when
    something does not add up.
    """
    with connect(_conninfo()) as connection, connect(_database().transformer_conninfo) as reader:
        adds_up = print_status(out, connection)
        print_incomplete(out, reader)
    raise typer.Exit(not adds_up)


@app.command()
def rejected(
    table: Annotated[str | None, typer.Option("--table", help="Only those of departments, jobs, ...")] = None,
    load: Annotated[int | None, typer.Option("--load", help="Only those of this load.")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those without a correction.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="As a file of one table, to correct and deliver again.")
    ] = False,
) -> None:
    """Show rejected records, or write them as a file to correct.

    Correct that file and drop it into the bucket to close them.
    """
    tables = [_named(table)] if table else TABLES
    with connect(_database().transformer_conninfo) as reader:
        records = rejected_records(reader, tables, load, only_open)
    if not as_csv:
        print_rejected(out, records)
        return
    names = sorted({record.table_name for record in records})
    if len(names) > 1:
        raise typer.BadParameter(f"a file is of one table, and these are of {', '.join(names)}: name one with --table")
    write_csv(records, _named(names[0]) if names else tables[0], sys.stdout)


@app.command(name="dismiss")
def dismiss_records(
    load: Annotated[int, typer.Option("--load", help="Their load.")],
    record: Annotated[list[int], typer.Option("--record", help="Number of a rejected record; may be repeated.")],
    note: Annotated[str, typer.Option("--note", help="Why, for later readers.")],
) -> None:
    """Close rejected records that need no correction.

    For example a line of totals, which nothing has to replace.
    """
    with connect(_database().transformer_conninfo) as reader:
        open_records = {rejected.record for rejected in rejected_records(reader, TABLES, load, only_open=True)}
    if unknown := sorted(set(record) - open_records):
        raise typer.BadParameter(f"no open rejected record of load {load}: {', '.join(map(str, unknown))}")
    with connect(_conninfo()) as connection:
        dismiss(connection, load, record, note)
    out.print(
        f"dismissed {len(record):,} of {len(open_records):,} open records of load {load}; status and the API count "
        "them until the next build, such as that of the job nightly_build"
    )


def _outcomes(
    source: str | None, table: str | None, policy: Policy, on_progress: OnProgress, load_one: Callable[..., Outcome]
) -> Iterator[Outcome]:
    if source is not None:
        owner, client, item = _table(source, table), _client(source), _item(source)
        with TableSession(_conninfo(), owner, policy.give_up_seconds, policy.lock_wait_seconds) as session:
            yield load_one(session, client, item, policy, on_progress)
        return
    client, bucket = _s3(), _bucket_settings().s3_bucket
    candidates = Candidates(client, bucket, policy.settle_seconds)
    for owner in [_named(table)] if table else TABLES:
        yield from load_pending(_conninfo(), client, bucket, owner, policy, on_progress, candidates)


def _printed(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Loaded):
        out.print(f"load {outcome.load_id}: {outcome.item}: {outcome.totals}, {outcome.seconds:.1f} s")
    else:
        err.print(f"load {outcome.load_id}: {outcome.status}: {outcome.message}", soft_wrap=True)
    return outcome


@contextmanager
def _progress_bar() -> Iterator[OnProgress]:
    """Show a load's progress while the block runs: a bar on a terminal, nothing elsewhere."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("reading", total=None)

        def show(progress: LoadProgress) -> None:
            total = None if progress.item.is_packed else progress.item.size
            bar.update(task, description=Path(progress.item.key).name, completed=progress.bytes, total=total)

        yield show


def _is_object(source: str) -> bool:
    return source.startswith("s3://")


def _item(source: str) -> ObjectVersion:
    if not _is_object(source):
        return file_version(Path(source))
    return current_version(_s3(), source.removeprefix("s3://").partition("/")[0], _key(source))


def _key(source: str) -> str:
    return source.removeprefix("s3://").partition("/")[2]


def _table(source: str, name: str | None) -> Table:
    if name is not None:
        return _named(name)
    owner = table_of(_key(source) if _is_object(source) else str(Path(source).resolve()))
    if owner is None:
        raise typer.BadParameter(f"the name of {source} does not identify its table; pass --table")
    return owner


def _named(name: str) -> Table:
    for table in TABLES:
        if name in table.names:
            return table
    raise typer.BadParameter(f"{name} is not one of {', '.join(table.name for table in TABLES)}")


def _client(source: str) -> "S3Client | None":
    return _s3() if _is_object(source) else None


def _s3() -> "S3Client":
    from orchestration.s3 import s3_client

    return s3_client(_bucket_settings().s3_endpoint_url)


def _bucket_settings() -> "BucketSettings":
    # Imported here and below, because it takes a sixth of a second that dry runs of files do not need.
    from orchestration.settings import BucketSettings

    return BucketSettings.read()


def _conninfo() -> str:
    return _database().loader_conninfo


def _database() -> "DatabaseSettings":
    from orchestration.settings import DatabaseSettings

    return DatabaseSettings.read()


def main(program: str = "python -m orchestration.ingest", arguments: Sequence[str] | None = None) -> None:
    """Run a command; an expected error prints one line to standard error and exits with 1.

    Args:
        program: how it was started, for its help.
        arguments: by default those of the command line.
    """
    logging.basicConfig(level="WARNING", format="%(message)s", handlers=[RichHandler(console=err, show_path=False)])
    # A parent process that ignores SIGINT passes that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app(arguments, prog_name=program)
    except EXPECTED as error:
        err.print(str(error).strip(), soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
