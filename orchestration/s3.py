"""The S3 client of orchestration, made here and nowhere else."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@cache
def s3_client(endpoint_url: str | None) -> "S3Client":
    """Return this process's client of a server: one for each, since making it takes a tenth of a second and more.

    Credentials and region are boto3's own settings.

    Args:
        endpoint_url: for anything that is not AWS.
    """
    # Half a second, which what touches only files or only Postgres does without.
    import boto3

    return boto3.client("s3", endpoint_url=endpoint_url)
