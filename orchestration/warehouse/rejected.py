"""Samples of rejected records for the UI, each with the query for the rest."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from contracts.rules import visible

if TYPE_CHECKING:
    from orchestration.database import Connection

SHOWN = 20
MAX_VALUE = 120
NEWEST_LOADS = 10

Sample = tuple[list[dict[str, object]], str]


def malformed_records(connection: "Connection", load_ids: Sequence[int]) -> Sample:
    """Return the first malformed records of some loads, and the query for all of them.

    Args:
        connection: of a role that reads raw.
        load_ids: the loads, at least one.
    """
    rows = connection.execute(
        """
        select key, load_id, record, line, reason, left(message, %(longest)s),
            left(encode(raw, 'escape'), %(longest)s)
        from raw.rejected_records
        inner join raw.loads using (load_id)
        where load_id = any(%(loads)s)
        order by load_id desc, record
        limit %(shown)s
        """,
        {"loads": list(load_ids), "longest": MAX_VALUE, "shown": SHOWN},
    )
    names = ("file", "load", "record", "line", "reason", "message", "bytes")
    query = (
        "select load_id, record, line, reason, message, encode(raw, 'escape') as raw\n"
        f"from raw.rejected_records where load_id in ({', '.join(map(str, sorted(load_ids)))})\n"
        "order by load_id, record;"
    )
    return _shown(names, rows), query


def rejected_totals(connection: "Connection") -> tuple[int, int]:
    """Return how many records of all published loads are malformed, and how many are invalid."""
    totals = connection.execute("select sum(malformed)::bigint, sum(invalid)::bigint from staging.loads").fetchone()
    malformed, invalid = totals or (0, 0)
    return malformed or 0, invalid or 0


def rejected_fields(connection: "Connection") -> Sample:
    """Return the first rejected fields and records of the newest published loads, and the query for all of them."""
    rows = connection.execute(
        """
        select object, load_id, record, line, field, reason, left(value, %(longest)s)
        from staging.rejected_fields
        where load_id in (select load_id from staging.loads order by completion desc limit %(loads)s)
        order by load_id desc, record, field
        limit %(shown)s
        """,
        {"loads": NEWEST_LOADS, "longest": MAX_VALUE, "shown": SHOWN},
    )
    names = ("file", "load", "record", "line", "field", "reason", "value")
    query = "select * from staging.rejected_records where status = 'open' order by load_id desc, record;"
    return _shown(names, rows), query


def _shown(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, object]]:
    return [
        {name: visible(field) if isinstance(field, str) else field for name, field in zip(names, row, strict=True)}
        for row in rows
    ]
