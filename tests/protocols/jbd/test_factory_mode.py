"""Factory mode of a JBD board that several of our programs can reach at once, through a gateway."""

from __future__ import annotations

import asyncio
import logging

import pytest

import bmslink
from bmslink.config import switch
from bmslink.link.transport import Transport
from bmslink.model import Command
from bmslink.simulation.transport import SimLine, make_device
from bmslink.storage.alone import alone
from bmslink.storage.journal import Journal
from support import virtual_run


class Gateway(Transport):
    """One of several connections to a board."""

    board = make_device("jbd")

    async def open(self, on_data, on_lost) -> None:
        self.end = SimLine(self.board, on_data)
        self.sent: list[tuple[float, bytes]] = []

    async def close(self) -> None:
        self.end.close()

    async def write(self, data: bytes) -> None:
        self.sent.append((asyncio.get_running_loop().time(), data))
        self.end.receive(data)

    def reached(self) -> str:
        return "tcp://192.0.2.1:1"


@pytest.fixture(autouse=True)
def gateway(monkeypatch):
    monkeypatch.setattr(Gateway, "board", make_device("jbd"))
    monkeypatch.setattr("bmslink.connection.make_transport", lambda *args: Gateway())


TARGET = "jbd+tcp://192.0.2.1:1"


async def read_settings(delay: float) -> dict[int, bytes]:
    async with bmslink.connect(TARGET).board as device:
        await asyncio.sleep(delay)
        return dict(
            (await device.settings(await device.settings_map(await device.identify()))).image
        )


async def test_two_that_read_settings_take_turns(caplog):
    with caplog.at_level(logging.WARNING):
        first, *others = await asyncio.gather(
            read_settings(0.0), read_settings(0.7), read_settings(1.0)
        )
    assert len(first) > 40
    assert others == [first, first]
    assert "factory mode" not in caplog.text


@pytest.mark.parametrize("which", ["charge", "balance"])
async def test_switching_off_waits_for_nobody(which, tmp_path):
    loop = asyncio.get_running_loop()
    async with alone("factory mode tcp://192.0.2.1:1 None", 0.0) as held:
        assert held
        async with bmslink.connect(TARGET).board as device:
            begun = loop.time()
            await switch(device, Command(which, False), journal=Journal(tmp_path))
            frames = device.link.transport.sent
    assert (
        next(at for at, data in frames if data[1:3] in (b"\x5a\xe1", b"\x5a\x2d")) - begun
    ) < 1.5


def test_who_never_ends_is_not_waited_for_without_end():
    async def main():
        async with alone("factory mode tcp://192.0.2.1:1 None", 0.0):
            return await read_settings(0.0)

    assert len(virtual_run(main())) > 40
