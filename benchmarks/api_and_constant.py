"""`python -m benchmarks.api_and_constant FILE`: the API with an additional route that returns a file."""

import sys
from pathlib import Path
from unittest.mock import patch

from fastapi import FastAPI, Response

import api.__main__
from api.main import create_app
from api.settings import Settings

CONSTANT = "/constant"


def create_app_with_constant(settings: Settings) -> FastAPI:
    """Build the application with the additional route, which returns JSON and needs no key, like other reads."""
    content = Path(sys.argv[1]).read_bytes()
    app = create_app(settings)

    @app.get(CONSTANT)
    async def constant() -> Response:
        return Response(content, media_type="application/json")

    # As the first route, so that the router's time for the others is not part of the comparison.
    app.router.routes.insert(0, app.router.routes.pop())
    return app


if __name__ == "__main__":
    with patch.object(api.__main__, "create_app", create_app_with_constant):
        api.__main__.main()
