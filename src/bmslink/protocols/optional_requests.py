"""Questions that a board need not answer, and how long they are asked."""

from __future__ import annotations

from collections import Counter

__all__ = ["OptionalRequests"]


class OptionalRequests:
    """Which questions a firmware seems not to know.

    Silence is then normal, but a lost answer looks the same: so what was silent twice is asked
    only now and then, and what has answered once is always asked.
    """

    _MISSES = 2
    _EVERY = 50

    def __init__(self) -> None:
        self.rounds = 0
        """Polls so far; the driver counts them."""
        self._misses: Counter[object] = Counter()
        self._answered: set[object] = set()

    def worth_asking(self, question: object) -> bool:
        """Whether to ask in this round."""
        return self._misses[question] < self._MISSES or self.rounds % self._EVERY == 0

    def knows(self, question: object) -> bool:
        """Whether it was ever answered."""
        return question in self._answered

    def answered(self, question: object) -> None:
        """An answer came."""
        self._answered.add(question)
        del self._misses[question]

    def missed(self, question: object) -> None:
        """Nothing came; counted only for what was never answered."""
        if question not in self._answered:
            self._misses[question] += 1

    def forgive(self) -> None:
        """Begin anew, after the link was opened again."""
        self._misses.clear()
