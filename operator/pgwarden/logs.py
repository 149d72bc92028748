"""Structured logs: one JSON object a line, also for what libraries log."""

from __future__ import annotations

import logging
import sys

import structlog

from pgwarden.api.masking import masked_deep

NOISY = ("kopf", "aiohttp", "kubernetes", "asyncio")


def configure(level: str) -> None:
    """Sends everything to standard error as JSON; libraries speak from WARNING on."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Without local variables: they may hold what must never be logged.
        structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.EventRenamer("message"),
                without_passwords,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def without_passwords(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Masks what others said and what was raised, at any depth of a line."""
    return {name: masked_deep(value) for name, value in line.items()}
