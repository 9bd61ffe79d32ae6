"""The connection settings of Dagster's own database, for its storage, its migration and its health check."""

from psycopg.conninfo import make_conninfo
from pydantic import SecretStr
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from orchestration.settings import Settings, WrongSetting

NAME = "dagster"


class InstanceSettings(Settings):
    """Either the password of Dagster's database role, with the server in libpq's variables, or everything in a URL."""

    dagster_password: SecretStr | None = None
    dagster_pg_url: SecretStr | None = None

    @property
    def url(self) -> URL:
        """DAGSTER_PG_URL or, without it, role and database `dagster` with DAGSTER_PASSWORD.

        The password in DAGSTER_PASSWORD may contain any characters; in a URL they have to be percent-encoded.

        Raises:
            WrongSetting: neither is set, or DAGSTER_PG_URL is not a URL.
        """
        if self.dagster_pg_url:
            try:
                return make_url(self.dagster_pg_url.get_secret_value())
            except ArgumentError:
                # The original message may contain the password.
                raise WrongSetting(
                    "DAGSTER_PG_URL is not a URL: percent-encode the password in it, or set DAGSTER_PASSWORD instead"
                ) from None
        if not self.dagster_password:
            raise WrongSetting("DAGSTER_PASSWORD is not set")
        # Without host and port, libpq uses PGHOST and PGPORT.
        return URL.create("postgresql", NAME, self.dagster_password.get_secret_value(), database=NAME)

    @property
    def conninfo(self) -> str:
        """The same as a libpq connection string; raises like `url`."""
        parts = self.url.translate_connect_args(username="user", database="dbname")
        query = {name: ",".join(values) for name, values in self.url.normalized_query.items()}
        return make_conninfo("", **parts, **query)
