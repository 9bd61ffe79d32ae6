"""The keys that clients show: where they come from, and whose a key is. Only digests are kept and compared."""

import hashlib
import logging
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

logger = logging.getLogger(__name__)

Scope = Literal["read", "write"]


class ApiKey(BaseModel):
    """A key by its digest. Two keys may have one name: that is how a client goes over from one to the next."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]


Keys = TypeAdapter(list[ApiKey])


def digest(key: bytes) -> str:
    """Return what keys are compared by: of equal length, whatever the keys, so that comparing reveals nothing."""
    return hashlib.sha256(key).hexdigest()


def read_keys(path: Path) -> list[ApiKey]:
    """Read a file of keys: a JSON array of objects with name, sha256 and scopes.

    Raises:
        ValueError: it cannot be read, or is no such array; the message does not repeat what is in it.
    """
    try:
        return Keys.validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False)[0]
        place = "".join(f"[{part!r}]" for part in first["loc"])
        raise ValueError(f"the file is no array of keys: {place} {first['msg']}") from None


class KeyRing:
    """The keys that are valid now: fixed ones, and those of a file that is read again whenever it has changed."""

    def __init__(self, fixed: Sequence[ApiKey], path: Path | None) -> None:
        self._fixed = list(fixed)
        self._path = path
        self._of_file: list[ApiKey] = []
        self._seen: object = None

    def find(self, sent: bytes) -> ApiKey | None:
        """Return the key that was sent, if it is valid; every key is compared, so that time reveals nothing either."""
        if self._path is not None:
            self._refresh(self._path)
        found = None
        sent_digest = digest(sent)
        for key in (*self._fixed, *self._of_file):
            if secrets.compare_digest(key.sha256, sent_digest):
                found = key
        return found

    def _refresh(self, path: Path) -> None:
        """Read the file again if it is another one; while it cannot be read, the keys that were known stay valid."""
        try:
            status = os.stat(path)  # noqa: PTH116 - Path.stat is three times as slow, and this is on every request
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            version = None
        if version == self._seen:
            return
        self._seen = version
        try:
            self._of_file = read_keys(path)
        except ValueError as error:
            logger.error("the keys stay as they were: %s", error)  # noqa: TRY400 - its traceback says nothing more
