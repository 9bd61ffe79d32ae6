"""The SQL that stores a batch of hires."""

import json
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

from pydantic_core import to_json

from api.database import Database

# One statement, and one JSON text: five arrays of text take psycopg and the server twice as long.
STORE_BATCH = """
select outcome, batch_load_id, first_answer::text
from raw.store_batch(
    %(batch)s::json, %(rejections)s::json, %(sender)s, %(key)s, %(request)s, %(answer)s::json
)
"""


class Stored(NamedTuple):
    """How a batch ended in the database; `answer` is the one that the first of the same requests was given."""

    outcome: Literal["stored", "replayed", "in flight", "another request"]
    load_id: int
    answer: str


class Retry(NamedTuple):
    """By what a retry is known: who sends it, with which Idempotency-Key, and a digest of what was sent."""

    sender: str
    key: str | None
    request: bytes


async def store_batch(
    database: Database, batch: Sequence[Any], rejections: Collection[dict[str, Any]], retry: Retry, answer: str
) -> Stored:
    """Store a batch as it was delivered, or find that it is stored already.

    Args:
        database: a connection pool of the role that may add batches.
        batch: the hires as they were sent, at most 1,000.
        rejections: of each rejected record its number, from 1, and why.
        retry: the sender, the Idempotency-Key and the digest by which a repeated request is recognized.
        answer: the response as JSON, which a repeated request gets as well.

    Raises:
        psycopg.OperationalError: the database cannot be reached or takes too long.
    """
    rejected = {rejection["record"] for rejection in rejections}
    hires = [{} if number in rejected else record for number, record in enumerate(batch, 1)] if rejected else batch
    parameters = {
        "batch": to_json(hires).decode(),
        "rejections": json.dumps(rejections),
        "answer": answer,
        **retry._asdict(),
    }
    return Stored(*await database.write(STORE_BATCH, parameters))
