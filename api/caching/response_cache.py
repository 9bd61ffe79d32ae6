"""Responses that are kept ready in memory: how long one is fresh, and how a request gets it.

What a response says, and where it comes from, is up to those who compute it.
"""

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Mapping

import psycopg
from cachetools import LRUCache
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from api.caching.conditional_requests import Validators

CacheKey = tuple[str, ...]
Compute = Callable[[], Awaitable["CacheableResponse"]]
# Path, query string and Accept of a request, as they were sent.
RequestKey = tuple[str, bytes, bytes]

# Revalidating each time costs little, here and there, and nobody continues with a number that has changed.
CACHE_HEADERS = {"Cache-Control": "no-cache", "Vary": "Accept"}
# These are about the body, which a 304 does not have.
BODY_HEADERS = (b"content-length", b"content-type")
# What Python needs for a response besides its bytes, about.
OVERHEAD_BYTES = 1000
# The cache key of longer requests is found out each time, so that a number of them has a size.
MAX_REQUEST_KEY_BYTES = 2000


class CacheableResponse(Response):
    """A whole response that can be sent any number of times; to those who have it already, as a 304.

    Without validators it cannot be distinguished from a later one, and is sent once.
    """

    def __init__(
        self, body: str, media_type: str, validators: Validators | None, headers: Mapping[str, str] | None = None
    ) -> None:
        validating = validators.headers if validators else {}
        super().__init__(body, headers=CACHE_HEADERS | validating | dict(headers or {}), media_type=media_type)
        self.validators = validators
        self.computed_at = time.monotonic()
        # How often the cache had been invalidated when it was computed.
        self.generation = 0

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return len(self.body) + sum(len(name) + len(value) for name, value in self.raw_headers) + OVERHEAD_BYTES

    def with_age(self) -> "CacheableResponse":
        """Return the same response, saying how many seconds ago it was right."""
        aged = copy.copy(self)
        aged.raw_headers = [*self.raw_headers, (b"age", b"%d" % (time.monotonic() - self.computed_at))]
        return aged

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the response."""
        status, headers, body = 200, self.raw_headers, self.body
        if self.validators and self.validators.are_current(scope["headers"]):
            status, headers, body = 304, [header for header in headers if header[0] not in BODY_HEADERS], b""
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class ResponseCache:
    """The responses of one process; the least recently used are dropped when they take too much memory.

    A response is fresh until the cache is invalidated, as long as changes are listened for, and not for longer than a
    time limit, should a notification be lost. A stale one is good for when there is no other.
    """

    def __init__(self, max_bytes: int, max_seconds: float) -> None:
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._responses: LRUCache[CacheKey, CacheableResponse] = LRUCache(max_bytes, lambda response: response.size)
        # The same can be asked for in many ways; the cache key and the route of each are found out once.
        self._cache_keys: LRUCache[RequestKey, tuple[CacheKey, object]] = LRUCache(
            max_bytes // MAX_REQUEST_KEY_BYTES // 4
        )
        # What is being computed, by generation: a build makes everybody ask for the same at once.
        self._in_flight: dict[tuple[CacheKey, int], asyncio.Task[CacheableResponse]] = {}
        self._is_listening = False
        self._generation = 0

    def listen(self) -> None:
        """Rely, from now on, on notifications of changes; what was computed before may have missed some."""
        self._is_listening = True
        self.invalidate()

    def stop_listening(self) -> None:
        """Take no response for fresh until `listen` is called again."""
        self._is_listening = False

    def invalidate(self) -> None:
        """Take none for fresh that was computed, or whose computation began, before now."""
        self._generation += 1

    @property
    def generation(self) -> int:
        """How often the cache has been invalidated so far."""
        return self._generation

    def is_fresh(self, computed_at: float, generation: int) -> bool:
        """Return whether what was computed at a time of the monotonic clock, in a generation, still holds."""
        return (
            self._is_listening and generation == self._generation and time.monotonic() - computed_at < self._max_seconds
        )

    def lookup(self, scope: Scope) -> CacheableResponse | None:
        """Return a fresh response to a request that came in these very bytes before, and note its route."""
        known = self._cache_keys.get(_request_key(scope))
        if known is None:
            return None
        key, scope["route"] = known
        response = self._responses.get(key)
        return response if response and self.is_fresh(response.computed_at, response.generation) else None

    async def get_or_compute(self, request: Request, key: CacheKey, compute: Compute) -> CacheableResponse:
        """Return a fresh response, computed if need be, or a stale one with its age while Postgres is away.

        Args:
            request: the one to respond to; `lookup` finds the response when the same comes again.
            key: what is asked for, however that is spelled.
            compute: makes the response; of all who wait for the same, one calls it.

        Raises:
            psycopg.OperationalError: Postgres is away, and there is no stale response.
        """
        response = self._responses.get(key)
        if response is None or not self.is_fresh(response.computed_at, response.generation):
            response = await self._share(key, response, compute)
        request_key = _request_key(request.scope)
        if sum(map(len, request_key)) <= MAX_REQUEST_KEY_BYTES:
            self._cache_keys[request_key] = key, request.scope["route"]
        return response

    async def _share(self, key: CacheKey, stale: CacheableResponse | None, compute: Compute) -> CacheableResponse:
        """Return the response that is computed once for all who ask since the last invalidation, or a stale one."""
        work = key, self._generation
        task = self._in_flight.get(work)
        if task is None:
            task = self._in_flight[work] = asyncio.create_task(self._compute(*work, compute))
            task.add_done_callback(lambda _: self._in_flight.pop(work))
        try:
            # The others keep waiting when the one who began it has left.
            return await asyncio.shield(task)
        except psycopg.OperationalError:
            if stale is None:
                raise
            return stale.with_age()

    async def _compute(self, key: CacheKey, generation: int, compute: Compute) -> CacheableResponse:
        response = await compute()
        # What has changed in the meantime may not be in it.
        if generation == self._generation and response.validators and response.size <= self._max_bytes:
            response.generation = generation
            self._responses[key] = response
        return response


def _request_key(scope: Scope) -> RequestKey:
    """Return everything of a request that a response can depend on, which its host is no part of."""
    accept = b""
    for name, value in scope["headers"]:
        if name == b"accept":
            accept += b"," + value
    return scope["path"], scope["query_string"], accept
