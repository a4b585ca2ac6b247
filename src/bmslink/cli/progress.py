"""How far a long piece of work is, on one line of a terminal that is gone when the work is done."""

from __future__ import annotations

import os
import sys
import time
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Self

from bmslink.cli.output import Session
from bmslink.cli.streams import is_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bmslink.board import Board

__all__ = ["Progress", "show_progress"]

_PATIENCE = 0.5
"""Work that takes less than this shows nothing, s."""
_LONG = 2.0
"""The same for work with packs, which waits for their answers, s."""
_WHY = {"waiting": " s: does the board keep it?"}
"""What is being done -> why, where it does not explain itself."""
_PERIOD = 0.1
"""The line changes no more often than this, s."""


class Progress:
    """A line on stderr where that is a terminal; nothing with --json or --quiet.

    As a context manager it leaves no line behind.
    """

    def __init__(self, session: Session, patience: float | None = None) -> None:
        """`patience`: how long nothing is shown, s."""
        self._session = session
        self._live = _is_live(session)
        self._due = time.monotonic() + (_PATIENCE if patience is None else patience)
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def tell(self, doing: str, done: float) -> None:
        """What is being done, and how much of it is done, 0 to 1."""
        self.show(f"{doing}: {min(max(done, 0.0), 1.0):.0%}")

    def show(self, text: str) -> None:
        """Show it, cut to the width of the terminal, if it is time."""
        if not self._live or (now := time.monotonic()) < self._due:
            return
        self._due = now + _PERIOD
        self._shown = True
        self._session.progress(text[: get_terminal_size().columns - 1])

    def clear(self) -> None:
        """Make room for something else."""
        if self._shown:
            self._shown = False
            self._session.progress("")


def show_progress(session: Session, devices: Sequence[Board]) -> None:
    """Show how far reading and changing the settings of packs are, once that takes long; of several
    packs by their targets."""
    if not _is_live(session):
        return
    line = Progress(session, _LONG)

    def follow(device: Board) -> None:
        name = f"{device.target}: " if len(devices) > 1 else ""
        device.on_progress = lambda doing, done, total: line.show(
            f"{name}{doing} {done}/{total}{_WHY.get(doing, '')}"
        )

    for device in devices:
        follow(device)


def _is_live(session: Session) -> bool:
    """Whether a person sees what changes on stderr, and wants to."""
    dumb = os.environ.get("TERM") == "dumb"
    return not (session.json or session.quiet or dumb) and is_terminal(sys.stderr)
