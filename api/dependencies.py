"""What endpoints ask for by the type of a parameter."""

from typing import Annotated

from fastapi import Depends, Request

from api.caching.response_cache import ResponseCache
from api.database import Database
from api.employees.body import read_body
from api.employees.hires import HireModel
from api.employees.references import References
from api.keys import ApiKey


# Coroutines, though they wait for nothing: FastAPI would run a plain function in a thread.
async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def _response_cache(request: Request) -> ResponseCache:
    cache: ResponseCache = request.app.state.response_cache
    return cache


async def _hire_model(request: Request) -> HireModel:
    hires: HireModel = request.app.state.hires
    return hires


async def _references(request: Request) -> References:
    references: References = request.app.state.references
    return references


async def _api_key(request: Request) -> ApiKey:
    key: ApiKey = request.scope["api_key"]
    return key


DatabaseDep = Annotated[Database, Depends(_database)]
ResponseCacheDep = Annotated[ResponseCache, Depends(_response_cache)]
HireModelDep = Annotated[HireModel, Depends(_hire_model)]
ReferencesDep = Annotated[References, Depends(_references)]
ApiKeyDep = Annotated[ApiKey, Depends(_api_key)]
BodyDep = Annotated[bytes, Depends(read_body)]
