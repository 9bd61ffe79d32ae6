"""Everything that the environment decides in orchestration; os.environ is read nowhere else.

Each field is the environment variable of its name in capitals. A class holds what one task needs, so that a value that
cannot be used stops that task and no other. libpq and boto3 read their own variables themselves.
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
    """A variable is missing or cannot be used; the message names it and what to set, and shows no secret."""


class Settings(BaseSettings):
    """What all classes of settings share. An empty variable counts as a missing one."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True)

    @classmethod
    def read(cls) -> Self:
        """Return the settings as the environment has them now.

        Raises:
            WrongSetting: a value cannot be used.
        """
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            own = first.get("ctx", {}).get("error")
            raise WrongSetting(str(own or f"{str(first['loc'][0]).upper()}: {first['msg']}")) from None


class BucketSettings(Settings):
    """Where files are delivered."""

    s3_endpoint_url: str | None = None
    s3_bucket: str = "landing"


class LockSettings(Settings):
    """How long a load or a restore waits for another one of the same table: None is the load engine's own limit."""

    lock_wait_seconds: float | None = Field(None, gt=0)


class LoadSettings(BucketSettings, LockSettings):
    """When a file is loaded, and how much of it may be rejected: None is the load engine's own limit."""

    s3_settle_seconds: float = Field(0, ge=0)
    reject_share: float | None = Field(None, ge=0, le=1)
    withdraw_share: float | None = Field(None, ge=0, le=1)
    reject_count: int | None = Field(None, ge=0)


class ArchiveSettings(BucketSettings):
    """Where exports go, and whether one is made each night from the first start on."""

    s3_archive_bucket: str | None = None
    export_every_night: bool = True

    @property
    def bucket(self) -> str:
        """The bucket of exports.

        Raises:
            WrongSetting: it is not named, or is the one that files are delivered to.
        """
        if not self.s3_archive_bucket:
            raise WrongSetting(
                "S3_ARCHIVE_BUCKET is not set: name a bucket for exports, other than S3_BUCKET, and start the code "
                "server again"
            )
        if self.s3_archive_bucket == self.s3_bucket:
            raise WrongSetting(
                f"S3_ARCHIVE_BUCKET is {self.s3_bucket}, where files are delivered to: exports want another bucket"
            )
        return self.s3_archive_bucket

    @property
    def is_exported_every_night(self) -> bool:
        """Whether there is a bucket, and EXPORT_EVERY_NIGHT is not false."""
        return bool(self.s3_archive_bucket) and self.export_every_night


class DatabaseSettings(Settings):
    """The passwords of the database roles; where the server is, libpq's variables say."""

    pgdatabase: str | None = None
    hiring_loader_password: SecretStr | None = None
    hiring_transformer_password: SecretStr | None = None
    hiring_api_password: SecretStr | None = None
    hiring_restorer_password: SecretStr | None = None
    hiring_reader_password: SecretStr | None = None

    @property
    def passwords(self) -> dict[str, str]:
        """The passwords that are set, by role."""
        given = {name.removesuffix("_password"): getattr(self, name) for name in type(self).model_fields}
        return {role: value.get_secret_value() for role, value in given.items() if isinstance(value, SecretStr)}

    @property
    def loader_conninfo(self) -> str:
        """How the load engine connects; without a password of its own as libpq's variables say."""
        return self._conninfo("hiring_loader")

    @property
    def transformer_conninfo(self) -> str:
        """How dbt's builds connect."""
        return self._conninfo("hiring_transformer")

    @property
    def restorer_conninfo(self) -> str:
        """How a restore connects.

        Raises:
            WrongSetting: the role has no password.
        """
        password = self.passwords.get("hiring_restorer")
        if not password:
            raise WrongSetting(
                "HIRING_RESTORER_PASSWORD is not set, the password of the one role that may delete from raw: run "
                "python -m orchestration.migrations with it set, then start the code server with it"
            )
        return make_conninfo(user="hiring_restorer", password=password)

    def _conninfo(self, role: str) -> str:
        password = self.passwords.get(role)
        return make_conninfo(user=role, **({"password": password} if password else {}))


class BuildSettings(Settings):
    """How long a statement of a build waits for what another session has locked, and whoever queues after it."""

    build_lock_timeout_seconds: float = Field(5, ge=0.001)
    pgoptions: str = ""

    @property
    def lock_timeout(self) -> str:
        """The same as Postgres has it."""
        return f"{round(self.build_lock_timeout_seconds * 1000)}ms"


class AlertSettings(Settings):
    """Who is alerted of failures, and where Dagster's UI is, for the links."""

    alert_webhook_url: SecretStr | None = None
    alert_webhook_token: SecretStr | None = None
    dagster_ui_url: str = "http://127.0.0.1:3000"

    @property
    def webhook(self) -> tuple[str, str | None] | None:
        """An address that takes JSON by POST and the bearer token that it wants, if any; None without an address.

        Raises:
            WrongSetting: one of them cannot be used.
        """
        secrets = (self.alert_webhook_url, self.alert_webhook_token)
        url, token = (secret.get_secret_value().strip() if secret else "" for secret in secrets)
        if not url:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WrongSetting("ALERT_WEBHOOK_URL is no address that begins with http:// or https://")
        if not (token.isascii() and token.isprintable()):
            raise WrongSetting("ALERT_WEBHOOK_TOKEN has characters that no HTTP header can carry")
        return url, token or None


class CheckSettings(Settings):
    """How long a valid record may wait for a department, a job or the like before a check warns of it."""

    waiting_hours: float = Field(24, ge=0)


class MaintenanceSettings(Settings):
    """How long Dagster keeps runs."""

    dagster_keep_days: int = 90

    @field_validator("dagster_keep_days", mode="before")
    @classmethod
    def _is_a_number_of_days(cls, value: str | int) -> str | int:
        # The default comes through here as well.
        if not str(value).isdecimal() or int(value) < 1:
            raise ValueError(f"DAGSTER_KEEP_DAYS={value} is no number of days from 1 on")
        return value


class RunSettings(Settings):
    """How runs are run.

    Attributes:
        run_stop_seconds: how long a run that is terminated may take to stop before it is killed. Its process has to be
            gone when the run is taken for canceled: cancel_timeout_seconds in dagster.yaml.
        max_concurrent_runs: how many runs are under way at once, each a process; the others are queued.
    """

    run_stop_seconds: float = Field(30, gt=0, le=50)
    max_concurrent_runs: int = Field(4, ge=1)


class DbtSettings(Settings):
    """Where `dbt parse` has put the manifest: set by whatever starts the code location."""

    dbt_target_path: Path = Path("target")


def set_variables(variables: Mapping[str, str]) -> None:
    """Set environment variables for as long as this process runs, for programs that read them there."""
    os.environ.update(variables)


@contextmanager
def overridden(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the length of a block, for programs that read them there."""
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
    """Set those of the variables that are not set for the length of a block, for programs that read them there."""
    with overridden({name: value for name, value in variables.items() if name not in os.environ}):
        yield
