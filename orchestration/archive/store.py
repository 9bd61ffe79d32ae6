"""The bucket of exports: files in and out with their digests, which exports there are. What files mean is not here."""

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
NAMED = 5
SETTING = "S3_ARCHIVE_BUCKET"
ADVICE = "nothing was changed, take another export"

Result = TypeVar("Result")


class ArchiveRefused(RuntimeError):
    """An export that is not there, is damaged, or does not fit the database: somebody has to look at it."""


class FileMissing(ArchiveRefused):
    """A file that is not in the bucket."""


@dataclass(frozen=True)
class Store:
    """The bucket that exports are kept in.

    Args:
        client: of the server that has it.
        bucket: its name.
        give_up_seconds: how long to go on asking a server that has gone away.
    """

    client: "S3Client"
    bucket: str
    give_up_seconds: float = GIVE_UP_SECONDS

    def address(self, export: str, name: str = "") -> str:
        """Return where an export, or a file of it, is."""
        return f"s3://{self.bucket}/{PREFIX}{export}/{name}"

    def put(self, export: str, name: str, rows: int, content: BufferedRandom) -> File:
        """Store a file of an export, in one request: there is all of it or nothing.

        Args:
            export: its id.
            name: of the file in it.
            rows: how many the file has.
            content: the file, which can be read from its beginning again.

        Returns:
            What the manifest says of it.

        Raises:
            BucketUnavailable: the server refused, or stayed away.
        """
        size = content.seek(0, 2)
        content.seek(0)
        digest = hashlib.file_digest(content, "sha256")

        def send() -> None:
            content.seek(0)
            with translate_s3_errors(self.address(export, name), SETTING):
                self.client.put_object(
                    Bucket=self.bucket,
                    Key=f"{PREFIX}{export}/{name}",
                    Body=content,
                    # The server looks whether what arrives is what was sent.
                    ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
                )

        self._retrying(send)
        return File(name=name, rows=rows, bytes=size, sha256=digest.hexdigest())

    @contextmanager
    def checked(self, export: str, file: File) -> Iterator[BufferedRandom]:
        """Give out a copy of a file for the length of a block, once it is known to be what was stored.

        Raises:
            ArchiveRefused: it is missing, or has other bytes.
            BucketUnavailable: the server refused, or stayed away.
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
        """Return the manifest of an export, of the newest one for "latest".

        Raises:
            ArchiveRefused: there is no such export, or its manifest cannot be read.
            BucketUnavailable: the server refused, or stayed away.
        """
        exports = self.exports()
        for candidate in exports if export == "latest" else [export]:
            # One without a manifest broke off, or is under way.
            with suppress(FileMissing):
                return self._manifest(candidate)
        raise ArchiveRefused(
            f"there is no whole export{f' {export}' * (export != 'latest')} in s3://{self.bucket}/{PREFIX}; "
            f"the newest begun are: {', '.join(exports[:NAMED]) or 'none'}"
        )

    def exports(self) -> list[str]:
        """Return the ids of all exports, the newest first, those that broke off included.

        Raises:
            BucketUnavailable: the server refused, or stayed away.
        """

        def ask() -> list[str]:
            with translate_s3_errors(f"bucket {self.bucket!r}", SETTING):
                pages = self.client.get_paginator("list_objects_v2").paginate(
                    Bucket=self.bucket, Prefix=PREFIX, Delimiter="/"
                )
                folders = [folder["Prefix"] for page in pages for folder in page.get("CommonPrefixes", [])]
            return sorted((folder.removeprefix(PREFIX).rstrip("/") for folder in folders), reverse=True)

        return self._retrying(ask)

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
        def fetch() -> None:
            copy.seek(0)
            copy.truncate()
            with translate_s3_errors(self.address(export, name), SETTING):
                answer = self.client.get_object(Bucket=self.bucket, Key=f"{PREFIX}{export}/{name}")
                shutil.copyfileobj(answer["Body"], copy, 1 << 20)

        try:
            self._retrying(fetch)
        except ObjectChanged:
            raise FileMissing(f"{self.address(export, name)} is missing: {ADVICE}") from None
        except ObjectDamaged as error:
            raise ArchiveRefused(f"{error}: {ADVICE}") from None

    def _retrying(self, work: Callable[[], Result]) -> Result:
        return retry_transient(self.give_up_seconds, is_transient)(work)
