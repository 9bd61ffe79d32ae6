"""Hires of a year by department, job and quarter."""

from pydantic import BaseModel, Field

from api.metrics.metric import Metric
from api.metrics.schemas import Names, PagedResponse, YearQuery, YearResponse


class HiresByQuarterQuery(YearQuery):
    """Which hires."""

    department: Names = Field([], description="Exact name of a department; repeat it for more, empty for all.")
    job: Names = Field([], description="Exact name of a job; repeat it for more, empty for all.")


class QuarterlyHires(BaseModel):
    """Hires for a job in a department, by quarter of the year."""

    department: str
    job: str
    Q1: int
    Q2: int
    Q3: int
    Q4: int


EXAMPLE = {
    "year": 2021,
    "items": [
        {"department": "Staff", "job": "Manager", "Q1": 2, "Q2": 1, "Q3": 0, "Q4": 2},
        {"department": "Staff", "job": "Recruiter", "Q1": 3, "Q2": 0, "Q3": 7, "Q4": 11},
    ],
    "total": 2,
    "limit": 100,
    "offset": 0,
}


class HiresByQuarter(PagedResponse, YearResponse[QuarterlyHires], json_schema_extra={"example": EXAMPLE}):
    """One page of the hires of a year."""


HIRES_BY_QUARTER = Metric(
    slug="hires-by-quarter",
    summary="Hires for each job and department, by quarter",
    description="Count the hires of a year by department, job and quarter, ordered by department, then job.",
    marts=("hires_by_quarter",),
    query=HiresByQuarterQuery,
    response=HiresByQuarter,
    rows="""
        select department, job, q1 as "Q1", q2 as "Q2", q3 as "Q3", q4 as "Q4", department_id, job_id
        from marts.hires_by_quarter
        where
            year = %(year)s
            and (cardinality(%(department)s::text[]) = 0 or department = any(%(department)s::text[]))
            and (cardinality(%(job)s::text[]) = 0 or job = any(%(job)s::text[]))
    """,
    # The mart's index has the beginning of a department's name: a page only sorts the rows of its departments.
    order='left(department, 300) collate "C", department collate "C", job collate "C", department_id, job_id',
)
