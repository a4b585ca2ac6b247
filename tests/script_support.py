"""A board for driver tests that answers each question with the bytes that a test gives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from bmslink.link.gatt import SeenDevice
from bmslink.link.link import Link
from bmslink.link.transport import OnData, OnLost, Transport
from bmslink.protocols.base import Driver, Options
from support import virtual_run

__all__ = ["Scripted", "drive"]


class Scripted(Transport):
    """Frame (hex) -> its answer (hex); silent for all others. Keeps what was sent."""

    def __init__(self, answers: Mapping[str, str], peer: SeenDevice | None = None) -> None:
        self.answers = dict(answers)
        self.after: dict[str, Mapping[str, str]] = {}
        """Frame -> what is answered as well once it was sent."""
        self.sent: list[str] = []
        self.seen = peer
        self.on_data: OnData | None = None

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        self.on_data = on_data

    async def close(self) -> None:
        self.on_data = None

    def peer(self) -> SeenDevice | None:
        return self.seen

    async def write(self, data: bytes) -> None:
        self.sent.append(data.hex())
        self.answers |= self.after.get(data.hex(), {})
        if answer := self.answers.get(data.hex()):
            asyncio.get_running_loop().call_later(0.03, self.deliver, bytes.fromhex(answer))

    def deliver(self, data: bytes) -> None:
        if self.on_data is not None:
            self.on_data(data)


def drive(
    driver: type[Driver[Any]],
    answers: Mapping[str, str],
    use: Callable[[Any, Scripted], Coroutine[Any, Any, None]],
    options: Options | None = None,
    peer: SeenDevice | None = None,
) -> None:
    """Run a coroutine with a driver and its board, in virtual time."""

    async def main() -> None:
        board = Scripted(answers, peer)
        link: Link[Any] = Link(board, driver.make_framer(), driver.timing)
        await link.open()
        await use(driver(link, options or Options()), board)
        await link.close()

    virtual_run(main())
