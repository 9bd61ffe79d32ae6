"""What the environment says of exports: which bucket, and the password of the role that restores."""

import os

from psycopg.conninfo import make_conninfo


class WrongSetting(ValueError):
    """A variable is missing or cannot be used; the message says what to set."""


def archive_bucket() -> str:
    """Return the bucket of exports.

    Raises:
        WrongSetting: it is not named, or is the one that files are delivered to.
    """
    bucket = os.environ.get("S3_ARCHIVE_BUCKET")
    if not bucket:
        raise WrongSetting(
            "S3_ARCHIVE_BUCKET is not set: name a bucket for exports, other than S3_BUCKET, and start the code server "
            "again"
        )
    if bucket == os.environ.get("S3_BUCKET", "landing"):
        raise WrongSetting(f"S3_ARCHIVE_BUCKET is {bucket}, where files are delivered to: exports want another bucket")
    return bucket


def restorer_conninfo() -> str:
    """Return how a restore connects.

    Raises:
        WrongSetting: the role has no password.
    """
    password = os.environ.get("HIRING_RESTORER_PASSWORD")
    if not password:
        raise WrongSetting(
            "HIRING_RESTORER_PASSWORD is not set, the password of the one role that may delete from raw: run "
            "python -m orchestration.migrations with it set, then start the code server with it"
        )
    return make_conninfo(user="hiring_restorer", password=password)


def is_exported_every_night() -> bool:
    """Return whether the schedule is on from the first start: with a bucket, unless EXPORT_EVERY_NIGHT is false."""
    return bool(os.environ.get("S3_ARCHIVE_BUCKET")) and os.environ.get("EXPORT_EVERY_NIGHT", "true") != "false"
