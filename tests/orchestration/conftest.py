"""A test's bucket as Dagster's resources see it."""

from dagster_aws.s3 import S3Resource

from orchestration.defs.resources import Landing
from tests.conftest import Bucket


def landing_of(bucket: Bucket) -> tuple[S3Resource, Landing]:
    """Return the resources s3 and landing for a bucket."""
    credentials = bucket.client._request_signer._credentials  # type: ignore[attr-defined]
    s3 = S3Resource(
        endpoint_url=bucket.endpoint,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        region_name="us-east-1",
    )
    return s3, Landing(s3=s3, bucket=bucket.name, settle_seconds=0)
