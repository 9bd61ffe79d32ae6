"""What the metrics can be asked for: departments and jobs with their hires of a year, and the years.

They are those that hires may refer to without waiting. What is named by waiting hires alone counts in no metric and is
not here: /completeness lists it.
"""

from pydantic import BaseModel, Field

from api.metrics.metric import Metric
from api.metrics.schemas import MetricQuery, MetricResponse, PagedResponse, YearQuery, YearResponse

DESCRIPTION = "{} that hires may refer to, also those without any, by name, each with its hires of a year."


class Department(BaseModel):
    """A department, and how many people it hired in the year."""

    id: int
    department: str
    hired: int


class Job(BaseModel):
    """A job, and how many people were hired for it in the year."""

    id: int
    job: str
    hired: int


class YearOfHires(BaseModel):
    """A year, and how many people were hired in it."""

    year: int
    hired: int


PAGE = {"total": 2, "limit": 100, "offset": 0}
DEPARTMENTS_EXAMPLE = {
    "year": 2021,
    "items": [{"id": 4, "department": "Legal", "hired": 0}, {"id": 7, "department": "Staff", "hired": 45}],
    **PAGE,
}
JOBS_EXAMPLE = {
    "year": 2021,
    "items": [{"id": 2, "job": "Manager", "hired": 5}, {"id": 1, "job": "Recruiter", "hired": 21}],
    **PAGE,
}
YEARS_EXAMPLE = {"items": [{"year": 2021, "hired": 1500}, {"year": 2022, "hired": 300}], **PAGE}


class Departments(PagedResponse, YearResponse[Department], json_schema_extra={"example": DEPARTMENTS_EXAMPLE}):
    """One page of the departments."""


class Jobs(PagedResponse, YearResponse[Job], json_schema_extra={"example": JOBS_EXAMPLE}):
    """One page of the jobs."""


class Years(PagedResponse, MetricResponse[YearOfHires], json_schema_extra={"example": YEARS_EXAMPLE}):
    """One page of the years with hires."""

    items: list[YearOfHires] = Field(description="Years in UTC, those without hires left out.")


DEPARTMENTS = Metric(
    slug="departments",
    folder="/",
    tag="lookups",
    summary="Departments",
    description=DESCRIPTION.format("List the departments"),
    marts=("hires_by_quarter", "known_departments"),
    query=YearQuery,
    response=Departments,
    rows="""
        select known.id, known.department, coalesce(hires.hired, 0) as hired
        from marts.known_departments as known
        left join (
            select department_id, sum(q1 + q2 + q3 + q4) as hired
            from marts.hires_by_quarter
            where year = %(year)s
            group by department_id
        ) as hires on known.id = hires.department_id
    """,
    order='department collate "C", id',
)

JOBS = Metric(
    slug="jobs",
    folder="/",
    tag="lookups",
    summary="Jobs",
    description=DESCRIPTION.format("List the jobs"),
    marts=("hires_by_quarter", "known_jobs"),
    query=YearQuery,
    response=Jobs,
    rows="""
        select known.id, known.job, coalesce(hires.hired, 0) as hired
        from marts.known_jobs as known
        left join (
            select job_id, sum(q1 + q2 + q3 + q4) as hired
            from marts.hires_by_quarter
            where year = %(year)s
            group by job_id
        ) as hires on known.id = hires.job_id
    """,
    order='job collate "C", id',
)

YEARS = Metric(
    slug="years",
    folder="/",
    tag="lookups",
    summary="Years with hires",
    description="List the years that have hires, each with how many.",
    marts=("hires_by_quarter",),
    query=MetricQuery,
    response=Years,
    rows="select year, sum(q1 + q2 + q3 + q4) as hired from marts.hires_by_quarter group by year",
    order="year",
)
