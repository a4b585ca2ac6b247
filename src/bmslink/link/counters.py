"""How good a link is: what was asked, answered and lost."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AnswerTally", "LinkCounters"]

_WEIGHT = 1 / 16
"""Of the newest turnaround in the mean of the last ones."""


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
class AnswerTally:
    """What came instead of an answer."""

    start: int
    """Bytes the link had heard before."""
    asked: bool = False
    """Whether the question was sent."""
    others: int = 0
    """Frames that were not the answer, `echoes` of them the request itself."""
    echoes: int = 0
    got: int = 0
    """Frames of an answer that did not become complete."""
