"""The addresses of the metrics, and the links from page to page."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api import problems
from api.answers import Answer, AnswersOfRequest
from api.database import DatabaseOfRequest
from api.metrics import queries
from api.metrics.export import export
from api.metrics.formats import CSV, JSON, wants_csv
from api.metrics.schemas import AnyYear, DepartmentsAboveMean, HiresByQuarter, Selection

router = APIRouter(
    prefix="/metrics",
    tags=["metrics"],
    responses=problems.responses(
        {
            422: "A parameter is out of its range or not known.",
            503: "The database does not answer, or the metric is not built yet.",
        }
    ),
)


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


VALIDATORS = {
    "ETag": _header("Of this state of the metric, this question and this format"),
    "Last-Modified": _header("When the metric changed last"),
}
AGE = {"Age": _header("Only while the database is away: how many seconds ago this was right", "integer")}
PAGING = {
    "X-Total-Count": _header("Rows that match, on all pages; not with CSV", "integer"),
    "Link": _header("The first, prev, next and last page, where they exist (RFC 8288); not with CSV"),
}
NOT_MODIFIED = {"description": "The client has it: If-None-Match or If-Modified-Since says so.", "headers": VALIDATORS}


def _documented(description: str, example: str, headers: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    content = {CSV: {"schema": {"type": "string"}, "example": example}}
    return {
        200: {"description": description, "content": content, "headers": VALIDATORS | AGE | headers},
        304: NOT_MODIFIED,
    }


@router.head("/hires-by-quarter", include_in_schema=False)
@router.get(
    "/hires-by-quarter",
    summary="Hires for each job and department, by quarter",
    response_model=HiresByQuarter,
    responses=_documented(
        "One page of the rows that match, none for a year without hires; or all of them as CSV.",
        "department,job,Q1,Q2,Q3,Q4\r\nStaff,Manager,2,1,0,2\r\n",
        PAGING,
    ),
)
async def hires_by_quarter(
    request: Request,
    selection: Annotated[Selection, Query()],
    database: DatabaseOfRequest,
    answers: AnswersOfRequest,
) -> Response:
    """Count the hires of a year by department, job and quarter, ordered by department, then job."""
    if wants_csv(request, selection.format):
        chosen = selection.model_dump(include={"year", "department", "job"})
        name = f"hires-by-quarter-{selection.year}.csv"
        return await export(request, database, queries.HIRES_BY_QUARTER_CSV, chosen, name)

    address = str(request.url).partition("?")[0]

    async def compute() -> Answer:
        publication, total, body = await queries.hires_by_quarter(database, selection)
        headers = {"X-Total-Count": str(total)}
        if total:
            headers["Link"] = ", ".join(_links(address, selection, total))
        return Answer(body, JSON, publication.validators(JSON, body) if publication else None, headers)

    return await answers.give(request, (address, selection.query()), compute)


@router.head("/departments-above-mean", include_in_schema=False)
@router.get(
    "/departments-above-mean",
    summary="Departments that hired more than the mean",
    response_model=DepartmentsAboveMean,
    responses=_documented("All of them, as JSON or CSV.", "id,department,hired\r\n7,Staff,45\r\n", {}),
)
async def departments_above_mean(
    request: Request,
    selection: Annotated[AnyYear, Query()],
    database: DatabaseOfRequest,
    answers: AnswersOfRequest,
) -> Response:
    """List the departments that hired more people in a year than the mean of all, most hires first."""
    year = selection.year
    if wants_csv(request, selection.format):
        name = f"departments-above-mean-{year}.csv"
        return await export(request, database, queries.DEPARTMENTS_ABOVE_MEAN_CSV, {"year": year}, name)

    async def compute() -> Answer:
        publication, body = await queries.departments_above_mean(database, year)
        return Answer(body, JSON, publication.validators(JSON, body) if publication else None)

    return await answers.give(request, ("departments_above_mean", str(year)), compute)


def _links(address: str, selection: Selection, total: int) -> Iterator[str]:
    """Yield the links (RFC 8288) from a page of `total` rows, at least one, to its neighbours."""
    query = selection.query("offset")
    for relation, start in selection.starts(total).items():
        yield f'<{address}?{query}&offset={start}>; rel="{relation}"'
