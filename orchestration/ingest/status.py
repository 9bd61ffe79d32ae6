"""Prints the status of all loads on a terminal, with consoles that read no markup in keys and messages."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as Grid

from orchestration.database import Connection
from orchestration.ingest.ledger import IS_REPLACED
from orchestration.ingest.rejected import NothingBuilt, RejectedRecord, incomplete

RECENT = 10
SHOWN = 100
COUNTS = ("records", "malformed", "invalid")
TOTALS = """
    select
        table_name,
        count(*) filter (where status = 'complete') as complete,
        count(*) filter (where status = 'loading') as loading,
        count(*) filter (where status = 'held') as held,
        count(*) filter (where status = 'failed') as failed,
        count(*) filter (where status = 'abandoned') as abandoned,
        coalesce(sum(records) filter (where status = 'complete'), 0) as records,
        coalesce(sum(coalesce(malformed, rejected)) filter (where status = 'complete'), 0) as malformed,
        coalesce(sum(invalid) filter (where status = 'complete'), 0) as invalid,
        max(completed_at) as last_completed
    from raw.loads
    group by table_name
    order by table_name
"""
# A load that is under way or was broken off has its totals in its chunks only.
RECENT_LOADS = """
    select
        l.load_id,
        l.table_name,
        coalesce(l.key, 'batch over HTTP') as object,
        l.status,
        coalesce(l.records, sum(c.records), 0) as records,
        coalesce(l.malformed, l.rejected, sum(coalesce(c.malformed, c.rejected)), 0) as malformed,
        coalesce(l.invalid, sum(c.invalid), 0) as invalid,
        l.started_at,
        case when l.status = 'loading' and l.bytes > 0 then max(c.byte_to) * 100 / l.bytes end as percent
    from raw.loads as l
    left join raw.load_chunks as c using (load_id)
    where l.load_id in (select load_id from raw.loads order by load_id desc limit %s)
    group by l.load_id
    order by l.load_id
"""
FAILURES = f"""
    select load_id, status, error
    from raw.loads
    where status in ('loading', 'held', 'failed') and error is not null and not {IS_REPLACED}
    order by load_id desc
    limit %s
"""  # noqa: S608 - a constant
DISCREPANCIES = "select load_id, record, complaint from raw.discrepancies limit %s"


def print_status(console: Console, connection: Connection) -> bool:
    """Print loads by table, recent loads and failures; return whether every record is accounted for."""
    states = ("complete", "loading", "held", "failed", "abandoned")
    grid = Grid("table", *states, *COUNTS, "last completed", box=box.SIMPLE_HEAD)
    for name, *counts, last in connection.execute(TOTALS):
        grid.add_row(name, *(f"{count:,}" for count in counts), f"{last:%Y-%m-%d %H:%M:%S}" if last else "never")
    console.print(grid if grid.rows else "no loads yet")

    grid = Grid("load", "table", "object", "status", *COUNTS, "started", box=box.SIMPLE_HEAD)
    for load_id, table, key, state, *counts, started, percent in connection.execute(RECENT_LOADS, [RECENT]):
        shown = state if percent is None else f"{state} {percent} %"
        numbers = (f"{count:,}" for count in counts)
        grid.add_row(str(load_id), table, key, shown, *numbers, f"{started:%Y-%m-%d %H:%M:%S}")
    if grid.rows:
        console.print(grid)
    for load_id, state, error in connection.execute(FAILURES, [RECENT]):
        console.print(f"load {load_id} {state}: {error}", soft_wrap=True)

    discrepancies = connection.execute(DISCREPANCIES, [RECENT]).fetchall()
    for load_id, record, complaint in discrepancies:
        where = f"load {load_id}" if record is None else f"record {record} of load {load_id}"
        console.print("does not add up:", style="red", end=" ")
        console.print(f"{where} {complaint}", soft_wrap=True)
    if not discrepancies:
        console.print("Every record is accounted for.")
    return not discrepancies


def print_incomplete(console: Console, connection: Connection) -> None:
    """Print how many records are in no metric as of the last build.

    Args:
        console: where to print.
        connection: of a role that reads schema marts.
    """
    try:
        tables = incomplete(connection)
    except NothingBuilt:
        return
    grid = Grid("table", "open rejected records", "waiting", "withdrawn", box=box.SIMPLE_HEAD)
    for table in tables:
        name, *counts = table.values()
        if any(counts):
            grid.add_row(name, *(f"{count:,}" for count in counts))
    console.print(grid if grid.rows else "Nothing is open, waiting or withdrawn as of the last build.")


def print_rejected(console: Console, records: Sequence[RejectedRecord]) -> None:
    """Print rejected records, one per line."""
    grid = Grid("table", "object", "load", "record", "line", "status", "what is wrong", box=box.SIMPLE_HEAD)
    for record in records[:SHOWN]:
        wrong = record.problems if record.message else ", ".join(map(record.described, record.reasons))
        numbers = (str(record.load_id), str(record.record), "" if record.line is None else str(record.line))
        grid.add_row(record.table_name, record.object or "batch", *numbers, record.status, wrong)
    console.print(grid if grid.rows else "no rejected records")
    if len(records) > SHOWN:
        console.print(f"... and {len(records) - SHOWN:,} more: --csv writes all")
