"""What is on its way while the disk hangs, or while an off is still read back: neither stops a poll
or an off, and each refusal says why."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import bmslink
from acting_support import EnforcedBench, policy_text
from bmslink.config.identity import locks
from bmslink.errors import GateError
from bmslink.link.transport import parse_target
from bmslink.model import Command, Switch
from bmslink.runtime.acting import mailbox
from bmslink.runtime.jobs import PackJobs
from bmslink.service_forms import SwitchRequest
from bmslink.storage import alone
from bmslink.storage import journal as journals
from bmslink.storage.journal import Journal, JournalError
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


@pytest.mark.parametrize("protocol", ["jbd", "jk02", "daly-a5"])
async def test_an_on_while_an_off_is_read_back_hears_the_reason(protocol: str) -> None:
    """It is no change that was cut off, and nobody is alarmed."""
    pack = SimulatedPack(protocol, cells=4, load=0.0)
    async with EnforcedBench(pack, policy_text(protocol), enforce=False).running() as bench:
        await bench.until(lambda: bench.served.identity is not None, 10)
        jobs = PackJobs(bench.served)
        off = asyncio.create_task(jobs.switch(Nobody(), OFF))
        await bench.until(lambda: not bench.on("charge"), 3)
        await asyncio.sleep(0.5)
        with pytest.raises(
            GateError, match=r"charge is being switched off by process .* read back"
        ):
            await jobs.switch(Nobody(), ON)
        assert not off.done()
        await asyncio.sleep(1)
        await bench.served.known.look_for_cut_off()
        assert (await off)["result"] == "done"
        assert not [e for e in bench.events if e.what == "change_cut_off"]
        assert (await jobs.switch(Nobody(), ON))["result"] == "done"


@pytest.mark.real_time
@pytest.mark.parametrize("where", ["begin", "lock", "ledger"])
async def test_a_disk_that_hangs_while_something_is_switched_on_stops_nobody(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pack is polled and switched off, and so is the same one; the on is refused."""
    one, two = SimulatedPack("jbd", cells=4), SimulatedPack("jbd", cells=4)
    hang = threading.Event()

    def hangs(*_: Any, **more: Any) -> Any:
        hang.wait(10)
        raise OSError("it hung")

    monkeypatch.setattr(journals, "_DISK", 1.5)
    async with served(one.target, two.target) as service:
        first, second = service.packs.values()
        with monkeypatch.context() as patched:
            if where == "begin":
                patched.setattr(Journal, "begin", hangs)
            elif where == "lock":
                patched.setattr(locks, "open_lock", hangs)
            else:
                patched.setattr("bmslink.runtime.acting.by_hand.kept_ledger", hangs)
            on = asyncio.create_task(PackJobs(first).switch(Nobody(), ON))
            await asyncio.sleep(0.5)
            assert not on.done()
            heard = second.heard
            await until(lambda: second.heard != heard, 1.2)
            offs = [
                asyncio.create_task(PackJobs(pack).switch(Nobody(), OFF))
                for pack in (first, second)
            ]
            await until(lambda: not (one.truth().charge_switch or two.truth().charge_switch), 0.9)
            with pytest.raises(GateError, match=r"has not answered for 1.5 s"):
                await on
            hang.set()
            for each in offs:
                each.cancel()
            await asyncio.gather(*offs, return_exceptions=True)
    assert not one.truth().charge_switch


@pytest.mark.real_time
async def test_what_a_disk_writes_too_late_is_no_change_that_was_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pack = SimulatedPack("daly-a5", cells=4, load=0.0)
    hang, begin = threading.Event(), Journal.begin

    def slow(journal: Journal, *names: Any, **about: Any) -> Any:
        hang.wait(10)
        return begin(journal, *names, **about)

    monkeypatch.setattr(journals, "_DISK", 0.3)
    async with bmslink.connect(pack.target) as device:
        pack.set_switch("charge", False)
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "begin", slow)
            with pytest.raises(JournalError, match=r"Without it nothing is sent"):
                await device.switch(Command(Switch.CHARGE, True))
        hang.set()
        await until(lambda: list(Journal().records()), 2)
        await asyncio.sleep(0.1)
        assert not Journal().unfinished()
        assert not pack.truth().charge_switch


@pytest.mark.real_time
async def test_no_off_waits_for_a_look_at_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a run has the pack, and whether another program has its factory mode open."""
    hang = threading.Event()

    def hangs(*_: Any, **more: Any) -> Any:
        hang.wait(10)
        raise OSError("it hung")

    monkeypatch.setattr(mailbox, "runs", hangs)
    monkeypatch.setattr(alone, "open_lock", hangs)
    begun = time.monotonic()
    assert mailbox.run_soon(parse_target("jbd+tcp://192.0.2.1:1")) is None
    async with alone.alone("factory mode", 0.0) as held:
        assert not held
    assert time.monotonic() - begun < 1.5
    hang.set()
