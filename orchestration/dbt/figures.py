"""What a mart's page in the UI shows of its content: figures that plot over time, and its metric as a picture."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dagster import AssetKey, DagsterInstance, MetadataValue

from orchestration.dbt import charts

if TYPE_CHECKING:
    from orchestration.database import Connection

Figures = dict[str, MetadataValue]

# How often the mart has changed: as long as it is the same, so is everything here.
VERSION = "version"
NOTHING = MetadataValue.md("Nobody has been hired yet.")
# A hire in 2099 is a slip of the pen, most of the time: a year to come is shown only where there is no other.
NEWEST_YEAR = """
    select coalesce(
        (select max(year) from marts.{mart} where year <= extract(year from now() at time zone 'UTC')),
        (select min(year) from marts.{mart})
    )
"""


def mart_figures(connection: "Connection", instance: DagsterInstance, mart: str) -> Figures:
    """Return the figures of a mart, as they were before when it has not changed since.

    Args:
        connection: of a role that reads the marts.
        instance: where the mart's last materialization is.
        mart: hires_by_quarter or departments_above_mean.
    """
    found = connection.execute("select version from marts.publications where mart = %s", [mart]).fetchone()
    version = int(found[0]) if found else 0
    before = _before(instance, mart)
    if before.get(VERSION) == MetadataValue.int(version):
        return {name: value for name, value in before.items() if name in NAMES}
    return {VERSION: MetadataValue.int(version), **FIGURES[mart](connection)}


def _before(instance: DagsterInstance, mart: str) -> Mapping[str, MetadataValue]:
    event = instance.get_latest_materialization_event(AssetKey(["marts", mart]))
    return event.asset_materialization.metadata if event and event.asset_materialization else {}


def _hires_by_quarter(connection: "Connection") -> Figures:
    year = _newest_year(connection, "hires_by_quarter")
    if year is None:
        return {"chart": NOTHING}
    rows = connection.execute(
        """
        select department, sum(q1), sum(q2), sum(q3), sum(q4), count(*) over (), sum(sum(q1 + q2 + q3 + q4)) over ()
        from marts.hires_by_quarter
        where year = %s
        group by department_id, department
        order by sum(q1 + q2 + q3 + q4) desc, department collate "C", department_id
        limit %s
        """,
        [year, charts.BARS],
    ).fetchall()
    departments, hires = rows[0][5:]
    drawn = [charts.Quarters(department, (q1, q2, q3, q4)) for department, q1, q2, q3, q4, *_ in rows]
    return {
        "newest_year": MetadataValue.int(year),
        "hires_of_newest_year": MetadataValue.int(int(hires)),
        "departments_with_hires": MetadataValue.int(departments),
        "chart": _picture(f"Hires of {year} by quarter", charts.hires_by_quarter(year, drawn, departments)),
    }


def _departments_above_mean(connection: "Connection") -> Figures:
    year = _newest_year(connection, "departments_above_mean")
    if year is None:
        return {"chart": NOTHING}
    rows = connection.execute(
        """
        select department, hired, mean, count(*) over ()
        from marts.departments_above_mean
        where year = %s
        order by hired desc, id
        limit %s
        """,
        [year, charts.BARS],
    ).fetchall()
    mean, departments = rows[0][2:]
    drawn = [charts.Above(department, hired) for department, hired, *_ in rows]
    return {
        "newest_year": MetadataValue.int(year),
        "mean_of_newest_year": MetadataValue.float(mean),
        "departments_above_mean": MetadataValue.int(departments),
        "chart": _picture(
            f"Departments above the mean in {year}", charts.departments_above_mean(year, drawn, mean, departments)
        ),
    }


def _newest_year(connection: "Connection", mart: str) -> int | None:
    found = connection.execute(NEWEST_YEAR.format(mart=mart).encode()).fetchone()
    return found[0] if found else None


def _picture(name: str, svg: str) -> MetadataValue:
    return MetadataValue.md(charts.as_markdown(name, svg))


FIGURES: Mapping[str, Callable[["Connection"], Figures]] = {
    "hires_by_quarter": _hires_by_quarter,
    "departments_above_mean": _departments_above_mean,
}
NAMES = (
    VERSION,
    "newest_year",
    "hires_of_newest_year",
    "departments_with_hires",
    "mean_of_newest_year",
    "departments_above_mean",
    "chart",
)
