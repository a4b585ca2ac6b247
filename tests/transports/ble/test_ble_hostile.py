"""Notifications of peripherals that are broken or mean it."""

from __future__ import annotations

import asyncio

import pytest

import bmslink
import fuzz_ble
from ble_support import ADDRESS, PROTOCOLS, board, clear_air, opening, parrot
from bmslink.errors import (
    LinkTimeout,
)
from bmslink.simulation.transport import SimLine, make_device
from support import virtual_run


@pytest.fixture(autouse=True)
def air(monkeypatch):
    monkeypatch.setenv("BMSLINK_BLE_BACKEND", "ble_memory:factory")
    monkeypatch.delenv("BMSLINK_PIN", raising=False)
    clear_air()
    yield
    clear_air()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_link_recovers_from_any_notifications(protocol):
    """A few of what `tools/fuzz_ble.py` does by the ten thousand."""
    fuzz_ble.fuzz(protocol, 10)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_another_protocol_and_its_own_old_answers_are_survived(protocol):
    foreign = "jbd" if protocol != "jbd" else "jk02"
    spoken = []
    other = make_device(foreign)
    module = board(protocol)

    async def main():
        line = SimLine(other, spoken.append)
        request = bytes.fromhex("dda50300fffd77")
        line.receive(
            request if foreign == "jbd" else bytes.fromhex("aa5590eb97" + "00" * 14 + "11")
        )
        await asyncio.sleep(2)
        line.close()
        async with bmslink.connect(f"{protocol}+ble://{ADDRESS}") as device:
            replayed = []
            said = module.client.callback

            def listen(data):
                replayed.append(bytes(data))
                said(data)

            module.client.callback = listen
            first = await device.read()
            for data in (*spoken, *replayed, *replayed):
                module.client.callback = said
                said(bytearray(data))
            return first, await device.read()

    first, second = virtual_run(main())
    assert spoken
    assert len(first.cell_voltages) == len(second.cell_voltages)


def test_a_module_that_only_talks_nonsense_is_not_believed():
    parrot(lambda data: b"\xdd\x03\x00" + bytes(255) * 20)
    error = opening(f"jbd+ble://{ADDRESS}", timeout=0.2)
    assert isinstance(error, LinkTimeout)
    assert error.heard == "garbage"
