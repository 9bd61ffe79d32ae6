"""Objects in the bucket: which versions there are, and the bytes of one version, pinned to it."""

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef

BLOCK_BYTES = 1 << 20
GZIP_FRAME = zlib.MAX_WBITS | 16


class BucketUnavailable(RuntimeError):
    """The bucket cannot be listed or read: it does not exist, access is denied, the server does not answer."""


class ObjectChanged(RuntimeError):
    """The object was overwritten or deleted after it had been listed; this version can no longer be read."""


class ObjectDamaged(RuntimeError):
    """The object's bytes are not what its name promises (a broken gzip member)."""


@dataclass(frozen=True)
class ObjectVersion:
    """One version of one object, as listed. Sizes in bytes; `version` is its VersionId, without one its ETag."""

    bucket: str
    key: str
    version: str
    etag: str
    size: int
    last_modified: datetime

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def list_objects(client: "S3Client", bucket: str, settle_seconds: float = 0) -> Iterator[ObjectVersion]:
    """Yield the current version of every object of a bucket, page by page, in the order of the keys.

    Args:
        client: a boto3 S3 client.
        bucket: its name.
        settle_seconds: leave out objects that changed less than this long ago. For folders that are served as a
            bucket, where a file is listed while it is still being copied.

    Raises:
        BucketUnavailable: the listing failed.
    """
    with _explained(f"bucket {bucket!r}"):
        # Decided once, before the first page: an object must not slip in half-way through.
        versioned = client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
        settled_before = time.time() - settle_seconds
        listed = _listed_versions(client, bucket) if versioned else _listed_objects(client, bucket)
        for item in listed:
            if not settle_seconds or item.last_modified.timestamp() <= settled_before:
                yield item


def _listed_objects(client: "S3Client", bucket: str) -> Iterator[ObjectVersion]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", []):
            etag = _bare(item["ETag"])
            yield ObjectVersion(bucket, item["Key"], etag, etag, item["Size"], item["LastModified"].astimezone(UTC))


def _listed_versions(client: "S3Client", bucket: str) -> Iterator[ObjectVersion]:
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for item in page.get("Versions", []):
            if item["IsLatest"]:
                etag = _bare(item["ETag"])
                # An object from before versioning was switched on has the VersionId "null", whatever its bytes.
                version = etag if item["VersionId"] == "null" else item["VersionId"]
                yield ObjectVersion(
                    bucket, item["Key"], version, etag, item["Size"], item["LastModified"].astimezone(UTC)
                )


def _bare(etag: str) -> str:
    """Return an ETag without its quotes, which some servers leave out of listings."""
    return etag.strip('"')


def read(client: "S3Client", item: ObjectVersion, byte_from: int = 0) -> Iterator[bytes]:
    """Yield the text of an object version in blocks of about a megabyte, unpacked when its key ends in .gz.

    Args:
        client: a boto3 S3 client.
        item: the version to read; bytes of another version are never yielded.
        byte_from: offset in the (unpacked) text of the first byte to yield.

    Raises:
        BucketUnavailable: the server refused or went away.
        ObjectChanged: this version is gone.
        ObjectDamaged: the gzip stream is broken.
    """
    if item.key.lower().endswith(".gz"):
        yield from _skip(_unpacked(item, _stored_bytes(client, item, 0)), byte_from)
    elif byte_from < item.size:
        yield from _stored_bytes(client, item, byte_from)


def _stored_bytes(client: "S3Client", item: ObjectVersion, byte_from: int) -> Iterator[bytes]:
    request: GetObjectRequestTypeDef = {"Bucket": item.bucket, "Key": item.key}
    if item.version != item.etag:
        request["VersionId"] = item.version
    else:
        request["IfMatch"] = f'"{item.etag}"'
    if byte_from:
        request["Range"] = f"bytes={byte_from}-"
    with _explained(str(item)):
        answer = client.get_object(**request)
        # Not every server heeds If-Match.
        if _bare(answer["ETag"]) != item.etag:
            raise ObjectChanged(f"{item} was overwritten while it was being read")
        yield from answer["Body"].iter_chunks(BLOCK_BYTES)


def _unpacked(item: ObjectVersion, packed: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the text of a gzip file, of one member or many, never more than a block at a time."""
    position = 0
    member = zlib.decompressobj(GZIP_FRAME)
    for block in packed:
        rest = block
        while rest:
            if member.eof:
                # Zeros after a member are padding, as tapes and some tools leave it.
                if not (begun := rest.lstrip(b"\0")):
                    position += len(rest)
                    break
                position += len(rest) - len(begun)
                member, rest = zlib.decompressobj(GZIP_FRAME), begun
            try:
                text = member.decompress(rest, BLOCK_BYTES)
            except zlib.error as error:
                raise ObjectDamaged(f"{item} is not valid gzip near byte {position}: {error}") from None
            left = member.unused_data if member.eof else member.unconsumed_tail
            position += len(rest) - len(left)
            rest = left
            if text:
                yield text
    while not member.eof and (text := member.decompress(member.unconsumed_tail, BLOCK_BYTES)):
        yield text
    if not member.eof:
        raise ObjectDamaged(f"{item} is cut off: its gzip stream does not end by byte {position}")


def _skip(blocks: Iterator[bytes], count: int) -> Iterator[bytes]:
    for block in blocks:
        if count < len(block):
            yield block[count:] if count else block
        count = max(0, count - len(block))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn what boto3 raises about `what` into one of this module's errors, in words for an operator."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        explain = _EXPLANATIONS.get(code)
        raise (explain(what, error) if explain else BucketUnavailable(f"{what}: {error}")) from None
    except BotoCoreError as error:
        raise BucketUnavailable(f"{what}: {error}") from None


def _missing_bucket(what: str, _error: ClientError) -> RuntimeError:
    return BucketUnavailable(f"{what} does not exist: create it, or name another in S3_BUCKET")


def _denied(what: str, error: ClientError) -> RuntimeError:
    return BucketUnavailable(f"{what}: access denied, check the AWS credentials ({error})")


def _changed(what: str, _error: ClientError) -> RuntimeError:
    return ObjectChanged(f"{what} was overwritten or deleted while it was being read")


_EXPLANATIONS: dict[str, Callable[[str, ClientError], RuntimeError]] = {
    "NoSuchBucket": _missing_bucket,
    "AccessDenied": _denied,
    "SignatureDoesNotMatch": _denied,
    "InvalidAccessKeyId": _denied,
    "403": _denied,
    "NoSuchKey": _changed,
    "NoSuchVersion": _changed,
    "PreconditionFailed": _changed,
    "412": _changed,
    "416": _changed,
    "InvalidRange": _changed,
}
