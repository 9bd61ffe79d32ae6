"""The address of the dashboard, and what it says when there is nothing to show."""

import hashlib
import json
from calendar import month_abbr
from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from psycopg import OperationalError
from psycopg.errors import InsufficientPrivilege, UndefinedTable
from pydantic import ValidationError
from starlette.staticfiles import StaticFiles

from api.caching.response_cache import CacheableResponse
from api.dashboard.presentation import HeatScale, near_names, strip
from api.dashboard.queries import Matching, known_names
from api.dashboard.query import DashboardQuery
from api.database import Database
from api.dependencies import DatabaseDep, ResponseCacheDep
from api.metrics.departments_above_mean import DEPARTMENTS_ABOVE_MEAN
from api.metrics.hires_by_month import HIRES_BY_MONTH, MonthsQuery
from api.pipeline import completeness
from api.pipeline.completeness import Completeness
from api.protocol.parameters import repeated_parameters
from contracts import TABLES

HTML = "text/html; charset=utf-8"
STATIC = Path(__file__).with_name("static")
# As many bars as can be taken in at a glance; the others are a click away.
BARS_SHOWN = 12
# Nobody looks through a longer list; a name is then typed.
MAX_LIST = 500
# Of what is missing, so much is named; /completeness has the rest.
MISSING_SHOWN = 12
# What a record of each table is called.
NOUNS = {table.name: table.business_name or table.name for table in TABLES}

router = APIRouter(include_in_schema=False)
router.mount("/dashboard", StaticFiles(directory=STATIC), name="dashboard_static")


def _versioned(name: str) -> str:
    return f"dashboard/{name}?{hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:8]}"


templates = Environment(
    loader=PackageLoader("api.dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.globals |= {
    "month_names": month_abbr,
    "bars_shown": BARS_SHOWN,
    "longest_list": MAX_LIST,
    "missing_shown": MISSING_SHOWN,
    "nouns": NOUNS,
    "tables": [table.name for table in TABLES],
    # A browser that has an older one asks for the new one, since it has another address.
    "style": _versioned("dashboard.css"),
    "script": _versioned("dashboard.js"),
}


@router.head("/")
@router.get("/")
async def dashboard(request: Request, database: DatabaseDep, cache: ResponseCacheDep) -> Response:
    """Show both metrics of a year."""
    wrong = {name for name in repeated_parameters(request, DashboardQuery) if name in DashboardQuery.model_fields}
    try:
        query = DashboardQuery.model_validate(_parameters(request))
    except ValidationError as error:
        wrong |= {str(detail["loc"][0]) for detail in error.errors()}
    if wrong:
        names = ", ".join(sorted(wrong))
        return _message(422, "There is no such page", f"The address has a wrong value for: {names}.")

    async def compute() -> CacheableResponse:
        return await _render(database, query)

    try:
        return await cache.get_or_compute(request, ("dashboard", query.query_string()), compute)
    except (UndefinedTable, InsufficientPrivilege):
        text = "The pipeline has not built the metrics so far. Look in again soon."
        return _message(503, "Nothing to show yet", text, has_first_steps=True)
    except OperationalError:
        return _message(503, "Back in a moment", "The database cannot be reached right now. Nothing is lost.")


def _parameters(request: Request) -> Mapping[str, Any]:
    asked = request.query_params
    return dict(asked) | {name: asked.getlist(name) for name in ("department", "job")}


async def _render(database: Database, query: DashboardQuery) -> CacheableResponse:
    matching = Matching(query, (await known_names(database)).containing(query.search) if query.search else None)
    rows = await matching.rows(database)
    around = await matching.surroundings(database, MAX_LIST + 1)
    version, _, above = await DEPARTMENTS_ABOVE_MEAN.read(database, query)
    html = templates.get_template("dashboard.html").render(
        query=query,
        rows=rows,
        groups=[(*rows.groups[str(id_)], list(items)) for id_, items in groupby(rows.items, itemgetter(0))],
        starts=query.starts(rows.total) if rows.total else {},
        around=around,
        years=strip(around.years, query.year),
        heat=HeatScale(around.quantiles or []),
        near=near_names(query, await known_names(database)) if query.is_narrowed and not rows.total else [],
        above=json.loads(above),
        months=await _months(database, query),
        completeness=await _completeness(database),
        published_at=version.published_at if version else None,
    )
    return CacheableResponse(html, HTML, version.validators(html) if version else None)


async def _months(database: Database, query: DashboardQuery) -> Any:
    """Return the hires of each month, of the departments asked for, or None where the marts do not have them yet."""
    try:
        asked = MonthsQuery(year=query.year, department=query.department)
        return json.loads((await HIRES_BY_MONTH.read(database, asked))[2])
    except (UndefinedTable, InsufficientPrivilege):
        return None


async def _completeness(database: Database) -> Completeness | None:
    """Return what is missing, or None where the marts were built before it was counted."""
    try:
        return (await completeness.read(database))[1]
    except (UndefinedTable, InsufficientPrivilege):
        return None


def _message(status: int, title: str, text: str, *, has_first_steps: bool = False) -> Response:
    html = templates.get_template("message.html").render(title=title, text=text, has_first_steps=has_first_steps)
    return Response(html, status, {"Retry-After": "30"} if status == 503 else {}, HTML)
