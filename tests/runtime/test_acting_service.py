"""Policies that act, under the service: on simulated boards of every vendor, on virtual time."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from acting_support import EnforcedBench, approve, enforced, policy_text
from bmslink.errors import GateError
from bmslink.model import Switch
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.jobs import PackJobs
from bmslink.service_forms import SwitchRequest
from bmslink.testing import SimulatedPack


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


async def killed(bench: EnforcedBench) -> None:
    """The program dies without a word: nothing is saved that was not on the disk already."""
    task = next(iter(bench.service._tasks.values()))
    side = bench.served.judge.acting
    assert side is not None
    assert side._pack is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for each in list(side._pack.actor._tasks):
        each.cancel()
    await asyncio.sleep(0)
    os.close(side._pack.lock)
    side._pack = None
    bench.served.judge.acting = None


@pytest.mark.parametrize("wait", [0.0, 1.05, 1.2, 2.5, 30.0])
async def test_killed_and_started_again(wait: float) -> None:
    """The off holds over the death of the program, is known as ours, and is given back once."""
    text = policy_text("jbd")
    async with enforced("jbd", text=text) as bench:
        pack = bench.pack
        pack.set_cell_voltage(2, 3.58)
        await asyncio.sleep(wait)
        await killed(bench)
        async with EnforcedBench(pack, text).running() as again:
            await again.until(lambda: again.served.judge.enforcing, 10)
            await again.until(lambda: not again.on("charge"), 10)
            await asyncio.sleep(5)
            assert again.switch("charge")["owner"] == "ours"
            pack.set_cell_voltage(2, None)
            took = await again.until(lambda: again.on("charge"), 180)
            assert took > 30
            await asyncio.sleep(30)
            assert again.on("charge")
            assert pack.counters["commands"] <= 3


async def test_a_full_disk_delays_no_off_and_gives_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with enforced("jbd") as bench:
        with monkeypatch.context() as patched:
            for where in ("bmslink.storage.atomic", "bmslink.control.act.store"):
                patched.setattr(f"{where}.replace_file", full, raising=False)
            patched.setattr("bmslink.storage.state.replace_file", full, raising=False)
            patched.setattr("bmslink.storage.journal.add", full)
            bench.pack.set_cell_voltage(2, 3.58)
            assert await bench.until(lambda: not bench.on("charge"), 10) < 3
            bench.pack.set_cell_voltage(2, None)
            assert await bench.stays(lambda: not bench.on("charge"), 200)
            assert bench.said("disk")


async def test_a_mistake_withdraws_one_pack_and_heals(monkeypatch: pytest.MonkeyPatch) -> None:
    async with enforced("jbd") as bench:
        with monkeypatch.context() as patched:
            patched.setattr("bmslink.runtime.acting.pack_actor.detect", None)
            await asyncio.sleep(5)
        assert len(bench.said("withdrawn")) == 1
        bench.pack.set_cell_voltage(2, 3.58)
        await bench.until(lambda: not bench.on("charge"), 10)


async def test_a_changed_file_watches_beside_the_approved_one() -> None:
    approved = policy_text("jbd")
    changed = approved.replace('ov_trip = "3.55 V"', 'ov_trip = "3.52 V"')
    pack = SimulatedPack("jbd", cells=4)
    await approve(pack, approved)
    async with EnforcedBench(pack, changed).running() as bench:
        await bench.until(lambda: bench.served.judge.enforcing, 10)
        await asyncio.sleep(65)
        assert "only watches" in bench.said("standing")[0]
        pack.set_cell_voltage(2, 3.53)
        assert await bench.stays(lambda: bench.on("charge"), 10)
        assert any("The changed file: cell_overvoltage:" in e.text for e in bench.events)
        pack.set_cell_voltage(2, 3.58)
        await bench.until(lambda: not bench.on("charge"), 10)


async def test_an_emergency_stop_needs_no_policies_and_lasts() -> None:
    """Over a restart too, and against an app; a reset ends it, and sends nothing."""
    pack = SimulatedPack("jbd", cells=4)
    text = policy_text("jbd")
    async with EnforcedBench(pack, text, enforce=False).running() as bench:
        await asyncio.sleep(5)
        assert pack.counters["commands"] == 0
        await bench.served.judge.do(ActingWish(do="stop", why="smoke"), "anna")
        await bench.until(lambda: not bench.on("charge") and not bench.on("discharge"), 3)
        pack.set_switch("charge", True)
        await bench.until(lambda: not bench.on("charge"), 15)
    async with EnforcedBench(pack, text, enforce=False).running() as bench:
        await asyncio.sleep(20)
        pack.set_switch("discharge", True)
        await bench.until(lambda: not bench.on("discharge"), 15)
        with pytest.raises(GateError, match="reset"):
            await bench.served.judge.acting.person_on(Switch.CHARGE, "bob")
        before = pack.counters["commands"]
        await bench.served.judge.do(ActingWish(do="reset"), "anna")
        assert await bench.stays(lambda: not bench.on("discharge"), 120)
        assert pack.counters["commands"] == before


async def test_a_person_may_not_switch_on_what_is_held() -> None:
    async with enforced("jbd") as bench:
        bench.pack.set_cell_voltage(2, 3.58)
        await bench.until(lambda: not bench.on("charge"), 10)
        await asyncio.sleep(3)
        jobs = PackJobs(bench.served)
        with pytest.raises(GateError, match="cell_overvoltage"):
            await jobs.switch(lambda *_: None, SwitchRequest(switch="charge", on=True))
        await bench.served.judge.do(
            ActingWish(do="override", policy="cell_overvoltage", minutes=5), "anna"
        )
        await jobs.switch(lambda *_: None, SwitchRequest(switch="charge", on=True))
        assert await bench.stays(lambda: bench.on("charge"), 60), bench.trouble()


async def test_what_a_person_switched_off_is_not_given_back() -> None:
    async with enforced("jbd") as bench:
        jobs = PackJobs(bench.served)
        await jobs.switch(lambda *_: None, SwitchRequest(switch="charge", on=False))
        assert await bench.stays(lambda: not bench.on("charge"), 300)
        await jobs.switch(lambda *_: None, SwitchRequest(switch="charge", on=True))
        assert await bench.stays(lambda: bench.on("charge"), 60)
