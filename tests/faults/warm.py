"""What the fork server imports before it forks: it pays once for what each loader that is going to die needs."""

import boto3

from orchestration.ingest import loader

# botocore reads its description of S3 from files; the default session keeps it for the clients to come.
boto3.client("s3", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")  # noqa: S106

__all__ = ["loader"]
