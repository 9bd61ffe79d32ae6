"""GET /completeness: what is not in the metrics, table by table, and up to which load they are true."""

from fastapi import APIRouter, Depends, Request, Response
from psycopg.sql import SQL
from pydantic import BaseModel, Field

from api.caching.mart_versions import MartVersion, version_query
from api.caching.response_cache import CacheableResponse
from api.database import Database
from api.dependencies import DatabaseDep, ResponseCacheDep
from api.metrics.endpoints import AGE, NOT_MODIFIED, VALIDATORS
from api.metrics.formats import JSON
from api.protocol import problems
from api.protocol.parameters import refuse_parameters
from api.protocol.schemas import Moment

PATH = "/completeness"
MARTS = ("completeness", "missing_references")
# Who sends nonsense can make any number of them.
MAX_MISSING = 1000

QUERY = (
    SQL("""
with tables as (
    select table_name, loads, last_load_id, last_completed_at, open_records, waiting, withdrawn
    from marts.completeness
),

missing as (
    select table_name, column_name, missing_from, id, waiting, waiting_since
    from marts.missing_references
),

first_missing as (
    select
        *,
        row_number() over (
            order by waiting desc, table_name collate "C", column_name collate "C", length(id), id collate "C"
        ) as place
    from missing
    order by place
    limit %(most)s
),

state as (
    {state}
)

select
    state.version,
    state.published_at,
    json_build_object(
        'tables', (select coalesce(json_agg(tables order by table_name collate "C"), '[]') from tables),
        'missing_references', (select coalesce(json_agg(first_missing order by place), '[]') from first_missing),
        'total_missing_references', (select count(*) from missing)
    )::text
from (select) as nothing
left join state on true
""")
    .format(state=version_query(MARTS))
    .as_bytes()
)

EXAMPLE = {
    "tables": [
        {
            "table_name": "hired_employees",
            "loads": 3,
            "last_load_id": 42,
            "last_completed_at": "2021-07-27T16:02:08.123456Z",
            "open_records": 10,
            "waiting": 8,
            "withdrawn": 0,
        }
    ],
    "missing_references": [
        {
            "table_name": "hired_employees",
            "column_name": "department_id",
            "missing_from": "departments",
            "id": "99",
            "waiting": 8,
            "waiting_since": "2021-07-27T16:02:08.123456Z",
        }
    ],
    "total_missing_references": 1,
}


class TableCompleteness(BaseModel):
    """What of a table is not in the metrics, and up to which load they are true."""

    table_name: str = Field(description="Table of the contract.")
    loads: int = Field(description="How many complete loads the metrics show.")
    last_load_id: int | None = Field(description="The latest of them; null without any.")
    last_completed_at: Moment | None = Field(description="When the last of them became complete.")
    open_records: int = Field(description="Rejected records that nothing corrects yet.")
    waiting: int = Field(description="Valid records that refer to something unknown.")
    withdrawn: int = Field(
        description="Valid records whose id the newest object of a table that is delivered whole lacks."
    )


class MissingReference(BaseModel):
    """A department, a job or the like that is not known, and for which records wait."""

    table_name: str = Field(description="Table whose records wait.")
    column_name: str = Field(description="Their column that refers to what is unknown.")
    missing_from: str = Field(description="Table that lacks it.")
    id: str = Field(description="The id that is unknown there.")
    waiting: int = Field(description="How many records wait for it.")
    waiting_since: Moment = Field(description="When the load of the first of them became complete.")


class Completeness(BaseModel, json_schema_extra={"example": EXAMPLE}):
    """What is not in the metrics."""

    tables: list[TableCompleteness]
    missing_references: list[MissingReference] = Field(
        description=f"Those that most records wait for; {MAX_MISSING} at most."
    )
    total_missing_references: int = Field(description="How many there are.")

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return not any(table.open_records or table.waiting or table.withdrawn for table in self.tables)


router = APIRouter(
    tags=["metrics"],
    dependencies=[Depends(refuse_parameters)],
    responses=problems.responses(
        {422: "There is a parameter.", 503: "The database does not answer, or nothing is built yet."}
    ),
)


@router.head(PATH, include_in_schema=False)
@router.get(
    PATH,
    summary="What is not in the metrics",
    response_model=Completeness,
    responses={200: {"headers": VALIDATORS | AGE}, 304: NOT_MODIFIED},
)
async def completeness(request: Request, database: DatabaseDep, cache: ResponseCacheDep) -> Response:
    """Count, for each table, the records that are rejected and not corrected, that wait, or that were withdrawn."""

    async def compute() -> CacheableResponse:
        version, found = await read(database)
        body = found.model_dump_json()
        return CacheableResponse(body, JSON, version.validators(JSON, body) if version else None)

    return await cache.get_or_compute(request, (PATH,), compute)


async def read(database: Database) -> tuple[MartVersion | None, Completeness]:
    """Return what is not in the metrics, and of which version of the marts that is true.

    Raises:
        psycopg.Error: the database cannot be reached or takes too long, or the marts are not built yet.
    """
    version, published_at, found = await database.read(QUERY, {"most": MAX_MISSING})
    return MartVersion.of((version, published_at)), Completeness.model_validate_json(found)
