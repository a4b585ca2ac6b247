"""Off through the service, while others read all the time: it waits for one exchange at most."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

import bmslink
from bmslink import config
from bmslink.errors import BmsError, VerifyError
from bmslink.model import Command, Switch
from served_support import served, until, writing

QUESTIONS = {"jbd": 1}
"""What is asked before the frame: JBD's sets both locks, and it must know the other one."""
TIMES = {"jbd": 10}
"""The others three times."""


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))


async def read_on(target: str) -> None:
    async with bmslink.connect(target) as device:
        while True:
            try:
                await device.read()
            except BmsError as error:
                assert "Too many requests" in str(error), error
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("protocol", ["jbd", "daly-a5", "daly-d2", "jk-modbus", "jk02"])
async def test_off_waits_for_one_exchange_at_most(protocol: str) -> None:
    target = f"sim://{protocol}?cells=8"
    chance = random.Random(protocol)
    async with served(target) as service:
        (pack,) = service.packs.values()
        frame = (await config.rehearse_switch(pack.board, Command(Switch.CHARGE, False)))[-1]
        sent: list[tuple[float, bytes]] = []
        loop = asyncio.get_running_loop()

        def listen(direction: str, data: bytes) -> None:
            if direction == "tx":
                sent.append((loop.time(), data))

        readers = [asyncio.create_task(read_on(target)) for _ in range(8)]
        with pack.board.tap.listening(listen):
            async with bmslink.connect(target) as device:
                for _ in range(TIMES.get(protocol, 3)):
                    await asyncio.sleep(chance.uniform(0.5, 1.5))
                    sent.clear()
                    asked = loop.time()
                    off = asyncio.create_task(device.switch("charge", False))
                    await _frame(sent, frame)
                    before = [(at, data[:4].hex()) for at, data in sent if at > asked]
                    assert len(before) - 1 <= 1 + QUESTIONS.get(protocol, 0), (asked, before)
                    assert (await off).result == "done"
        for reader in readers:
            reader.cancel()
        ended: list[Any] = await asyncio.gather(*readers, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


async def _frame(sent: list[tuple[float, bytes]], frame: bytes) -> None:
    for _ in range(100_000):
        if any(_alike(data, frame) for _, data in sent):
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it was never sent")


def _alike(data: bytes, frame: bytes) -> bool:
    """The same frame; JK02 numbers its frames, and so their sums differ."""
    return data == frame or (data[:4] == b"\xaa\x55\x90\xeb" and data[:16] == frame[:16])


@pytest.mark.parametrize("protocol", ["jbd", "daly-a5", "jk02"])
async def test_off_does_not_wait_for_a_change_that_is_being_written(protocol: str) -> None:
    target = f"sim://{protocol}?cells=8"
    async with served(target) as service, bmslink.connect(target) as device:
        (pack,) = service.packs.values()
        frame = (await config.rehearse_switch(pack.board, Command(Switch.CHARGE, False)))[-1]
        sent: list[tuple[float, bytes]] = []
        loop = asyncio.get_running_loop()
        held = (await device.settings())["cell_ovp"].value
        plan = await device.plan({"cell_ovp": held - 0.05}, waive=["untested"])
        change = asyncio.create_task(device.apply(plan))
        await until(writing)
        with pack.board.tap.listening(
            lambda way, data: sent.append((loop.time(), data)) if way == "tx" else None
        ):
            off = asyncio.create_task(device.switch("charge", False))
            await _frame(sent, frame)
        assert len(sent) - 1 <= 1 + QUESTIONS.get(protocol, 0), sent
        outcome = await off
        assert outcome.sentence.startswith("charge off: read back"), outcome
        (ended,) = await asyncio.gather(change, return_exceptions=True)
        if protocol == "jk02":  # there it is a setting, and so the change goes back
            assert isinstance(ended, VerifyError)
            assert "charge_switch stays off" in str(ended)
        else:
            assert ended.result == "done"
        assert (await device.read()).charging_allowed is False


async def test_off_works_while_it_is_asked_anew_who_the_board_is() -> None:
    """What a JK's driver remembers is dropped for that; which register means what is asked then."""
    target = "sim://jk02?cells=8"
    async with served(target) as service, bmslink.connect(target) as device:
        (pack,) = service.packs.values()
        await device.settings()
        pack.board.driver.forget()
        assert (await device.switch("charge", False)).result == "done"
