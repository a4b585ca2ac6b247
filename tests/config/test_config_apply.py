"""Applying a plan: it ends as planned, as it was, or with the truth about it."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

from bmslink import connect
from bmslink.config import Outcome, Plan, apply, draft, resume
from bmslink.config.apply import lock_names
from bmslink.config.identity.locks import locked
from bmslink.errors import (
    GateError,
    LinkClosed,
    Refused,
    RollbackError,
    SettingError,
    VerifyError,
)
from bmslink.simulation.responder import Answer
from bmslink.storage import chain
from bmslink.storage.journal import JournalError, Transaction
from config_faults import (
    WISHES,
    World,
    combinations,
    ends_of,
    equal,
    one_write_each,
    set_back,
    writes_of,
)
from support import WHOLE_SWEEP, virtual_run

WRITES = len(WISHES["jbd"])

Planned = tuple[Plan, dict[str, list[list[bytes]]]]
"""A plan made while all was well, and what others may write in between."""


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Planned]:
    """The plan of each protocol, made once."""

    @cache
    def planned(protocol: str) -> Planned:
        world = World(protocol, tmp_path_factory.mktemp(protocol))
        plan = virtual_run(world.plan())
        assert len(plan.changes) == writes_of(protocol)
        return plan, world.pokes

    return planned


async def attempt(world: World, plan: Plan) -> Outcome:
    """The plan, made in peace and applied with the fault; how it ended."""
    async with world.device() as device:
        try:
            return await apply(device, plan, journal=world.journal)
        except VerifyError as error:
            assert error.outcome.result == "rolled back"
            return error.outcome
        except RollbackError as error:
            assert error.outcome.result == "unknown"
            assert error.outcome.sentence == str(error)
            return error.outcome


@pytest.mark.sweep
@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "fault", "at"), combinations() if WHOLE_SWEEP else one_write_each()
)
def test_no_fault_leaves_a_silent_difference(
    protocol: str, fault: str, at: int, tmp_path: Path, plans: Callable[[str], Planned]
) -> None:
    plan, pokes = plans(protocol)

    async def main() -> None:
        world = World(protocol, tmp_path, fault, at, pokes=pokes)
        before = plan.table.image
        outcome = await attempt(world, plan)
        assert world.rewritten, "the fault had nothing to strike at"
        assert outcome.result in ends_of(plan, fault, at), outcome.sentence
        world.recover()
        table = await world.table()
        wanted = {**before, **{change.slot: change.new for change in outcome.changes}}
        values = table.values()
        assert {key: values[key] for key in outcome.stands} == outcome.stands
        if outcome.result != "unknown":
            done = outcome.result == "done"
            assert equal(table, wanted) if done else set_back(table, before, plan)
            assert not world.journal.unfinished()
            return
        assert len(world.journal.unfinished()) == 1
        await check_nothing_else_may_write(world)
        async with world.device() as device:
            ended = await resume(
                device,
                rollback=at % 2 == 0,
                confirm=lambda told: True,
                journal=world.journal,
            )
        assert ended.result == "rolled back" or (at % 2 and ended.result == "done")
        table = await world.table()
        done = ended.result == "done"
        assert equal(table, wanted) if done else set_back(table, before, plan)
        assert not world.journal.unfinished()

    virtual_run(main())


def test_the_part_has_every_fault_of_every_protocol_and_strikes_at_every_write() -> None:
    part, every = one_write_each(), combinations()
    for pair in (
        lambda each: each[:2],
        lambda each: (each[0], each[2]),
        lambda each: each[1:],
    ):
        lost = {*map(pair, every)} - {*map(pair, part)}
        assert not lost


@pytest.mark.parametrize("protocol", [p for p in WISHES if p not in ("jk02", "jk04")])
async def test_over_a_line_slower_than_the_timeout_the_settings_are_read_as_they_are(
    protocol: str,
) -> None:
    async with connect(f"sim://{protocol}?cells=4&load=idle").board as device:
        true = await device.settings()
    async with connect(f"sim://{protocol}?cells=4&load=idle&fault=late:0.6").board as device:
        for _ in range(2):
            assert equal(await device.settings(), true.image)


async def check_nothing_else_may_write(world: World) -> None:
    async with world.device() as device:
        other = await draft(device, {}, journal=world.journal)
        assert "unfinished" in [check.name for check in other.blocked]
        with pytest.raises(GateError, match="cut off"):
            await apply(device, other, journal=world.journal)


async def test_everything_is_written_once_and_read_back(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan()
    async with world.device() as device:
        outcome = await apply(device, plan, journal=world.journal)
        assert (outcome.result, world.writes) == ("done", WRITES)
        assert outcome.stands == {
            "cell_ovp": 3.6,
            "cell_ovp_release": 3.45,
            "charge_utp": 1.0,
            "cell_uvp_delay": 4.0,
        }
        again = await draft(device, WISHES["jbd"], journal=world.journal)
        assert not again.changes
        assert (await apply(device, again, journal=world.journal)).result == "nothing"
    assert world.writes == WRITES
    events = [record["event"] for record in world.journal.records()]
    assert events == ["begin", *["write", "stored"] * WRITES, "end"]


async def test_what_goes_out_is_what_the_plan_shows(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan()
    sent: list[bytes] = []
    async with world.device() as device:
        write = device.link.transport.write

        async def tapped(data: bytes) -> None:
            sent.append(data)
            await write(data)

        device.link.transport.write = tapped
        await apply(device, plan, journal=world.journal)
    first = sent.index(plan.frames[1]) - 1  # what only reads stands between
    changing = [data for data in sent[first:] if data in plan.frames]
    assert changing[: WRITES + 2] != []
    assert [data for data in changing if data in plan.frames[1:-1]] == list(plan.frames[1:-1])
    assert sent.index(plan.frames[-1]) > sent.index(plan.frames[-2])


async def test_a_change_in_between_needs_consent_again(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan()
    world.pack.settings["cell_ovp"] = 3.62
    async with world.device() as device:
        with pytest.raises(GateError, match="Plan again"):
            await apply(device, plan, journal=world.journal)
        shown = []
        with pytest.raises(GateError, match="Plan again"):
            await apply(
                device,
                plan,
                confirm=lambda new: shown.append(new) or False,
                journal=world.journal,
            )
        assert world.writes == 0
        outcome = await apply(
            device, plan, confirm=lambda new: not shown.append(new), journal=world.journal
        )
    assert outcome.result == "done"
    assert [edit.old for c in shown[1].changes for edit in c.edits if edit.key == "cell_ovp"] == [
        3.62
    ]


async def test_settings_that_keep_changing_are_not_written_over(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan()
    async with world.device() as device:
        read = device.settings

        async def busy(*args):
            world.pack.settings["cell_uvp"] += 0.001
            return await read(*args)

        device.settings = busy
        with pytest.raises(GateError, match="Two readings"):
            await apply(device, plan, journal=world.journal)
    assert world.writes == 0


async def test_a_plan_is_for_one_board(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan()
    other = World("jbd", tmp_path)
    other.node.version = 0x21
    async with other.device() as device:
        with pytest.raises(GateError, match=r"firmware 2\.1, not 8\.0"):
            await apply(device, plan, journal=other.journal)
    assert other.writes == 0


async def test_one_change_of_a_pack_at_a_time(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan()
    async with world.device() as one, world.device() as two:
        first = asyncio.ensure_future(apply(one, plan, journal=world.journal))
        await asyncio.sleep(0.1)
        with pytest.raises(GateError, match="is being changed by process"):
            await apply(two, plan, journal=world.journal)
        assert (await first).result == "done"


async def test_a_pack_that_tells_who_it_is_is_held_wherever_it_is_reached(tmp_path: Path) -> None:
    names = []
    for target in ("sim://jk02?cells=4", "sim://jk02?cells=4&gap=0.1"):
        async with connect(target).board as device:
            names.append(lock_names(device, await device.identify()))
    one, two = names
    assert set(one) != set(two)
    with locked(tmp_path, one):
        with pytest.raises(GateError, match="being changed"), locked(tmp_path, two):
            pass
        with locked(tmp_path, ["elsewhere"]):
            pass


async def test_without_a_journal_nothing_is_sent(tmp_path: Path) -> None:
    world = World("jbd", tmp_path / "journal")
    plan = await world.plan()
    world.journal.folder = tmp_path / "in the way" / "journal"
    (tmp_path / "in the way").touch()
    async with world.device() as device:
        with pytest.raises(JournalError, match="nothing is sent"):
            await apply(device, plan, journal=world.journal)
        (check,) = (await draft(device, {}, journal=world.journal)).blocked
    assert check.name == "journal"
    assert re.search(r"cannot be written \([A-Z][a-z ]+\)\. ", check.sentence)
    assert world.writes == 0


def full_from(world: World, monkeypatch: pytest.MonkeyPatch, writes: int) -> list[bool]:
    """No room on the disk from so many writes on; what it gives back ends that when emptied."""
    full, real = [True], chain.add

    def add(path: Path, record: Mapping[str, object], *, patience: float) -> None:
        if full and world.writes >= writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, record, patience=patience)

    monkeypatch.setattr("bmslink.storage.journal.add", add)
    return full


async def test_a_full_disk_in_the_middle_is_told_and_all_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal cannot be written any more: that keeps nobody from setting back."""

    world = World("jbd", tmp_path)
    plan, before = await world.plan(), await world.table()
    full = full_from(world, monkeypatch, 2)
    async with world.device() as device:
        with pytest.raises(VerifyError, match=r"No space left.*set back") as caught:
            await apply(device, plan, journal=world.journal)
        assert "nothing is sent" not in str(caught.value).lower()
        assert any("journal does not say so" in n for n in caught.value.outcome.notes)
    assert equal(await world.table(), before.image)
    full.clear()
    assert len(world.journal.unfinished()) == 1  # nobody said that it is over
    async with world.device() as device:
        outcome = await resume(device, rollback=True, journal=world.journal)
    assert outcome.result == "rolled back"
    assert equal(await world.table(), before.image)


async def test_a_disk_that_is_full_before_the_first_write_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World("jbd", tmp_path)
    plan, before = await world.plan(), await world.table()
    begin = world.journal.begin

    def begins(*args: object, **data: object) -> Transaction:
        made = begin(*args, **data)
        full_from(world, monkeypatch, 0)
        return made

    async with world.device() as device:
        for hook in (begin, begins):
            if hook is begin:
                full = full_from(world, monkeypatch, 0)
            world.journal.begin = hook
            with pytest.raises(GateError, match=r"No space left.*[Nn]othing (is|was) sent"):
                await apply(device, plan, journal=world.journal)
            full.clear()
    assert equal(await world.table(), before.image)


async def test_ctrl_c_leaves_a_change_to_resume_and_factory_mode_closed(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan()
    reached = asyncio.Event()
    world.on_write = lambda: world.writes == 2 and reached.set()
    async with world.device() as device:
        task = asyncio.ensure_future(apply(device, plan, journal=world.journal))
        await reached.wait()
        assert world.node._factory
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not world.node._factory
        assert len(world.journal.unfinished()) == 1
        await check_nothing_else_may_write(world)
        assert (await resume(device, journal=world.journal)).result == "done"
    goal = {**plan.table.image, **plan.goal}
    assert equal(await world.table(), goal)


async def test_a_board_that_stays_closed_is_no_half_change(tmp_path: Path) -> None:
    """Factory mode is refused only when writing begins: nothing was sent, and nothing is open."""

    world = World("jbd", tmp_path)
    plan = await world.plan()
    async with world.device() as device:
        writing = device.writing

        def closed():
            raise Refused("The board refuses factory mode: password error.", 0x83)

        device.writing = closed
        with pytest.raises(Refused, match="factory mode"):
            await apply(device, plan, journal=world.journal)
        device.writing = writing
    assert world.writes == 0
    assert not world.journal.unfinished()


def replaced(world: World, change: str) -> None:
    """The board of the world becomes another one of the same kind, set differently."""
    world.pack.settings[change] += 1


async def test_a_change_between_the_last_look_and_the_first_write_is_not_written_over(
    tmp_path: Path,
) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan()
    async with world.device() as device:
        begin = world.journal.begin

        def begins(*args: object, **more: object) -> Transaction:
            world.pack.settings["cell_ovp"] = 3.62
            return begin(*args, **more)

        world.journal.begin = begins
        with pytest.raises(GateError, match=r"cell_ovp 3\.65 V -> 3\.62 V\): nothing was sent"):
            await apply(device, plan, journal=world.journal)
    assert world.writes == 0
    assert not world.journal.unfinished()


async def test_after_a_lost_line_a_board_of_the_same_kind_is_told_by_what_stands_in_it(
    tmp_path: Path,
) -> None:
    """JBD boards tell no serial number; the plug may be put into the pack beside it."""

    world = World("jbd", tmp_path, "disconnects before", 2)
    plan = await world.plan()
    world.on_write = lambda: world.writes == 2 and replaced(world, "discharge_otp")
    async with world.device() as device:
        with pytest.raises(RollbackError, match=r"differs.*discharge_otp.*serial number"):
            await apply(device, plan, journal=world.journal)
    assert world.writes == 2
    assert len(world.journal.unfinished()) == 1


def deaf_to(world: World, request: bytes, times: int) -> list[bytes]:
    """The board does not hear a request so many times; what it heard of it later."""
    receive, heard, left = world.node.receive, [], [times]

    def listen(data: bytes) -> list[Answer]:
        if data.startswith(request):
            if left[0]:
                left[0] -= 1
                return []
            heard.append(data)
        return receive(data)

    world.node.receive = listen
    return heard


async def test_what_was_written_is_made_permanent_or_it_is_not_done(tmp_path: Path) -> None:
    """Leaving factory mode with 2828 is lost, all its repetitions too: it is sent again."""

    world = World("jbd", tmp_path)
    plan = await world.plan()
    async with world.device() as device:
        heard = deaf_to(world, bytes.fromhex("dd5a01022828"), 5)
        outcome = await apply(device, plan, journal=world.journal)
    assert outcome.result == "done"
    assert heard
    assert not world.node._factory


async def test_an_impatient_ctrl_c_leaves_factory_mode_closed_too(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan()
    reached = asyncio.Event()
    world.on_write = lambda: world.writes == 2 and reached.set()
    async with world.device() as device:
        task = asyncio.ensure_future(apply(device, plan, journal=world.journal))
        await reached.wait()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.001)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not world.node._factory


async def test_a_rehearsal_that_is_cancelled_sends_nothing_afterwards(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan()
    slot = plan.table.map.by_address[plan.changes[0].slot]
    async with world.device() as device:
        heard = deaf_to(world, b"\xdd\x5a", 0)
        for suspensions in range(1, 12):
            task = asyncio.ensure_future(device.rehearse([(slot, plan.changes[0].new)]))
            for _ in range(suspensions):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(1)
    assert heard == []


async def test_setting_back_goes_the_same_way_backwards(tmp_path: Path) -> None:
    """The way there was one on which no state contradicts itself; so is the way back."""

    world = World("jbd", tmp_path, "stuck", WRITES)
    plan = await world.plan()
    async with world.device() as device:
        with pytest.raises(VerifyError):
            await apply(device, plan, journal=world.journal)
    events = [(r["event"], r.get("slot")) for r in world.journal.records()]
    back = events.index(("rollback", None))
    there, again = (
        [slot for event, slot in part if event == "write"]
        for part in (events[:back], events[back:])
    )
    assert there == [change.slot for change in plan.changes]
    assert again == there[::-1]  # the last one too: it may only show late what it took


async def test_a_line_that_breaks_every_time_is_given_up(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    plan = await world.plan()
    tries = []
    async with world.device() as device:

        async def broken(*args: object) -> None:
            tries.append(args)
            raise LinkClosed("The cable was pulled.")

        device.store = broken
        async with asyncio.timeout(300):
            with pytest.raises(RollbackError, match="not proven yet"):
                await apply(device, plan, journal=world.journal)
    assert 2 < len(tries) < 12
    assert len(world.journal.unfinished()) == 1


def test_every_name_of_a_pack_is_held(tmp_path: Path) -> None:
    with locked(tmp_path, ["here", "who"]):
        for name in ("here", "who"):
            with pytest.raises(GateError, match="being changed"), locked(tmp_path, [name]):
                pass


async def test_a_rehearsal_that_fails_leaves_the_line_as_it_was(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        line = device.link.transport
        slot = (await device.settings()).map.by_address[0x2C]
        with pytest.raises(SettingError, match="not one that is ever written"):
            await device.rehearse([(slot, b"\0\1")])
        assert device.link.transport is line


async def test_factory_mode_that_somebody_left_open_is_closed_first(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    world.node._factory = True
    heard = deaf_to(world, b"\xdd\x5a", 0)
    async with world.device() as device:
        await device.settings(await device.settings_map(await device.identify()))
    assert heard[0] == bytes.fromhex("dd5a01020000fffd77")
    assert not world.node._factory
