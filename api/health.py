"""Whether the process runs, and whether it can do its work: two questions, two addresses."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from api import problems
from api.database import DatabaseOfRequest

router = APIRouter(prefix="/health", tags=["health"])

MARTS = "select exists(select from marts.hires_by_quarter), exists(select from marts.departments_above_mean)"


class Live(BaseModel):
    """The process runs."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """The process can answer."""

    status: Literal["ready"] = "ready"


@router.get("/live", summary="Does the process run?")
async def live() -> Live:
    """Answer 200 as long as the process runs, with or without a database: restart it when this fails."""
    return Live()


@router.get(
    "/ready",
    summary="Can it answer?",
    responses=problems.responses({503: "The database does not answer, or the marts are not built yet."}),
)
async def ready(database: DatabaseOfRequest) -> Ready:
    """Answer 200 when both marts can be read: send requests elsewhere while this fails."""
    await database.read(MARTS, {})
    return Ready()
