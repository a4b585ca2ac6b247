"""Policies that act, under the service: on simulated boards of every vendor, on virtual time."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import time
from pathlib import Path
from typing import Any, cast

import pytest
from asgi_support import ask
from msgspec.structs import replace

import bmslink
from acting_support import EnforcedBench, approve, enforced, policy_text
from bmslink.control.act.consent import ConsentError
from bmslink.control.act.ledger import Stop, SwitchRecord
from bmslink.control.act.store import LedgerStore
from bmslink.errors import BmsError, GateError, UsageError, VerifyError
from bmslink.model import Switch
from bmslink.runtime.acting import start
from bmslink.runtime.acting.mailbox import ask_run, read_mail
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.acting.start import _load, approve_policies, lock_acting, pack_key, standing_of
from bmslink.runtime.api.app import make_app
from bmslink.runtime.jobs import PackJobs
from bmslink.service_forms import SwitchRequest
from bmslink.testing import SimulatedPack
from served_support import until


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


async def killed(bench: EnforcedBench) -> None:
    """The program dies without a word: nothing is saved that was not on the disk already."""
    task = next(iter(bench.service._tasks.values()))
    side = bench.served.judge.acting
    assert side._pack is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for each in list(side._pack.actor._tasks):
        each.cancel()
    await asyncio.sleep(0)
    os.close(side._pack.lock)
    side._pack = None


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
        bench.pack.set_cell_voltage(2, None)
        await bench.until(lambda: bench.on("charge"), 180)
        assert len(bench.said("withdrawn")) == 1


async def test_what_let_an_on_be_wanted_still_holds_when_it_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While it waits for the disk the BMS's own protection closes the path."""
    async with enforced("jbd") as bench:
        bench.pack.set_cell_voltage(2, 3.58)
        await bench.until(lambda: not bench.on("charge"), 10)
        asked = []

        async def slow(*_: object) -> bool:
            asked.append(bench.on("charge"))
            bench.pack.set_condition("charge_undertemperature", "protection")
            await asyncio.sleep(3)
            return True

        monkeypatch.setattr("bmslink.control.act.store.LedgerStore.saved", slow)
        commands = bench.pack.counters["commands"]
        bench.pack.set_cell_voltage(2, None)
        await bench.until(lambda: asked, 180)
        assert await bench.stays(lambda: not bench.on("charge"), 20)
        assert bench.pack.counters["commands"] == commands


async def test_a_name_that_is_no_switch_is_refused_and_ends_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'charg' is no switch"):
        ActingWish(do="resume", switch="charg").request("anna")

    async def mistaken(wish: ActingWish, who: str) -> list[str]:
        if wish.do == "resume":
            raise AttributeError(wish.switch)
        return ["All off."]

    async def stolen(wish: ActingWish, who: str) -> list[str]:
        raise AssertionError("it has no pack, so it takes no letter")

    elsewhere = asyncio.create_task(read_mail("jbd", stolen, lambda: False))
    reading = asyncio.create_task(read_mail("jbd", mistaken))
    with pytest.raises(BmsError, match="made a mistake"):
        await ask_run("jbd", ActingWish(do="resume"), "anna")
    with pytest.raises(VerifyError, match="charge and discharge did not read back"):
        await ask_run("jbd", ActingWish(do="stop"), "anna")  # no run shows that it is off
    assert await ask_run("jbd", ActingWish(do="reset"), "anna") == ["All off."]
    assert not elsewhere.done()
    elsewhere.cancel()
    reading.cancel()


async def test_a_stop_that_has_no_effect_is_no_success() -> None:
    async with enforced("jbd") as bench:
        bench.pack.fault("command_ignored")
        with pytest.raises(VerifyError, match="charge and discharge did not read back"):
            await bench.served.act(ActingWish(do="stop"), "anna")


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
        await approve(pack, changed)
        await bench.until(lambda: not bench.on("charge"), 60)


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


async def test_people_ask_by_api() -> None:
    """A stop, and what is refused; the status of the pack says it."""
    async with enforced("jbd") as bench:
        app = make_app(bench.service)
        road = "/api/v1/packs/pack/acting"
        assert (await ask(app, "POST", road, {"do": "reset"})).status == 409
        assert (await ask(app, "POST", road, {"do": "explode"})).status == 400
        stop = await ask(app, "POST", road, {"do": "stop", "why": "smoke"})
        assert stop.status == 200, stop.body
        await bench.until(lambda: not bench.on("charge") and not bench.on("discharge"), 3)
        shown = (await ask(app, "GET", "/api/v1/packs/pack")).values["acting"]
        assert shown["stopped"]["why"] == "smoke"
        assert shown["switches"]["charge"]["holders"] == ["emergency_stop"]
        assert (await ask(app, "POST", road, {"do": "reset"})).status == 200
        await bench.until(lambda: bench.on("charge") and bench.on("discharge"), 180)


async def test_another_board_at_the_same_place_gets_nothing_back_and_acts_on_nothing() -> None:
    """JBD boards have no serial number: only the place says which is meant."""
    text = policy_text("jbd")
    pack = SimulatedPack("jbd", cells=4)
    async with bmslink.connect(pack.target) as one:
        four = await one.identify()
    five = dataclasses.replace(four, cell_count=5)
    key = pack_key(one.board, four)
    approve_policies(one.board, four, text, "lfp.toml", "anna")
    assert standing_of(one.board, four, text).enforced == text
    with pytest.raises(ConsentError, match="5 cells, not 4"):
        standing_of(one.board, five, text)
    store = LedgerStore(key)
    ours = SwitchRecord(own=True, confirmed=True, prior=True, seen=False)
    ledger = replace(_load(store, four, 0.0).ledger, charge=ours, stop=Stop("anna"))
    assert store.save(ledger, 0.0).result(5)
    assert _load(store, four, 0.0).ledger.charge.own
    other = _load(store, five, 0.0)
    assert not other.ledger.charge.own
    assert other.ledger.stop == Stop("anna")
    assert "5 cells, not 4" in other.trouble
    store.close()


async def test_a_persons_off_under_a_service_that_acts_is_one_write() -> None:
    """By the road of what acts, read back; where nothing goes out there, by the other one."""
    async with enforced("jbd") as bench:
        before = bench.pack.counters["commands"]
        off = SwitchRequest(switch="charge", on=False)
        found = await PackJobs(bench.served).switch(lambda *_: None, off)
        assert found["result"] == "done"
        assert bench.pack.counters["commands"] == before + 1
        assert await bench.stays(lambda: not bench.on("charge"), 180)
        assert bench.pack.counters["commands"] == before + 1


class Nobody:
    """A client that takes no news."""

    def __call__(self, doing: str, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...


async def test_a_reset_of_a_served_pack_lets_go_of_what_a_run_left() -> None:
    """Without policies, and without a stop: afterwards a person may switch on."""
    pack = SimulatedPack("jbd", cells=4)
    text = policy_text("jbd")
    await approve(pack, text)
    async with EnforcedBench(pack, text).running() as bench:
        pack.set_cell_voltage(2, 3.58)
        await bench.until(lambda: not bench.on("charge"), 30)
    async with EnforcedBench(pack, text, enforce=False).running() as bench:
        await asyncio.sleep(5)
        jobs, on = PackJobs(bench.served), SwitchRequest(switch="charge", on=True)
        with pytest.raises(GateError, match=r"held off by cell_overvoltage.*control reset"):
            await jobs.switch(Nobody(), on)
        (done,) = await bench.served.judge.do(ActingWish(do="reset"), "anna")
        assert "cell_overvoltage holds charge off no more" in done
        pack.set_cell_voltage(2, None)
        await asyncio.sleep(10)
        assert (await jobs.switch(Nobody(), on))["result"] == "done"
        assert bench.served.judge.acting.actor is None


async def test_who_is_cancelled_holds_no_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while it takes the lock, nor while it closes: a pack that starts anew in the same
    program acts again."""
    taken: list[int | None] = []

    def slowly(key: str) -> int | None:
        time.sleep(0.05)
        taken.append(lock_acting(key))
        return taken[0]

    with monkeypatch.context() as patch:
        patch.setattr(start, "lock_acting", slowly)
        task = asyncio.create_task(start._lock_apart("a pack"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: bool(taken))
    await asyncio.sleep(0.1)
    again = lock_acting("a pack")
    assert again is not None

    class Closes:
        async def close(self) -> None:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await start.EnforcedPack(
            "a pack", cast(Any, None), cast(Any, Closes()), None, again
        ).close()
    again = lock_acting("a pack")
    assert again is not None
    os.close(again)


async def test_policies_of_a_service_stay_inside_the_settings_of_the_board() -> None:
    """They were looked at anyway; a new one of the board counts as well, and nothing is given back
    sooner for it."""
    text = policy_text("jk02").replace('ov_trip = "3.55 V"', 'ov_trip = "3.70 V"')
    text = text.replace('ov_critical = "3.62 V"', 'ov_critical = "3.75 V"')
    async with enforced("jk02", text=text) as bench:
        async with bmslink.connect(bench.pack.target) as device:
            ovp = (await device.settings())["cell_ovp"].value
        assert isinstance(ovp, float)
        assert ovp < 3.68
        bench.pack.set_cell_voltage(2, round(ovp - 0.02, 3))  # 30 mV inside it is a trip
        await bench.until(lambda: not bench.on("charge"), 10)
        assert "inside the BMS's cell_ovp" in bench.switch("charge")["why"]
        bench.served.judge.learn({"cell_ovp": ovp + 0.02})
        assert bench.served.decision is not None
        assert await bench.stays(lambda: not bench.on("charge"), 20)


@pytest.mark.parametrize("protocol", ["jbd", "jk02"])
async def test_a_reset_gives_the_balancer_back_as_it_does_a_fet(protocol: str) -> None:
    async with enforced(protocol) as bench:
        if not bench.on("balance"):
            bench.pack.set_switch("balance", True)
        await bench.until(lambda: bench.switch("balance")["shown"] is True, 60)
        await bench.served.act(ActingWish(do="stop"), "anna")
        await bench.until(lambda: not bench.on("balance"), 10)
        await asyncio.sleep(60)
        assert not bench.on("balance")
        await bench.served.judge.do(ActingWish(do="reset"), "anna")
        for name in ("charge", "discharge", "balance"):
            await bench.until(lambda name=name: bench.on(name), 180)
        await bench.until(lambda: bench.switch("balance")["shown"] is True, 30)
        assert bench.switch("balance")["owner"] != "ours"
        assert "balance on: read back." in bench.said("given_back")


async def test_a_reset_leaves_a_balancer_off_that_was_off() -> None:
    async with enforced("jbd") as bench:
        bench.pack.set_switch("balance", False)
        await bench.until(lambda: bench.switch("balance")["shown"] is False, 60)
        await bench.served.act(ActingWish(do="stop"), "anna")
        await bench.served.judge.do(ActingWish(do="reset"), "anna")
        await bench.until(lambda: bench.on("charge"), 180)
        assert await bench.stays(lambda: not bench.on("balance"), 200)
