"""Who may write: the holder of the API key."""

import hashlib
import secrets
from typing import Annotated

from fastapi import HTTPException, Request, Security
from fastapi.security import APIKeyHeader

_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="ApiKey", description="The value of API_KEY.")


def digest(key: bytes) -> bytes:
    """Return what keys are compared by: of equal length, whatever the keys, so that comparing tells nothing."""
    return hashlib.sha256(key).digest()


async def require_api_key(request: Request, key: Annotated[str | None, Security(_header)]) -> None:
    """Refuse a request without the key.

    Raises:
        HTTPException: 401, the key is missing or wrong.
    """
    # Header values are decoded as Latin-1; that undone, a key outside ASCII is the bytes that were sent.
    sent = digest((key or "").encode("latin-1"))
    if not secrets.compare_digest(sent, request.app.state.api_key_digest):
        raise HTTPException(
            401, "Send the API key in the header X-API-Key.", {"WWW-Authenticate": 'ApiKey realm="hiring"'}
        )
