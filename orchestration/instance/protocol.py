"""How a launcher and the run server talk: a JSON line each way, over a Unix socket."""

import json
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

TIMEOUT_SECONDS = 10

log = logging.getLogger(__name__)


class Request(NamedTuple):
    """What the server is asked to do about a run; `command` is Dagster's, for a start."""

    what: Literal["start", "interrupt", "look"]
    run_id: str
    command: Sequence[str] = ()


class State(NamedTuple):
    """How a run's process is doing; `number` is its process id while it runs, and its exit status once it has ended."""

    name: Literal["running", "ended", "unknown"]
    number: int = 0


def send(path: Path, request: Request) -> State:
    """Send a request to the server and return its reply.

    Raises:
        OSError: it is not there, or did not reply.
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
    """Reply to one request; a client that makes no sense, or has gone away, gets no reply."""
    # Others wait meanwhile; a client of this module sends its line at once.
    connection.settimeout(1)
    try:
        with connection.makefile("rwb") as lines:
            request = Request(*json.loads(lines.readline()))
            lines.write(json.dumps(handle(request)).encode() + b"\n")
    except (OSError, ValueError, TypeError) as error:
        log.warning("a request got no reply: %s", error)
