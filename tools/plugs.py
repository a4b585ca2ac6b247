"""A port in this process whose pack can be pulled out, exchanged and muted while programs run."""

from __future__ import annotations

import asyncio
from typing import Any

from bmslink.board import Board
from bmslink.errors import LinkClosed, PortNotFound
from bmslink.link.transport import Line, OnData, OnLost, Transport
from bmslink.runtime.service_file import PackPlan
from bmslink.simulation.transport import SimDevice, SimLine, make_device

__all__ = ["Plug", "PlugTransport", "plugged_board"]


class Plug:
    """A port. Nothing is in it until `insert`."""

    def __init__(self, name: str = "/dev/ttyTEST", device: SimDevice | None = None) -> None:
        self.name = name
        self.device = device
        self.sent: list[tuple[float, bytes]] = []
        """Loop time (s) and bytes of what was written, where `remembers`."""
        self.remembers = False
        self.opened = 0
        """How often it was opened."""
        self.opening = 0.0
        """How long opening it takes, s."""
        self.users: list[PlugTransport] = []

    def insert(self, protocol: str, **options: Any) -> SimDevice:
        """Put in a simulated pack; see `make_device`."""
        self.device = make_device(protocol, **options)
        return self.device

    def exchange(self, protocol: str, **options: Any) -> SimDevice:
        """Put another pack behind the same adapter: the port stays, and nobody is told."""
        device = self.insert(protocol, **options)
        for user in self.users:
            user.rewire(device)
        return device

    def pull(self) -> None:
        """Take it out: who has it open is told, who opens it finds no port."""
        self.device = None
        for user in tuple(self.users):
            user.lose()


class PlugTransport(Transport):
    """One opening of a port."""

    def __init__(self, plug: Plug, *, shares: bool = False) -> None:
        """`shares`: several packs are on this line."""
        self.plug = plug
        self._shares = shares
        self._line: SimLine | None = None
        self._on_data: OnData | None = None
        self._on_lost: OnLost | None = None

    def line(self) -> Line | None:
        return Line(self.plug.name) if self._shares else None

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        await self.close()
        if self.plug.opening:
            await asyncio.sleep(self.plug.opening)
        if self.plug.device is None:
            raise PortNotFound(f"There is no port {self.plug.name}.")
        self.plug.opened += 1
        self._on_data, self._on_lost = on_data, on_lost
        self._line = SimLine(self.plug.device, on_data)
        self.plug.users.append(self)

    async def close(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = self._on_lost = None
        if self in self.plug.users:
            self.plug.users.remove(self)

    async def write(self, data: bytes) -> None:
        if self._line is None:
            raise LinkClosed("The cable was pulled.")
        if self.plug.remembers:
            self.plug.sent.append((asyncio.get_running_loop().time(), data))
        self._line.receive(data)

    def rewire(self, device: SimDevice) -> None:
        """Another pack is at the end of the cable."""
        if self._line is not None and self._on_data is not None:
            self._line.close()
            self._line = SimLine(device, self._on_data)

    def lose(self) -> None:
        """The cable is pulled."""
        on_lost, self._on_lost = self._on_lost, None
        if self._line is not None:
            self._line.close()
            self._line = None
        if self in self.plug.users:
            self.plug.users.remove(self)
        if on_lost is not None:
            on_lost(LinkClosed("The cable was pulled."))


def plugged_board(plan: PackPlan, plug: Plug, *, shares: bool = False) -> Board:
    """The board of a pack behind a port."""
    return Board(
        plan.endpoint,
        transport=lambda modules, pin: PlugTransport(plug, shares=shares),
        named=plan.named,
    )
