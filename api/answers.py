"""Answers that are kept ready in memory: what one is, how long it is fresh, and how a request is given one.

What an answer says, and where it comes from, is the business of those who compute it.
"""

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

import psycopg
from cachetools import LRUCache
from fastapi import Depends, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.conditions import Validators

Key = tuple[str, ...]
# What a request for an answer looks like before anything of it is understood.
Asked = tuple[str, bytes, bytes]

# Asking each time costs little, here and there, and nobody goes on with a number that has changed.
CACHING = {"Cache-Control": "no-cache", "Vary": "Accept"}
# These are about the body, which a 304 does not have.
OF_THE_BODY = (b"content-length", b"content-type")
# What Python needs for an answer besides its bytes, about.
OVERHEAD_BYTES = 1000
# Longer questions than this are understood anew each time, so that a number of them has a size.
LONGEST_QUESTION = 2000


class Answer(Response):
    """A whole answer that can be given any number of times; to those who have it already, as a 304.

    Without validators it cannot be told from a later one, and is given once.
    """

    def __init__(
        self, body: str, media_type: str, validators: Validators | None, headers: Mapping[str, str] | None = None
    ) -> None:
        known_by = validators.headers if validators else {}
        super().__init__(body, headers=CACHING | known_by | dict(headers or {}), media_type=media_type)
        self.validators = validators
        self.born = time.monotonic()
        # How many changes had been heard of when it was computed.
        self.changes = 0

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return len(self.body) + sum(len(name) + len(value) for name, value in self.raw_headers) + OVERHEAD_BYTES

    def with_age(self) -> "Answer":
        """Return the same answer, saying how many seconds ago it was right."""
        aged = copy.copy(self)
        aged.raw_headers = [*self.raw_headers, (b"age", b"%d" % (time.monotonic() - self.born))]
        return aged

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the answer."""
        status, headers, body = 200, self.raw_headers, self.body
        if self.validators and self.validators.are_known_to(scope["headers"]):
            status, headers, body = 304, [header for header in headers if header[0] not in OF_THE_BODY], b""
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Answers:
    """The answers of one process, the least recently used of them dropped when they take too much memory.

    An answer is fresh until a change of what it is made of is heard of, as long as somebody listens for that, and not
    for longer than a time limit, should a change go unheard. One that is not fresh is good for when there is no other.
    """

    def __init__(self, max_bytes: int, max_seconds: float) -> None:
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._answers: LRUCache[Key, Answer] = LRUCache(max_bytes, lambda answer: answer.size)
        # The same question can be put in many ways; which one it is, is found out once for each of them.
        self._questions: LRUCache[Asked, tuple[Key, object]] = LRUCache(max_bytes // LONGEST_QUESTION // 4)
        # What is being computed, and since which change: a build makes everybody ask for the same at once.
        self._under_way: dict[tuple[Key, int], asyncio.Task[Answer]] = {}
        self._is_listening = False
        self._changes = 0

    def listen(self) -> None:
        """Trust, from now on, that changes are heard of; what was computed before may have missed some."""
        self._is_listening = True
        self.hear_of_change()

    def stop_listening(self) -> None:
        """Take no answer for fresh any more."""
        self._is_listening = False

    def hear_of_change(self) -> None:
        """Take none for fresh that was computed, or has begun to be computed, before now."""
        self._changes += 1

    @property
    def changes(self) -> int:
        """How many changes were heard of so far."""
        return self._changes

    def is_fresh(self, born: float, changes: int) -> bool:
        """Tell whether what was computed then, after so many changes, is right as far as anybody can know."""
        return self._is_listening and changes == self._changes and time.monotonic() - born < self._max_seconds

    def find(self, scope: Scope) -> Answer | None:
        """Return a fresh answer to a request that was put in these very bytes before, and note its route."""
        known = self._questions.get(_asked(scope))
        if known is None:
            return None
        key, scope["route"] = known
        answer = self._answers.get(key)
        return answer if answer and self.is_fresh(answer.born, answer.changes) else None

    async def give(self, request: Request, key: Key, compute: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return a fresh answer, computed if need be, or an old one with its age while Postgres is away.

        Raises:
            psycopg.OperationalError: Postgres is away, and there is no answer from before.
        """
        answer = self._answers.get(key)
        if answer is None or not self.is_fresh(answer.born, answer.changes):
            answer = await self._compute(key, answer, compute)
        asked = _asked(request.scope)
        if sum(map(len, asked)) <= LONGEST_QUESTION:
            self._questions[asked] = key, request.scope["route"]
        return answer

    async def _compute(self, key: Key, old: Answer | None, compute: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the answer that is computed, by one of all who ask for it since the last change, or an old one."""
        work = key, self._changes
        task = self._under_way.get(work)
        if task is None:
            task = self._under_way[work] = asyncio.create_task(self._computed(*work, compute))
            task.add_done_callback(lambda _: self._under_way.pop(work))
        try:
            # The others go on waiting when the one who began it has left.
            return await asyncio.shield(task)
        except psycopg.OperationalError:
            if old is None:
                raise
            return old.with_age()

    async def _computed(self, key: Key, changes: int, compute: Callable[[], Awaitable[Answer]]) -> Answer:
        answer = await compute()
        # What has changed in the meantime may not be in it.
        if changes == self._changes and answer.validators and answer.size <= self._max_bytes:
            answer.changes = changes
            self._answers[key] = answer
        return answer


class AnswersFirst:
    """Middleware that gives fresh answers before anything of a request is taken apart."""

    def __init__(self, app: ASGIApp, answers: Answers) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request from memory, or pass it on."""
        answer = self._answers.find(scope) if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else None
        await (answer or self._app)(scope, receive, send)


async def _of_request(request: Request) -> Answers:
    answers: Answers = request.app.state.answers
    return answers


AnswersOfRequest = Annotated[Answers, Depends(_of_request)]


def _asked(scope: Scope) -> Asked:
    """Return everything of a request that an answer can depend on: which host was asked is nothing of that."""
    accept = b""
    for name, value in scope["headers"]:
        if name == b"accept":
            accept += b"," + value
    return scope["path"], scope["query_string"], accept
