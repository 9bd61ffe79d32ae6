"""Hires by quarter: how many of the newest year, and the departments with most of them as a picture."""

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
    """Return what the mart's page shows of its content.

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
    picture = draw(year, drawn, departments)
    return {
        "newest_year": MetadataValue.int(year),
        "hires_of_newest_year": MetadataValue.int(int(hires)),
        "departments_with_hires": MetadataValue.int(departments),
        "chart": MetadataValue.md(charts.as_markdown(f"Hires of {year} by quarter", picture)),
    }


def draw(year: int, rows: Sequence[Quarters], departments: int) -> str:
    """Return stacked bars of the quarters as SVG, a bar for each of the first departments.

    Args:
        year: of the hires.
        rows: departments, the first one on top; as many as charts.BARS are drawn.
        departments: how many departments hired in that year, drawn or not.
    """
    shown = rows[: charts.BARS]
    chart = charts.stacked_bars(
        f"Hires of {year} by quarter{charts.of_how_many(len(shown), departments)}",
        [f"{charts.short(row.department)}: {sum(row.hires):,}" for row in shown],
        COLORS,
    )
    for number in range(4):
        chart.add(f"Q{number + 1}", [row.hires[number] for row in reversed(shown)])
    return charts.svg(chart)
