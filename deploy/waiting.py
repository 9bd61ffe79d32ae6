"""Waits for another service, and logs the reason each time it changes."""

import sys
import time
from collections.abc import Callable

GIVE_UP_SECONDS = 300
POLL_SECONDS = 1


class GaveUp(RuntimeError):
    """The wait timed out; the message is the last reason."""


def until(what_is_missing: Callable[[], str | None], give_up_seconds: float = GIVE_UP_SECONDS) -> None:
    """Wait until nothing is missing.

    Args:
        what_is_missing: returns why to keep waiting, in one line; None ends the wait.
        give_up_seconds: how long to wait.

    Raises:
        GaveUp: something is still missing after that time.
    """
    deadline = time.monotonic() + give_up_seconds
    last_reason = None
    while reason := what_is_missing():
        if reason != last_reason:
            sys.stderr.write(f"waiting: {reason}\n")
            last_reason = reason
        if time.monotonic() > deadline:
            raise GaveUp(f"{reason} (waited {give_up_seconds:.0f} s)")
        time.sleep(POLL_SECONDS)


def in_one_line(error: Exception) -> str:
    """Return an error's message without line breaks."""
    return " ".join(str(error).split())
