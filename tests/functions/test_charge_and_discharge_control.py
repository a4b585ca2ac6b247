"""Charge and discharge control: what is ours is taken and given back, what is not is respected, and
nothing acts that nobody approved."""

from __future__ import annotations

import asyncio

import pytest

from acting_support import VENDORS, EnforcedBench, enforced, policy_text
from bmslink.testing import SimulatedPack


@pytest.mark.parametrize("protocol", VENDORS)
async def test_both_directions_by_themselves(protocol: str) -> None:
    async with enforced(protocol) as bench:
        bench.pack.set_cell_voltage(2, 3.58)
        await bench.until(lambda: not bench.on("charge"), 10)
        assert bench.on("discharge")
        bench.pack.set_cell_voltage(2, None)
        await bench.until(lambda: bench.on("charge"), 120)
        bench.pack.set_cell_voltage(2, 2.85)
        await bench.until(lambda: not bench.on("discharge"), 10)
        assert bench.on("charge")


@pytest.mark.parametrize("protocol", VENDORS)
async def test_what_an_app_switched_off_is_not_given_back(protocol: str) -> None:
    async with enforced(protocol) as bench:
        bench.pack.set_switch("charge", False)
        assert await bench.stays(lambda: not bench.on("charge"), 300)
        assert bench.switch("charge")["owner"] == "foreign"
        assert bench.pack.counters["commands"] == 0


@pytest.mark.parametrize("protocol", VENDORS)
async def test_an_app_that_insists_is_respected(protocol: str) -> None:
    """Switched on against us: off once more. A second time within ten minutes: we stand down."""
    async with enforced(protocol) as bench:
        bench.pack.set_cell_voltage(2, 3.58)
        for _ in range(2):
            await bench.until(lambda: not bench.on("charge"), 15)
            await bench.until(lambda: bench.switch("charge")["command"]["read_back"], 5)
            bench.pack.set_switch("charge", True)
            await asyncio.sleep(20)
        assert bench.on("charge")
        assert bench.switch("charge")["stood_down"]
        assert bench.said("stand_down")


@pytest.mark.parametrize("protocol", VENDORS)
async def test_without_approval_nothing_is_sent(protocol: str) -> None:
    pack = SimulatedPack(protocol, cells=4)
    async with EnforcedBench(pack, policy_text(protocol)).running() as bench:
        await asyncio.sleep(60)
        pack.set_cell_voltage(2, 3.60)
        await asyncio.sleep(60)
        assert bench.on("charge")
        assert pack.counters["commands"] == 0
        assert len(bench.said("standing")) == 1
        assert bench.served.status()["shadow"]
