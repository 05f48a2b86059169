"""Logs: one line an event on standard error, for people or for machines."""

import logging
import sys

import structlog

from cluster.runtime.settings import LogFormat, LogLevel


def configure_logging(level: LogLevel, log_format: LogFormat) -> None:
    """Log events of `level` and above."""
    renderer: structlog.typing.Processor
    match log_format:
        case LogFormat.JSON:
            renderer = structlog.processors.JSONRenderer()
        case LogFormat.CONSOLE:
            renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
