"""Puts the application together. Nothing here reads the environment: settings come in as an argument."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

import api.employees.endpoints
import api.metrics.endpoints
from api import database, health, problems
from api.database import Database
from api.security import digest
from api.settings import Settings

DESCRIPTION = """
Two metrics about hires, and a way to send hires in.

Every error is an `application/problem+json` document (RFC 9457). Names of people go in and never come out.
"""


def create_app(settings: Settings) -> FastAPI:
    """Build the application; it starts, and says that it is alive, whether or not Postgres is there."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Database(settings) as app.state.database:
            yield

    app = FastAPIOffline(
        title="Hiring",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers=problems.HANDLERS | database.HANDLERS,
    )
    app.state.api_key_digest = digest(settings.api_key.get_secret_value().encode())
    app.include_router(api.metrics.endpoints.router)
    app.include_router(api.employees.endpoints.router)
    app.include_router(health.router)
    return app
