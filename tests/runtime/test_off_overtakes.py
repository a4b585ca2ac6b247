"""Off, while something older that switches on is under way: the older one gives way, on the board
of a service, whose line both of them have."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import bmslink
from acting_support import enforced
from bmslink.errors import GateError, VerifyError
from bmslink.model import Switch
from bmslink.runtime.acting import mailbox, pack_actor
from bmslink.runtime.acting.direct import do_directly, send_offs
from bmslink.runtime.acting.mailbox import NotTaken, ask_run
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.acting.start import lock_acting, pack_key
from bmslink.runtime.jobs import PackJobs
from bmslink.service_forms import SwitchRequest
from bmslink.storage.journal import Journal
from bmslink.switched_off import Overtaken
from bmslink.testing import SimulatedPack
from served_support import served, until

ON, OFF = SwitchRequest(switch="charge", on=True), SwitchRequest(switch="charge", on=False)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


class Nobody:
    """A client that takes no news."""

    def __call__(self, doing: str, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...


@pytest.mark.parametrize(
    ("protocol", "later"),
    [("jbd", 0.2), ("daly-a5", 2.0), ("jk02", 2.5), ("jk02", 5.0)],
    ids=["before the frame", "before a slow one", "before a setting", "before its proof"],
)
async def test_an_on_that_was_asked_for_earlier_does_not_leave_later(
    protocol: str, later: float
) -> None:
    pack = SimulatedPack(protocol, cells=4, load=0.0)
    async with served(pack.target) as service:
        jobs = PackJobs(next(iter(service.packs.values())))
        await jobs.switch(Nobody(), OFF)
        on = asyncio.create_task(jobs.switch(Nobody(), ON))
        await asyncio.sleep(later)
        assert not on.done()
        assert (await jobs.switch(Nobody(), OFF))["result"] == "done"
        told = r"switched charge off meanwhile|is being switched off"
        with pytest.raises((GateError, VerifyError), match=told) as ended:
            await on
        if isinstance(ended.value, GateError):  # exit code 3, else 4
            assert str(ended.value).startswith("Nothing was sent.")
        assert not pack.truth().charge_switch
        await jobs.switch(Nobody(), ON)  # one that is asked for afterwards is as ever
        assert pack.truth().charge_switch


@pytest.mark.parametrize("later", [0.2, 0.5, 3.0])
async def test_a_stop_waits_for_nobody_who_switches_by_hand(later: float) -> None:
    """Whoever switches on by hand has the pack to himself until it is read back."""
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with served(pack.target) as service:
        served_pack = next(iter(service.packs.values()))
        jobs = PackJobs(served_pack)
        await jobs.switch(Nobody(), OFF)
        on = asyncio.create_task(jobs.switch(Nobody(), ON))
        await asyncio.sleep(later)
        stop = asyncio.create_task(served_pack.act(ActingWish(do="stop"), "anna"))
        await until(lambda: not pack.truth().discharge_switch, 0.5)
        await stop
        await asyncio.gather(on, return_exceptions=True)
        await asyncio.sleep(10)
        assert not pack.truth().charge_switch
        assert served_pack.judge.acting_status()["stopped"]["who"] == "anna"


async def test_a_stop_waits_for_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    hang = asyncio.Event()

    async def hangs(*_: object) -> None:
        await hang.wait()

    async with served(pack.target) as service:
        served_pack = next(iter(service.packs.values()))
        monkeypatch.setattr(served_pack.judge.acting, "begin_for_people", hangs)
        stop = asyncio.create_task(served_pack.act(ActingWish(do="stop"), "anna"))
        await until(lambda: not (pack.truth().charge_switch or pack.truth().discharge_switch), 0.5)
        stop.cancel()
        await asyncio.gather(stop, return_exceptions=True)


async def test_a_stop_says_what_was_sent_though_another_program_has_the_pack() -> None:
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with bmslink.connect(pack.target) as device:
        lock = lock_acting(pack_key(device.board, await device.identify()))
        assert lock is not None
        try:
            with pytest.raises(VerifyError, match=r"Off was sent \(charge, .* not remembered"):
                await do_directly(device.board, ActingWish(do="stop"), "anna")
        finally:
            os.close(lock)
        assert not pack.truth().charge_switch


async def test_a_mistake_of_what_acts_keeps_no_off_of_a_person_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mistaken(*_: object, **more: object) -> None:
        raise RuntimeError("no!")

    async with enforced("jbd") as bench:
        jobs = PackJobs(bench.served)
        monkeypatch.setattr(pack_actor, "reconcile", mistaken)
        assert (await jobs.switch(Nobody(), OFF))["result"] == "done"
        assert not bench.on("charge")
        with pytest.raises(RuntimeError, match="no!"):
            await bench.served.act(ActingWish(do="stop"), "anna")
        assert not bench.on("discharge")


async def test_a_disk_that_hangs_keeps_nobody_who_asks_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also the files of a wish that is taken back are on it."""
    hang = threading.Event()

    def hangs(*_: object, **more: object) -> None:
        hang.wait(5)

    monkeypatch.setattr(mailbox, "replace_file", hangs)
    monkeypatch.setattr(Path, "unlink", hangs)
    begun = time.monotonic()
    with pytest.raises(NotTaken, match="hangs"):
        await ask_run("jbd", ActingWish(do="off", switch="charge"), "anna", patience=0.05)
    hang.set()
    assert time.monotonic() - begun < 2


@pytest.mark.real_time
async def test_a_disk_that_hangs_after_an_off_keeps_no_other_pack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = SimulatedPack("jbd", cells=4), SimulatedPack("jbd", cells=4)
    hang, begin = threading.Event(), Journal.begin

    def hangs(journal: Journal, *names: Any, **about: Any) -> Any:
        hang.wait(5)
        return begin(journal, *names, **about)

    async with served(one.target, two.target) as service:
        first, second = service.packs.values()
        monkeypatch.setattr(Journal, "begin", hangs)
        begun, offs = time.monotonic(), []
        for served_pack, pack in ((first, one), (second, two)):
            offs.append(asyncio.create_task(PackJobs(served_pack).switch(Nobody(), OFF)))
            await until(lambda pack=pack: not pack.truth().charge_switch, 3)
            await asyncio.sleep(0.05)
        assert time.monotonic() - begun < 3
        hang.set()
        for each in offs:
            each.cancel()
        await asyncio.gather(*offs, return_exceptions=True)


async def test_an_off_that_a_newer_on_overtakes_is_not_said_to_be_done() -> None:
    async with enforced("jbd") as bench:
        jobs = PackJobs(bench.served)
        off = asyncio.create_task(jobs.switch(Nobody(), OFF))
        await asyncio.sleep(0.05)
        on = asyncio.create_task(jobs.switch(Nobody(), ON))
        found = await off
        assert found["result"] == "unproven"
        assert "charge on (" in found["sentence"]
        assert "is newer" in found["sentence"]
        assert (await on)["result"] == "done"
        assert bench.on("charge")


@pytest.mark.parametrize(("target", "switches"), [
    ("jbd+sim://?gap=0&cells=4", "charge discharge balance"),
    ("daly-a5+sim://?cells=4", "charge discharge"),
])  # fmt: skip
async def test_an_on_that_was_asked_for_before_a_stop_gives_way(target: str, switches: str) -> None:
    """Every off that a stop sends is known to those who switch on meanwhile."""
    async with bmslink.connect(target).board as board:
        with board.offs.watched():
            assert await send_offs(board, ("untested",)) == switches.split()
            for name in switches.split():
                with pytest.raises(Overtaken, match=f"{name} on was not sent"):
                    board.offs.require_none([Switch(name)])
