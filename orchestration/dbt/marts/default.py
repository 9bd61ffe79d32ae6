"""What the UI shows of any mart: the totals of its numeric columns, and its newest year."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagster import MetadataValue
from psycopg import sql

if TYPE_CHECKING:
    from orchestration.database import Connection

Metadata = dict[str, MetadataValue]

NUMERIC = {"smallint", "integer", "bigint", "numeric", "real", "double precision"}
# A hire in 2099 is a slip of the pen, most of the time: a year to come is shown only where there is no other.
NEWEST_YEAR = """
    select coalesce(
        (select max(year) from marts.{mart} where year <= extract(year from now() at time zone 'UTC')),
        (select min(year) from marts.{mart})
    )
"""


def default_metadata(connection: "Connection", mart: Mapping[str, Any]) -> Metadata:
    """Return the totals of a mart's numeric columns, without those of its key, and its newest year where it has years.

    Args:
        connection: of a role that reads the marts.
        mart: its node in dbt's manifest.
    """
    keys = {name for each in mart["constraints"] if each["type"] == "primary_key" for name in each["columns"]}
    types = {column["name"]: str(column["data_type"]).partition("(")[0] for column in mart["columns"].values()}
    summed = [name for name, kind in types.items() if kind in NUMERIC and name not in keys]
    shown: Metadata = {}
    if "year" in types and (year := newest_year(connection, mart["name"])) is not None:
        shown["newest_year"] = MetadataValue.int(year)
    if summed:
        query = sql.SQL("select {} from {}").format(
            sql.SQL(", ").join(sql.SQL("coalesce(sum({}), 0)::float").format(sql.Identifier(name)) for name in summed),
            sql.Identifier(mart["schema"], mart["name"]),
        )
        (totals,) = connection.execute(query).fetchall()
        shown |= {f"total_{name}": MetadataValue.float(total) for name, total in zip(summed, totals, strict=True)}
    return shown


def newest_year(connection: "Connection", mart: str) -> int | None:
    """Return the newest year of a mart that has begun, else the first of those to come; None where it is empty."""
    found = connection.execute(sql.SQL(NEWEST_YEAR).format(mart=sql.Identifier(mart))).fetchone()
    return found[0] if found else None
