"""Whether the process runs, whether it has started well, and whether it can do its work: each has its address."""

from collections.abc import Iterable
from typing import Literal

from fastapi import APIRouter
from psycopg.sql import SQL, Identifier
from pydantic import BaseModel

from api.dependencies import DatabaseDep
from api.metrics.metric import Metric
from api.protocol import problems


class Live(BaseModel):
    """The process runs."""

    status: Literal["live"] = "live"


class Started(BaseModel):
    """The process has found a database of its version."""

    status: Literal["started"] = "started"


class Ready(BaseModel):
    """The process can answer."""

    status: Literal["ready"] = "ready"


def router_for(metrics: Iterable[Metric]) -> APIRouter:
    """Return the addresses, and /health for readiness; ready is who can read the marts of each metric."""
    router = APIRouter(prefix="/health", tags=["health"])
    marts = sorted({mart for metric in metrics for mart in metric.marts})
    reads = SQL(", ").join(SQL("exists(select from {})").format(Identifier("marts", mart)) for mart in marts)
    query = SQL("select {}").format(reads).as_bytes()

    @router.head("/live", include_in_schema=False)
    @router.get("/live", summary="Does the process run?")
    async def live() -> Live:
        """Answer 200 as long as the process runs, with or without a database: restart it when this fails."""
        return Live()

    has_started = False

    @router.head("/started", include_in_schema=False)
    @router.get(
        "/started",
        summary="Has it started well?",
        responses=problems.responses({503: "The database does not answer, or is not migrated to this version yet."}),
    )
    async def started(database: DatabaseDep) -> Started:
        """Answer 200 from the first time on that the database was there and migrated: a roll-out waits for this."""
        nonlocal has_started
        if not has_started:
            await database.require_schema()
            has_started = True
        return Started()

    # Who asks for health without saying which is a person or a monitor: to them a process that cannot answer is ill.
    @router.head("", include_in_schema=False)
    @router.get("", include_in_schema=False)
    @router.head("/ready", include_in_schema=False)
    @router.get(
        "/ready",
        summary="Can it answer?",
        responses=problems.responses(
            {503: "The database does not answer, takes no writes or is not migrated, or the marts are not built."}
        ),
    )
    async def ready(database: DatabaseDep) -> Ready:
        """Answer 200 when the marts of every metric can be read and hires written: go elsewhere while this fails."""
        await database.require_schema()
        await database.read(query, {})
        database.require_writable()
        return Ready()

    return router
