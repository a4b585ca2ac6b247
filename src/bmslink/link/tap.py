"""A transport that others can listen to, and that can be lent: bytes as they are, both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Literal

from bmslink.link.transport import OnData, OnLost, Transport, WrappedTransport

__all__ = ["Listener", "Tap"]

Listener = Callable[[Literal["rx", "tx"], bytes], None]
"""Takes what came from the board (`rx`) and what went to it. It may not raise, nor wait."""


class Tap(WrappedTransport):
    """Any transport, with listeners, and at times a guest who gets what comes instead of us."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self._listeners: list[Listener] = []
        self._guest: Callable[[bytes], None] | None = None
        self._latest = float("-inf")

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Inside, the listener hears every byte."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    @contextmanager
    def lent(self, guest: Callable[[bytes], None]) -> Iterator[None]:
        """Inside, what comes goes to the guest and to nobody here. Only for who holds the turn."""
        self._guest = guest
        try:
            yield
        finally:
            self._guest = None

    def _tell(self, direction: Literal["rx", "tx"], data: bytes) -> None:
        self._latest = asyncio.get_running_loop().time()
        for listener in tuple(self._listeners):
            listener(direction, data)

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        def take(data: bytes) -> None:
            self._tell("rx", data)
            if self._guest is not None:
                self._guest(data)
            else:
                on_data(data)

        await self.inner.open(take, on_lost)

    async def write(self, data: bytes) -> None:
        self._tell("tx", data)
        await self.inner.write(data)

    def turn(self, **how: bool) -> AbstractAsyncContextManager[float]:
        return self._turn(**how)

    @asynccontextmanager
    async def _turn(self, **how: bool) -> AsyncIterator[float]:
        async with self.inner.turn(**how) as heard:
            yield max(heard, self._latest)
