"""What the environment decides, and nothing else does: each field is the environment variable of its name."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self

import limits
from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.keys import ApiKey, digest, read_keys

Port = Annotated[int, Field(ge=1, le=65535)]


def _require_keys(path: Path) -> Path:
    read_keys(path)
    return path


def _require_rate(text: str) -> str:
    try:
        limits.parse(text)
    except ValueError:
        raise ValueError("must be a number a time, like 100/minute") from None
    return text


KeysFile = Annotated[Path, AfterValidator(_require_keys)]
RateLimit = Annotated[str, AfterValidator(_require_rate)]
Origin = Annotated[str, Field(pattern=r"^https?://[^/*]+$")]


class Settings(BaseSettings):
    """Where the database is, who may write, and where to listen. An empty variable counts as a missing one."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True)

    pghost: str
    pgport: Port = 5432
    pgdatabase: str
    hiring_api_password: SecretStr
    # One key that may read and write, as it is; several, as digests; or a file of these, read again when it changes.
    api_key: SecretStr | None = Field(default=None, min_length=16)
    api_keys: list[ApiKey] = []
    api_keys_file: KeysFile | None = None
    api_open_reads: bool = False
    api_rate_limit: RateLimit = "12000/minute"
    # How long a connection may take for the head of a request, and for its body; how long it is kept without one, which
    # has to be longer than a load balancer keeps it (60 s on AWS); and how many there are.
    api_head_timeout_seconds: float = Field(default=10, gt=0, le=300)
    api_keep_alive_seconds: float = Field(default=75, gt=0, le=3600)
    api_max_connections: int = Field(default=800, ge=1, le=100_000)
    api_body_timeout_seconds: float = Field(default=30, gt=0, le=300)
    api_cors_origins: list[Origin] = []
    # Networks of proxies whose X-Forwarded-For says who asks, for the log.
    api_trusted_proxies: list[IPv4Network | IPv6Network] = []
    api_log_level: Literal["debug", "info", "warning", "error"] = "info"
    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    api_metrics_port: Port | None = None
    api_pool_size: int = Field(default=8, ge=1, le=100)
    api_database_timeout_seconds: float = Field(default=5, gt=0, le=300)
    # The response cache: how much memory, and for how long a response is fresh should a notification be lost.
    api_cache_mib: int = Field(default=64, ge=1, le=16384)
    api_cache_seconds: float = Field(default=60, ge=0, le=3600)

    @model_validator(mode="after")
    def _require_a_key(self) -> Self:
        if not (self.fixed_keys or self.api_keys_file):
            raise ValueError("one of API_KEY, API_KEYS, API_KEYS_FILE is required")
        return self

    @property
    def fixed_keys(self) -> list[ApiKey]:
        """The keys that the environment holds."""
        if self.api_key is None:
            return self.api_keys
        own = ApiKey(name="API_KEY", sha256=digest(self.api_key.get_secret_value().encode()), scopes=["read", "write"])
        return [own, *self.api_keys]
