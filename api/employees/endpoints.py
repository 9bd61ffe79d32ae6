"""The address that takes hires in."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api import problems
from api.database import DatabaseOfRequest
from api.employees import queries
from api.employees.schemas import Batch, BatchAccepted, Employee
from api.security import require_api_key

router = APIRouter(tags=["employees"])

# A thousand records of 16 kB each: far more than any real batch, and little enough to be held in memory.
MAX_BODY_BYTES = 16 * 1024 * 1024

# The body is not a parameter of the endpoint, so FastAPI does not describe it by itself.
REQUEST_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1000,
                "items": Employee.model_json_schema(),
            },
            "example": [
                {
                    "id": 4535,
                    "name": "Marcelo Gonzalez",
                    "datetime": "2021-07-27T16:02:08Z",
                    "department_id": 1,
                    "job_id": 2,
                }
            ],
        }
    },
}


async def read_batch(request: Request) -> list[Employee]:
    """Read and check the body.

    A dependency, because FastAPI reads a body that is a parameter before it asks any dependency for the key.

    Raises:
        HTTPException: 413, it is too large.
        RequestValidationError: it is not JSON, or not a batch of hires.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, "The body is larger than 16 MiB.")
    try:
        return Batch.validate_python(json.loads(body))
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False, include_context=False, include_input=False)) from None
    except (ValueError, RecursionError):
        raise _refusal([{"type": "json_invalid", "loc": (), "msg": "cannot be read as JSON"}]) from None


def _refusal(errors: list[Any]) -> RequestValidationError:
    return RequestValidationError([{**error, "loc": ("body", *error["loc"])} for error in errors])


@router.post(
    "/employees",
    status_code=201,
    summary="Send hires in",
    dependencies=[Depends(require_api_key)],
    responses=problems.responses(
        {
            401: "The API key is missing or wrong.",
            413: "The body is larger than 16 MiB.",
            422: "At least one record breaks a rule; nothing is stored, and every bad field is listed.",
            503: "The database does not answer; send the batch again. Sent twice, it counts once.",
        }
    ),
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def add_employees(
    batch: Annotated[list[Employee], Depends(read_batch)], database: DatabaseOfRequest
) -> BatchAccepted:
    """Store a batch of 1 to 1000 hires: all of them or, when one breaks a rule, none.

    The metrics show them after the pipeline's next run.
    """
    load_id = await queries.insert_batch(database, batch)
    return BatchAccepted(load_id=load_id, accepted=len(batch))
