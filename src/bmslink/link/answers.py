"""What answers a question, and what came instead.

Where answers do not say what they answer (`Timing.anonymous`), one that comes late would be taken
for the answer to the next question: `LateAnswers` knows when the last of them must have passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from bmslink.errors import LinkTimeout
from bmslink.link.framer import Frame
from bmslink.link.timing import Timing

__all__ = ["AnswerTally", "LateAnswers", "Overheard"]

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


_BY_WIRE = ("wrong baud rate, protocol or wiring", "is the BMS awake, wired (TX to RX)")
_BY_RADIO = ("wrong protocol", "is the board behind the Bluetooth module awake")


@dataclass(slots=True)
class AnswerTally:
    """What came instead of an answer."""

    start: int
    """Bytes the link had heard before."""
    others: int = 0
    """Frames that were not the answer, `echoes` of them the request itself."""
    echoes: int = 0
    got: int = 0
    """Frames of an answer that did not become complete."""

    def timeout(
        self, *, heard: int, radio: bool, address: int | None, addressed: bool
    ) -> LinkTimeout:
        """The error that says it. `heard`: bytes since the question; `addressed`: boards of this
        protocol can have another address than is asked where none is named."""
        if self.got:
            return LinkTimeout(f"The answer stopped after {self.got} frame(s).", "other")
        if self.others and self.echoes == self.others:
            return LinkTimeout(
                "Only our own request came back: the adapter echoes, and the BMS is silent.",
                "other",
            )
        own = "" if address is None else f", none from address {address} (--address)"
        if self.others:
            return LinkTimeout(
                f"Only other frames came ({self.others}){own}; another master or device may "
                "share the line.",
                "other",
            )
        garbled, awake = _BY_RADIO if radio else _BY_WIRE
        if heard:
            return LinkTimeout(f"{heard} bytes came, but no valid frame: {garbled}.", "garbage")
        asked = "and is this its protocol"
        if address is not None:
            asked = f"and are this its protocol and {address} its address (--address)"
        elif addressed and not radio:
            asked = "is this its protocol, and has it an address of its own (--address)"
        return LinkTimeout(f"No answer: {awake}, {asked}?", "silence")


class Overheard(Generic[F]):
    """Frames that somebody waits for in a stream which another one reads."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[F], bool], asyncio.Future[F]]] = []

    @contextmanager
    def waiting(self, match: Callable[[F], bool]) -> Iterator[asyncio.Future[F]]:
        """Gets the first frame that `match`es and comes inside; cancelled where the link ends."""
        found: asyncio.Future[F] = asyncio.get_running_loop().create_future()
        self._waiting.append((match, found))
        try:
            yield found
        finally:
            self._waiting.remove((match, found))
            found.cancel()

    def hear(self, frames: list[F]) -> None:
        """What came."""
        for match, found in self._waiting:
            if not found.done() and (fit := next(filter(match, frames), None)) is not None:
                found.set_result(fit)

    def end(self) -> None:
        """Nothing comes any more."""
        for _, found in self._waiting:
            found.cancel()
