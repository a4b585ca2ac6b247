"""Over-charge: charging stops before the BMS's own limit, and returns when the cell has fallen."""

from __future__ import annotations

import asyncio
import re

import pytest

from acting_support import VENDORS, enforced


@pytest.mark.parametrize("protocol", VENDORS)
async def test_a_full_cell_stops_charging_and_gives_it_back(protocol: str) -> None:
    async with enforced(protocol) as bench:
        bench.pack.set_cell_voltage(2, 3.58)
        await bench.until(lambda: not bench.on("charge"), 10)
        await bench.until(lambda: bench.switch("charge")["command"]["read_back"], 5)
        shown = bench.switch("charge")
        assert shown["owner"] == "ours"
        assert shown["holders"] == ["cell_overvoltage"]
        assert "3.580 V" in shown["why"]
        assert shown["given_back"].startswith("Held by cell_overvoltage")
        assert bench.on("discharge"), "only the direction that makes it worse"
        bench.pack.set_cell_voltage(2, 3.45)
        await asyncio.sleep(120)
        assert not bench.on("charge"), "below the trip, and not yet at the release"
        assert re.fullmatch(
            r"Held by cell_overvoltage \(tripped at highest cell \(cell 2\) 3\.58\d V, at or above "
            r"3\.550 V for \d\.\d s\); now 3\.45\d V; it lets go at or below 3\.400 V for 60 s",
            bench.switch("charge")["given_back"],
        )
        bench.pack.set_cell_voltage(2, None)
        took = await bench.until(lambda: bench.on("charge"), 120)
        assert took >= 59, "the release has its delay"
        await bench.until(lambda: bench.said("given_back"), 5)
        assert bench.switch("charge")["owner"] != "ours"
