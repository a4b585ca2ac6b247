"""A line without a device: what is sent is heard by a script, which says something or nothing."""

from __future__ import annotations

import asyncio

from bmslink.link.transport import OnData, OnLost, Transport

__all__ = ["ScriptedTransport"]


class ScriptedTransport(Transport):
    """Remembers what was sent and when; `heard` decides what is said. Closed, it says nothing."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, bytes]] = []
        """Loop time (s) and bytes of each write."""
        self.on_data: OnData | None = None
        self.on_lost: OnLost | None = None

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        self.on_data, self.on_lost = on_data, on_lost

    async def close(self) -> None:
        self.on_data = self.on_lost = None

    async def write(self, data: bytes) -> None:
        self.sent.append((asyncio.get_running_loop().time(), data))
        self.heard(data)

    def heard(self, data: bytes) -> None:
        """A request arrived; silent unless a subclass says something."""

    def say(self, *data: bytes, after: float = 0.02) -> None:
        """These bytes arrive so many seconds from now, as one piece."""
        asyncio.get_running_loop().call_later(after, self.deliver, b"".join(data))

    def deliver(self, data: bytes) -> None:
        """They arrive now."""
        if data and self.on_data is not None:
            self.on_data(data)

    @property
    def times(self) -> list[float]:
        """When something was sent."""
        return [at for at, _ in self.sent]
