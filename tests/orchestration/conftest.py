"""A test's bucket as Dagster's resources see it."""

from typing import TYPE_CHECKING

from orchestration.defs.resources import Landing
from tests.conftest import Bucket

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_clients: dict[str | None, "S3Client"] = {}


class TestedLanding(Landing):
    """The resource with a test's own client: its credentials are in no variable. A run makes a copy of it."""

    @property
    def client(self) -> "S3Client":
        return _clients[self.endpoint_url]


def landing_of(bucket: Bucket, name: str = "", **settings: float) -> Landing:
    """Return the resource landing for a bucket, or for another one by that name on the same server."""
    _clients[bucket.endpoint] = bucket.client
    return TestedLanding(endpoint_url=bucket.endpoint, bucket=name or bucket.name, settle_seconds=0, **settings)
