"""What the marts already show: how far into the ledger, and by which version of the dbt project they were built."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.database import Connection

MARTS = ["departments_above_mean", "hires_by_quarter"]
# Of the newest complete load that every mart shows, the number by the order of completion.
SHOWN = """
    select case when count(*) = cardinality(%(marts)s::text[]) then min(mark) else 0 end
    from staging.progress
    where model = any(%(marts)s::text[]) and input = 'loads'
"""


def are_built_by(connection: "Connection", project: int) -> bool:
    """Return whether all models were built by this version of the dbt project, `project` being its digest."""
    found = connection.execute("select mark from staging.progress where model = 'project' and input = 'digest'")
    return found.fetchone() == (project,)


def record_built_by(connection: "Connection", project: int) -> None:
    """Record that all models are built by this version of the dbt project."""
    connection.execute(
        """
        insert into staging.progress (model, input, mark) values ('project', 'digest', %s)
        on conflict (model, input) do update set mark = excluded.mark
        """,
        [project],
    )


def unpublished_loads(connection: "Connection") -> list[tuple[int, str]]:
    """Return (load_id, table name) of each complete load that the marts do not show yet, in the order of completion."""
    return connection.execute(
        f"select load_id, table_name from raw.loads where completion > ({SHOWN}) order by completion",  # noqa: S608
        {"marts": MARTS},
    ).fetchall()
