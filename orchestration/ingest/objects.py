"""Objects in the bucket and local files: their versions, and errors in words for operators."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError
from urllib3.exceptions import HTTPError

from orchestration.ingest.tables import is_hidden

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        GetObjectOutputTypeDef,
        ListObjectsV2RequestTypeDef,
        ListObjectVersionsRequestTypeDef,
    )

# Instead of a bucket's name, for a file of this machine.
FILES = "file://"


class BucketUnavailable(RuntimeError):
    """The bucket cannot be listed or read: the server does not respond, or returns an error."""


class BucketRefused(BucketUnavailable):
    """The bucket does not exist or access is denied: retries do not help."""


class ObjectChanged(RuntimeError):
    """The object was overwritten or deleted after it had been listed; this version can no longer be read."""


class ObjectUnreadable(RuntimeError):
    """The object exists and cannot be read, not even by a retry; the message says what to do."""


class ObjectDamaged(ObjectUnreadable):
    """The object's bytes contradict its name or the server: broken gzip, a checksum that does not match."""


@dataclass(frozen=True)
class ObjectVersion:
    """One version of one object, as listed.

    Attributes:
        bucket: its bucket, or FILES.
        key: its key, or the path of a file.
        version: its VersionId; without one its ETag; without either, its date and size.
        etag: its ETag, or its date and size.
        size: in bytes.
        last_modified: in UTC.
        is_weak: whether its version is only its date and size, which change when the same bytes are stored again.
    """

    bucket: str
    key: str
    version: str
    etag: str
    size: int
    last_modified: datetime
    is_weak: bool = False

    @property
    def is_file(self) -> bool:
        """Whether it is a local file."""
        return self.bucket == FILES

    @property
    def has_id(self) -> bool:
        """Whether its version is a VersionId, which identifies its bytes and can be read as long as it is kept."""
        return self.version != self.etag

    @property
    def is_workbook(self) -> bool:
        """Whether its name says that it is a workbook."""
        return self.key.lower().endswith(".xlsx")

    @property
    def is_packed(self) -> bool:
        """Whether it is compressed, so that the size of its text is known only at its end."""
        return self.is_workbook or self.key.lower().endswith(".gz")

    def __str__(self) -> str:
        return self.key if self.is_file else f"s3://{self.bucket}/{self.key}"


def is_transient(error: BaseException) -> bool:
    """Return whether a retry can help."""
    return isinstance(error, BucketUnavailable) and not isinstance(error, BucketRefused)


@dataclass(frozen=True)
class ListingCursor:
    """Where a listing continues: after a key; in a bucket with versioning, after a version of it."""

    key: str
    version: str = ""


@dataclass(frozen=True)
class Page:
    """Some of a bucket's objects in the order of their keys, and where the next page begins; None after the last."""

    objects: list[ObjectVersion]
    next: ListingCursor | None


def is_versioned(client: "S3Client", bucket: str) -> bool:
    """Return whether a bucket keeps versions of its objects.

    Raises:
        BucketUnavailable: the request failed.
    """
    with translate_s3_errors(f"bucket {bucket!r}"):
        return client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"


def list_pages(
    client: "S3Client",
    bucket: str,
    after: ListingCursor | None = None,
    prefix: str = "",
    versioned: bool | None = None,
) -> Iterator[Page]:
    """Yield the current version of every object of a bucket, up to a thousand at a time.

    Hidden and temporary files are left out.

    Args:
        client: a boto3 S3 client.
        bucket: its name.
        after: where an earlier listing ended.
        prefix: of the keys to list.
        versioned: what is_versioned returns, if the caller knows.

    Raises:
        BucketUnavailable: the listing failed.
    """
    # Decided once, before the first page: if it changed halfway, objects could be missed.
    if versioned is None:
        versioned = is_versioned(client, bucket)
    page = _page_of_versions if versioned else _page_of_objects
    with translate_s3_errors(f"bucket {bucket!r}"):
        while True:
            found = page(client, bucket, after, prefix)
            yield replace(found, objects=[item for item in found.objects if not is_hidden(item.key)])
            if found.next is None:
                return
            after = found.next


def list_objects(client: "S3Client", bucket: str, settle_seconds: float = 0) -> Iterator[ObjectVersion]:
    """Yield the current version of every stable object of a bucket, in the order of the keys.

    Args:
        client: a boto3 S3 client.
        bucket: its name.
        settle_seconds: objects that changed less than this long ago are left out; 0 includes all.

    Raises:
        BucketUnavailable: the listing failed.
    """
    for page in list_pages(client, bucket):
        yield from (item for item in page.objects if is_stable(item, settle_seconds))


def listed_version(client: "S3Client", bucket: str, key: str) -> ObjectVersion | None:
    """Return the current version of one object according to a listing; None if it does not exist.

    Args:
        client: a boto3 S3 client.
        bucket: its name.
        key: the object's.

    Raises:
        BucketUnavailable: the listing failed.
    """
    # The key itself is the first of those that begin with it.
    return _of_key(key, next(list_pages(client, bucket, prefix=key)))


def _of_key(key: str, page: Page) -> ObjectVersion | None:
    return next((item for item in page.objects if item.key == key), None)


def is_stable(item: ObjectVersion, settle_seconds: float) -> bool:
    """Return whether an object changed more than `settle_seconds` ago; with 0, every object is stable.

    For folders that are served as a bucket, where a file is listed while it is still being copied. A date in the future
    says nothing about that: such a file counts as stable here, and has to be listed twice.
    """
    return not settle_seconds or abs(time.time() - item.last_modified.timestamp()) >= settle_seconds


def is_dated_ahead(item: ObjectVersion, settle_seconds: float) -> bool:
    """Return whether an object's date is in the future: only a second listing shows whether it still changes."""
    return bool(settle_seconds) and item.last_modified.timestamp() >= time.time() + settle_seconds


def _page_of_objects(client: "S3Client", bucket: str, after: ListingCursor | None, prefix: str) -> Page:
    asked: ListObjectsV2RequestTypeDef = {"Bucket": bucket}
    if prefix:
        asked["Prefix"] = prefix
    if after:
        asked["StartAfter"] = after.key
    page = client.list_objects_v2(**asked)
    objects = [
        _object_version(bucket, item["Key"], strip_quotes(item["ETag"]), item["Size"], item["LastModified"])
        for item in page.get("Contents", [])
    ]
    return Page(objects, ListingCursor(objects[-1].key) if objects and page.get("IsTruncated") else None)


def _page_of_versions(client: "S3Client", bucket: str, after: ListingCursor | None, prefix: str) -> Page:
    asked: ListObjectVersionsRequestTypeDef = {"Bucket": bucket}
    if prefix:
        asked["Prefix"] = prefix
    if after:
        asked["KeyMarker"] = after.key
    # A listing from before versioning was switched on has left none, and S3 refuses an empty one.
    if after and after.version:
        asked["VersionIdMarker"] = after.version
    page = client.list_object_versions(**asked)
    objects = [
        _object_version(
            bucket, item["Key"], strip_quotes(item["ETag"]), item["Size"], item["LastModified"], item["VersionId"]
        )
        for item in page.get("Versions", [])
        if item["IsLatest"]
    ]
    more = page.get("IsTruncated")
    return Page(objects, ListingCursor(page["NextKeyMarker"], page.get("NextVersionIdMarker", "")) if more else None)


def _object_version(
    bucket: str, key: str, etag: str, size: int, last_modified: datetime, version_id: str = "null"
) -> ObjectVersion:
    last_modified = last_modified.astimezone(UTC)
    if not etag:
        version = f"{round(last_modified.timestamp() * 1000):x}-{size:x}"
        return ObjectVersion(bucket, key, version, version, size, last_modified, is_weak=True)
    # An object from before versioning was switched on has the VersionId "null", whatever its bytes.
    return ObjectVersion(bucket, key, etag if version_id == "null" else version_id, etag, size, last_modified)


def strip_quotes(etag: str) -> str:
    """Return an ETag without its quotes, which some servers leave out of listings."""
    return etag.strip('"')


def current_version(client: "S3Client", bucket: str, key: str) -> ObjectVersion:
    """Return the current version of an object.

    Args:
        client: a boto3 S3 client.
        bucket: its name.
        key: the object's.

    Raises:
        ObjectChanged: there is no such object.
        BucketUnavailable: the server refused or went away.
    """
    with translate_s3_errors(f"s3://{bucket}/{key}", is_object=True):
        answer = client.head_object(Bucket=bucket, Key=key)
        etag = strip_quotes(answer.get("ETag", ""))
        if etag:
            version_id = answer.get("VersionId", "null")
            return _object_version(bucket, key, etag, answer["ContentLength"], answer["LastModified"], version_id)
    # HEAD has no fractions of a second, a listing has.
    found = listed_version(client, bucket, key)
    if found is None:
        raise _changed(f"s3://{bucket}/{key}")
    return found


def is_current(client: "S3Client", item: ObjectVersion) -> bool:
    """Return whether an object still has the version that was listed.

    Raises:
        ObjectChanged: there is no such object.
        BucketUnavailable: the server refused or went away.
    """
    if not item.is_weak:
        return current_version(client, item.bucket, item.key).etag == item.etag
    # Only a listing has fractions of a second. This is one request instead of three: HEAD, versioning, listing.
    with translate_s3_errors(str(item), is_object=True):
        now = _of_key(item.key, _page_of_objects(client, item.bucket, None, item.key))
    if now is None:
        raise _changed(str(item))
    return now.etag == item.etag


def is_answer_about(item: ObjectVersion, answer: "GetObjectOutputTypeDef") -> bool:
    """Return whether a response to GET is about this version of the object, as far as it shows.

    A server without ETags may give the second in which an upload began as the date of GET, and the one in which it
    ended as that of a listing. So dates are compared between listings only, by `is_current`.
    """
    if not item.is_weak:
        return strip_quotes(answer["ETag"]) == item.etag
    size = answer["ContentRange"].rpartition("/")[2] if "ContentRange" in answer else answer["ContentLength"]
    return int(size) == item.size


def file_version(path: Path) -> ObjectVersion:
    """Return the current version of a file: its size and modification time in nanoseconds.

    Raises:
        ObjectChanged: there is no such file, or it cannot be read.
    """
    try:
        found = path.resolve().stat()
    except OSError as error:
        raise ObjectChanged(f"{path}: {error.strerror}") from None
    version = f"{found.st_mtime_ns:x}-{found.st_size:x}"
    changed = datetime.fromtimestamp(found.st_mtime, UTC)
    return ObjectVersion(FILES, str(path.resolve()), version, version, found.st_size, changed, is_weak=True)


@contextmanager
def translate_s3_errors(what: str, setting: str = "S3_BUCKET", *, is_object: bool = False) -> Iterator[None]:
    """Translate boto3's errors into this module's, in words for an operator.

    Args:
        what: the object or bucket of the request.
        setting: the variable that names the bucket.
        is_object: whether it is one object of a bucket that can be listed: then a refusal is about that object.
    """
    try:
        yield
    except ClientError as error:
        raise _explanation(what, setting, is_object, error) from None
    except FlexibleChecksumError as error:
        raise ObjectDamaged(f"{what} arrived with other bytes than the server has: {error}") from None
    except (BotoCoreError, HTTPError) as error:
        raise BucketUnavailable(f"{what}: {error}") from None


# The response to HEAD has no code, only the status.
CHANGED = {"NoSuchKey", "NoSuchVersion", "PreconditionFailed", "InvalidRange", "404", "412", "416"}
DENIED = {"AccessDenied", "AllAccessDisabled", "403"}
WRONG_CREDENTIALS = {
    "SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidToken", "ExpiredToken", "RequestTimeTooSkewed",
}  # fmt: skip
# Reported like an error of the client, and gone a moment later.
BUSY = {"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict", "TooManyRequests"}
BUSY_STATUSES = {408, 409, 425, 429}
LOAD_AFTERWARDS = "then load it with the job reload_object"


def _explanation(what: str, setting: str, is_object: bool, error: ClientError) -> RuntimeError:
    details = error.response.get("Error", {})
    code = str(details.get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return BucketRefused(f"{what} does not exist: create it, or name another in {setting}")
    if code in CHANGED:
        return _changed(what)
    if code in WRONG_CREDENTIALS or (code in DENIED and not is_object):
        return BucketRefused(f"{what}: access denied, check the AWS credentials ({error})")
    if not is_object or code in BUSY or "Throttl" in code or status in BUSY_STATUSES or not 400 <= status < 500:
        return BucketUnavailable(f"{what}: {error}")
    if code == "InvalidObjectState":
        storage_class = details.get("StorageClass", "an archive")
        return ObjectUnreadable(f"{what} is archived (storage class {storage_class}): restore it, {LOAD_AFTERWARDS}")
    said = f"{code}: {details.get('Message', status)}"
    if code.startswith("KMS."):
        return ObjectUnreadable(f"{what} cannot be decrypted: see to its KMS key, {LOAD_AFTERWARDS} ({said})")
    if code in DENIED:
        return ObjectUnreadable(
            f"{what} may be listed, but not read: it takes s3:GetObject (s3:GetObjectVersion in a bucket with "
            "versions), kms:Decrypt where a KMS key encrypts it, and the consent of its owner where that is another "
            f"account; grant what is missing, {LOAD_AFTERWARDS} ({said})"
        )
    return ObjectUnreadable(f"{what} cannot be read ({said})")


def _changed(what: str) -> RuntimeError:
    if "\ufffd" in what:
        # Its key is not UTF-8: it is listed with replacement characters, and not found by that name.
        return ObjectUnreadable(f"{what} cannot be asked for by its name, which is not UTF-8: rename it")
    return ObjectChanged(f"{what} was overwritten or deleted while it was being read")
