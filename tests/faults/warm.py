"""Modules that the fork server imports once for all loaders."""

import boto3

from orchestration.ingest import loader

# botocore reads its description of S3 from files; the default session keeps it for the clients to come.
boto3.client("s3", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")  # noqa: S106

__all__ = ["loader"]
