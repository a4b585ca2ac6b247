"""Switching off: what goes before the frame, what cannot delay it, and what is said afterwards."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import bmslink
import bmslink.protocols.jbd.switches as jbd_switches
from bmslink.board import Board
from bmslink.config import apply, draft, rehearse_switch, resume, switch
from bmslink.config.identity.known_as import pack_of
from bmslink.config.identity.locks import locked
from bmslink.config.switching.off_marks import confirmed, marked_off
from bmslink.errors import BmsError, GateError, SettingError
from bmslink.model import Adjustment, Command, Switch
from bmslink.protocols.abilities import is_setting
from bmslink.protocols.daly.a5.driver import DalyA5
from bmslink.protocols.daly.a5.writing import DalyA5Switches
from bmslink.simulation.pack.pack import Pack
from bmslink.storage.journal import Journal, JournalError

CHARGE, DISCHARGE, BALANCE = Switch
LATENCY: dict[tuple[str, Switch], tuple[int, float]] = {
    # target, switch -> questions before the frame, and s after the call that are enough
    ("sim://jk02?firmware=15.41&load=idle", CHARGE): (0, 0.01),
    ("sim://jk02?firmware=10.07&load=idle", DISCHARGE): (0, 0.01),
    ("sim://jk02?firmware=15.41&load=idle", BALANCE): (0, 0.01),
    ("sim://jk04", BALANCE): (0, 0.01),
    ("sim://jk-modbus?load=idle", CHARGE): (1, 0.2),
    ("sim://jk-modbus?load=idle", BALANCE): (1, 0.2),
    ("sim://jk-nw?load=idle", DISCHARGE): (0, 0.15),
    ("sim://jbd?load=idle", CHARGE): (1, 0.25),
    ("sim://daly-a5?load=idle", CHARGE): (0, 0.3),
    ("sim://daly-d2?load=idle", CHARGE): (1, 0.6),
    ("sim://daly-p81?load=idle", DISCHARGE): (1, 0.6),
    ("sim://daly-p81?load=idle", BALANCE): (1, 0.6),
}
JBD = "sim://jbd?load=idle"
UNTESTED = ("untested",)


def spied(device: Board) -> list[tuple[float, bytes]]:
    """When what goes out."""
    loop, line = asyncio.get_running_loop(), device.link.transport
    sent: list[tuple[float, bytes]] = []
    write = line.write

    async def writing(data: bytes) -> None:
        sent.append((loop.time(), bytes(data)))
        await write(data)

    line.write = writing  # type-checked code has no such line
    return sent


async def careful(target: str, command: Command) -> list[bytes]:
    """What the settings road, or the command as it was sent before, sends for the same."""
    async with bmslink.connect(target).board as device:
        if not is_setting(device.driver, command.switch):
            return await device.rehearse([], command=command)
        table = await device.settings()
        key = f"{command.switch}_switch"
        if table.values()[key] is False:  # balancing may be off
            on = table.map.encode(table.image, {key: True})
        else:
            on = dict(table.image)
        new = table.map.encode({**table.image, **on}, {key: command.on})
        return await device.rehearse([(table.map.by_address[a], raw) for a, raw in new.items()])


@pytest.mark.parametrize(("target", "which"), LATENCY)
async def test_one_question_at_most_goes_before_the_frame(
    target: str, which: Switch, tmp_path: Path
) -> None:
    questions, seconds = LATENCY[target, which]
    command = Command(which, False)

    (frame,) = await careful(target, command)
    loop = asyncio.get_running_loop()
    async with bmslink.connect(target).board as device:
        sent, called = spied(device), loop.time()
        outcome = await switch(device, command, waive=UNTESTED, journal=Journal(tmp_path))
        assert outcome.result == "done", outcome
        at = [data for _, data in sent].index(frame)
        assert at <= questions
        assert sent[at][0] - called <= seconds


async def test_a_bit_of_a_word_is_cleared_beside_its_neighbours(tmp_path: Path) -> None:
    """JBD's balancer: factory mode and the word itself have to be asked for."""

    async with bmslink.connect("sim://jbd?firmware=2.1&load=idle").board as device:
        journal = Journal(tmp_path)
        before = (await device.settings()).image[0x2D]
        outcome = await switch(device, Command(BALANCE, False), journal=journal)
        assert outcome.result == "done", outcome
        after = (await device.settings()).image[0x2D]
        assert int.from_bytes(after, "big") == int.from_bytes(before, "big") & ~4


async def test_a_rehearsal_asks_what_it_has_to_know(tmp_path: Path) -> None:
    """The neighbours of the bit are read for it; the change is kept."""

    async with bmslink.connect(JBD).board as device:
        before = (await device.settings()).image[0x2D]
        sent = await rehearse_switch(device, Command(BALANCE, False), journal=Journal(tmp_path))
        word = (int.from_bytes(before, "big") & ~4).to_bytes(2, "big")
        assert any(b"\x5a\x2d\x02" + word in frame for frame in sent)
        assert b"\x5a\x00\x02" in sent[0]  # factory mode, which is not entered here
        assert (await device.settings()).image[0x2D] == before


async def test_questions_of_a_rehearsal_go_out_and_changes_are_kept() -> None:
    async with bmslink.connect("sim://daly-a5?load=idle").board as device:
        await device.identify()
        step = await device.driver.switches.command(Command(Switch.DISCHARGE, False))
        frame = device.link.framer.encode(step.frame)
        sent, begun = spied(device), asyncio.Event()

        async def somebody_else() -> None:
            await begun.wait()
            await device.driver.perform(step)

        other = asyncio.create_task(somebody_else())
        with device.driver.collecting() as kept:
            await device.read()
            assert sent, "questions go out"
            await device.driver.perform(step)
            assert (kept, frame in [data for _, data in sent]) == ([frame], False)
            begun.set()
            await other
        assert (kept, [data for _, data in sent].count(frame)) == ([frame], 1)


# ------------------------------------------------------------------------------- nothing delays


@pytest.mark.parametrize("target", [JBD, "sim://jk02?load=idle", "sim://daly-d2?load=idle"])
async def test_neither_lock_nor_journal_nor_an_unfinished_change(
    target: str, tmp_path: Path
) -> None:
    journal = Journal(tmp_path)
    async with bmslink.connect(target).board as device:
        from bmslink.config.apply import lock_names

        identity = await device.identify()
        journal.begin(bmslink.config.place_of(device.target), {}, [], map="x", image={})
        with locked(journal.folder / "locks", lock_names(device, identity)):
            with pytest.raises(GateError):
                await switch(device, Command(CHARGE, True), waive=UNTESTED, journal=journal)
            outcome = await switch(device, Command(CHARGE, False), waive=UNTESTED, journal=journal)
        assert outcome.result == "done"
        assert any("cut off earlier" in note for note in outcome.notes)
        (cut,) = journal.unfinished()
        assert marked_off(cut) == {CHARGE}

        def full(event: str, **data: Any) -> None:
            raise JournalError("full") from OSError("No space left on device")

        journal.append = full
        outcome = await switch(device, Command(DISCHARGE, False), waive=UNTESTED, journal=journal)
        assert outcome.result == "done"
        assert outcome.transaction == ""
        assert any("not in the journal" in note for note in outcome.notes)


async def test_a_disk_that_hangs_delays_the_frame_by_a_moment_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where JBD does not show which FET is locked, the journal is asked before the frame."""
    journal, released = Journal(tmp_path), threading.Event()
    records = journal.records

    def hanging(*args: Any, **more: Any) -> Any:
        released.wait(20.0)
        return records(*args, **more)

    monkeypatch.setattr(jbd_switches, "_locks", lambda basic: None)
    async with bmslink.connect(JBD).board as device:
        write = device.link.transport.write

        async def writing(data: bytes) -> None:
            await write(data)
            if data[1:4] == b"\x5a\xe1\x02":
                released.set()

        device.link.transport.write = writing
        journal.records = hanging
        begun = time.monotonic()
        outcome = await switch(device, Command(CHARGE, False), journal=journal)
        assert released.is_set()
        assert time.monotonic() - begun < 5.0
        assert "both are locked" in outcome.sentence


async def test_a_journal_that_cannot_be_read_leaves_no_command_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path)

    def unreadable(**_: Any) -> Any:
        raise JournalError("An earlier month cannot be read.")

    async with bmslink.connect(JBD).board as device:
        unfinished, journal.unfinished = journal.unfinished, unreadable
        outcome = await switch(device, Command(CHARGE, False), journal=journal)
    assert outcome.result == "done"
    assert outcome.transaction
    assert any("An earlier month cannot be read" in note for note in outcome.notes)
    assert not unfinished()


@pytest.mark.parametrize("rollback", [False, True])
async def test_ending_an_unfinished_change_leaves_off_what_somebody_switched_off(
    rollback: bool, tmp_path: Path
) -> None:
    journal = Journal(tmp_path)
    async with bmslink.connect("sim://jk02?firmware=15.41&load=idle").board as device:
        plan = await draft(device, {"cell_ovp": 3.6}, journal=journal)
        table = plan.table
        journal.begin(
            bmslink.config.place_of(device.target),
            pack_of(plan.identity),
            [change.to_dict() for change in plan.changes],
            map=table.map.name,
            image={f"{a:X}": raw.hex() for a, raw in table.image.items()},
            waived=[],
        )
        await switch(device, Command(CHARGE, False), journal=journal)
        ended = await resume(device, rollback=rollback, journal=journal)
        assert ended.result == ("rolled back" if rollback else "done")
        values = (await device.settings()).values()
        assert values["charge_switch"] is False
        assert values["cell_ovp"] == (plan.table.values()["cell_ovp"] if rollback else 3.6)


async def test_it_goes_out_in_the_middle_of_a_reading_and_of_a_rehearsal(tmp_path: Path) -> None:
    """Somebody else's poll of seven questions is not waited for, and is not disturbed."""

    target, journal = "sim://daly-a5?load=idle", Journal(tmp_path)
    loop = asyncio.get_running_loop()
    async with bmslink.connect(target).board as device:
        (frame,) = await careful(target, Command(CHARGE, False))
        reading = asyncio.create_task(device.read())
        await asyncio.sleep(0.2)
        sent, called = spied(device), loop.time()
        off = asyncio.create_task(switch(device, Command(CHARGE, False), journal=journal))
        assert (await reading).voltage
        assert (await off).result == "done"
        (at, *_) = (when for when, data in sent if data == frame)
        assert at - called < 0.5

        async def rehearse() -> list[bytes]:
            async with device.rehearsing() as held:
                await asyncio.sleep(1.0)
            return held

        rehearsal = asyncio.create_task(rehearse())
        await asyncio.sleep(0.1)
        outcome = await switch(device, Command(DISCHARGE, False), journal=journal)
        assert outcome.result == "done"
        assert not await rehearsal
        assert (await device.read()).discharging_allowed is False


# --------------------------------------------------------------------------------- what refuses


@pytest.mark.parametrize(
    ("target", "which"),
    [
        ("sim://daly-a5", BALANCE),
        ("sim://jk-nw", BALANCE),
        ("sim://jk04", CHARGE),
        ("sim://jbd-up", CHARGE),
        ("sim://jk-bus", CHARGE),
        ("sim://daly-d2?firmware=1", CHARGE),
    ],
)
@pytest.mark.parametrize("on", [False, True])
async def test_a_rehearsal_refuses_what_is_refused(
    target: str, which: Switch, on: bool, tmp_path: Path
) -> None:
    async with bmslink.connect(target).board as device:
        for act in (switch, rehearse_switch):
            with pytest.raises(GateError, match="Nothing was sent"):
                await act(device, Command(which, on), journal=Journal(tmp_path))
        assert not [r for r in Journal(tmp_path).records() if r["event"] == "begin"]


@pytest.mark.parametrize("wrong", ["chrge", "CHARGE", "", None, 1, b"charge", "charge "])
def test_no_switch_by_another_name(wrong: Any) -> None:
    with pytest.raises(SettingError, match="no switch"):
        Command(wrong, False)


@pytest.mark.parametrize("wrong", [0, 1, "off", "on", None, 0.0, [], b""])
def test_on_and_off_are_true_and_false(wrong: Any) -> None:
    with pytest.raises(SettingError, match="True"):
        Command(CHARGE, wrong)


async def test_a_name_is_taken_as_that_switch(tmp_path: Path) -> None:
    named: Any = "charge"
    assert Command(named, False).switch is CHARGE

    async with bmslink.connect("sim://jbd?cells=8&load=idle").board as device:
        await switch(device, Command(named, False), journal=Journal(tmp_path))
        reading = await device.read()
        assert (reading.charging_allowed, reading.discharging_allowed) == (False, True)
        with pytest.raises(SettingError):
            await switch(device, named, journal=Journal(tmp_path))


@pytest.mark.parametrize("wrong", [True, "50", float("nan"), float("inf"), [1]])
def test_a_state_of_charge_is_a_number(wrong: Any) -> None:
    with pytest.raises(SettingError):
        Adjustment(soc=wrong)


@pytest.mark.parametrize("wrong", ["2026-01-01", 5, __import__("datetime").datetime(2026, 1, 1)])
def test_a_clock_is_set_to_a_moment_with_its_zone(wrong: Any) -> None:
    with pytest.raises(SettingError):
        Adjustment(clock=wrong)


# ------------------------------------------------------------------------------ what is said then


@pytest.mark.parametrize(
    "target", [JBD, "sim://daly-d2?load=idle", "sim://daly-a5?load=idle", "sim://jk02?load=idle"]
)
async def test_a_switch_that_did_not_switch_is_not_done(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boards acknowledge a command and ignore it while a high current flows."""
    monkeypatch.setattr(Pack, "switch", lambda *_: None)

    journal = Journal(tmp_path)
    async with bmslink.connect(target).board as device:
        outcome = await switch(device, Command(CHARGE, False), waive=UNTESTED, journal=journal)
    assert outcome.result == "unproven", outcome
    (end,) = (r for r in journal.records() if r["event"] == "end")
    assert end["outcome"] == "unproven"


@pytest.mark.parametrize(
    ("protection", "state", "locks"),
    [(0, 0b11, 0), (1 << 12, 0b10, 1), (1 << 12, 0b01, 2), (1 << 12, 0, 3), (1, 0, 0)],
)
def test_jbd_shows_which_fet_is_locked(protection: int, state: int, locks: int) -> None:
    assert jbd_switches._locks({"protection": protection, "state": state}) == locks


def test_jbd_does_not_show_it_while_a_protection_is_active() -> None:
    assert jbd_switches._locks({"protection": 1 << 12 | 1, "state": 0}) is None


@pytest.mark.parametrize("remembered", [None, False, True])
async def test_jbd_keeps_the_other_lock_as_our_last_confirmed_command_left_it(
    remembered: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    async with bmslink.connect(JBD).board as device:
        if remembered is not None:
            for on in {False, remembered}:
                await switch(device, Command(DISCHARGE, on), journal=journal)
        monkeypatch.setattr(jbd_switches, "_locks", lambda basic: None)
        sent = spied(device)
        outcome = await switch(device, Command(CHARGE, False), journal=journal)
        lock = {None: 3, False: 3, True: 1}[remembered]
        assert bytes((0xDD, 0x5A, 0xE1, 2, 0, lock)) in [data[:6] for _, data in sent]
        assert outcome.result == ("unproven" if remembered is None else "done")
        assert ("both are locked" in outcome.sentence) is (remembered is None)
        place, pack = bmslink.config.place_of(device.target), {}
        (*_, begun) = (r for r in journal.records() if r["event"] == "begin")
        assert (begun["switch"], begun["on"]) == ("charge", False)
        if remembered is not None:
            assert confirmed(journal, place, pack) == {CHARGE: False, DISCHARGE: remembered}


@pytest.mark.parametrize("fault", [StopIteration(), KeyError("x"), RuntimeError("x"), TypeError()])
@pytest.mark.parametrize("on", [False, True])
@pytest.mark.parametrize("where", ["command", "exchange"])
async def test_whatever_a_driver_raises_leaves_as_ours_and_the_transaction_is_closed(
    fault: Exception, on: bool, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise fault

    journal = Journal(tmp_path)
    async with bmslink.connect("sim://daly-a5?load=idle").board as device:
        monkeypatch.setattr(DalyA5 if where == "exchange" else DalyA5Switches, where, broken)
        if where == "exchange":  # it may have gone out: only reading tells
            outcome = await switch(device, Command(CHARGE, on), journal=journal)
            assert outcome.result == ("done" if on else "unproven")
            assert "bmslink made a mistake" in outcome.sentence
        else:
            with pytest.raises(BmsError, match="bmslink made a mistake"):
                await switch(device, Command(CHARGE, on), journal=journal)
        assert not journal.unfinished()


async def test_a_change_that_can_change_nothing_is_refused(tmp_path: Path) -> None:
    """`partial` leaves out a part; all of it is no part."""

    async with bmslink.connect("sim://jk-nw").board as device:
        for wish, blocked in (({"cell_ovp": 3.6}, True), ({"charge_switch": True}, False)):
            plan = await draft(device, wish, waive=("partial", "load"), journal=Journal(tmp_path))
            assert ("supported" in [c.name for c in plan.blocked]) is blocked
        plan = await draft(device, {"cell_ovp": 3.6}, waive=("partial",))
        with pytest.raises(GateError, match="Nothing was sent"):
            await apply(device, plan, journal=Journal(tmp_path))
