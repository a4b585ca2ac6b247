"""Temperature: no charging in the cold, less load in the heat, from -20 to +60 °C."""

from __future__ import annotations

import pytest

from acting_support import VENDORS, enforced


@pytest.mark.parametrize("protocol", VENDORS)
async def test_cold_cells_are_not_charged(protocol: str) -> None:
    async with enforced(protocol) as bench:
        bench.pack.set_temperature("cell_1", 2.0)
        await bench.until(lambda: not bench.on("charge"), 30)
        await bench.until(lambda: bench.switch("charge")["command"]["read_back"], 5)
        assert bench.switch("charge")["holders"] == ["charge_undertemperature"]
        assert bench.on("discharge"), "cold cells may be discharged"
        bench.pack.set_temperature("cell_1", 20.0)
        await bench.until(lambda: bench.on("charge"), 180)


@pytest.mark.parametrize("protocol", VENDORS)
async def test_the_load_is_limited_in_the_heat_and_cut_beyond(protocol: str) -> None:
    async with enforced(protocol) as bench:

        def allowed() -> float:
            decision = bench.served.decision
            assert decision is not None
            return decision.limits.dcl.value

        full = allowed()
        bench.pack.set_temperature("cell_1", 53.0)
        await bench.until(lambda: 0 < allowed() < 0.8 * full, 30)
        assert bench.on("discharge")
        bench.pack.set_temperature("cell_1", 57.0)
        await bench.until(lambda: not bench.on("discharge"), 30)
        assert "discharge_overtemperature" in bench.switch("discharge")["holders"]


@pytest.mark.parametrize("protocol", VENDORS)
async def test_down_to_minus_20_degrees(protocol: str) -> None:
    """Charging ends at 3 °C, a load goes on to -20 °C, or to 2 K before the BMS ends it, where
    the service can read what it is set to (-20 °C on this Daly)."""
    async with enforced(protocol) as bench:
        for celsius, charge in ((25.0, True), (4.0, True), (-5.0, False), (-17.0, False)):
            bench.pack.set_temperature("cell_1", celsius)

            def right(charge: bool = charge) -> bool:
                return bench.on("charge") is charge and bench.on("discharge")

            await bench.until(right, 30)
            assert await bench.stays(right, 40), celsius


@pytest.mark.parametrize("protocol", VENDORS)
async def test_at_60_degrees_nothing_flows(protocol: str) -> None:
    async with enforced(protocol) as bench:
        bench.pack.set_temperature("cell_1", 48.0)
        assert await bench.stays(lambda: bench.on("discharge"), 15)
        bench.pack.set_temperature("cell_1", 60.0)
        await bench.until(lambda: not bench.on("charge") and not bench.on("discharge"), 30)
        assert await bench.stays(lambda: not bench.on("charge") and not bench.on("discharge"), 120)
