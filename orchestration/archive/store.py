"""The bucket of exports: uploads and downloads files with their digests, and lists exports."""

import base64
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedRandom
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from orchestration.archive.manifest import File, Manifest
from orchestration.ingest.objects import ObjectChanged, ObjectDamaged, is_transient, translate_s3_errors
from orchestration.ingest.retry import retry_transient

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "raw/"
MANIFEST = "manifest.json"
GIVE_UP_SECONDS = 120.0
MAX_NAMED = 5
SETTING = "S3_ARCHIVE_BUCKET"
ADVICE = "nothing was changed, take another export"

Result = TypeVar("Result")


class ArchiveRefused(RuntimeError):
    """An export does not exist, is damaged, or does not fit the database."""


class FileMissing(ArchiveRefused):
    """A file that is not in the bucket."""


@dataclass(frozen=True)
class Store:
    """The bucket that contains exports.

    Args:
        client: of its server.
        bucket: its name.
        give_up_seconds: how long to retry while the server is down.
    """

    client: "S3Client"
    bucket: str
    give_up_seconds: float = GIVE_UP_SECONDS

    def address(self, export: str, name: str = "") -> str:
        """Return the address of an export, or of a file of it."""
        return f"s3://{self.bucket}/{PREFIX}{export}/{name}"

    def put(self, export: str, name: str, rows: int, content: BufferedRandom) -> File:
        """Upload a file of an export atomically, in a single request.

        Args:
            export: its id.
            name: of the file in it.
            rows: how many the file has.
            content: the file, which is read from its beginning.

        Returns:
            The file's entry in the manifest.

        Raises:
            BucketUnavailable: the server refused, or stayed down.
        """
        size = content.seek(0, 2)
        content.seek(0)
        digest = hashlib.file_digest(content, "sha256")

        def upload() -> None:
            content.seek(0)
            with translate_s3_errors(self.address(export, name), SETTING):
                self.client.put_object(
                    Bucket=self.bucket,
                    Key=f"{PREFIX}{export}/{name}",
                    Body=content,
                    # The server verifies what it receives.
                    ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
                )

        self._retrying(upload)
        return File(name=name, rows=rows, bytes=size, sha256=digest.hexdigest())

    @contextmanager
    def verified(self, export: str, file: File) -> Iterator[BufferedRandom]:
        """Yield a copy of a file for the duration of a block, after verifying its digest.

        Raises:
            ArchiveRefused: it is missing, or has other bytes.
            BucketUnavailable: the server refused, or stayed down.
        """
        with TemporaryFile() as copy:
            self._fetch(export, file.name, copy)
            size = copy.tell()
            copy.seek(0)
            if size != file.bytes or hashlib.file_digest(copy, "sha256").hexdigest() != file.sha256:
                raise ArchiveRefused(
                    f"{self.address(export, file.name)} is damaged: its {size:,} bytes are not the {file.bytes:,} of "
                    f"{MANIFEST}, with the SHA-256 {file.sha256[:12]}…: {ADVICE}"
                )
            copy.seek(0)
            yield copy

    def manifest(self, export: str) -> Manifest:
        """Return the manifest of an export, or of the newest one for "latest".

        Raises:
            ArchiveRefused: there is no such export, or its manifest cannot be read.
            BucketUnavailable: the server refused, or stayed down.
        """
        exports = self.exports()
        for candidate in exports if export == "latest" else [export]:
            # One without a manifest was interrupted, or is in progress.
            with suppress(FileMissing):
                return self._manifest(candidate)
        raise ArchiveRefused(
            f"there is no complete export{f' {export}' * (export != 'latest')} in s3://{self.bucket}/{PREFIX}; "
            f"the newest ones, complete or not: {', '.join(exports[:MAX_NAMED]) or 'none'}"
        )

    def exports(self) -> list[str]:
        """Return the ids of all exports, newest first, including incomplete ones.

        Raises:
            BucketUnavailable: the server refused, or stayed down.
        """

        def list_folders() -> list[str]:
            with translate_s3_errors(f"bucket {self.bucket!r}", SETTING):
                pages = self.client.get_paginator("list_objects_v2").paginate(
                    Bucket=self.bucket, Prefix=PREFIX, Delimiter="/"
                )
                folders = [folder["Prefix"] for page in pages for folder in page.get("CommonPrefixes", [])]
            return sorted((folder.removeprefix(PREFIX).rstrip("/") for folder in folders), reverse=True)

        return self._retrying(list_folders)

    def _manifest(self, export: str) -> Manifest:
        with TemporaryFile() as copy:
            self._fetch(export, MANIFEST, copy)
            copy.seek(0)
            try:
                return Manifest.model_validate_json(copy.read())
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                raise ArchiveRefused(
                    f"{self.address(export, MANIFEST)} cannot be read: {where or 'JSON'}: {first['msg']}: {ADVICE}"
                ) from None

    def _fetch(self, export: str, name: str, copy: BufferedRandom) -> None:
        def download() -> None:
            copy.seek(0)
            copy.truncate()
            with translate_s3_errors(self.address(export, name), SETTING):
                answer = self.client.get_object(Bucket=self.bucket, Key=f"{PREFIX}{export}/{name}")
                shutil.copyfileobj(answer["Body"], copy, 1 << 20)

        try:
            self._retrying(download)
        except ObjectChanged:
            raise FileMissing(f"{self.address(export, name)} is missing: {ADVICE}") from None
        except ObjectDamaged as error:
            raise ArchiveRefused(f"{error}: {ADVICE}") from None

    def _retrying(self, work: Callable[[], Result]) -> Result:
        return retry_transient(self.give_up_seconds, is_transient)(work)
