"""Puts the application together. Nothing here reads the environment: settings come in as an argument."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import iter_route_contexts
from fastapi_offline import FastAPIOffline

import api.dashboard.endpoints
import api.employees.endpoints
import api.metrics.endpoints
import api.pipeline.completeness
import api.pipeline.loads
from api import database, health
from api.caching.mart_versions import invalidating
from api.caching.response_cache import ResponseCache
from api.database import Database, conninfo
from api.employees.hires import HIRES, HireModel
from api.employees.references import References
from api.metrics.metric import Metric
from api.metrics.registry import METRICS
from api.middleware import api_key
from api.middleware.api_key import ApiKeyMiddleware
from api.middleware.malformed_request import MalformedRequestMiddleware
from api.middleware.rate_limit import RateLimitMiddleware
from api.middleware.request_context import RequestContextMiddleware
from api.middleware.response_cache import ResponseCacheMiddleware
from api.middleware.security_headers import SecurityHeadersMiddleware
from api.observability.request_metrics import RequestMetrics
from api.protocol import docs, problems
from api.settings import Settings
from api.version import VERSION

DESCRIPTION = """
Metrics about hires, and a way to send hires in.

Every error is an `application/problem+json` document (RFC 9457), every response has an `X-Request-Id`, under which
the server's log knows the request. Names of people go in and never come out.
"""

TAGS = [
    {"name": "metrics", "description": "What the pipeline has built from the hires."},
    {"name": "lookups", "description": "What the metrics are about: departments, jobs and years."},
    {"name": "employees", "description": "Hires on their way in."},
    {"name": "health", "description": "For load balancers and supervisors."},
]
# What a script of another origin may send and see, where the settings let it.
CORS_HEADERS = ["X-API-Key", "Idempotency-Key", "If-None-Match", "X-Request-Id"]
CORS_EXPOSED = [
    "ETag", "Link", "Location", "X-Total-Count", "X-Request-Id", "Retry-After", "Idempotency-Replayed", "Age",
    "X-Hint",
]  # fmt: skip


def create_app(settings: Settings, metrics: Sequence[Metric] = METRICS, hires: HireModel = HIRES) -> FastAPI:
    """Return the application. It starts, and is alive, whether or not Postgres can be reached.

    Args:
        settings: from the environment.
        metrics: the metrics that it serves.
        hires: the model of a hire, from the contract.
    """
    request_metrics = RequestMetrics()
    cache = ResponseCache(settings.api_cache_mib * 1024 * 1024, settings.api_cache_seconds)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with request_metrics.served(settings):
            async with Database(settings) as app.state.database, invalidating(conninfo(settings), cache):
                yield

    app = FastAPIOffline(
        docs_url=None,
        redoc_url=None,
        title="Hiring",
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        redirect_slashes=False,
        # Relative to the document, which is right behind a proxy with a prefix, too.
        servers=[{"url": "."}],
        generate_unique_id_function=lambda route: route.name,
        responses=problems.responses({500: problems.FAILED}),
        exception_handlers=problems.HANDLERS | database.HANDLERS,
    )
    app.state.settings = settings
    app.state.response_cache = cache
    app.state.hires = hires
    app.state.references = References(hires.references, cache)
    docs.add_pages(app)
    docs.add_schemas(app, {"Problem": problems.SCHEMA, "Employee": hires.record_schema})
    reads = api_key.documented(is_open=settings.api_open_reads)
    for router in (
        api.metrics.endpoints.router_for(metrics),
        api.pipeline.completeness.router,
        api.pipeline.loads.router,
    ):
        app.include_router(router, **reads)
    app.include_router(api.dashboard.endpoints.router)
    app.include_router(api.employees.endpoints.router, **api_key.documented(is_open=False))
    app.include_router(health.router_for(metrics))
    # The last one is the outermost.
    app.add_middleware(ResponseCacheMiddleware, cache=cache)
    app.add_middleware(RateLimitMiddleware, rate=settings.api_rate_limit)
    app.add_middleware(ApiKeyMiddleware, settings=settings)
    if settings.api_cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.api_cors_origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=CORS_HEADERS,
            expose_headers=CORS_EXPOSED,
        )
    addresses = frozenset(route.path or "" for route in iter_route_contexts(app.routes))
    app.add_middleware(MalformedRequestMiddleware)
    app.add_middleware(RequestContextMiddleware, metrics=request_metrics, addresses=addresses)
    app.add_middleware(SecurityHeadersMiddleware)
    return app
