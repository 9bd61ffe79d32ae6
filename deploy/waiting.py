"""Waiting for what another service does, with the reason said each time that it changes."""

import sys
import time
from collections.abc import Callable

GIVE_UP_SECONDS = 300
POLL_INTERVAL_SECONDS = 1


class GaveUp(RuntimeError):
    """What was waited for did not come; the message is the last reason."""


def until(what_is_missing: Callable[[], str | None], give_up_seconds: float = GIVE_UP_SECONDS) -> None:
    """Wait until nothing is missing.

    Args:
        what_is_missing: looks, and returns why to go on waiting, in one line; None ends the wait.
        give_up_seconds: how long to wait.

    Raises:
        GaveUp: that time is over.
    """
    deadline = time.monotonic() + give_up_seconds
    said = None
    while reason := what_is_missing():
        if reason != said:
            sys.stderr.write(f"waiting: {reason}\n")
            said = reason
        if time.monotonic() > deadline:
            raise GaveUp(f"{reason} (waited {give_up_seconds:.0f} s)")
        time.sleep(POLL_INTERVAL_SECONDS)


def in_one_line(error: Exception) -> str:
    """Return what an error says, without its line breaks."""
    return " ".join(str(error).split())
