"""How a served pack is: in one word, since when, why, and how good its link is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from bmslink.board import Board
from bmslink.errors import LinkClosed
from bmslink.jsonable import plain
from bmslink.moments import utc_now

__all__ = ["POLLED", "PackHealth", "PackState", "cause_of", "link_counters"]

PackState = Literal[
    "starting", "ok", "silent", "lost", "replaced", "lent", "released", "failed", "ended"
]
"""`starting`: not opened yet. `ok`: the last reading came. `silent`: the link is open, and nothing
usable is answered. `lost`: the link is gone or was never there, and is opened again and again.
`replaced`: it is read, but another board answers, and its policies wait for a person. `lent`,
`released`: somebody else has the line. `failed`: a mistake of ours; the pack starts anew. `ended`:
a recording that is over."""

POLLED: frozenset[PackState] = frozenset({"ok", "replaced", "ended"})
"""The states of a pack that is read, or has nothing more to be read."""


@dataclass(slots=True)
class PackHealth:
    """Of one pack. Times are for show only."""

    state: PackState = "starting"
    since: datetime = field(default_factory=utc_now)
    error: str = ""
    """Why there is no reading, in a sentence; empty while there is one."""
    failures: int = 0
    """How often a mistake of ours made the pack start anew."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "since": plain(self.since)}


def link_counters(board: Board) -> dict[str, int | float | None]:
    """How good the link of a board is, since it was made; times in s. All 0 before its protocol
    is known."""
    try:
        link = board.link
    except LinkClosed:
        return {
            "requests": 0, "answers": 0, "timeouts": 0, "checksum_errors": 0, "openings": 0,
            "turnaround": None,
        }  # fmt: skip
    found = link.counters
    return {
        "requests": found.requests,
        "answers": found.answers,
        "timeouts": found.timeouts,
        "checksum_errors": link.framer.bad_frames,
        "openings": found.openings,
        "turnaround": found.turnaround,
    }


def cause_of(error: BaseException | None) -> str:
    """What went wrong first, in a few words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
