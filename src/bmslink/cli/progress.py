"""How far a long piece of work is, on one line of a terminal that is gone when the work is done."""

from __future__ import annotations

import sys
import time
from typing import Self

from bmslink.cli.output import Session, is_terminal

__all__ = ["Progress"]

_PATIENCE = 0.5
"""Work that takes less than this shows nothing, s."""
_PERIOD = 0.1
"""The line changes no more often than this, s."""


class Progress:
    """A line on stderr where that is a terminal; nothing with --json or --quiet.

    As a context manager it leaves no line behind.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._live = not session.json and not session.quiet and is_terminal(sys.stderr)
        self._due = time.monotonic() + _PATIENCE
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def tell(self, doing: str, done: float) -> None:
        """What is being done, and how much of it is done, 0 to 1."""
        if not self._live or (now := time.monotonic()) < self._due:
            return
        self._due = now + _PERIOD
        self._shown = True
        self._session.progress(f"{doing}: {min(max(done, 0.0), 1.0):.0%}")

    def clear(self) -> None:
        """Make room for something else."""
        if self._shown:
            self._shown = False
            self._session.progress("")
