"""Settings that a balancing session has changed for a while: nobody else changes any meanwhile.

Whatever is set before everything is back would be lost, or set back to what it was in the middle of
a session. Sessions lie further up (`runtime`), so they are named here by a string that is loaded
when one is open, as protocols are.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, cast

from bmslink.board import Board
from bmslink.model import Identity, Switch
from bmslink.storage.journal import JournalError, on_disk
from bmslink.storage.state import state_path

__all__ = ["NEVER_LENT", "SESSION", "changing_for_session", "is_for_session", "lent_to"]

SESSION = "session"
"""The check that fails meanwhile."""
NEVER_LENT = frozenset({Switch.CHARGE.key, Switch.DISCHARGE.key})
"""Settings that no session touches: a person may set them while one is open."""
_SESSIONS = "bmslink.runtime.sessions.open_sessions"

_ours: ContextVar[bool] = ContextVar("_ours", default=False)


class OpenSessions(Protocol):
    """What is asked of the sessions."""

    def open_session_of(self, device: Board, identity: Identity) -> str:
        """The session of this board that has not ended, and what ends it, in a sentence; empty:
        none. Reads the disk."""


@contextmanager
def changing_for_session() -> Iterator[None]:
    """In here the session itself changes settings."""
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


def is_for_session() -> bool:
    """Whether it is the session that sends here."""
    return _ours.get()


async def lent_to(device: Board, identity: Identity) -> str:
    """Who has changed settings of this board for a while, and what sets them back, in a sentence;
    empty: nobody, or who asks."""
    if _ours.get():
        return ""

    def look() -> str:
        if not any((state_path() / "sessions").glob("*.json")):  # the usual case loads nothing
            return ""
        sessions = cast(OpenSessions, importlib.import_module(_SESSIONS))
        return sessions.open_session_of(device, identity)

    try:
        return await on_disk(look)
    except JournalError as error:
        return str(error)
