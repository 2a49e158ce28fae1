"""Lines of the server's log: each carries the id of its request, none the id of an investor."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import TextIO

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")
"""Of the request that a line belongs to."""
_LINE = "%(asctime)s %(levelname)s %(name)s request=%(request_id)s %(message)s"
_NAMES = ("tessera", "uvicorn.error")


class Identified(logging.Formatter):
    """Writes a line with the id of its request."""

    def format(self, record: logging.LogRecord) -> str:
        """Lay one line out."""
        record.request_id = REQUEST_ID.get()
        return super().format(record)


def write_lines(to: TextIO | None = None) -> logging.Handler:
    """Write what service and server log, from INFO on, to stderr or elsewhere."""
    handler = logging.StreamHandler(to or sys.stderr)
    handler.setFormatter(Identified(_LINE))
    for name in _NAMES:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO if name == "tessera" else logging.WARNING)
    return handler
