"""Departments that hired more people in a year than the mean of all."""

from pydantic import BaseModel, Field

from api.metrics.metric import Metric
from api.metrics.schemas import YearQuery


class DepartmentAboveMean(BaseModel):
    """A department that hired more than the mean."""

    id: int
    department: str
    hired: int


EXAMPLE = {
    "year": 2021,
    "mean": 11.5,
    "items": [
        {"id": 7, "department": "Staff", "hired": 45},
        {"id": 9, "department": "Supply Chain", "hired": 12},
    ],
}


class DepartmentsAboveMean(BaseModel, json_schema_extra={"example": EXAMPLE}):
    """The departments that hired more than the mean of all departments in a year."""

    year: int
    mean: float = Field(description="Hires a department, over all departments, also those without any.")
    items: list[DepartmentAboveMean]


# When nobody is above the mean, everybody is at it: every department hired the same number, and the mean is what any
# one of them hired. Either all of them have rows in hires_by_quarter or none has, and then the mean is 0.
MEAN = """
    coalesce(
        min(mean),
        (
            select sum(q1 + q2 + q3 + q4)::double precision
            from marts.hires_by_quarter
            where year = %(year)s
            group by department_id
            limit 1
        ),
        0
    )
"""

DEPARTMENTS_ABOVE_MEAN = Metric(
    slug="departments-above-mean",
    summary="Departments that hired more than the mean",
    description="List the departments that hired more people in a year than the mean of all, most hires first.",
    marts=("departments_above_mean", "hires_by_quarter"),
    query=YearQuery,
    response=DepartmentsAboveMean,
    rows="select id, department, hired, mean from marts.departments_above_mean where year = %(year)s",
    order="hired desc, id",
    aggregates={"mean": MEAN},
)
