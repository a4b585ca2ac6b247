"""Simulated packs over `ble_memory`, for the tests of Bluetooth."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import bmslink
from ble_memory import AIR, OPENED, Module, simulated
from bmslink.discovery.ble import SPOKEN
from bmslink.errors import BmsError
from bmslink.model import Identity, Reading
from support import virtual_run

ADDRESS = "C8:47:8C:E4:55:12"
PROTOCOLS = SPOKEN


def clear_air() -> None:
    """Nothing is in reach any more."""
    AIR.clear()
    OPENED.clear()


def board(protocol: str, *, name: str = "pack", address: str = ADDRESS, **how: Any) -> Module:
    """A simulated pack in reach."""
    return simulated(protocol, name=name, address=address, **how)


class Parrot:
    """A board that says something of its own to everything."""

    def __init__(self, answers: Callable[[bytes], bytes], say: Callable[[bytes], object]) -> None:
        self.answers, self.say = answers, say

    def receive(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(0.02, self.say, self.answers(data))

    def close(self) -> None:
        pass


def parrot(answers: Callable[[bytes], bytes], protocol: str = "jbd") -> Module:
    module = board(protocol)
    module.line = partial(Parrot, answers)
    return module


def read(target: str, **options: Any) -> tuple[Identity, Reading]:
    async def main() -> tuple[Identity, Reading]:
        async with bmslink.connect(target, **options) as device:
            return await device.identify(), await device.read()

    return virtual_run(main())


def opening(target: str = f"jbd+ble://{ADDRESS}", **options: Any) -> BmsError:
    """How opening a target fails, and that nothing stays open."""

    async def main() -> None:
        async with bmslink.connect(target, **options) as device:
            await device.read()

    with pytest.raises(BmsError) as caught:
        virtual_run(main())
    assert OPENED.count("open") == OPENED.count("close")
    assert all(module.client is None for module in AIR)
    text = str(caught.value)
    assert text[-1] in ".?"
    assert "\n" not in text
    assert len(text) < 400
    return caught.value
