"""A transport that holds back what would change something: for rehearsals.

A rehearsal runs the very code that writes, down to the last byte before the wire.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar

from bmslink.transport import Line, OnData, OnLost, Transport

__all__ = ["Held", "Holding"]


_RUNS: ContextVar[Holding | None] = ContextVar("rehearsal", default=None)


class Held(Exception):
    """The bytes were kept, not sent: no answer will come."""


class Holding(Transport):
    """Another transport, that sends questions and keeps changes back.

    Only those of the rehearsal itself: what another task sends meanwhile (a switch that goes off)
    goes out.
    """

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.streaming_clock = inner.streaming_clock
        self.held: list[bytes] = []
        """What was kept back so far."""
        self.changing = False
        """Whether what is written now would change something; questions are always sent."""

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """What is done inside, and in tasks that begin inside, is the rehearsal."""
        token = _RUNS.set(self)
        try:
            yield
        finally:
            _RUNS.reset(token)

    def here(self) -> bool:
        """Whether it is the rehearsal that asks."""
        return _RUNS.get() is self

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        await self.inner.open(on_data, on_lost)

    async def close(self) -> None:
        await self.inner.close()

    async def write(self, data: bytes) -> None:
        """Send a question; keep what would change something, and raise `Held`."""
        if self.changing and self.here():
            self.held.append(bytes(data))
            raise Held
        await self.inner.write(data)

    @contextmanager
    def change(self) -> Iterator[None]:
        """Around whatever writes what changes something."""
        self.changing = True
        try:
            yield
        finally:
            self.changing = False

    def line(self) -> Line | None:
        return self.inner.line()

    def turn(self, *, listens: bool = False) -> AbstractAsyncContextManager[float]:
        return self.inner.turn(listens=listens)
