"""Deep discharge: the load is cut before cells are harmed, and not while this computer lives on the
pack; charging goes on."""

from __future__ import annotations

import asyncio

import pytest

from acting_support import VENDORS, enforced, policy_text


@pytest.mark.parametrize("protocol", VENDORS)
async def test_an_empty_cell_stops_discharging_and_gives_it_back(protocol: str) -> None:
    async with enforced(protocol) as bench:
        bench.pack.set_cell_voltage(3, 2.85)
        await bench.until(lambda: not bench.on("discharge"), 10)
        await bench.until(lambda: bench.switch("discharge")["command"]["read_back"], 5)
        assert bench.switch("discharge")["holders"] == ["cell_undervoltage"]
        assert bench.on("charge"), "it may be charged"
        bench.pack.set_cell_voltage(3, 2.95)
        await asyncio.sleep(120)
        assert not bench.on("discharge")
        bench.pack.set_cell_voltage(3, None)
        await bench.until(lambda: bench.on("discharge"), 120)
        await bench.until(lambda: bench.said("given_back"), 5)


async def test_a_pack_that_feeds_this_computer_is_cut_in_an_emergency_only() -> None:
    text = policy_text("jbd", host_power="pack")
    async with enforced("jbd", text=text) as bench:
        bench.pack.set_cell_voltage(3, 2.85)
        await asyncio.sleep(60)
        assert bench.on("discharge")
        assert bench.served.decision is not None
        assert bench.served.decision.limits.dcl.value == 0, "limits say it all the same"
