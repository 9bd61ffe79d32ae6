"""GET /loads/{load_id}: what became of a batch that was sent to POST /employees. Counts, and nothing of its records."""

import hashlib
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Response
from psycopg.errors import InsufficientPrivilege, UndefinedTable
from pydantic import BaseModel, BeforeValidator, Field

from api.caching.conditional_requests import Validators
from api.caching.response_cache import CacheableResponse
from api.database import Database, Row
from api.dependencies import DatabaseDep
from api.metrics.formats import JSON
from api.protocol import problems
from api.protocol.parameters import refuse_parameters, require_digits
from api.protocol.schemas import Moment

# Nobody else's loads are looked at: the function knows those over HTTP only.
FIND_BATCH = """
select records, malformed, completed_at
from (select) as nothing
left join raw.find_batch(%(load_id)s) on true
"""
# Both of one moment: a batch that a build has only seen counts nowhere yet.
DISPOSITIONS = """
select accepted, superseded, withdrawn, waiting, rejected
from (select) as nothing
left join marts.batches on load_id = %(load_id)s and is_published
"""
MAX_LOAD_ID = 2**63 - 1
ABSENT = "There is no batch over HTTP with this number."

EXAMPLE = {
    "load_id": 42,
    "status": "published",
    "records": 5,
    "accepted": 2,
    "superseded": 1,
    "withdrawn": 0,
    "waiting": 1,
    "rejected": 1,
    "received_at": "2021-07-27T16:02:08.123456Z",
}


class Load(BaseModel, json_schema_extra={"example": EXAMPLE}):
    """What became of a batch: each of its records is counted once."""

    load_id: int = Field(description="The batch's number, as POST /employees answered it.")
    status: Literal["stored", "published"] = Field(
        description="published as soon as the metrics show the batch; until then it is stored, and null stands for "
        "what is not known yet."
    )
    records: int = Field(description="Records that were sent.")
    accepted: int | None = Field(description="Records that count.")
    superseded: int | None = Field(description="Records that a later valid record of the same id replaced.")
    withdrawn: int | None = Field(
        description="Records whose id the newest object of a table that is delivered whole lacks."
    )
    waiting: int | None = Field(description="Records that refer to a department or job that is not known.")
    rejected: int = Field(description="Records that were kept apart, or break a rule.")
    received_at: Moment = Field(description="When the batch was stored.")


LoadId = Annotated[
    int,
    Field(ge=0),
    BeforeValidator(require_digits),
    Path(description="The batch's number, as POST /employees answered it.", examples=[42]),
]

router = APIRouter(
    tags=["employees"],
    dependencies=[Depends(refuse_parameters)],
    responses=problems.responses(
        {
            404: ABSENT,
            422: "The number is none, or there is a parameter.",
            503: "The database does not answer.",
        }
    ),
)


@router.head("/loads/{load_id}", include_in_schema=False)
@router.get(
    "/loads/{load_id}",
    summary="What became of a batch",
    response_model=Load,
    responses={
        200: {"headers": {"ETag": {"description": "Of this state of the batch", "schema": {"type": "string"}}}},
        304: {"description": "The client has it: If-None-Match says so."},
    },
)
async def find_load(load_id: LoadId, database: DatabaseDep) -> Response:
    """Count what became of the records of a batch that was sent in. A key that may write is enough."""
    load = await _load(database, load_id) if load_id <= MAX_LOAD_ID else None
    if load is None:
        raise HTTPException(404, ABSENT)
    body = load.model_dump_json()
    # A build can change it at any time without a notification, so it is not cached.
    return CacheableResponse(
        body, JSON, Validators(b'"%b"' % hashlib.blake2b(body.encode(), digest_size=16).hexdigest().encode())
    )


async def _load(database: Database, load_id: int) -> Load | None:
    records, malformed, received_at = await database.read(FIND_BATCH, {"load_id": load_id})
    if records is None:
        return None
    accepted, superseded, withdrawn, waiting, rejected = await _dispositions(database, load_id)
    return Load(
        load_id=load_id,
        status="stored" if accepted is None else "published",
        records=records,
        accepted=accepted,
        superseded=superseded,
        withdrawn=withdrawn,
        waiting=waiting,
        rejected=malformed if rejected is None else rejected,
        received_at=received_at,
    )


async def _dispositions(database: Database, load_id: int) -> Row:
    try:
        return await database.read(DISPOSITIONS, {"load_id": load_id})
    except (UndefinedTable, InsufficientPrivilege):
        return (None,) * 5
