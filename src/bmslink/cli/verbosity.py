"""What -v and -vv say on stderr: the steps, and every byte."""

from __future__ import annotations

import io
import logging
from typing import IO, Any

from bmslink.cli.output import Session

__all__ = ["start_logging", "wire_log"]


class _ToSession(logging.Handler):
    """Log records as sentences on stderr."""

    def __init__(self, session: Session, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        self._session.complain(record.getMessage())


def start_logging(session: Session) -> None:
    """Show what the library logs, as far as -v asks for it."""
    logger = logging.getLogger("bmslink")
    logger.handlers[:] = [_ToSession(session)]
    logging.lastResort = _ToSession(session, logging.WARNING)  # what other libraries log
    logger.propagate = False
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    logger.setLevel(levels[min(session.verbosity, 2)])


class _WireLog(io.BytesIO):
    """Takes a recording's lines and says them at once."""

    def __init__(self, session: Session, target: str) -> None:
        super().__init__()
        self._session = session
        self._target = target

    def write(self, data: Any, /) -> int:
        self._session.complain(f"{self._target} {bytes(data).decode().strip()}")
        return len(data)


def wire_log(session: Session, target: str) -> IO[bytes] | None:
    """Where -vv wants every byte to go, passwords blanked; `None` without it."""
    return _WireLog(session, target) if session.verbosity > 1 else None
