"""What the marts already show: how far into the ledger, and by which version of the dbt project they were built."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.database import Connection

# Of the newest complete load that every mart shows, the number by the order of completion; 0 while a mart was never
# built.
SHOWN = """
    select case when count(*) = cardinality(%(marts)s::text[]) then coalesce(min(watermark), 0) else 0 end
    from staging.watermarks
    where model = any(%(marts)s::text[]) and input = 'loads'
"""


def are_built_by(connection: "Connection", project: int) -> bool:
    """Return whether all models were built by this version of the dbt project, `project` being its digest."""
    found = connection.execute("select watermark from staging.watermarks where model = 'project' and input = 'digest'")
    return found.fetchone() == (project,)


def record_built_by(connection: "Connection", project: int) -> None:
    """Record that all models are built by this version of the dbt project."""
    connection.execute(
        """
        insert into staging.watermarks (model, input, watermark) values ('project', 'digest', %s)
        on conflict (model, input) do update set watermark = excluded.watermark
        """,
        [project],
    )


def built_marts(connection: "Connection") -> list[str]:
    """Return the names of the marts that were ever built, sorted."""
    return [mart for (mart,) in connection.execute("select mart from marts.publications order by mart")]


def unpublished_loads(connection: "Connection", marts: Sequence[str]) -> list[tuple[int, str]]:
    """Return (load_id, table name) of each complete load that some mart does not show yet, in the order of completion.

    Args:
        connection: of a role that reads the ledger and the watermarks.
        marts: the names of all marts; while one of them was never built, every load is unpublished.
    """
    return connection.execute(
        f"select load_id, table_name from raw.loads where completion > ({SHOWN}) order by completion",  # noqa: S608
        {"marts": list(marts)},
    ).fetchall()
