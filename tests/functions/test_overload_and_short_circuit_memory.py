"""Overload: what flows too long is stopped. A short circuit that comes again is not tried again
until a person has looked."""

from __future__ import annotations

import asyncio

import pytest

from acting_support import VENDORS, enforced
from support import WHOLE_SWEEP


@pytest.mark.parametrize("protocol", VENDORS)
async def test_an_overload_is_stopped_after_its_time(protocol: str) -> None:
    async with enforced(protocol, load=-20.0, capacity=100.0) as bench:
        assert bench.on("discharge")
        bench.pack.set_load(-125.0)
        took = await bench.until(lambda: not bench.on("discharge"), 60)
        assert took >= 9, "the delay of the policy"
        assert any(
            "discharge_overcurrent" in holder for holder in bench.switch("discharge")["holders"]
        )


@pytest.mark.sweep
@pytest.mark.parametrize("protocol", VENDORS)
async def test_repeated_short_circuits_stay_off(protocol: str) -> None:
    async with enforced(protocol) as bench:
        for _ in range(3):
            bench.pack.set_condition("short_circuit", "protection")
            await asyncio.sleep(5)
            bench.pack.set_condition("short_circuit", None)
            await asyncio.sleep(20)
        await bench.until(lambda: "short_circuit_memory" in bench.switch("discharge")["holders"], 5)
        await bench.until(lambda: not bench.on("discharge"), 10)
        # what is remembered for ten minutes is the same on every board: one of them outlasts it
        await asyncio.sleep(1200 if WHOLE_SWEEP else 700 if protocol == "jbd" else 60)
        assert not bench.on("discharge"), "it waits for a person"
