"""Nothing is called done or set back that was not sent, read back, and read on the board meant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from construct import Bytes

from bmslink.config import Plan, apply, draft, resume, writer
from bmslink.config.effects import Strays, kept_off, matters
from bmslink.config.job import BoardChanged, Job
from bmslink.errors import GateError, Refused, RollbackError, VerifyError
from bmslink.model import Identity
from bmslink.protocols.common.register_runs import Span, alike, runs
from bmslink.protocols.common.settings_map import SettingsSnapshot, Slot
from bmslink.protocols.jk.modbus.settings import modbus_map
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.responder import Answer, make_responder
from config_faults import FAULTS, Killed, World, equal


def spans(*places: tuple[int, int]) -> list[Span]:
    return [
        Span(Slot(address=at, layout="data" / Bytes(2 * size)), at, at + size)
        for at, size in places
    ]


def lengths(found: list[list[Span]]) -> list[int]:
    return [run[-1].end - run[0].first for run in found]


def test_two_questions_in_a_row_expect_answers_of_different_lengths() -> None:
    found = runs(spans(*((at, 2) for at in range(0, 240, 2))), 30)
    asked = lengths(found)
    assert sum(asked) == 240
    assert max(asked) == 30
    assert all(one != other for one, other in pairwise(asked))


def test_a_question_covers_no_secret_and_few_strangers() -> None:
    assert lengths(runs(spans((0, 1), (2, 1), (9, 1), (11, 1)), 41, near=4, hidden=[10])) == [
        3,
        1,
        1,
    ]


def test_the_same_question_again_is_no_danger_and_another_as_long_is() -> None:
    assert not alike(0x1000, 30, None)
    assert not alike(0x1000, 30, (0x1000, 30))
    assert not alike(0x103C, 31, (0x1000, 30))
    assert alike(0x103C, 30, (0x1000, 30))


def test_setting_back_turns_no_switch_on() -> None:
    settings = modbus_map("15.41", b"\xff" * 300, b"\xff" * 32)
    slot = settings.setting("charge_switch").slot
    on, off = b"\0\0\0\1", bytes(4)
    assert kept_off(settings, slot, on, on) == (on, [])
    assert kept_off(settings, slot, on, on, off) == (off, ["charge_switch"])
    assert kept_off(settings, slot, on, None) == (on, [])
    limit = settings.setting("cell_ovp").slot
    assert kept_off(settings, limit, b"\0\0\x0e\x42", bytes(4)) == (b"\0\0\x0e\x42", [])


@pytest.mark.parametrize(
    ("key", "expected"),
    [("cell_count", True), ("nominal_capacity", True), ("charge_switch", True),
     ("jk_device_address", True), ("balance_delta", False)],
)  # fmt: skip
def test_what_matters_when_nobody_asked_for_it(key: str, expected: bool) -> None:
    settings = modbus_map("15.41", b"\xff" * 300, b"\xff" * 32)
    slot = settings.setting(key).slot
    assert matters(settings, slot, b"\0\0\0\0", b"\0\0\0\1") is expected


async def cut_off(world: World, wish: dict[str, object]) -> Plan:
    """A change that died right behind its first write."""
    plan = await world.plan(wish)
    device = world.device()
    await device.open()

    def dying() -> None:
        world.dead = world.writes > 1

    world.on_write = dying
    with suppress(Killed):
        await apply(device, plan, journal=world.journal)
    world.recover()
    world.on_write = lambda: None
    return plan


@pytest.mark.parametrize("rollback", [True, False])
async def test_what_holds_neither_the_old_nor_the_new_value_is_asked_about(
    rollback: bool, tmp_path: Path
) -> None:
    world = World("jbd", tmp_path)
    plan = await cut_off(world, {"cell_ovp": 3.6, "charge_utp": 1.0})
    world.pack.settings["cell_ovp"] = 3.58
    writes, asked = world.writes, list[str]()
    async with world.device() as device:
        with pytest.raises(GateError, match=r"[Nn]either.*cell_ovp.*3\.58 V"):
            await resume(device, rollback=rollback, journal=world.journal)
        assert world.writes == writes
        outcome = await resume(
            device,
            rollback=rollback,
            confirm=lambda told: not asked.append(told),
            journal=world.journal,
        )
    assert len(asked) == 1
    assert outcome.result == ("rolled back" if rollback else "done")
    before = plan.table.image
    assert equal(await world.table(), before if rollback else {**before, **plan.goal})


async def test_resuming_turns_no_switch_on_hours_later(tmp_path: Path) -> None:
    world = World("jk02", tmp_path)
    async with world.device() as device:
        off = await draft(device, {"charge_switch": False}, journal=world.journal)
        assert (await apply(device, off, journal=world.journal)).result == "done"
        before = await device.settings()
        plan = await draft(device, {"charge_switch": True, "cell_ovp": 3.6}, journal=world.journal)
        world.on_write = lambda: setattr(world, "dead", True)
        with suppress(Killed):
            await apply(device, plan, journal=world.journal)
    world.recover()
    world.on_write = lambda: None
    async with world.device() as device:
        with pytest.raises(GateError, match=r"would turn charge_switch on.*--rollback"):
            await resume(device, journal=world.journal)
        outcome = await resume(device, rollback=True, journal=world.journal)
    assert outcome.result == "rolled back"
    assert equal(await world.table(), before.image)
    assert before.values()["charge_switch"] is False


async def test_everything_that_may_have_been_written_is_written_back(tmp_path: Path) -> None:
    """It reads as old already: what a board shows may lag behind what it holds."""

    world = World("jbd", tmp_path)
    before = await world.table()
    plan = await cut_off(world, {"cell_ovp": 3.6, "charge_utp": 1.0})
    world.pack.settings["cell_ovp"] = 3.65
    world.pack.settings["charge_utp"] = 0.0
    assert equal(await world.table(), before.image)
    writes = world.writes
    async with world.device() as device:
        assert (await resume(device, rollback=True, journal=world.journal)).result == (
            "rolled back"
        )
    noted = [r for r in world.journal.records() if r["event"] == "write"]
    assert len(plan.changes) == 2
    assert world.writes > writes
    assert noted[-1]["new"] == plan.changes[0].old.hex()


@pytest.mark.parametrize("times", [1, 2, 9])
async def test_a_text_that_came_cut_short_is_read_again_before_it_is_another_board(
    times: int, tmp_path: Path
) -> None:
    world = World("jk02", tmp_path, "disconnects after", 1)
    plan = await world.plan({"cell_ovp": 3.6})
    left = [0]
    async with world.device() as device:
        identify = device.identify

        async def short() -> Identity:
            found = await identify()
            if not left[0]:
                return found
            left[0] -= 1
            return replace(found, serial_number=(found.serial_number or "")[:5])

        device.identify = short
        world.on_write = lambda: left.__setitem__(0, times)
        if times < 3:
            assert (await apply(device, plan, journal=world.journal)).result == "done"
            return
        with pytest.raises(RollbackError, match="another board answers: serial number"):
            await apply(device, plan, journal=world.journal)


def altered(
    read: Callable[..., Awaitable[SettingsSnapshot]],
    alter: Callable[[SettingsSnapshot], SettingsSnapshot],
) -> Callable[..., Awaitable[SettingsSnapshot]]:
    """A reading of the table that gives something else."""

    async def reading(*args: Any, **more: Any) -> SettingsSnapshot:
        return alter(await read(*args, **more))

    return reading


async def test_a_table_that_no_board_can_hold_proves_nothing(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan({"cell_ovp": 3.6})
    async with world.device() as device:
        settings, glance = device.settings, device.glance

        def spoilt(found: SettingsSnapshot) -> SettingsSnapshot:
            if not world.writes:
                return found
            hot = found.map.setting("charge_otp").slot
            return replace(found, image={**found.image, hot: b"\xff\xf0"})

        device.settings = altered(settings, spoilt)
        device.glance = altered(glance, spoilt)
        with pytest.raises(RollbackError, match=r"cannot be true.*charge_otp"):
            await apply(device, plan, journal=world.journal)
    assert len(world.journal.unfinished()) == 1


async def test_an_impossible_value_of_somebody_else_is_set_back_with_the_change(
    tmp_path: Path,
) -> None:
    """Both readings agree on it, so it is in the board, and the board takes what it held before."""

    world = World("jk02", tmp_path)
    plan = await world.plan({"cell_ovp": 3.6})
    world.on_write = lambda: (
        world.pack.settings.update(charge_otp=200.0) if world.writes == 1 else None
    )
    async with world.device() as device:
        with pytest.raises(VerifyError, match=r"cannot be true.*charge_otp.*was set back"):
            await apply(device, plan, journal=world.journal)
    assert equal(await world.table(), plan.table.image)
    assert not world.journal.unfinished()


async def test_switching_off_is_proven_beside_an_impossible_value_that_was_there_before(
    tmp_path: Path,
) -> None:
    world = World("jk02", tmp_path)
    world.pack.settings["charge_otp"] = 200.0
    async with world.device() as device:
        plan = await draft(device, {"charge_switch": False}, journal=world.journal)
        outcome = await apply(device, plan, journal=world.journal)
    assert outcome.result == "done"
    assert (await world.table()).values()["charge_switch"] is False
    assert not world.journal.unfinished()


async def test_what_is_impossible_and_cannot_be_set_back_is_not_called_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan({"cell_ovp": 3.6})
    hot = plan.table.map.setting("charge_otp").slot
    monkeypatch.setattr(writer, "strays", lambda *_: Strays(lost={hot: "charge_otp"}))
    async with world.device() as device:
        settings, glance = device.settings, device.glance

        def spoilt(found: SettingsSnapshot) -> SettingsSnapshot:
            nonsense = {hot: b"\xff\xf0"} if world.writes else {}
            return replace(found, image={**found.image, **nonsense})

        device.settings = altered(settings, spoilt)
        device.glance = altered(glance, spoilt)
        with pytest.raises(RollbackError, match="Setting it back failed as well"):
            await apply(device, plan, journal=world.journal)
    assert len(world.journal.unfinished()) == 1


@pytest.mark.counted
@pytest.mark.parametrize(
    ("lost", "after", "writes", "named"),
    [
        (1, 0, 1, True),  # while the first write was lost
        (1, 0, 1, False),
        (3, 0, 3, True),  # while the first one of the way back was lost
        (3, 0, 3, False),
        (0, 2, 2, False),  # before the way back
        (0, 3, 3, True),  # between two of it
    ],
)
async def test_who_answers_is_looked_at_again_before_each_write(
    lost: int, after: int, writes: int, named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cable was moved to another board, which tells its serial number or does not."""

    world = World("daly-p81", tmp_path, "swapped" if lost else "", lost)
    plan = await world.plan({"cell_ovp": 3.6, "charge_utp": 1.0})
    other = Pack(cells=4, load="idle", seed=2)
    other.settings.update(cell_ovp=3.62, charge_utp=2.0, charge_otp=51, discharge_otp=52)
    other.settings.update(discharge_utp=-7, cell_uvp=2.7)

    def swapped(*_: Any) -> list[Answer]:
        world.node = make_responder("daly-p81", other)
        return []

    monkeypatch.setitem(FAULTS, "swapped", swapped)
    async with world.device() as device:
        store, identify, count = device.store, device.identify, [0]

        async def storing(*args: Any) -> float:
            count[0] += 1
            took = await store(*args)
            if count[0] == after:
                swapped()
            if lost != 1 and count[0] == 2:
                raise Refused("No.")
            return took

        async def identifying() -> Identity:
            found = await identify()
            return found if named else replace(found, serial_number=None)

        device.store, device.identify = storing, identifying
        told = "Another board answers" if named else "differs in what this change does not"
        with pytest.raises(RollbackError, match=told):
            await apply(device, plan, journal=world.journal)
    assert world.writes == writes
    assert (other.settings["cell_ovp"], other.settings["charge_utp"]) == (3.62, 2.0)


async def test_a_switch_that_was_written_off_stays_off_though_the_board_shows_it_on_still(
    tmp_path: Path,
) -> None:
    world = World("jk02", tmp_path)
    plan = await world.plan({"charge_switch": False, "cell_ovp": 3.6})
    slot = plan.table.map.setting("charge_switch").slot
    assert slot in plan.goal
    async with world.device() as device:
        store, fetch, count, storing = device.store, device.fetch, [0], [False]

        async def failing(*args: Any) -> float:
            count[0], storing[0] = count[0] + 1, True
            took = await store(*args)
            storing[0] = False
            if count[0] == 2:
                raise Refused("No.")
            return took

        async def lagging(slots: Any) -> dict[int, bytes]:
            found = await fetch(slots)
            if count[0] >= 2 and not storing[0] and slot in found:  # before it is set back
                return {**found, slot: plan.table.image[slot]}
            return found

        device.store, device.fetch = failing, lagging
        with pytest.raises(VerifyError, match="charge_switch stays off"):
            await apply(device, plan, journal=world.journal)
    assert (await world.table()).values()["charge_switch"] is False


async def test_a_table_that_goes_on_changing_proves_nothing(tmp_path: Path) -> None:
    """Every other reading is as it should be."""

    world = World("jbd", tmp_path)
    plan = await world.plan({"cell_ovp": 3.6})
    hot = plan.table.map.setting("charge_otp").slot
    async with world.device() as device:
        settings, glance, count = device.settings, device.glance, [0]

        def spoilt(found: SettingsSnapshot) -> SettingsSnapshot:
            count[0] += bool(world.writes)
            other = {hot: b"\x0c\x80"} if count[0] % 2 else {}
            return replace(found, image={**found.image, **other})

        device.settings = altered(settings, spoilt)
        device.glance = altered(glance, spoilt)
        with pytest.raises(RollbackError, match="the settings go on changing: charge_otp"):
            await apply(device, plan, journal=world.journal)


async def test_a_board_that_shows_a_write_late_is_given_longer_before_the_proof(
    tmp_path: Path,
) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan({"cell_ovp": 3.6})
    loop, times = asyncio.get_running_loop(), list[float]()
    async with world.device() as device:
        store, glance = device.store, device.glance

        async def late(*args: Any) -> float:
            await store(*args)
            times.append(loop.time())
            return 40.0

        async def proof(*args: Any, **more: Any) -> SettingsSnapshot:
            times.append(loop.time())
            return await glance(*args, **more)

        device.store, device.glance = late, proof
        assert (await apply(device, plan, journal=world.journal)).result == "done"
    written = times.index(max(t for t in times if t < times[-2]))
    assert times[-2] - times[written] >= 60.0


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("moved", [0, 1, 2, 3])
async def test_how_much_may_move_before_it_is_another_board(
    moved: int, shown: bool, tmp_path: Path
) -> None:
    """Without a serial number: where more than two others moved, or any while what was written is
    not there."""

    plan = await World("jbd", tmp_path).plan({"cell_ovp": 3.6})
    (change,), before = plan.changes, plan.table.image
    who = replace(plan.identity, serial_number=None)

    async def identify() -> Identity:
        return who

    others = ("charge_otp", "discharge_otp", "cell_uvp")[:moved]
    beside = plan.table.map.encode(before, dict(zip(others, (50, 52, 2.9), strict=False)))
    job = Job(
        device=SimpleNamespace(identify=identify),
        settings=plan.table.map,
        identity=who,
        transaction=None,
        before=before,
        touched=[change.slot],
        held={change.slot: change.new},
    )
    image = {**before, **beside, **({change.slot: change.new} if shown else {})}
    with pytest.raises(BoardChanged) if moved > 2 or (moved and not shown) else nullcontext():
        await writer.still_ours(job, image)
