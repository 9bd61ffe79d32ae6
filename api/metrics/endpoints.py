"""The addresses of the metrics, and the links from page to page."""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import URL

from api import problems
from api.database import DatabaseOfRequest
from api.metrics import queries
from api.metrics.schemas import DepartmentsAboveMean, HiresByQuarter, Selection, YearOnly

router = APIRouter(
    prefix="/metrics",
    tags=["metrics"],
    responses=problems.responses(
        {
            422: "A parameter is out of its range.",
            503: "The database does not answer, or the metric is not built yet.",
        }
    ),
)


@router.get(
    "/hires-by-quarter",
    summary="Hires for each job and department, by quarter",
    response_model=HiresByQuarter,
    responses={
        200: {
            "description": "One page of the rows that match; none for a year without hires.",
            "headers": {
                "X-Total-Count": {
                    "description": "Rows that match, on all pages",
                    "schema": {"type": "integer"},
                },
                "Link": {
                    "description": "The first, prev, next and last page, where they exist (RFC 8288)",
                    "schema": {"type": "string"},
                },
            },
        }
    },
)
async def hires_by_quarter(
    request: Request, selection: Annotated[Selection, Query()], database: DatabaseOfRequest
) -> Response:
    """Count the hires of a year by department, job and quarter, ordered by department, then job."""
    total, body = await queries.hires_by_quarter(database, selection)
    headers = {"X-Total-Count": str(total)}
    if total:
        headers["Link"] = ", ".join(_links(request.url_for("hires_by_quarter"), selection, total))
    return Response(body, headers=headers, media_type="application/json")


@router.get(
    "/departments-above-mean",
    summary="Departments that hired more than the mean",
    response_model=DepartmentsAboveMean,
)
async def departments_above_mean(selection: Annotated[YearOnly, Query()], database: DatabaseOfRequest) -> Response:
    """List the departments that hired more people in a year than the mean of all, most hires first."""
    body = await queries.departments_above_mean(database, selection.year)
    return Response(body, media_type="application/json")


def _links(url: URL, selection: Selection, total: int) -> Iterator[str]:
    """Yield the links (RFC 8288) from a page of `total` rows, at least one, to its neighbours."""
    limit, offset = selection.limit, selection.offset
    last = (total - 1) // limit * limit
    pages = {"first": 0, "last": last}
    if offset > 0:
        # From beyond the end, the page before is the last one that has rows.
        pages["prev"] = min(max(offset - limit, 0), last)
    if offset + limit < total:
        pages["next"] = offset + limit
    for relation, start in pages.items():
        query = urlencode(selection.model_dump() | {"offset": start}, doseq=True)
        yield f'<{url.replace(query=query)}>; rel="{relation}"'
