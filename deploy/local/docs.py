"""The documentation of the models: dbt generates a single page, which is served on loopback until Ctrl-C."""

import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rich.console import Console

from deploy.local.services import LOOPBACK
from deploy.local.settings import Settings, orchestration_environment
from deploy.local.stack import servers
from deploy.local.supervisor import StackError


def docs(settings: Settings, console: Console) -> None:
    """Generate the documentation of the models and serve it until Ctrl-C or SIGTERM.

    Raises:
        StackError: the port is taken, or dbt failed.
    """
    page = settings.state_dir / "docs" / "page"
    try:
        server = PageServer((LOOPBACK, settings.docs_port), partial(PageHandler, directory=str(page)))
    except OSError as error:
        raise StackError(
            f"port {settings.docs_port} for the documentation is taken ({error.strerror}): free it, or choose another "
            f"with DOCS_PORT={settings.docs_port + 1}"
        ) from None
    with server, suppress(KeyboardInterrupt):
        _stop_on_signals()
        _write(settings, console, page)
        _stop_on_signals()
        console.print(f"The models' documentation: http://{LOOPBACK}:{settings.docs_port} (Ctrl-C stops the server)")
        server.serve_forever()


def _stop_on_signals() -> None:
    """Stop immediately, unlike a stack's owner, which stops at its next step."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def _write(settings: Settings, console: Console, page: Path) -> None:
    target = page.parent
    with servers(settings, console, with_s3=False) as postgres, console.status("Generating the documentation"):
        _stop_on_signals()
        failed = subprocess.run(  # noqa: S603
            [
                *(sys.executable, "-m", "orchestration.dbt", "--quiet", "docs", "generate", "--static"),
                *("--target-path", str(target), "--log-path", str(settings.logs)),
            ],
            env=orchestration_environment(settings, postgres.host),
            check=False,
        ).returncode
    if failed:
        raise StackError("dbt cannot generate the documentation; its messages are above")
    # In a folder of its own: dbt's other files must not be served.
    page.mkdir(exist_ok=True)
    (target / "static_index.html").replace(page / "index.html")


class PageServer(ThreadingHTTPServer):
    """A server that does not report browsers that disconnect during a response."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error, unless the client has disconnected."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class PageHandler(SimpleHTTPRequestHandler):
    """A handler that does not print each request."""

    def log_message(self, *_: Any) -> None:
        """Log nothing."""
