"""Whether a session of a board is open, and what ends it: the other end of
`config.records.on_loan`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from bmslink.board import Board
from bmslink.control.sessions.kept import KeptSession, SessionStore
from bmslink.model import Identity
from bmslink.runtime.acting.start import pack_key
from bmslink.storage.alone import hold_lock
from bmslink.storage.state import DamagedState, state_path

__all__ = [
    "is_running",
    "open_session_of",
    "said_of_session",
    "session_lock",
    "targets_of_sessions",
]


def session_lock(pack: str) -> int | None:
    """What is held while a session of a pack runs; `None`: another program holds it."""
    return hold_lock(state_path() / "locks", f"balance {pack}")


def is_running(pack: str) -> bool:
    """Whether some program runs a session of a pack now. Looks at the disk."""
    lock = session_lock(pack)
    if lock is not None:
        os.close(lock)
    return lock is None


def open_session_of(device: Board, identity: Identity) -> str:
    """The session of this board that has not ended, and what ends it, in a sentence; empty: none.
    Reads the disk."""
    try:
        kept = SessionStore().load(pack_key(device, identity))
    except DamagedState as error:
        return f"{error} Look at the balancing settings of the pack, then remove that file."
    return "" if kept is None else said_of_session(kept, device.target.word)


def targets_of_sessions() -> Iterator[str]:
    """The packs on which a command runs a session now, as it writes them. Reads the disk."""
    for kept in SessionStore().all():
        if kept.owner == "command" and is_running(kept.pack):
            yield kept.target


def said_of_session(kept: KeptSession, word: str) -> str:
    """What became of it, and the command that ends it. `word`: the pack as in a shell."""
    whose = f"A balancing session of {kept.who} (since {kept.began})"
    if is_running(kept.pack):
        return f"{whose} runs: `bmslink balance cancel {word}` ends it and sets everything back."
    return (
        f"{whose} was cut off, and the board may hold what it set: `bmslink balance session {word} "
        "--restore` sets it back, --resume goes on."
    )
