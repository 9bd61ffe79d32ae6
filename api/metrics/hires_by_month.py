"""Hires of a year by month."""

from pydantic import BaseModel, Field

from api.metrics.metric import Metric
from api.metrics.schemas import Names, YearQuery


class MonthsQuery(YearQuery):
    """Whose hires."""

    department: Names = Field([], description="Exact name of a department; repeat it for more, empty for all.")


class MonthlyHires(BaseModel):
    """Hires of a month."""

    month: int = Field(ge=1, le=12)
    hired: int


HIRED = (45, 38, 41, 36, 0, 29, 33, 47, 44, 35, 32, 34)
EXAMPLE = {
    "year": 2021,
    "mean": 34.5,
    "items": [{"month": month, "hired": hired} for month, hired in enumerate(HIRED, 1)],
}


class HiresByMonth(BaseModel, json_schema_extra={"example": EXAMPLE}):
    """The hires of each month of a year."""

    year: int
    mean: float = Field(description="Hires per month, over all twelve.")
    items: list[MonthlyHires] = Field(description="All twelve months: one without hires has 0.")


HIRES_BY_MONTH = Metric(
    slug="hires-by-month",
    summary="Hires by month",
    description="Count the hires of each month of a year, of all departments or of those that are named, together.",
    marts=("hires_by_month",),
    query=MonthsQuery,
    response=HiresByMonth,
    rows="""
        select months.month, coalesce(sum(hires.hired), 0) as hired
        from generate_series(1, 12) as months (month)
        left join marts.hires_by_month as hires
            on
                months.month = hires.month
                and hires.year = %(year)s
                and (cardinality(%(department)s::text[]) = 0 or hires.department = any(%(department)s::text[]))
        group by months.month
    """,
    order="month",
    aggregates={"mean": "(sum(hired) / 12)::double precision"},
)
