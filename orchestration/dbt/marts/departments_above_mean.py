"""Metadata of departments_above_mean: their number in the newest year, the mean, and a chart of their hires."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagster import MetadataValue

from orchestration.dbt import charts
from orchestration.dbt.marts.default import Metadata, newest_year

if TYPE_CHECKING:
    from orchestration.database import Connection

COLORS = ("#b8bec6", "#1b7f5c")


@dataclass(frozen=True)
class Above:
    """A department and its hires of a year, which exceed the mean."""

    department: str
    hired: int


def metadata(connection: "Connection") -> Metadata:
    """Return the mart's metadata.

    Args:
        connection: of a role that reads the marts.
    """
    year = newest_year(connection, "departments_above_mean")
    if year is None:
        return {"chart": charts.NOTHING}
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
    chart = draw(year, [Above(department, hired) for department, hired, *_ in rows], mean, departments)
    return {
        "newest_year": MetadataValue.int(year),
        "mean_of_newest_year": MetadataValue.float(mean),
        "departments_above_mean": MetadataValue.int(departments),
        "chart": MetadataValue.md(charts.as_markdown(f"Departments above the mean in {year}", chart)),
    }


def draw(year: int, rows: Sequence[Above], mean: float, departments: int) -> str:
    """Return the departments above the mean as SVG: bars whose color changes at the mean.

    Args:
        year: of the hires.
        rows: departments, from the top; at most charts.BARS are drawn.
        mean: the mean of all departments.
        departments: how many departments are above it, drawn or not.
    """
    shown = rows[: charts.BARS]
    chart = charts.stacked_bars(
        f"Hires of {year} above the mean of {mean:,.1f}{charts.title_suffix(len(shown), departments)}",
        [f"{charts.short(row.department)}: {row.hired:,}" for row in shown],
        COLORS,
    )
    chart.add("up to the mean", [mean for _ in shown])
    chart.add("above it", [row.hired - mean for row in reversed(shown)])
    return charts.svg(chart)
