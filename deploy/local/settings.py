"""The embedded stack's settings, the paths of its state, and the secrets that it generates."""

import json
import os
import re
import secrets
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, Field, field_validator
from pydantic_settings import BaseSettings

PROJECT = Path(__file__).resolve().parents[2]
ARCHIVE_BUCKET = "archive"
# A folder lists files that are still being copied into it; S3 lists complete objects only.
SETTLE_SECONDS = 1
UNUSABLE_CHARACTERS = re.compile(r"[*?[\]\x00-\x1f\x7f]")


class Secrets(BaseModel):
    """Passwords and keys of one STATE_DIR: random, generated once, readable by their owner only.

    None is taken from the environment, where an API_KEY may be that of something else. After a roll-back, those that a
    newer version has added are ignored.
    """

    postgres: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    dagster: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    hiring_loader: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    hiring_transformer: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    hiring_api: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    hiring_restorer: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    hiring_reader: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    s3_access_key: str = Field(default_factory=lambda: secrets.token_hex(10))
    s3_secret_key: str = Field(default_factory=lambda: secrets.token_hex(20))
    api_key: str = Field(default_factory=lambda: secrets.token_urlsafe(24))


class Settings(BaseSettings):
    """The embedded stack's settings; each is the environment variable of the same name in capitals."""

    state_dir: Path = Field(Path(".local"), description="Folder of all state")
    landing: Path | None = Field(None, description="Folder served as the bucket, by default STATE_DIR/s3/landing")
    dagster_port: int = Field(3000, ge=1, le=65535, description="Port of Dagster's UI")
    api_port: int = Field(8000, ge=1, le=65535, description="Port of the API")
    s3_port: int = Field(9000, ge=1, le=65535, description="Port of the S3 server")
    # Not 5432, which another Postgres on this machine often uses.
    pg_port: int = Field(5433, ge=1, le=65535, description="Port of Postgres, for BI tools under `hiring up`")
    code_port: int = Field(4000, ge=1, le=65535, description="Port of Dagster's code server")
    docs_port: int = Field(8080, ge=1, le=65535, description="Port of the models' documentation")
    dagster_keep_days: int = Field(90, ge=1, description="Days for which Dagster keeps runs")
    s3_bucket: str = Field(
        "landing", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="Name of the bucket that files arrive in"
    )

    @field_validator("landing", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        # `make` exports LANDING whether or not it was given.
        return value or None

    @field_validator("state_dir", "landing")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().resolve()

    @field_validator("state_dir")
    @classmethod
    def _is_no_pattern(cls, value: Path) -> Path:
        # Dagster uses the path of its settings as a glob pattern, and runs without settings if nothing matches.
        if UNUSABLE_CHARACTERS.search(str(value)):
            raise ValueError("choose a folder without *, ?, [, ] or control characters in its path")
        return value

    @field_validator("landing")
    @classmethod
    def _is_a_folder(cls, value: Path | None) -> Path | None:
        if value and not value.is_dir():
            raise ValueError(f"{value} is not a folder")
        return value

    @field_validator("s3_bucket")
    @classmethod
    def _is_not_that_of_exports(cls, value: str) -> str:
        if value == ARCHIVE_BUCKET:
            raise ValueError(f"{value} is the bucket of exports: choose another name")
        return value

    @property
    def logs(self) -> Path:
        """Folder of the services' logs."""
        return self.state_dir / "logs"

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance folder."""
        return self.state_dir / "dagster"

    @property
    def own_landing(self) -> Path:
        """The landing folder that belongs to the state, used unless LANDING names another."""
        return self.state_dir / "s3" / self.s3_bucket

    @property
    def landing_folder(self) -> Path:
        """The folder that is served as the bucket."""
        return self.landing or self.own_landing

    @property
    def archive_folder(self) -> Path:
        """The folder that is served as the bucket of exports."""
        return self.state_dir / "s3" / ARCHIVE_BUCKET

    @cached_property
    def secrets(self) -> Secrets:
        """The secrets of STATE_DIR, generated at first use; secrets that a newer version needs are added."""
        path = self.state_dir / "secrets.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        complete = Secrets(**known)
        if known.keys() >= Secrets.model_fields.keys():
            return complete
        self.state_dir.mkdir(parents=True, exist_ok=True)
        # Renamed into place, so that a kill never leaves a partial file.
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(complete.model_dump_json(indent=2))
        draft.replace(path)
        return complete


def settings_help() -> str:
    """Return the settings with their descriptions and defaults, as the end of a help text."""
    lines = [
        f"  [cyan]{name.upper():<18}[/] {field.description} [dim]({field.default})[/]"
        for name, field in Settings.model_fields.items()
    ]
    head = "[bold]Settings[/] (environment variables; README.md has the others)"
    return "\n".join([head, *lines]).replace(" [dim](None)[/]", "")


def environment(postgres_host: str) -> dict[str, str]:
    """Return the environment that is common to all services of the stack.

    The caller's PG*, AWS_*, DAGSTER_* and DBT_* variables are left out: they refer to other servers.
    """
    foreign = ("PG", "AWS_", "DAGSTER_", "DBT_", "S3_", "HIRING_", "API_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return own | {
        "PGHOST": postgres_host,
        "PGPORT": "5432",
        "PGDATABASE": "hiring",
        # The services' working folder is not the checkout, and Dagster imports our run launcher by name.
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
    }


def orchestration_environment(settings: Settings, postgres_host: str) -> dict[str, str]:
    """Return what Dagster's processes need: the database roles, S3, the instance and the dbt project."""
    own = settings.secrets
    return environment(postgres_host) | {
        "HIRING_LOADER_PASSWORD": own.hiring_loader,
        "HIRING_TRANSFORMER_PASSWORD": own.hiring_transformer,
        "HIRING_RESTORER_PASSWORD": own.hiring_restorer,
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{settings.s3_port}",
        "S3_BUCKET": settings.s3_bucket,
        "S3_ARCHIVE_BUCKET": ARCHIVE_BUCKET,
        # A folder has no lifecycle rule that deletes old exports: only the job writes them, when it is launched.
        "EXPORT_EVERY_NIGHT": "false",
        "S3_SETTLE_SECONDS": str(SETTLE_SECONDS),
        "AWS_ACCESS_KEY_ID": own.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": own.s3_secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "DAGSTER_HOME": str(settings.dagster_home),
        "DAGSTER_STORAGE": str(settings.dagster_home / "storage"),
        "DAGSTER_PASSWORD": own.dagster,
        "DAGSTER_CODE_HOST": "127.0.0.1",
        "DAGSTER_CODE_PORT": str(settings.code_port),
        # For the links in alerts, whose webhook is in the variables that are passed on unchanged.
        "DAGSTER_UI_URL": f"http://127.0.0.1:{settings.dagster_port}",
        "DAGSTER_KEEP_DAYS": str(settings.dagster_keep_days),
        "DBT_TARGET_PATH": str(settings.state_dir / "dbt"),
        "RUN_SERVER_SOCKET": run_socket(postgres_host),
    }


def run_socket(postgres_host: str) -> str:
    """Return the socket over which runs are launched, next to Postgres's socket, whose path is short enough."""
    return str(Path(postgres_host) / "runs.sock")


def api_environment(settings: Settings, postgres_host: str) -> dict[str, str]:
    """Return what the API needs: its own database role and the key for writing."""
    return environment(postgres_host) | {
        "HIRING_API_PASSWORD": settings.secrets.hiring_api,
        "API_KEY": settings.secrets.api_key,
        # Only this machine's users can reach it.
        "API_OPEN_READS": "true",
        "API_PORT": str(settings.api_port),
    }
