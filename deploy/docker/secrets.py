"""`python -m deploy.docker.secrets`: write .env with the secrets of docker-compose.yml, random, for its owner alone.

Needs nothing but Python. What is in .env already stays: a newer version only adds what it needs besides.
"""

import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

PASSWORDS = (
    "POSTGRES_PASSWORD",
    "DAGSTER_PASSWORD",
    "HIRING_LOADER_PASSWORD",
    "HIRING_TRANSFORMER_PASSWORD",
    "HIRING_API_PASSWORD",
    "HIRING_RESTORER_PASSWORD",
    "HIRING_READER_PASSWORD",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
    "API_KEY",
)
# Letters and digits only, about 190 bits: they stand in URLs and in .env as they are.
VALUES: Mapping[str, Callable[[], str]] = {
    **dict.fromkeys(PASSWORDS, lambda: secrets.token_hex(24)),
    # The S3 server reads the landing folder as whoever made the secrets, not as root.
    "FILES_OWNER": lambda: f"{os.getuid()}:{os.getgid()}",
}


def write_secrets(path: Path) -> list[str]:
    """Add to an env file what it lacks.

    Args:
        path: the file; made, readable by its owner alone, when it is not there.

    Returns:
        The names of what was added.
    """
    before = path.read_text() if path.exists() else ""
    known = {line.partition("=")[0].strip() for line in before.splitlines()}
    missing = [name for name in VALUES if name not in known]
    if missing:
        lines = before.splitlines() + [f"{name}={VALUES[name]()}" for name in missing]
        # Written beside and renamed: a kill leaves the file as it was, or whole.
        draft = path.with_name(path.name + ".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text("\n".join(lines) + "\n")
        draft.replace(path)
    return missing


def main() -> None:
    """Write .env and make the folders that are buckets, and the one of backups."""
    path = Path(".env")
    added = write_secrets(path)
    # Docker would make them for root.
    for folder in ("landing", "archive", "backups"):
        Path(folder).mkdir(exist_ok=True)
    sys.stdout.write(f"{path}: {', '.join(added) + ' added' if added else 'nothing was missing'}\n")


if __name__ == "__main__":
    main()
