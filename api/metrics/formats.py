"""Which format a request wants."""

from functools import lru_cache

import mimeparse
from fastapi import Request

JSON = "application/json"
CSV = "text/csv"

# Taking a header apart can take quadratic time; no honest one is longer.
MAX_ACCEPT = 1000


def wants_csv(request: Request, chosen: str | None) -> bool:
    """Tell whether a request is for CSV: by its parameter or, without that, by its header Accept."""
    if chosen:
        return chosen == "csv"
    accept = ",".join(request.headers.getlist("accept"))
    return len(accept) <= MAX_ACCEPT and _preferred(accept.lower()) == CSV


@lru_cache
def _preferred(accept: str) -> str:
    try:
        # The last one goes before its equals. A client that accepts neither gets JSON.
        return str(mimeparse.best_match([CSV, JSON], accept))
    except ValueError:
        return JSON
