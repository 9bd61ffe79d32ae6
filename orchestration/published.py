"""What the marts already show: the loads that dbt has published, and the raw tables that are ahead of them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.ingest.ledger import Connection

COMPLETE = "select load_id, table_name from raw.loads where status = 'complete'"
NOT_PUBLISHED = " and load_id not in (select load_id from marts.published_loads)"


def are_built(connection: "Connection") -> bool:
    """Return whether the marts have ever been built."""
    return connection.execute("select to_regclass('marts.published_loads') is not null").fetchone() == (True,)


def unpublished_loads(connection: "Connection") -> list[tuple[int, str]]:
    """Return (load_id, table name) of each complete load that the marts do not show yet, in the order of the ids."""
    unpublished = COMPLETE + (NOT_PUBLISHED if are_built(connection) else "")
    return connection.execute(unpublished + " order by load_id").fetchall()
