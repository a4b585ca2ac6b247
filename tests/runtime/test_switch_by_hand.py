"""Switching by hand beside what acts on a pack: what holds a switch off is asked on the one road
that every caller takes, and a run that acts carries the command out itself."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

import bmslink
from acting_support import VENDORS, approve, policy_text
from bmslink import config
from bmslink.config.identity.known_as import pack_of
from bmslink.control.act.ledger import Ledger, Stop, SwitchRecord
from bmslink.control.act.store import LedgerStore
from bmslink.control.files import parse_policies
from bmslink.errors import GateError
from bmslink.model import Command, Switch
from bmslink.runtime.acting import by_hand, direct, mailbox
from bmslink.runtime.acting.acting_side import ActingSide
from bmslink.runtime.acting.direct import do_directly
from bmslink.runtime.acting.limit_sinks import LimitSinks, LineSink
from bmslink.runtime.acting.people import ActingWish
from bmslink.runtime.acting.start import lock_acting, pack_key
from bmslink.runtime.supervisor import Enforcing, PackSupervisor, StatusBoard
from bmslink.storage.journal import Journal
from bmslink.storage.state import StateFolder
from bmslink.testing import SimulatedPack

CHARGE_ON = Command(Switch.CHARGE, on=True)


class Deaf:
    """An observer of a run that nobody looks at."""

    def on_decision(self, index: int, decision: object, *, changed: bool) -> None: ...

    def on_error(self, index: int, error: Exception) -> None: ...

    def on_finding(self, index: int, finding: object) -> None: ...

    def on_trouble(self, sentence: str) -> None: ...

    def on_acting(self, index: int, what: str, text: str, *, alarm: bool) -> None: ...


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMSLINK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BMSLINK_JOURNAL", str(tmp_path / "journal"))


@pytest.mark.parametrize("protocol", VENDORS)
async def test_an_emergency_stop_is_switched_on_by_nothing(protocol: str) -> None:
    pack = SimulatedPack(protocol, cells=4, load=0.0)
    async with bmslink.connect(pack.target) as device:
        await do_directly(device.board, ActingWish(do="stop", why="fire"), "anna")
        before = pack.counters["commands"]
        for refused in (device.switch("charge", True), config.rehearse_switch(device, CHARGE_ON)):
            with pytest.raises(GateError, match=r"stop of anna: fire; `bmslink control reset "):
                await refused
        assert pack.counters["commands"] == before
        await do_directly(device.board, ActingWish(do="reset"), "anna")
        assert (await device.switch("charge", True)).result == "done"


async def test_a_switch_that_is_a_setting_is_held_on_the_road_of_settings_too() -> None:
    pack = SimulatedPack("jk02", cells=4, load=0.0)
    async with bmslink.connect(pack.target) as device:
        await do_directly(device.board, ActingWish(do="stop"), "anna")
        plan = await device.plan({"charge_switch": True})
        assert [check.name for check in plan.blocked] == ["held"]
        with pytest.raises(GateError, match="control reset"):
            await device.apply(plan)
        assert not pack.truth().charge_switch


async def leave(device: bmslink.Device, record: SwitchRecord) -> None:
    """What a run that has ended left in the ledger."""
    key = pack_key(device.board, await device.identify())
    store = LedgerStore(key)
    store.save(Ledger.new(key, 0.0).with_record("charge", record), 0.0)
    store.close()


async def test_what_policies_left_is_let_go_of_by_a_person_first() -> None:
    """Nothing that acts is left to give it back, so `control reset` does."""
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with bmslink.connect(pack.target) as device:
        await device.switch("charge", False)
        await leave(device, SwitchRecord(own=True, confirmed=True, holders=("cell_overvoltage",)))
        with pytest.raises(GateError, match=r"held off by cell_overvoltage.*control reset"):
            await device.switch("charge", True)
        with pytest.raises(GateError, match="not set aside"):
            wish = ActingWish(do="override", policy="cell_overvoltage", minutes=5)
            await do_directly(device.board, wish, "anna")
        with pytest.raises(GateError, match="held off by cell_overvoltage"):
            await device.switch("charge", True)
        with pytest.raises(GateError, match=r"policies that act no more.*control reset"):
            await do_directly(device.board, ActingWish(do="on", switch="charge"), "anna")
        (done,) = (await do_directly(device.board, ActingWish(do="reset"), "anna")).done
        assert "cell_overvoltage holds charge off no more" in done
        assert not pack.truth().charge_switch
        assert (await device.switch("charge", True)).result == "done"


async def test_a_persons_on_ends_a_persons_off() -> None:
    """Also for what acts on the pack next: it does not switch off again."""
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with bmslink.connect(pack.target) as device:
        await device.switch("charge", False)
        await leave(device, SwitchRecord(own=True, holders=("person:anna",), person="anna"))
        outcome = await device.switch("charge", True)
        assert outcome.notes[-1] == "anna had switched charge off: that is over."
        key = pack_key(device.board, await device.identify())
        assert not LedgerStore(key).load(0.0).ledger.charge.person


async def test_a_ledger_that_cannot_be_read_may_hold_anything() -> None:
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with bmslink.connect(pack.target) as device:
        await leave(device, SwitchRecord())
        key = pack_key(device.board, await device.identify())
        StateFolder(Path(os.environ["BMSLINK_STATE"]) / "ledgers").path(key).write_text("{")
        with pytest.raises(GateError, match=r"not known whether something holds it off.*reset"):
            await device.switch("charge", True)
        await device.switch("charge", False)
        await do_directly(device.board, ActingWish(do="reset"), "anna")
        assert (await device.switch("charge", True)).result == "done"


async def test_nothing_is_switched_on_beside_a_program_that_acts() -> None:
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with bmslink.connect(pack.target) as device:
        await device.switch("charge", False)
        lock = lock_acting(pack_key(device.board, await device.identify()))
        assert lock is not None
        with pytest.raises(GateError, match="Another program on this machine acts"):
            await device.switch("charge", True)
        os.close(lock)
        assert (await device.switch("charge", True)).result == "done"


@pytest.mark.real_time
def test_a_plain_script_is_refused_as_well() -> None:
    """Whatever it imports: the check hangs on the ledger, not on who loaded the layer above."""
    script = """
import asyncio, sys, bmslink
from bmslink.testing import SimulatedPack

async def main():
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with bmslink.connect(pack.target) as device:
        assert not any(name.startswith("bmslink.control") for name in sys.modules)
        try:
            await device.switch("charge", True)
        except bmslink.GateError as error:
            print(error)

asyncio.run(main())
"""
    stop = Ledger.new("JBD at jbd+sim://?pack=1", 0.0)
    store = LedgerStore(stop.pack)
    store.save(msgspec.structs.replace(stop, stop=Stop("anna")), 0.0)
    store.close()
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert "emergency stop of anna" in found.stdout


# ------------------------------------------------------------------------------ beside a run


@asynccontextmanager
async def running(pack: SimulatedPack) -> AsyncIterator[PackSupervisor]:
    """A `control run --enforce` on it, in this process."""
    text = policy_text("jbd")
    await approve(pack, text)
    notes, device = Deaf(), bmslink.connect(pack.target).board
    board = StatusBoard(notes, "p.toml", [str(device.target)], 1.0, shadow=False)

    def note(event: str, **data: object) -> None: ...

    def tell(what: str, said: str, **more: object) -> None: ...

    side = ActingSide(
        device, text, "p.toml", enforce=True, interval=1.0, note=note, tell=tell,
        target=str(device.target),
    )  # fmt: skip
    policies = parse_policies(text, Path("p.toml"))
    supervisor = PackSupervisor(
        notes, board, 0, policies, None, {}, interval=1.0, sink=False,
        enforcing=Enforcing(side, note, None),
    )  # fmt: skip
    task = asyncio.create_task(supervisor.follow(device, 1.0, None))
    await asyncio.sleep(10)
    try:
        yield supervisor
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        board.remove()


async def test_the_run_that_acts_switches_and_knows_of_it() -> None:
    """For a program as for the command line, with the device open or not."""
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with running(pack):
        before = pack.counters["commands"]
        device = bmslink.connect(pack.target)
        outcome = await device.switch("discharge", False)
        assert outcome.result == "done"
        assert f"process {os.getpid()}" in outcome.sentence
        assert pack.counters["commands"] == before + 1
        await asyncio.sleep(200)
        assert not pack.truth().discharge_switch, "no policy gives back what a person took"
        async with device:
            assert (await device.switch("discharge", True)).result == "done"
            pack.set_cell_voltage(2, 3.58)
            await asyncio.sleep(5)
            with pytest.raises(GateError, match=r"held off by cell_overvoltage .*control override"):
                await device.switch("charge", True)
        assert not pack.truth().charge_switch


async def test_an_off_does_not_wait_for_a_run_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent from here, and that is said; nothing is switched on beside it."""
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with running(pack), bmslink.connect(pack.target) as device:
        monkeypatch.setattr(mailbox, "_letters", lambda folder: [])
        switching = asyncio.create_task(device.switch("discharge", False))
        await asyncio.sleep(3.0)
        assert not pack.truth().discharge_switch
        outcome = await switching
        assert outcome.result == "done"
        assert "did not take it in 2 s. It was sent from here instead" in outcome.notes[0]
        with pytest.raises(GateError, match=r"did not take it in 5 s.*end it first"):
            await device.switch("discharge", True)


async def test_a_run_that_was_killed_has_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with running(pack), bmslink.connect(pack.target) as device:
        assert mailbox.run_at(device.target) is not None
        monkeypatch.setattr(mailbox, "is_running", lambda pid: False)
        assert mailbox.run_at(device.target) is None
        assert (await by_hand.hand_over(device.board, CHARGE_ON)).outcome is None


async def test_setting_a_change_back_turns_on_nothing_that_was_stopped() -> None:
    """What acts leaves no mark in the journal's record of the change: its ledger says it."""
    journal = Journal()
    pack = SimulatedPack("jk02", cells=4, load=0.0)
    async with bmslink.connect(pack.target) as device:
        plan = await device.plan({"charge_switch": False, "discharge_switch": False})
        table, board = plan.table, device.board
        journal.begin(
            config.place_of(board.target),
            pack_of(plan.identity),
            [change.to_dict() for change in plan.changes],
            map=table.map.name,
            image={f"{a:X}": raw.hex() for a, raw in table.image.items()},
            waived=[],
        )
        await do_directly(board, ActingWish(do="stop"), "anna")
        await device.resume(rollback=True)
        assert (pack.truth().charge_switch, pack.truth().discharge_switch) == (False, False)


@pytest.mark.parametrize("protocol", ["jk04", "jbd-up"])
async def test_a_stop_that_reaches_no_current_is_refused_and_sends_nothing(protocol: str) -> None:
    """It said "All off" where nothing was. Where limits are carried out, it reaches them."""
    pack, heard = SimulatedPack(protocol, cells=4), []
    async with bmslink.connect(pack.target) as device:
        board = device.board
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(direct, "send_once", lambda *args, **more: heard.append(args))
            with pytest.raises(GateError, match="cannot be switched from here"):
                await do_directly(board, ActingWish(do="stop"), "anna")
        assert heard == []
        sinks = LimitSinks([LineSink(lambda line: None)])
        side = ActingSide(
            board,
            "",
            "",
            enforce=False,
            interval=1.0,
            note=lambda *_, **__: None,
            tell=lambda *_, **__: None,
            target="x",
            waive=(),
            sinks=sinks,
        )
        said = await side.do(ActingWish(do="stop"), "anna", await board.who())
        assert any("charge cannot be switched" in each for each in said)
        await side.close()


async def test_what_a_person_switched_off_on_another_board_at_the_same_place_stays() -> None:
    """Its key is that place, where boards tell no serial number."""
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with bmslink.connect(pack.target) as device:
        identity = await device.identify()
        key = pack_key(device.board, identity)
        store = LedgerStore(key)
        other = pack_of(dataclasses.replace(identity, cell_count=16))
        record = SwitchRecord(own=True, confirmed=True, holders=("person:anna",), person="anna")
        ledger = Ledger.new(key, 0.0).with_record("charge", record)
        store.save(msgspec.structs.replace(ledger, aside={"board": other}), 0.0)
        store.close()
        await device.switch("charge", False)
        assert (await device.switch("charge", True)).result == "done"
        assert LedgerStore(key).load(0.0).ledger.charge.person == "anna"


@pytest.mark.parametrize("record", [SwitchRecord(own=True), SwitchRecord(person="anna")])
async def test_setting_back_leaves_off_what_policies_or_a_person_switched_off(
    record: SwitchRecord,
) -> None:
    pack = SimulatedPack("jbd", cells=4, load=0.0)
    async with bmslink.connect(pack.target) as device:
        await leave(device, record)
        left = by_hand.left_off(device.board, await device.identify())
        assert list(left) == [Switch.CHARGE]
