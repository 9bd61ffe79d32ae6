"""Objects in the bucket, and files: which versions there are, and the errors that reaching them can end in."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2RequestTypeDef, ListObjectVersionsRequestTypeDef

# Instead of a bucket's name, for a file of this machine.
FILES = "file://"


class BucketUnavailable(RuntimeError):
    """The bucket cannot be listed or read: the server does not answer, or not with what was asked for."""


class BucketRefused(BucketUnavailable):
    """The bucket does not exist or access is denied: asking again does not help."""


class ObjectChanged(RuntimeError):
    """The object was overwritten or deleted after it had been listed; this version can no longer be read."""


class ObjectDamaged(RuntimeError):
    """The object's bytes are not what its name or the server promises: broken gzip, a checksum that does not fit."""


@dataclass(frozen=True)
class ObjectVersion:
    """One version of one object, as listed. Sizes in bytes; `version` is its VersionId, without one its ETag."""

    bucket: str
    key: str
    version: str
    etag: str
    size: int
    last_modified: datetime

    @property
    def is_file(self) -> bool:
        """Whether it is a file of this machine."""
        return self.bucket == FILES

    def __str__(self) -> str:
        return self.key if self.is_file else f"s3://{self.bucket}/{self.key}"


def is_transient(error: BaseException) -> bool:
    """Return whether it can help to ask the server again."""
    return isinstance(error, BucketUnavailable) and not isinstance(error, BucketRefused)


@dataclass(frozen=True)
class Place:
    """Where a listing goes on: behind a key, in a bucket with versions behind one version of it."""

    key: str
    version: str = ""


@dataclass(frozen=True)
class Page:
    """Some of a bucket's objects, in the order of their keys, and where the next ones begin, None after the last."""

    objects: list[ObjectVersion]
    next: Place | None


def list_pages(client: "S3Client", bucket: str, place: Place | None = None, prefix: str = "") -> Iterator[Page]:
    """Yield the current version of every object of a bucket, a thousand or fewer at a time, from a place on.

    With a prefix those only whose keys begin with it.

    Raises:
        BucketUnavailable: the listing failed.
    """
    with explained(f"bucket {bucket!r}"):
        # Decided once, before the first page: an object must not slip in half-way through.
        versioned = client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
        page = _page_of_versions if versioned else _page_of_objects
        while True:
            found = page(client, bucket, place, prefix)
            yield found
            if found.next is None:
                return
            place = found.next


def list_objects(client: "S3Client", bucket: str, settle_seconds: float = 0) -> Iterator[ObjectVersion]:
    """Yield the current version of every object of a bucket that is settled, in the order of the keys.

    Raises:
        BucketUnavailable: the listing failed.
    """
    for page in list_pages(client, bucket):
        yield from (item for item in page.objects if is_settled(item, settle_seconds))


def listed_version(client: "S3Client", bucket: str, key: str) -> ObjectVersion | None:
    """Return the version of one object that a listing of its bucket has now, None when there is no such object.

    Raises:
        BucketUnavailable: the listing failed.
    """
    # The key itself is the first of those that begin with it.
    page = next(list_pages(client, bucket, prefix=key))
    return next((item for item in page.objects if item.key == key), None)


def is_settled(item: ObjectVersion, settle_seconds: float) -> bool:
    """Return whether an object changed longer than `settle_seconds` ago; 0 asks of none.

    For folders that are served as a bucket, where a file is listed while it is still being copied.
    """
    return not settle_seconds or item.last_modified.timestamp() <= time.time() - settle_seconds


def _page_of_objects(client: "S3Client", bucket: str, place: Place | None, prefix: str) -> Page:
    asked: ListObjectsV2RequestTypeDef = {"Bucket": bucket}
    if prefix:
        asked["Prefix"] = prefix
    if place:
        asked["StartAfter"] = place.key
    page = client.list_objects_v2(**asked)
    objects = []
    for item in page.get("Contents", []):
        etag = bare(item["ETag"])
        objects.append(
            ObjectVersion(bucket, item["Key"], etag, etag, item["Size"], item["LastModified"].astimezone(UTC))
        )
    return Page(objects, Place(objects[-1].key) if objects and page.get("IsTruncated") else None)


def _page_of_versions(client: "S3Client", bucket: str, place: Place | None, prefix: str) -> Page:
    asked: ListObjectVersionsRequestTypeDef = {"Bucket": bucket}
    if prefix:
        asked["Prefix"] = prefix
    if place:
        asked["KeyMarker"] = place.key
    # A listing from before versioning was switched on has left none, and S3 refuses an empty one.
    if place and place.version:
        asked["VersionIdMarker"] = place.version
    page = client.list_object_versions(**asked)
    objects = []
    for item in page.get("Versions", []):
        if item["IsLatest"]:
            etag = bare(item["ETag"])
            # An object from before versioning was switched on has the VersionId "null", whatever its bytes.
            version = etag if item["VersionId"] == "null" else item["VersionId"]
            objects.append(
                ObjectVersion(bucket, item["Key"], version, etag, item["Size"], item["LastModified"].astimezone(UTC))
            )
    more = page.get("IsTruncated")
    return Page(objects, Place(page["NextKeyMarker"], page.get("NextVersionIdMarker", "")) if more else None)


def bare(etag: str) -> str:
    """Return an ETag without its quotes, which some servers leave out of listings."""
    return etag.strip('"')


def current_version(client: "S3Client", bucket: str, key: str) -> ObjectVersion:
    """Return the version that an object has now.

    Raises:
        ObjectChanged: there is no such object.
        BucketUnavailable: the server refused or went away.
    """
    with explained(f"s3://{bucket}/{key}"):
        answer = client.head_object(Bucket=bucket, Key=key)
    etag = bare(answer["ETag"])
    version = answer.get("VersionId", "null")
    return ObjectVersion(
        bucket,
        key,
        etag if version == "null" else version,
        etag,
        answer["ContentLength"],
        answer["LastModified"].astimezone(UTC),
    )


def file_version(path: Path) -> ObjectVersion:
    """Return the version that a file has now, told by its size and the nanosecond of its last change.

    Raises:
        ObjectChanged: there is no such file, or it cannot be read.
    """
    try:
        found = path.resolve().stat()
    except OSError as error:
        raise ObjectChanged(f"{path}: {error.strerror}") from None
    version = f"{found.st_mtime_ns:x}-{found.st_size:x}"
    changed = datetime.fromtimestamp(found.st_mtime, UTC)
    return ObjectVersion(FILES, str(path.resolve()), version, version, found.st_size, changed)


@contextmanager
def explained(what: str, setting: str = "S3_BUCKET") -> Iterator[None]:
    """Turn what boto3 raises about `what` into one of this module's errors, in words for an operator.

    Args:
        what: an object or a bucket.
        setting: the variable that names the bucket.
    """
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchBucket":
            raise BucketRefused(f"{what} does not exist: create it, or name another in {setting}") from None
        explain = _EXPLANATIONS.get(code)
        raise (explain(what, error) if explain else BucketUnavailable(f"{what}: {error}")) from None
    except FlexibleChecksumError as error:
        raise ObjectDamaged(f"{what} arrived with other bytes than the server has: {error}") from None
    except (BotoCoreError, HTTPError) as error:
        raise BucketUnavailable(f"{what}: {error}") from None


def _denied(what: str, error: ClientError) -> RuntimeError:
    return BucketRefused(f"{what}: access denied, check the AWS credentials ({error})")


def _changed(what: str, _error: ClientError) -> RuntimeError:
    return ObjectChanged(f"{what} was overwritten or deleted while it was being read")


_EXPLANATIONS: dict[str, Callable[[str, ClientError], RuntimeError]] = {
    "AccessDenied": _denied,
    "SignatureDoesNotMatch": _denied,
    "InvalidAccessKeyId": _denied,
    "403": _denied,
    "NoSuchKey": _changed,
    "NoSuchVersion": _changed,
    "PreconditionFailed": _changed,
    "404": _changed,
    "412": _changed,
    "416": _changed,
    "InvalidRange": _changed,
}
