"""What the marts show: up to which load, and which version of the dbt project built them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.database import Connection

# The completion sequence of the newest load that every mart shows; 0 while a mart has never been built.
SHOWN = """
    select case when count(*) = cardinality(%(marts)s::text[]) then coalesce(min(watermark), 0) else 0 end
    from staging.watermarks
    where model = any(%(marts)s::text[]) and input = 'loads'
"""


def are_built_by(connection: "Connection", project: int) -> bool:
    """Return whether all models were built by this version of the dbt project, given by its digest."""
    digest = connection.execute("select watermark from staging.watermarks where model = 'project' and input = 'digest'")
    return digest.fetchone() == (project,)


def record_built_by(connection: "Connection", project: int) -> None:
    """Record that all models were built by this version of the dbt project, given by its digest."""
    connection.execute(
        """
        insert into staging.watermarks (model, input, watermark) values ('project', 'digest', %s)
        on conflict (model, input) do update set watermark = excluded.watermark
        """,
        [project],
    )


def built_marts(connection: "Connection") -> list[str]:
    """Return the names of the marts that have ever been built, sorted."""
    return [mart for (mart,) in connection.execute("select mart from marts.publications order by mart")]


def unpublished_loads(connection: "Connection", marts: Sequence[str]) -> list[tuple[int, str]]:
    """Return (load_id, table name) of each complete load that a mart does not show yet, in the order of completion.

    Args:
        connection: of a role that reads the ledger and the watermarks.
        marts: the names of all marts; while one of them has never been built, every load is unpublished.
    """
    return connection.execute(
        f"select load_id, table_name from raw.loads where completion > ({SHOWN}) order by completion",  # noqa: S608
        {"marts": list(marts)},
    ).fetchall()
