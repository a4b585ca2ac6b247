"""A warning, from commands that only read, of a change that was cut off.

It asks the pack nothing, and where the journal holds no such change it costs a look at its files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.cli.output import Session
    from bmslink.model import Identity

__all__ = ["open_change", "warn"]


def open_change(device: Board, identity: Identity | None = None) -> str | None:
    """What was cut off on an open device, in a sentence; `None`: nothing is known of one."""
    from bmslink.served_board import ServedBoard
    from bmslink.storage.journal import Journal, JournalError

    if isinstance(device, ServedBoard):  # by the service's journal, not this user's
        return device.open_change
    try:
        if not Journal().unfinished(quick=True):  # the usual case, and it need not load `config`
            return None
        from bmslink.config import open_change as sentence

        return sentence(device, identity)
    except JournalError:  # a command that writes will report it
        return None


def warn(session: Session, device: Board, identity: Identity | None = None) -> None:
    """Say it on stderr, if there is such a change."""
    if sentence := open_change(device, identity):
        session.complain(sentence)
