"""GET and HEAD of each metric, with the links from page to page."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, create_model

from api.caching.response_cache import CacheableResponse
from api.dependencies import DatabaseDep, ResponseCacheDep
from api.metrics import export, hints
from api.metrics.formats import CSV, JSON, wants_csv
from api.metrics.hints import Hint
from api.metrics.metric import Metric
from api.metrics.schemas import FileOptions
from api.protocol import problems
from api.protocol.parameters import require_single

SEVERAL_YEARS = "is one year for JSON; several years, or all, are for CSV: format=csv"


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


VALIDATORS = {
    "ETag": _header("Of this state of the metric, this question and this format"),
    "Last-Modified": _header("When the metric changed last"),
}
AGE = {"Age": _header("Only while the database is away: how many seconds ago this was right", "integer")}
PAGING = {
    "X-Total-Count": _header("Rows that match, on all pages; not with CSV", "integer"),
    "Link": _header("The first, prev, next and last page (RFC 8288), relative to this address; not with CSV"),
}
HINT = {hints.HEADER: _header("Names near to a filter's value that is nobody's name")}
NOT_MODIFIED = {"description": "The client has it: If-None-Match or If-Modified-Since says so.", "headers": VALIDATORS}


def router_for(metrics: Iterable[Metric]) -> APIRouter:
    """Return GET and HEAD of each metric."""
    router = APIRouter(
        responses=problems.responses(
            {
                422: "A parameter is out of its range or not known.",
                503: "The database does not answer, or the metric is not built yet.",
            }
        ),
    )
    for metric in metrics:
        _add_routes(router, metric)
    return router


def _add_routes(router: APIRouter, metric: Metric) -> None:
    async def answer(
        request: Request,
        asked: Annotated[metric.request, Query()],  # type: ignore[name-defined]
        database: DatabaseDep,
        cache: ResponseCacheDep,
    ) -> Response:
        require_single(request, asked)
        if wants_csv(request, asked.format):
            return await export.export(request, database, metric, asked)
        parameters = metric.parameters.model_validate(_of_one_year(asked))

        async def compute() -> CacheableResponse:
            version, total, body = await metric.read(database, parameters)
            found = await hints.hints_for(database, parameters.model_dump())
            if found:
                body = f'{body[:-1]}, "hints" : {json.dumps([hint.model_dump() for hint in found])}}}'
            validators = version.validators(JSON, body) if version else None
            headers = _paging_headers(metric, parameters, total) | hints.headers_for(found)
            return CacheableResponse(body, JSON, validators, headers)

        return await cache.get_or_compute(request, (metric.path, parameters.query_string()), compute)

    router.add_api_route(metric.path, answer, methods=["HEAD"], name=metric.operation_id, include_in_schema=False)
    router.add_api_route(
        metric.path,
        answer,
        methods=["GET"],
        name=metric.operation_id,
        tags=[metric.tag],
        summary=metric.summary,
        description=metric.description,
        response_model=_with_hints(metric),
        responses=_documented(metric),
    )


def _of_one_year(asked: BaseModel) -> dict[str, Any]:
    """Return what JSON is asked for.

    Raises:
        RequestValidationError: it is asked for another number of years than one.
    """
    parameters = asked.model_dump(exclude={*FileOptions.model_fields})
    if "year" not in parameters:
        return parameters
    if len(parameters["year"]) != 1:
        raise RequestValidationError([{"type": "several_years", "loc": ("query", "year"), "msg": SEVERAL_YEARS}])
    return parameters | {"year": parameters["year"][0]}


def _has_names(metric: Metric) -> bool:
    """Tell whether a metric can be asked for names."""
    return not hints.KNOWN.keys().isdisjoint(metric.query.model_fields)


def _with_hints(metric: Metric) -> type[BaseModel]:
    """Return a metric's response as it is documented."""
    if not _has_names(metric):
        return metric.response
    field: Any = Field([], description="Only there where a filter has a value that is nobody's name.")
    response = metric.response
    return create_model(response.__name__, __base__=response, __doc__=response.__doc__, hints=(list[Hint], field))


def _documented(metric: Metric) -> dict[int | str, dict[str, Any]]:
    description = "All of them, as JSON or CSV."
    if metric.is_paged:
        description = "One page of the rows that match, which may be none; or all of them as CSV."
    content = {CSV: {"schema": {"type": "string"}, "example": export.example(metric)}}
    headers = VALIDATORS | AGE | (PAGING if metric.is_paged else {}) | (HINT if _has_names(metric) else {})
    return {200: {"description": description, "content": content, "headers": headers}, 304: NOT_MODIFIED}


def _paging_headers(metric: Metric, parameters: Any, total: int | None) -> dict[str, str]:
    """Return how many rows match a page's parameters, and the links (RFC 8288) from it to its neighbours.

    They are relative: right under whichever host and prefix the API is reached, and also seen from its root.
    """
    if total is None:
        return {}
    query = parameters.query_string("offset")
    starts = parameters.starts(total) if total else {}
    up = "../" * metric.folder.count("/", 1)
    address = f"{up}{metric.path.removeprefix('/')}"
    links = [f'<{address}?{query}&offset={start}>; rel="{relation}"' for relation, start in starts.items()]
    return {"X-Total-Count": str(total)} | ({"Link": ", ".join(links)} if links else {})
