"""`python -m api`: reads the settings, then serves until it is told to stop."""

import logging
import sys

import uvicorn
from pydantic import ValidationError

from api.main import create_app
from api.settings import Settings


def main() -> None:
    """Serve the API; settings that are missing or wrong end it with one line and status 2."""
    try:
        settings = Settings()
    except ValidationError as error:
        # Only pydantic's own words: an error's input may be a secret.
        wrong = (f"{str(detail['loc'][0]).upper()}: {detail['msg']}" for detail in error.errors())
        sys.stderr.write(f"api: {'; '.join(wrong)}\n")
        sys.exit(2)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    uvicorn.run(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        # None leaves logging as it is set up above: one format for uvicorn, the pool and this package.
        log_config=None,
        log_level=logging.INFO,
        server_header=False,
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
