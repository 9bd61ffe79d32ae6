"""What the environment decides, and nothing else does: each field is the environment variable of its name."""

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """Where the database is, who may write, and where to listen. An empty variable counts as a missing one."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True)

    pghost: str
    pgport: Port = 5432
    pgdatabase: str
    hiring_api_password: SecretStr
    api_key: SecretStr = Field(min_length=16)
    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    api_pool_size: int = Field(default=8, ge=1, le=100)
    api_database_timeout_seconds: float = Field(default=5, gt=0, le=300)
