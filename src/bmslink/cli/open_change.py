"""A warning, from commands that only read, of a change or a session that was cut off.

It asks the pack nothing, and where the journal holds no such change it costs a look at its files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bmslink.board import Board
    from bmslink.cli.output import Session
    from bmslink.model import Identity

__all__ = ["open_change", "open_session", "warn"]


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


def open_session(device: Board) -> str | None:
    """Of a balancing session that was cut off, in a sentence; `None`: nothing is known of one. A
    service looks after its own."""
    from bmslink.served_board import ServedBoard
    from bmslink.storage.state import state_path

    if isinstance(device, ServedBoard) or not any((state_path() / "sessions").glob("*.json")):
        return None
    from bmslink.control.sessions.kept import SessionStore

    kept = SessionStore().at(device.target)
    if kept is None:
        return None
    from bmslink.runtime.sessions.open_sessions import said_of_session

    return said_of_session(kept, device.target.word)


def warn(session: Session, device: Board, identity: Identity | None = None) -> None:
    """Say it on stderr, if there is such a change, or such a session."""
    for sentence in (open_change(device, identity), open_session(device)):
        if sentence:
            session.complain(sentence)
