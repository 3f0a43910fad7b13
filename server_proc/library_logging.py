"""waitress's own log messages, brought into the structured log. Called once, by the main thread."""

from __future__ import annotations

import logging

import structlog

log = structlog.get_logger()


class StructlogHandler(logging.Handler):
    """Passes each record on as one structlog event; whichever thread logs runs it."""

    def emit(self, record: logging.LogRecord) -> None:
        log.log(
            record.levelno,
            "library_reported",
            logger=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info,
        )


def route_waitress_logging() -> None:
    """Send what waitress logs to structlog, and to nothing else."""
    logger = logging.getLogger("waitress")
    logger.handlers = [StructlogHandler()]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    # One line for each request that has to queue: under load it would log as fast as it serves.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
