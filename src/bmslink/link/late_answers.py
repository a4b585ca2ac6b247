"""When the answers to tries that were given up must have passed.

Where answers do not say what they answer (`Timing.anonymous`), one that comes late would be taken
for the answer to the next question.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from bmslink.link.framer import Frame
from bmslink.link.timing import Timing

__all__ = ["LateAnswers"]

F = TypeVar("F", bound=Frame)

_PATIENCE = 10
"""After this many timeouts a try is forgotten."""


class LateAnswers(Generic[F]):
    """The tries of the latest question, as long as nothing answers it."""

    def __init__(self) -> None:
        self.until = float("-inf")
        """Before that no other question is asked, loop time."""
        self._question: F | None = None
        self._tries: list[float] = []

    def forget(self) -> None:
        """The line was opened anew."""
        self._tries = []

    def begin(self, question: F, wait: float, timing: Timing) -> None:
        """A question will be sent; how long the answers to the one before may still come."""
        if question == self._question:
            recent = asyncio.get_running_loop().time() - _PATIENCE * wait
            self._tries = [sent for sent in self._tries if sent > recent]
            return
        if self._tries and timing.anonymous:
            self.until = self._tries[-1] + 2 * wait
        self._question, self._tries = question, []

    def sent(self, at: float) -> None:
        """It was sent, perhaps not for the first time."""
        self._tries.append(at)

    def answered(self, timing: Timing) -> None:
        """If it was the first try that was answered, the others will be just as late."""
        if len(self._tries) > 1 and timing.anonymous:
            slow = asyncio.get_running_loop().time() - self._tries[0]
            self.until = self._tries[-1] + slow + timing.gap
        self._tries = []
