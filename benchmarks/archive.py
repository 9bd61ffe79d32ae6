"""Figures of exports and restores, compared with psql: the same rows, but without ledger, digests and S3."""

import time
from collections.abc import Callable

from benchmarks.figures import Figure
from benchmarks.hires import hires
from benchmarks.load import HIRED, empty_tables, load, ratio
from benchmarks.servers import Servers
from deploy.local.settings import ARCHIVE_BUCKET
from orchestration.archive.exporting import export_raw
from orchestration.archive.restoring import restore_raw
from orchestration.archive.store import Store
from orchestration.database import connect

RECORDS_TABLE = "raw.hired_employees"


def export_vs_copy(servers: Servers, records: int) -> float:
    """Return the ratio of the time of an export of all raw tables to that of psql writing the hires to a file."""
    empty_tables(servers)
    load(servers, hires(servers, records))
    return ratio(
        lambda: timed(lambda: export(servers)),
        lambda: timed(lambda: servers.psql(f"\\copy {RECORDS_TABLE} to '{servers.scratch / 'hires.copy'}'")),
    )


def restore_vs_copy(servers: Servers, records: int) -> float:
    """Return the ratio of the time of a restore of lost hires to that of psql reading them from a file."""
    empty_tables(servers)
    load(servers, hires(servers, records))
    export(servers)
    servers.psql(f"\\copy {RECORDS_TABLE} to '{servers.scratch / 'hires.copy'}'")
    return ratio(
        lambda: timed_after_loss(servers, lambda: restore(servers)),
        lambda: timed_after_loss(
            servers, lambda: servers.psql(f"\\copy {RECORDS_TABLE} from '{servers.scratch / 'hires.copy'}'")
        ),
    )


FIGURES = (
    Figure(
        "archive_export_vs_copy", export_vs_copy, "export of raw to Parquet in S3 / psql \\copy of the hires to a file"
    ),
    Figure(
        "archive_restore_vs_copy", restore_vs_copy, "restore of lost hires from S3 / psql \\copy of them from a file"
    ),
)


def export(servers: Servers) -> None:
    """Export like the job."""
    with connect(servers.conninfo("hiring_loader")) as connection:
        export_raw(connection, Store(servers.s3, ARCHIVE_BUCKET), lambda _: None)


def restore(servers: Servers) -> None:
    """Restore the hires like the job."""
    with connect(servers.conninfo("hiring_restorer")) as connection:
        restore_raw(connection, Store(servers.s3, ARCHIVE_BUCKET), tables=[HIRED])


def timed_after_loss(servers: Servers, work: Callable[[], None]) -> float:
    """Return the seconds that some work takes after all hires, but not the ledger, were lost."""
    servers.execute(f"truncate {RECORDS_TABLE}", "checkpoint")
    return timed(work)


def timed(work: Callable[[], None]) -> float:
    """Return the seconds that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
