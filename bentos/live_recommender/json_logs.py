"""Logs as JSON, one object a line on standard output.

No line holds what a user wrote. Requests are logged by route and outcome; an unexpected error by its type and place, not its
text, which may quote a request.
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
    """A formatter that writes a record as one JSON object.

    Its fields: at, level, logger, event, and those given as `extra={"fields": {…}}`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage() if record.exc_info is None or record.name == "livealign" else "error",
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line |= error_fields(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


def error_fields(error: BaseException) -> dict[str, Any]:
    """Type and place of an error; its text too if the error is ours and quotes no user."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    fields: dict[str, Any] = {"error": type(error).__name__, "where": [f"{frame.filename}:{frame.lineno}" for frame in frames]}
    if isinstance(error, LiveAlignError | OSError):
        fields["says"] = str(error)
    return fields


def configure() -> None:
    """Make this process' loggers write JSON lines. Safe to repeat."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    for name in _TAKEN_OVER:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING if name == "uvicorn.error" else logging.INFO)


def log(event: str, level: int = logging.INFO, **fields: object) -> None:
    """Log one event of the service, with fields."""
    LOGGER.log(level, event, extra={"fields": fields})
