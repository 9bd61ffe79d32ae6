"""`python -m benchmarks.api_and_constant FILE`: the API as it runs, with one more route, which returns a file."""

import sys
from pathlib import Path
from unittest.mock import patch

from fastapi import FastAPI, Response

import api.__main__
from api.main import create_app
from api.settings import Settings

CONSTANT = "/constant"


def create_app_with_constant(settings: Settings) -> FastAPI:
    """Build the application with the additional route; it is open, as reads are, and JSON."""
    content = Path(sys.argv[1]).read_bytes()
    app = create_app(settings)

    @app.get(CONSTANT)
    async def constant() -> Response:
        return Response(content, media_type="application/json")

    # The first one that is looked at: what the router takes for the others is no part of the comparison.
    app.router.routes.insert(0, app.router.routes.pop())
    return app


if __name__ == "__main__":
    with patch.object(api.__main__, "create_app", create_app_with_constant):
        api.__main__.main()
