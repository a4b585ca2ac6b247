"""How good a link is: what was asked, answered and lost, and whether the same board spoke on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

__all__ = ["Continuity", "LinkCounters"]

_WEIGHT = 1 / 16
"""Of the newest turnaround in the mean of the last ones."""
_OUTAGE = 2
_PAUSE = 3
"""A pause of so many timeouts between two answers may be long enough to plug in another board."""


@dataclass(slots=True)
class LinkCounters:
    """Of one link since it was made, across all openings."""

    requests: int = 0
    """Frames sent, repetitions included."""
    answers: int = 0
    """Those that were answered, and the frames of a board that streams by itself."""
    timeouts: int = 0
    """How often nothing usable came in time."""
    openings: int = 0
    turnaround: float | None = None
    """From a request to the end of its answer, s: a mean in which the last 16 count most."""

    def answered(self, turnaround: float) -> None:
        """A request was answered after so many seconds."""
        self.answers += 1
        old = self.turnaround
        self.turnaround = turnaround if old is None else old + _WEIGHT * (turnaround - old)


@dataclass(slots=True)
class Continuity:
    """Whether the board that answers must be the one that answered before."""

    outages: int = 0
    """How often at least two tries in a row, of whatever questions, got no answer before one
    did: long enough to put the plug into another board."""
    pauses: int = 0
    """How often there was a pause as long between two answers, also where nothing was asked."""
    prompt: bool = False
    """Whether the last answer came to the first try."""
    missed: int = 0
    """Tries in a row that nothing answered."""
    answered_at: float = -1e9
    """Loop time of the last answer."""

    def answered(self, timeout: float, *, prompt: bool) -> None:
        """A question was answered."""
        self.outages += self.missed >= _OUTAGE
        self.missed, self.prompt = 0, prompt
        self.spoke(timeout)

    def spoke(self, timeout: float) -> None:
        """The board said something."""
        now = asyncio.get_running_loop().time()
        self.pauses += now - self.answered_at > _PAUSE * timeout
        self.answered_at = now

    def breaks(self, timeout: float) -> int:
        """Grows with all outages and pauses, also with one that lasts until now."""
        pause = asyncio.get_running_loop().time() - self.answered_at
        return self.outages + self.pauses + (pause > _PAUSE * timeout)
