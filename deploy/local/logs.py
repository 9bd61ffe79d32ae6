"""Keeps the logs of the embedded stack small while it runs: each is set aside at 10 MiB or after a week."""

import os
import shutil
import time
from pathlib import Path

MAX_BYTES = 10 << 20
MAX_AGE_SECONDS = 7 * 86400
# Besides the log itself: 40 MiB and four weeks of each service at most.
KEPT = 3


def rotate(log: Path) -> bool:
    """Set a log aside as `<name>.1`, and older ones as `.2` and `.3`, when it is too large or too old.

    Its writers keep it open, and append: so it is copied and emptied, not renamed. What is written between the two,
    within a fraction of a millisecond, is lost.

    Args:
        log: the file; it may be missing.

    Returns:
        Whether it was set aside.
    """
    newest = _aside(log, 1)
    if not log.exists():
        return False
    if not newest.exists():
        # Its time says when the log began; no file system that we run on keeps a file's own.
        newest.touch()
    is_old = time.time() - newest.stat().st_mtime > MAX_AGE_SECONDS
    size = log.stat().st_size
    if size == 0 or (size <= MAX_BYTES and not is_old):
        return False
    for number in range(KEPT, 1, -1):
        if _aside(log, number - 1).exists():
            _aside(log, number - 1).replace(_aside(log, number))
    shutil.copyfile(log, newest)
    os.truncate(log, 0)
    return True


def _aside(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
