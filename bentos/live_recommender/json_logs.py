"""Logs as JSON, one object a line on standard output.

No line holds what a user wrote: requests are logged by route and outcome, and of an unexpected error its type and where it
happened, not its words, which may quote a request.
"""

import logging
import sys
import time
import traceback
from typing import Any

import orjson

from livealign.errors import LiveAlignError

LOGGER = logging.getLogger("livealign")
_TAKEN_OVER = ("bentoml", "uvicorn.error", "livealign")
_FRAMES = 8  # innermost places of an error


class JsonLines(logging.Formatter):
    """A record as one JSON object: at, level, logger, event, and the fields given as `extra={"fields": {…}}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage() if record.exc_info is None or record.name == "livealign" else "error",
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line |= described(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


def described(error: BaseException) -> dict[str, Any]:
    """Type and places of an error, and its words where they are our own."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    found: dict[str, Any] = {"error": type(error).__name__, "where": [f"{frame.filename}:{frame.lineno}" for frame in frames]}
    if isinstance(error, LiveAlignError | OSError):
        found["says"] = str(error)
    return found


def configure() -> None:
    """Have this process' loggers write JSON lines. Safe to repeat."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    for name in _TAKEN_OVER:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING if name == "uvicorn.error" else logging.INFO)


def log(event: str, level: int = logging.INFO, **fields: object) -> None:
    """One line about an event of the service."""
    LOGGER.log(level, event, extra={"fields": fields})
