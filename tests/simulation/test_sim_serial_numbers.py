"""Simulated packs are never taken for one another by their serial numbers."""

from __future__ import annotations

import pytest

import bmslink
from bmslink.errors import TargetError
from bmslink.simulation.responder import RESPONDERS
from support import virtual_run


def serial_numbers(seed: int) -> list[str]:
    async def main() -> list[str]:
        found = []
        for protocol in RESPONDERS:
            for address in ("", "&address=2", "&address=3"):
                try:
                    device = bmslink.connect(f"sim://{protocol}?gap=0&seed={seed}{address}")
                    async with device:
                        number = (await device.identify()).serial_number
                except TargetError:  # it knows no addresses
                    continue
                if number is not None:
                    found.append(number)
        return found

    return virtual_run(main())


@pytest.mark.parametrize("seed", [1, 2, 7])
def test_one_seed_gives_each_protocol_and_address_its_own(seed: int) -> None:
    found = serial_numbers(seed)
    assert len(found) > 10
    assert len(set(found)) == len(found)
    assert not set(found) & set(serial_numbers(seed + 100))
    assert found == serial_numbers(seed)
