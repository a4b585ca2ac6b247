"""Listening to a transport, for the tests of real ports and sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bmslink.errors import TransportError
from bmslink.link.transport import Transport, make_transport, parse_target


class Ear:
    """Hears a transport."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.lost: list[Exception | None] = []
        self.news = asyncio.Event()

    def data(self, data: bytes) -> None:
        self.heard += data
        self.news.set()

    def end(self, error: Exception | None) -> None:
        self.lost.append(error)
        self.news.set()

    async def until(self, done: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not done():
                self.news.clear()
                await self.news.wait()


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("bmslink")]


@asynccontextmanager
async def opened(target: str) -> AsyncIterator[tuple[Ear, Transport]]:
    ear, transport = Ear(), make_transport(parse_target(target))
    await transport.open(ear.data, ear.end)
    try:
        yield ear, transport
    finally:
        async with asyncio.timeout(5):
            await transport.close()
    assert threads() == []


def failure(target: str) -> TransportError:
    """How opening a target fails."""

    async def main() -> None:
        async with opened(target):
            pass

    with pytest.raises(TransportError) as caught:
        asyncio.run(main())
    assert threads() == []
    assert str(caught.value)[-1] in ".?"
    return caught.value
