"""Finds the objects that a run has to load: those passed to it, or else the bucket's, listed once for all tables."""

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from contracts import Table
from orchestration.database import Connection
from orchestration.ingest import ledger
from orchestration.ingest.objects import ObjectVersion, is_dated_ahead, list_objects, listed_version
from orchestration.ingest.tables import table_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

VERSIONS_PER_QUERY = 1000


def pending_of(
    connection: Connection, listed: Sequence[tuple[Table, ObjectVersion]]
) -> list[tuple[Table, ObjectVersion]]:
    """Return the pending ones of some listed objects, each with its table."""
    pending = set(ledger.pending(connection, [item for _, item in listed]))
    # Nearly always none is pending, and looking up an object version in a set takes as long as listing it.
    return [(table, item) for table, item in listed if item in pending] if pending else []


def list_pending(
    connection: Connection, client: "S3Client", bucket: str, settle_seconds: float = 0
) -> Iterator[tuple[Table, ObjectVersion]]:
    """Yield the pending objects of a bucket that belong to a table, in the order of their keys.

    Args:
        connection: of a role that reads schema raw.
        client: a boto3 S3 client.
        bucket: its name.
        settle_seconds: leave out objects that changed less than this long ago, see list_objects.

    Raises:
        BucketUnavailable: the bucket cannot be listed.
    """
    listed = list_objects(client, bucket, settle_seconds)
    while page := list(itertools.islice(listed, VERSIONS_PER_QUERY)):
        yield from pending_of(connection, [(table, item) for item in page if (table := table_of(item.key)) is not None])


class Candidates:
    """The objects that a run starts with.

    Args:
        client: a boto3 S3 client.
        bucket: its name.
        settle_seconds: leave out objects that changed less than this long ago, see list_objects.
        objects: each with its table; None lists the bucket on the first call, for all tables.
    """

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        settle_seconds: float = 0,
        objects: Sequence[tuple[Table, ObjectVersion]] | None = None,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._settle_seconds = settle_seconds
        self._objects = objects

    def pending(self, connection: Connection, table: Table) -> list[ObjectVersion]:
        """Return the objects of a table that are pending now, oldest first.

        Objects with a date in the future are included only if they are unchanged after the settle time.

        Raises:
            BucketUnavailable: the bucket cannot be listed.
        """
        if self._objects is None:
            self._objects = list(list_pending(connection, self._client, self._bucket, self._settle_seconds))
        items = [item for owner, item in self._objects if owner.name == table.name]
        # Checked again, because another loader may have loaded it since.
        pages = (items[first : first + VERSIONS_PER_QUERY] for first in range(0, len(items), VERSIONS_PER_QUERY))
        pending = [item for page in pages for item in ledger.pending(connection, page)]
        return sorted(self._without_changing(pending), key=lambda item: (item.last_modified, item.key))

    def _without_changing(self, items: list[ObjectVersion]) -> list[ObjectVersion]:
        ahead = {item for item in items if is_dated_ahead(item, self._settle_seconds)}
        if ahead:
            time.sleep(self._settle_seconds)
        return [
            item for item in items if item not in ahead or listed_version(self._client, self._bucket, item.key) == item
        ]
