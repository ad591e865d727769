"""Logs: a JSON object a line (or a line for people), static event names, ids not objects."""

import logging
import sys
from typing import Literal

import orjson
import structlog

LogFormat = Literal["json", "console"]
# Local variables stay out of logs: they hold what callers sent, and cost a second per traceback.
_TRACEBACKS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
_CONSOLE = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(level: str = "info", log_format: str = "json") -> None:
    """Set the logs of this process up: `level` is debug, info, warning or error.

    `log_format` json or console.
    """
    number = _LEVELS[level]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        structlog.configure(
            processors=[
                *shared,
                structlog.processors.ExceptionRenderer(_TRACEBACKS),
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(number),
            logger_factory=structlog.BytesLoggerFactory(file=sys.stderr.buffer),
            cache_logger_on_first_use=False,
        )
    else:
        structlog.configure(
            processors=[*shared, _CONSOLE],
            wrapper_class=structlog.make_filtering_bound_logger(number),
            logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
            cache_logger_on_first_use=False,
        )
    logging.basicConfig(level=max(number, logging.WARNING), format="%(name)s: %(message)s")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Make the logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(module=name)
    return logger


def _dumps(event: object, **_: object) -> bytes:
    return orjson.dumps(event, default=repr)
