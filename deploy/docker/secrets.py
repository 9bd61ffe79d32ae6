"""`python -m deploy.docker.secrets`: write random secrets for docker-compose.yml to .env, readable by its owner only.

Needs nothing but Python. Existing lines of .env stay: a newer version only adds what is missing.
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
# Letters and digits only, about 190 bits: they need no quoting in URLs and in .env.
VALUES: Mapping[str, Callable[[], str]] = {
    **dict.fromkeys(PASSWORDS, lambda: secrets.token_hex(24)),
    # The S3 server reads the landing folder as the user who ran this, not as root.
    "FILES_OWNER": lambda: f"{os.getuid()}:{os.getgid()}",
}


def write_secrets(path: Path) -> list[str]:
    """Add the missing secrets to an env file.

    Args:
        path: the file; created, readable by its owner only, if it does not exist.

    Returns:
        The names of the added secrets.
    """
    before = path.read_text() if path.exists() else ""
    known = {line.partition("=")[0].strip() for line in before.splitlines()}
    missing = [name for name in VALUES if name not in known]
    if missing:
        lines = before.splitlines() + [f"{name}={VALUES[name]()}" for name in missing]
        # Renamed into place, so that a kill never leaves a partial file.
        draft = path.with_name(path.name + ".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text("\n".join(lines) + "\n")
        draft.replace(path)
    return missing


def main() -> None:
    """Write .env and create the folders of the buckets and of backups."""
    path = Path(".env")
    added = write_secrets(path)
    # Docker would create them as root.
    for folder in ("landing", "archive", "backups"):
        Path(folder).mkdir(exist_ok=True)
    sys.stdout.write(f"{path}: {', '.join(added) + ' added' if added else 'nothing was missing'}\n")


if __name__ == "__main__":
    main()
