"""What a simulated device can say of its pack, found out by reading it with our own driver."""

from __future__ import annotations

import asyncio
import copy
import selectors
from typing import Any

from bmslink.errors import BmsError
from bmslink.link.link import Link
from bmslink.link.transport import Endpoint
from bmslink.model import Condition, Reading
from bmslink.protocols import load_driver
from bmslink.protocols.base import Driver, Options
from bmslink.simulation.transport import SimDevice, SimTransport
from bmslink.simulation.wire import WireFaults

__all__ = ["shows"]

_PATIENCE = 120.0  # s of the hurried loop


class _Selector(selectors.DefaultSelector):
    """Never waits: the time of its loop jumps to the next timer instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class _HurriedLoop(asyncio.SelectorEventLoop):
    """An event loop in which the driver's patience and the device's delays take no time."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


async def shows(protocol: str, device: SimDevice, condition: Condition) -> bool:
    """Whether a reading of the device holds a condition that its pack reports.

    A copy of the device is read, on a line without faults; nothing changes. Where that fails,
    True: nothing is known against it.
    """
    shared = device.pack.chemistry  # frozen, and not to be copied
    pack, responder = copy.deepcopy((device.pack, device.responder), {id(shared): shared})
    twin = SimDevice(pack, responder, WireFaults(pack), 1.0, device.packs)
    try:
        reading = await asyncio.to_thread(_read_at_once, protocol, twin)
    except (BmsError, TimeoutError):
        return True
    return condition in {*reading.alarms, *reading.protections, *reading.faults}


def _read_at_once(protocol: str, device: SimDevice) -> Reading:
    with asyncio.Runner(loop_factory=_HurriedLoop) as runner:
        return runner.run(_read(protocol, device))


async def _read(protocol: str, device: SimDevice) -> Reading:
    factory: type[Driver[Any]] = load_driver(protocol)
    link: Link[Any] = Link(
        SimTransport(Endpoint("sim"), device), factory.make_framer(), factory.timing
    )
    driver = factory(link, Options(address=next(iter(device.packs), None)))
    await link.open()
    try:
        async with asyncio.timeout(_PATIENCE):
            await driver.start()
            return await driver.read()
    finally:
        await link.close()
