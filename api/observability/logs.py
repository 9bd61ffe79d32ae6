"""What the process says: one JSON object a line on standard error, with the id of the request that it is about.

Never in it: a key, a name of a person, a body. An error is logged by its type and the lines of code that it came
through, since its message may repeat what came in.
"""

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

requests: Any = structlog.get_logger("requests")

# Which request this is about. structlog's own context can hold anything, and takes ten times as long.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


def add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say which request a line is about, if it is about one."""
    if (current := request_id.get()) is not None:
        event["request_id"] = current
    return event


def to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Write a line as JSON."""
    return encode(event)


SHARED: list[Processor] = [
    add_request_id,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def without_messages(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace an exception by its type and where it came from."""
    information = event.pop("exc_info", None)
    error = information[1] if isinstance(information, tuple) else information
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["at"] = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    return event


def configure(level: str) -> None:
    """Send this package's lines and those of every library the same way."""
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*SHARED, to_json],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, without_messages, to_json],
        foreign_pre_chain=[*SHARED, structlog.stdlib.add_logger_name],
    )
    handler.setFormatter(formatter)
    logging.basicConfig(level=max(least, logging.WARNING), handlers=[handler], force=True)
    for name in ("api", "uvicorn.error"):
        logging.getLogger(name).setLevel(least)
