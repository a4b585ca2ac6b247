"""4000+ cycles: what bmslink does for a long life. A battery is kept within its bands of charge and
current, its life is counted from what its board says, and what is due is said in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import bmslink
from acting_support import VENDORS, EnforcedBench, enforced, policy_text
from bmslink.analysis import BatteryLife, Counted, LifeFacts
from bmslink.control.status import state_path
from bmslink.link.transport import parse_target
from bmslink.model import Reading
from bmslink.packs import NamedPack
from bmslink.runtime.judging.pack_memory import board_name
from bmslink.runtime.service import Service
from bmslink.runtime.service_file import PackPlan, ServicePlan
from bmslink.storage.state import StateFolder
from bmslink.testing import SimulatedPack
from service_support import serving

DAY = 86400.0


async def _nothing() -> None:
    """Nobody listens."""


def _facts(service: Service) -> LifeFacts:
    found = service.life("pack")
    assert found is not None
    return found


@pytest.mark.parametrize("protocol", VENDORS)
async def test_a_battery_is_kept_within_its_bands(protocol: str) -> None:
    text = policy_text(protocol).replace('mode = "off"', 'mode = "enforce"')
    async with enforced(protocol, text=text, soc=89.0) as bench:
        bench.pack.set_load(20.0)
        bench.pack.set_soc(91.5)
        await bench.until(lambda: not bench.on("charge"), 60)
        assert bench.switch("charge")["holders"] == ["soc_ceiling"]
        bench.pack.set_load(-20.0)
        bench.pack.set_soc(70.0)
        await bench.until(lambda: bench.on("charge"), 600)
        bench.pack.set_load(-130.0)  # a battery that may give 1 C
        await bench.until(lambda: not bench.on("discharge"), 60)
        assert "discharge_overcurrent_fast" in bench.switch("discharge")["holders"]


@pytest.mark.parametrize("protocol", VENDORS)
async def test_a_life_is_counted_and_outlives_a_restart(protocol: str) -> None:
    """From full to empty and up again: the capacity is found as the simulated pack has it."""
    pack = SimulatedPack(protocol, cells=4, capacity=100.0, soc=97.0, load=40.0)
    named = NamedPack("pack", pack.target, chemistry="lfp")
    plan = PackPlan("pack", pack.target, parse_target(pack.target), interval=30.0, named=named)
    loop = asyncio.get_running_loop()
    service = Service(ServicePlan((plan,)))
    async with serving(service, _nothing):
        await _until(lambda: _known(service) and _facts(service).full.days is not None, 3 * 3600)
        pack.set_load(-58.0)
        await _until(lambda: (pack.truth().min_cell_voltage or 9) < 2.75, 3 * 3600)
        pack.set_load(45.0)
        await _until(lambda: _facts(service).capacity.now.evidence > 0, 600)
        found = _facts(service)
    now = found.capacity.now
    assert now.value == pytest.approx(100.0, rel=0.03)
    assert now.uncertainty is not None
    assert abs(now.value - 100.0) <= now.uncertainty < 6.0
    assert found.throughput.equivalent_cycles == pytest.approx(1.0, abs=0.06)
    assert found.throughput.unknown_seconds == 0
    assert sum(band.hours for band in found.soc_hours) == pytest.approx(
        found.throughput.known_seconds / 3600
    )
    bands = {(band.low, band.high): band.hours for band in found.temperature_hours}
    assert bands[20.0, 30.0] + bands[30.0, 40.0] == pytest.approx(sum(bands.values()))
    assert bands[20.0, 30.0] > 0.5 and bands[30.0, 40.0] > 0.5, "0.58 C warms it from 25 °C"
    begun = loop.time()
    again = Service(ServicePlan((plan,)))
    async with serving(again, _nothing):
        await _until(lambda: _known(again), 120)
        after = _facts(again)
    assert after.capacity.now.evidence == now.evidence
    assert after.since == found.since
    assert after.throughput.discharged_capacity == pytest.approx(
        found.throughput.discharged_capacity, abs=0.01
    )
    assert loop.time() - begun < 300


def _known(service: Service) -> bool:
    return service.life("pack") is not None


async def _until(truth: Callable[[], object], within: float) -> None:
    for _ in range(int(within / 20)):
        if truth():
            return
        await asyncio.sleep(20)
    assert truth()


def _old_life(days: float) -> dict[str, str]:
    """What was kept of a battery that was full so many days ago."""
    life, now = BatteryLife("lfp"), datetime.now(UTC)
    for second in range(0, 400, 10):
        reading = Reading(
            time=now - timedelta(days=days, seconds=400 - second), voltage=13.84, current=0.5,
            soc=100.0, nominal_capacity=100.0, cell_voltages=(3.46,) * 4, cycles=4010,
        )  # fmt: skip
        life.hear(float(second), reading, Counted(known=float(second)))
    found = life.facts()
    assert found is not None and found.full.count == 1
    return life.save()


@pytest.mark.parametrize("protocol", VENDORS)
async def test_what_is_due_is_said_once_and_nothing_acts(protocol: str, tmp_path: Path) -> None:
    pack = SimulatedPack(protocol, cells=4, capacity=100.0, load=-10.0)
    async with bmslink.connect(pack.target) as device:
        key = board_name(await device.identify(), pack.target)
    folder = StateFolder(state_path() / "packs")
    folder.save(f"life {key}", {"parts": _old_life(31)}, None)
    assert tmp_path in folder.folder.parents
    bench = EnforcedBench(pack, policy_text(protocol), enforce=False)
    async with bench.running():
        await _until(lambda: _said(bench, "full_charge_due"), 1500)
        assert bench.on("charge") and bench.on("discharge")
        await asyncio.sleep(600)
    assert len(_said(bench, "full_charge_due")) == 1
    assert not _said(bench, "capacity_lost"), "nothing is known of it"
    assert not _said(bench, "throughput_budget"), "the board of today says fewer cycles"


def _said(bench: EnforcedBench, policy: str) -> list[str]:
    return [e.text for e in bench.events if e.what == "policy" and e.data["policy"] == policy]


async def test_an_ordinary_pack_hears_nothing_of_its_life() -> None:
    names = ("full_charge_due", "capacity_lost", "cell_resistance_rising", "throughput_budget")
    bench = EnforcedBench(SimulatedPack("jbd", cells=4, load=-10.0), policy_text("jbd"),
                          enforce=False)  # fmt: skip
    async with bench.running():
        await asyncio.sleep(1500)
        assert bench.served.decision is not None
        waiting = {v.policy for v in bench.served.decision.verdicts}
    assert not waiting & {*names}
    assert not [name for name in names if _said(bench, name)]
