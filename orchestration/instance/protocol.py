"""The protocol between run launcher and run server: one line of JSON in each direction, over a Unix socket."""

import json
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

TIMEOUT_SECONDS = 10

log = logging.getLogger(__name__)


class Request(NamedTuple):
    """A request about a run; `command` is Dagster's command for a start."""

    what: Literal["start", "interrupt", "state"]
    run_id: str
    command: Sequence[str] = ()


class State(NamedTuple):
    """The state of a run's process; `number` is its process id while it runs, and its exit status after it ended."""

    name: Literal["running", "ended", "unknown"]
    number: int = 0


def send(path: Path, request: Request) -> State:
    """Send a request to the server and return its reply.

    Raises:
        OSError: the server is not running, or did not reply.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as lines:
            line = lines.readline()
    if not line:
        raise ConnectionResetError("the run server closed the connection without a reply")
    return State(*json.loads(line))


def reply(connection: socket.socket, handle: Callable[[Request], State]) -> None:
    """Reply to one request; a malformed request gets no reply."""
    # Short, because others wait meanwhile; `send` sends its line immediately.
    connection.settimeout(1)
    try:
        with connection.makefile("rwb") as lines:
            request = Request(*json.loads(lines.readline()))
            lines.write(json.dumps(handle(request)).encode() + b"\n")
    except (OSError, ValueError, TypeError) as error:
        log.warning("a request got no reply: %s", error)
