"""All settings of orchestration; os.environ is read nowhere else.

Each field is the environment variable of its name in upper case. A class has the settings of one task, so that an
invalid value stops only that task. libpq and boto3 read their own variables themselves.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from psycopg.conninfo import make_conninfo
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class WrongSetting(ValueError):
    """A variable is missing or invalid; the message names it and what to set, and contains no secret."""


class Settings(BaseSettings):
    """Base of all settings. An empty variable counts as a missing one."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True)

    @classmethod
    def read(cls) -> Self:
        """Return the environment's current settings.

        Raises:
            WrongSetting: a value is missing or invalid.
        """
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            own = first.get("ctx", {}).get("error")
            raise WrongSetting(str(own or f"{str(first['loc'][0]).upper()}: {first['msg']}")) from None


class BucketSettings(Settings):
    """The bucket that files are delivered to."""

    s3_endpoint_url: str | None = None
    s3_bucket: str = "landing"


class LockSettings(Settings):
    """How long a load or a restore waits for another one of the same table; None is the load engine's default."""

    lock_wait_seconds: float | None = Field(None, gt=0)


class LoadSettings(BucketSettings, LockSettings):
    """When a file is loaded, and how much of it may be rejected; None is the load engine's default."""

    s3_settle_seconds: float = Field(0, ge=0)
    reject_share: float | None = Field(None, ge=0, le=1)
    withdraw_share: float | None = Field(None, ge=0, le=1)
    reject_count: int | None = Field(None, ge=0)


class SensorSettings(Settings):
    """How often the bucket is listed; each listing of a bucket on AWS costs money."""

    scan_interval_seconds: int = Field(1, ge=1, le=3600)


class ArchiveSettings(BucketSettings):
    """The bucket of exports, and whether the nightly export is on by default."""

    s3_archive_bucket: str | None = None
    export_every_night: bool = True

    @property
    def bucket(self) -> str:
        """The bucket of exports.

        Raises:
            WrongSetting: it is not set, or is the one that files are delivered to.
        """
        if not self.s3_archive_bucket:
            raise WrongSetting(
                "S3_ARCHIVE_BUCKET is not set: name a bucket for exports, other than S3_BUCKET, and restart the code "
                "server"
            )
        if self.s3_archive_bucket == self.s3_bucket:
            raise WrongSetting(
                f"S3_ARCHIVE_BUCKET is {self.s3_bucket}, where files are delivered: exports need another bucket"
            )
        return self.s3_archive_bucket

    @property
    def is_exported_every_night(self) -> bool:
        """Whether there is a bucket, and EXPORT_EVERY_NIGHT is not false."""
        return bool(self.s3_archive_bucket) and self.export_every_night


class DatabaseSettings(Settings):
    """The passwords of the database roles; libpq's variables name the server."""

    pgdatabase: str | None = None
    hiring_loader_password: SecretStr | None = None
    hiring_transformer_password: SecretStr | None = None
    hiring_api_password: SecretStr | None = None
    hiring_restorer_password: SecretStr | None = None
    hiring_reader_password: SecretStr | None = None

    @property
    def passwords(self) -> dict[str, str]:
        """The passwords that are set, by role."""
        values = {name.removesuffix("_password"): getattr(self, name) for name in type(self).model_fields}
        return {role: value.get_secret_value() for role, value in values.items() if isinstance(value, SecretStr)}

    @property
    def loader_conninfo(self) -> str:
        """The load engine's connection string; without a password, libpq's variables apply."""
        return self._conninfo("hiring_loader")

    @property
    def transformer_conninfo(self) -> str:
        """The connection string of dbt's builds."""
        return self._conninfo("hiring_transformer")

    @property
    def restorer_conninfo(self) -> str:
        """The connection string of a restore.

        Raises:
            WrongSetting: the role has no password.
        """
        password = self.passwords.get("hiring_restorer")
        if not password:
            raise WrongSetting(
                "HIRING_RESTORER_PASSWORD is not set, the password of the only role that may delete from raw: run "
                "python -m orchestration.migrations with it, then start the code server with it"
            )
        return make_conninfo(user="hiring_restorer", password=password)

    def _conninfo(self, role: str) -> str:
        password = self.passwords.get(role)
        return make_conninfo(user=role, **({"password": password} if password else {}))


class BuildSettings(Settings):
    """How long a build's statement waits for another session's lock, and so sessions that queue after it."""

    build_lock_timeout_seconds: float = Field(5, ge=0.001)
    pgoptions: str = ""

    @property
    def lock_timeout(self) -> str:
        """The same as a value of Postgres's lock_timeout."""
        return f"{round(self.build_lock_timeout_seconds * 1000)}ms"


class AlertSettings(Settings):
    """The receiver of alerts, and the address of Dagster's UI, for links."""

    alert_webhook_url: SecretStr | None = None
    alert_webhook_token: SecretStr | None = None
    dagster_ui_url: str = "http://127.0.0.1:3000"

    @property
    def webhook(self) -> tuple[str, str | None] | None:
        """A URL that accepts JSON by POST and its bearer token, if any; None without a URL.

        Raises:
            WrongSetting: one of them is invalid.
        """
        secrets = (self.alert_webhook_url, self.alert_webhook_token)
        url, token = (secret.get_secret_value().strip() if secret else "" for secret in secrets)
        if not url:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WrongSetting("ALERT_WEBHOOK_URL is not a URL that begins with http:// or https://")
        if not (token.isascii() and token.isprintable()):
            raise WrongSetting("ALERT_WEBHOOK_TOKEN has characters that are not allowed in an HTTP header")
        return url, token or None


class CheckSettings(Settings):
    """How long a valid record may wait for a department, a job or the like before a check warns."""

    waiting_hours: float = Field(24, ge=0)


class MaintenanceSettings(Settings):
    """How long Dagster keeps runs."""

    dagster_keep_days: int = 90

    @field_validator("dagster_keep_days", mode="before")
    @classmethod
    def _is_a_number_of_days(cls, value: str | int) -> str | int:
        # Also called for the default.
        if not str(value).isdecimal() or int(value) < 1:
            raise ValueError(f"DAGSTER_KEEP_DAYS={value} is not a number of days, at least 1")
        return value


class RunSettings(Settings):
    """Limits of runs.

    Attributes:
        run_stop_seconds: how long a run that is terminated may take to stop before it is killed. Its process has to be
            gone before Dagster marks the run as canceled: cancel_timeout_seconds in dagster.yaml.
        max_concurrent_runs: how many runs, each a process, may be in progress at the same time; others are queued.
    """

    run_stop_seconds: float = Field(30, gt=0, le=50)
    max_concurrent_runs: int = Field(4, ge=1)


class DbtSettings(Settings):
    """The folder of dbt's manifest, set by whatever starts the code location."""

    dbt_target_path: Path = Path("target")


def set_variables(variables: Mapping[str, str]) -> None:
    """Set environment variables until this process ends, for libraries that read them."""
    os.environ.update(variables)


@contextmanager
def overridden(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the duration of a block, for libraries that read them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def placeholders(variables: Mapping[str, str]) -> Iterator[None]:
    """Set those variables that are not set, for the duration of a block, for libraries that read them."""
    with overridden({name: value for name, value in variables.items() if name not in os.environ}):
        yield
