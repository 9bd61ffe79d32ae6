"""`python -m api`: reads the settings, then serves until it is asked to stop."""

import signal
import sys

import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError

from api.main import create_app
from api.observability import logs
from api.protocol import server
from api.settings import Settings


def main() -> None:
    """Serve the API; settings that are missing or wrong end it with one line and status 2."""
    try:
        settings = Settings()
    except SettingsError as error:
        sys.stderr.write(f"api: {error}\n")
        sys.exit(2)
    except ValidationError as error:
        # Only pydantic's own words: an error's input may be a secret.
        wrong = "; ".join(
            ": ".join([*(str(field).upper() for field in each["loc"][:1]), each["msg"]]) for each in error.errors()
        )
        sys.stderr.write(f"api: {wrong.replace('Value error, ', '')}\n")
        sys.exit(2)
    logs.configure(settings.api_log_level)
    # When uvicorn has stopped serving it sends itself the signal that made it stop: asked to end, ending is no failure.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    uvicorn.run(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        **server.options(settings),
    )


if __name__ == "__main__":
    main()
