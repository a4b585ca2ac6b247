"""What a simulated device's protocol can say, found out by reading it with our own driver."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from typing import Any

from bmslink.errors import BmsError
from bmslink.link import Link
from bmslink.model import Condition
from bmslink.protocols import load_driver
from bmslink.protocols.base import Driver, Options
from bmslink.simulation.responder import Responder
from bmslink.transport import OnData, OnLost, Transport

__all__ = ["shows"]

_PERIOD = 0.02  # s between two times that a streaming device speaks: nobody waits here
_TIMEOUT = 0.1


class _Shortcut(Transport):
    """A responder without the delays and the faults of a wire."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._timer: asyncio.TimerHandle | None = None

    async def open(self, on_data: OnData, on_lost: OnLost) -> None:
        del on_lost  # it never hangs up
        self._on_data = on_data
        if self._responder.period is not None:
            self._speak()

    def _speak(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_PERIOD, self._speak)
        self._on_data(self._responder.stream())

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def write(self, data: bytes) -> None:
        for answer in self._responder.receive(data):
            self._on_data(answer.data)


async def shows(protocol: str, responder: Responder, condition: Condition) -> bool:
    """Whether a reading of the device holds a condition that its pack reports.

    A copy of the device is read, so nothing changes. Where it cannot be read, True: nothing is
    known against it.
    """
    shared = responder.pack.chemistry  # frozen, and not to be copied
    device = copy.deepcopy(responder.line(), {id(shared): shared})
    factory: type[Driver[Any]] = load_driver(protocol)
    timing = replace(factory.timing, gap=0.0, timeout=_TIMEOUT, retries=0, wake_retries=0)
    link: Link[Any] = Link(_Shortcut(device), factory.make_framer(), timing)
    driver = factory(link, Options(address=responder.address))
    try:
        await link.open()
        await driver.start()
        reading = await driver.read()
    except BmsError:
        return True
    finally:
        await link.close()
    return condition in {*reading.alarms, *reading.protections, *reading.faults}
