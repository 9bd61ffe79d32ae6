"""Metadata of hires_by_quarter: the hires of the newest year, and a chart of the departments with the most hires."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagster import MetadataValue

from orchestration.dbt import charts
from orchestration.dbt.marts.default import Metadata, newest_year

if TYPE_CHECKING:
    from orchestration.database import Connection

COLORS = ("#1b4b72", "#3d85c6", "#8fbce6", "#f2a541")


@dataclass(frozen=True)
class Quarters:
    """A department's hires of a year by quarter."""

    department: str
    hires: tuple[int, int, int, int]


def metadata(connection: "Connection") -> Metadata:
    """Return the mart's metadata.

    Args:
        connection: of a role that reads the marts.
    """
    year = newest_year(connection, "hires_by_quarter")
    if year is None:
        return {"chart": charts.NOTHING}
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
    drawn = [Quarters(department, (q1, q2, q3, q4)) for department, q1, q2, q3, q4, *_ in rows]
    chart = draw(year, drawn, departments)
    return {
        "newest_year": MetadataValue.int(year),
        "hires_of_newest_year": MetadataValue.int(int(hires)),
        "departments_with_hires": MetadataValue.int(departments),
        "chart": MetadataValue.md(charts.as_markdown(f"Hires of {year} by quarter", chart)),
    }


def draw(year: int, rows: Sequence[Quarters], departments: int) -> str:
    """Return stacked bars of the quarters as SVG, one bar per department.

    Args:
        year: of the hires.
        rows: departments, from the top; at most charts.BARS are drawn.
        departments: how many departments hired in that year, drawn or not.
    """
    shown = rows[: charts.BARS]
    chart = charts.stacked_bars(
        f"Hires of {year} by quarter{charts.title_suffix(len(shown), departments)}",
        [f"{charts.short(row.department)}: {sum(row.hires):,}" for row in shown],
        COLORS,
    )
    for quarter in range(4):
        chart.add(f"Q{quarter + 1}", [row.hires[quarter] for row in reversed(shown)])
    return charts.svg(chart)
