"""Default metadata of a mart: the totals of its numeric columns, and its newest year."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagster import MetadataValue
from psycopg import sql

if TYPE_CHECKING:
    from orchestration.database import Connection

Metadata = dict[str, MetadataValue]

NUMERIC = {"smallint", "integer", "bigint", "numeric", "real", "double precision"}
# A hire in 2099 is most likely a typo: a future year is used only if there is no other.
NEWEST_YEAR = """
    select coalesce(
        (select max(year) from marts.{mart} where year <= extract(year from now() at time zone 'UTC')),
        (select min(year) from marts.{mart})
    )
"""


def default_metadata(connection: "Connection", mart: Mapping[str, Any]) -> Metadata:
    """Return the totals of a mart's numeric columns except its key's, and its newest year if it has a column year.

    Args:
        connection: of a role that reads the marts.
        mart: its node in dbt's manifest.
    """
    keys = {
        name
        for constraint in mart["constraints"]
        if constraint["type"] == "primary_key"
        for name in constraint["columns"]
    }
    types = {column["name"]: str(column["data_type"]).partition("(")[0] for column in mart["columns"].values()}
    summed = [name for name, kind in types.items() if kind in NUMERIC and name not in keys]
    metadata: Metadata = {}
    if "year" in types and (year := newest_year(connection, mart["name"])) is not None:
        metadata["newest_year"] = MetadataValue.int(year)
    if summed:
        query = sql.SQL("select {} from {}").format(
            sql.SQL(", ").join(sql.SQL("coalesce(sum({}), 0)::float").format(sql.Identifier(name)) for name in summed),
            sql.Identifier(mart["schema"], mart["name"]),
        )
        (totals,) = connection.execute(query).fetchall()
        metadata |= {f"total_{name}": MetadataValue.float(total) for name, total in zip(summed, totals, strict=True)}
    return metadata


def newest_year(connection: "Connection", mart: str) -> int | None:
    """Return the newest year of a mart that is not in the future, else its first future year; None if it is empty."""
    row = connection.execute(sql.SQL(NEWEST_YEAR).format(mart=sql.Identifier(mart))).fetchone()
    return row[0] if row else None
