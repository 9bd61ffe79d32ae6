"""Where Dagster's own database is: what its storage, its migration and its health check connect to."""

from psycopg.conninfo import make_conninfo
from pydantic import SecretStr
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from orchestration.settings import Settings, WrongSetting

NAME = "dagster"


class InstanceSettings(Settings):
    """The password of Dagster's database role; where the server is, libpq's variables say. Or all of it as a URL."""

    dagster_password: SecretStr | None = None
    dagster_pg_url: SecretStr | None = None

    @property
    def url(self) -> URL:
        """DAGSTER_PG_URL or, without it, role and database `dagster` with DAGSTER_PASSWORD.

        A password in a variable of its own may have any characters; in a URL they are percent-encoded.

        Raises:
            WrongSetting: neither is set, or it is no URL.
        """
        if self.dagster_pg_url:
            try:
                return make_url(self.dagster_pg_url.get_secret_value())
            except ArgumentError:
                # Its own message may have the password.
                raise WrongSetting(
                    "DAGSTER_PG_URL is no URL: percent-encode the password in it, or set DAGSTER_PASSWORD instead"
                ) from None
        if not self.dagster_password:
            raise WrongSetting("DAGSTER_PASSWORD is not set")
        # Without a host and a port libpq takes PGHOST and PGPORT.
        return URL.create("postgresql", NAME, self.dagster_password.get_secret_value(), database=NAME)

    @property
    def conninfo(self) -> str:
        """The same as a libpq connection string; raises what `url` does."""
        parts = self.url.translate_connect_args(username="user", database="dbname")
        query = {name: ",".join(values) for name, values in self.url.normalized_query.items()}
        return make_conninfo("", **parts, **query)
