"""What `make run` prints: both metrics of a year, the rejected records, and what became of every record."""

from pathlib import Path
from typing import Any

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contracts.rules import visible
from orchestration.ingest.ledger import IS_REPLACED
from orchestration.ingest.objects import FILES
from orchestration.ingest.tables import is_hidden, table_of

ROWS_SHOWN = 10
DISPOSITIONS = """
    with checked as (
        select table_name, disposition from staging.checked_records
        union all
        select table_name, 'rejected' from staging.loads, generate_series(1, malformed)
    )
    select
        table_name,
        count(*),
        count(*) filter (where disposition = 'accepted'),
        count(*) filter (where disposition = 'superseded'),
        count(*) filter (where disposition = 'withdrawn'),
        count(*) filter (where disposition = 'waiting'),
        count(*) filter (where disposition = 'rejected')
    from checked
    group by table_name
    order by table_name
"""
Rows = list[tuple[Any, ...]]


def print_report(console: Console, connection: psycopg.Connection[tuple[Any, ...]], year: int) -> None:
    """Print the report from the marts, staging and the ledger.

    Args:
        console: where to print it.
        connection: of a role that may read marts and staging.
        year: of the metrics.
    """

    def rows(query: str, *parameters: Any) -> Rows:
        return connection.execute(query, parameters).fetchall()

    hires = rows(
        """
        select department, job, q1, q2, q3, q4 from marts.hires_by_quarter where year = %s
        order by department collate "C", job collate "C", department_id, job_id
        """,
        year,
    )
    title = f"Hires of {year} by department, job and quarter"
    _print_first(console, title, ["department", "job", "Q1", "Q2", "Q3", "Q4"], hires, "marts.hires_by_quarter")
    above = rows(
        "select id, department, hired, mean from marts.departments_above_mean where year = %s order by hired desc, id",
        year,
    )
    mean = f" ({above[0][3]:,.2f})" if above else ""
    title = f"Departments that hired more in {year} than the mean of all{mean}"
    columns = ["id", "department", "hired"]
    _print_first(console, title, columns, [row[:3] for row in above], "marts.departments_above_mean")
    _print_rejected(console, rows)
    _print_dispositions(console, rows)


def _print_first(console: Console, title: str, columns: list[str], rows: Rows, relation: str) -> None:
    """Print the first rows of a relation, and where to find the others."""
    _print(console, title, columns, rows[:ROWS_SHOWN])
    if len(rows) > ROWS_SHOWN:
        console.print(f"... and {len(rows) - ROWS_SHOWN:,} more in {relation}\n")


def _print_rejected(console: Console, rows: Any) -> None:
    rejected = rows(
        """
        select object, record, line, field, reason, value
        from staging.rejected_fields
        where status = 'open'
        order by table_name, load_id, record, field
        """
    )
    reasons = rows(
        """
        select table_name, field, reason, count(*)
        from staging.rejected_fields
        where status = 'open'
        group by table_name, field, reason
        order by table_name, count(*) desc, field
        """
    )
    ((records,),) = rows("select count(*) from staging.rejected_records where status = 'open'")
    shown = [(*row, value and visible(value)) for *row, value in rejected]
    columns = ["object", "record", "line", "field", "reason", "value"]
    _print_first(console, "Rejected records that are open", columns, shown, "staging.rejected_fields")
    title = f"{records:,} open rejected records by reason"
    _print(console, title, ["table", "field", "reason", "records"], reasons)


def _print_dispositions(console: Console, rows: Any) -> None:
    _print(
        console,
        "What became of every record",
        ["table", "records", "accepted", "superseded", "withdrawn", "waiting", "rejected"],
        rows(DISPOSITIONS),
    )


def print_loads_since(console: Console, connection: psycopg.Connection[tuple[Any, ...]], last: int) -> int:
    """Print the loads after a given one, and earlier ones of objects that are still not loaded.

    Args:
        console: where to print them.
        connection: of a role that may read the ledger.
        last: number of the last load that is not new; 0 if there is none.

    Returns:
        How many objects are not loaded.
    """
    loads = connection.execute(
        f"""
        with loads as (select *, status <> 'complete' and not {IS_REPLACED} as is_lacking from raw.loads)
        select table_name, key, records, malformed, invalid, status, error, is_lacking from loads
        where
            source = 'object' and bucket <> %(files)s
            and (load_id > %(last)s or (is_lacking and status <> 'abandoned'))
        order by load_id
        """,  # noqa: S608 - a constant
        {"files": FILES, "last": last},
    ).fetchall()
    if not loads:
        console.print("Nothing new in the landing folder: every object was loaded before.\n")
        return 0
    columns = ["table", "object", "records", "malformed", "invalid", "status"]
    _print(console, "Loaded now", columns, [row[:-2] for row in loads])
    for *_, error, _is_lacking in loads:
        if error:
            console.print(error, soft_wrap=True, markup=False)
    return sum(is_lacking for *_, is_lacking in loads)


def changed_files(connection: psycopg.Connection[tuple[Any, ...]], folder: Path, since: float) -> list[str]:
    """Return the files of tables that have changed since a time and are not loaded as they are now.

    Args:
        connection: of a role that may read the ledger.
        folder: the landing folder.
        since: a time in seconds since 1970.
    """
    query = "select key, max(last_modified) from raw.loads where source = 'object' and bucket <> %s group by key"
    loaded = {key: modified.timestamp() for key, modified in connection.execute(query, [FILES])}
    times = {path.relative_to(folder).as_posix(): path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}
    return sorted(
        name
        for name, modified in times.items()
        if modified >= max(since, loaded.get(name, 0) + 1) and table_of(name) and not is_hidden(name)
    )


def _print(console: Console, title: str, columns: list[str], rows: Rows) -> None:
    console.print(title, style="bold")
    table = Table(box=box.SIMPLE_HEAD)
    numeric = {index for row in rows[:1] for index, value in enumerate(row) if isinstance(value, int)}
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in numeric else "left", overflow="fold")
    for row in rows:
        # As text, not as markup: the values come from files.
        table.add_row(
            *(Text("" if value is None else f"{value:,}" if isinstance(value, int) else str(value)) for value in row)
        )
    console.print(table)
