"""Rotates the logs of the embedded stack while it runs, at 10 MiB or after a week."""

import os
import shutil
import time
from pathlib import Path

MAX_BYTES = 10 << 20
MAX_AGE_SECONDS = 7 * 86400
# In addition to the log itself: at most 40 MiB and four weeks per service.
MAX_ROTATED_LOGS = 3


def rotate(log: Path) -> bool:
    """Rotate a log to `<name>.1`, and older ones to `.2` and `.3`, if it is too large or too old.

    Its writers keep it open and append to it, so it is copied and truncated, not renamed. Whatever is written between
    the two, within a fraction of a millisecond, is lost.

    Args:
        log: the file; it may be missing.

    Returns:
        Whether it was rotated.
    """
    newest = _rotated(log, 1)
    if not log.exists():
        return False
    if not newest.exists():
        # Its modification time is when the log began, since the log's own changes with each line.
        newest.touch()
    is_old = time.time() - newest.stat().st_mtime > MAX_AGE_SECONDS
    size = log.stat().st_size
    if size == 0 or (size <= MAX_BYTES and not is_old):
        return False
    for age in range(MAX_ROTATED_LOGS, 1, -1):
        if _rotated(log, age - 1).exists():
            _rotated(log, age - 1).replace(_rotated(log, age))
    shutil.copyfile(log, newest)
    os.truncate(log, 0)
    return True


def _rotated(log: Path, age: int) -> Path:
    return log.with_name(f"{log.name}.{age}")
