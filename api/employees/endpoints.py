"""The address that takes hires in."""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from api.dependencies import ApiKeyDep, BodyDep, DatabaseDep, HireModelDep, ReferencesDep
from api.employees import queries, receipts
from api.employees.body import TOO_LARGE
from api.employees.hires import HIRES
from api.employees.queries import Retry
from api.employees.schemas import BatchAccepted, BatchQuery
from api.protocol import problems
from api.protocol.parameters import require_single

router = APIRouter(tags=["employees"])

# Reading and checking a large batch takes some tenths of a second. In a thread of its own it holds other requests up
# for as long as Python leaves a thread alone, some ms; in several threads they would wait for each of them.
_judge = ThreadPoolExecutor(1, thread_name_prefix="judge")

# The body is not a parameter of the endpoint, so FastAPI does not describe it by itself.
CONTENT = {"application/json": {"schema": HIRES.batch_schema, "example": HIRES.example}}
REQUEST_BODY = {"required": True, "content": CONTENT}

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]*$",
        description="Visible ASCII characters of your own, different ones for each batch: a retry with them is never "
        "stored twice. Kept for a day.",
        examples=["5f3c1f0e-7a3d-4a53-9d3c-3f4c9d1b8a11"],
    ),
]


@router.post(
    "/employees",
    status_code=201,
    summary="Send hires in",
    response_model=BatchAccepted,
    responses={
        201: {
            "description": "The batch is stored.",
            "headers": {
                "Location": {
                    "description": "Where to ask what became of the batch, relative to this address (RFC 9110)",
                    "schema": {"type": "string"},
                    "example": "loads/42",
                },
                "Idempotency-Replayed": {
                    "description": "true, where this is the answer to an earlier request with the same key",
                    "schema": {"type": "string"},
                },
            },
        },
        **problems.responses(
            {
                408: "The body took too long to arrive.",
                409: "The first request with this Idempotency-Key is still under way.",
                413: TOO_LARGE,
                415: "The body is not declared as JSON in UTF-8.",
                422: "At least one record breaks a rule; nothing is stored, and every bad field is listed. "
                "Or the Idempotency-Key belongs to another request.",
                503: "The database does not answer; send the batch again. Sent twice, it counts once.",
            }
        ),
    },
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def add_employees(
    body: BodyDep,
    request: Request,
    query: Annotated[BatchQuery, Query()],
    key: ApiKeyDep,
    database: DatabaseDep,
    hires: HireModelDep,
    references: ReferencesDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Store a batch of 1 to 1000 hires: all of them or, when one breaks a rule, none.

    With on_error=continue the good records are stored, and the bad ones are kept apart and listed in the answer.
    The metrics show a batch after the pipeline's next run, but for hires that wait for their department or job.
    """
    require_single(request, query)
    known = await references.known(database)
    work = asyncio.get_running_loop().run_in_executor(_judge, receipts.judge, body, hires, query.on_error, known)
    batch, answer, rejections = await work
    retry = Retry(key.name, idempotency_key, hashlib.sha256(f"{query.on_error}\n".encode() + body).digest())
    stored = await queries.store_batch(database, batch, rejections, retry, answer)
    if stored.outcome == "in flight":
        raise HTTPException(
            409, "The first request with this Idempotency-Key is still under way.", {"Retry-After": "1"}
        )
    if stored.outcome == "another request":
        place = ("header", "Idempotency-Key")
        raise RequestValidationError([{"type": "reused", "loc": place, "msg": "belongs to another request"}])
    # Relative, which is right under whichever host and prefix the API is reached.
    headers = {"Location": f"loads/{stored.load_id}"}
    if stored.outcome == "replayed":
        headers["Idempotency-Replayed"] = "true"
    content = f'{{"load_id":{stored.load_id},{stored.answer[1:]}'
    return Response(content, 201, headers, "application/json")
