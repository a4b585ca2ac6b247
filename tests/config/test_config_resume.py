"""Whatever kills us: resuming ends in the plan or in what stood before."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bmslink.config import Plan, apply, cut_off_change, draft, place_of, resume
from bmslink.config.identity.fingerprint import Fingerprint
from bmslink.config.identity.known_as import same_board
from bmslink.config.records.open_changes import regards
from bmslink.errors import GateError, UsageError
from bmslink.link.transport import parse_target
from bmslink.places import where
from bmslink.storage.chain import add
from bmslink.storage.journal import Journal
from config_faults import UNLIKE, WISHES, Killed, KilledAt, State, World, equal, set_back
from support import WHOLE_SWEEP, part, virtual_run

WISH: dict[str, dict[str, object]] = {
    protocol: {"cell_ovp": 3.6, "charge_utp": 1.0} if "cell_ovp" in wishes else dict(wishes)
    for protocol, wishes in WISHES.items()
} | {"jbd": {"cell_ovp": 3.6, "balance_switch": False}}

Death = tuple[int, bool]
"""At which suspension, and whether it is set back then."""


def rehearsal(protocol: str, folder: Path) -> tuple[Plan, list[State]]:
    """A plan, and the state of the world at each suspension of its life."""
    plan = virtual_run(World(protocol, folder / "plan").plan(WISH[protocol]))

    async def main() -> list[State]:
        world = World(protocol, folder / "life")
        states: list[State] = []
        async with world.device() as device:
            change = apply(device, plan, journal=world.journal)
            await KilledAt(change, world, None, lambda: states.append(world.state(plan)))
        return states

    return plan, virtual_run(main())


def every_death(states: list[State]) -> Iterator[Death]:
    """Twenty before it begins, where all are alike, and all of the rest."""
    for at, (recorded, *_) in enumerate(states, 1):
        if recorded or at % 20 == 1:
            yield at, bool(at % 2)


def chosen_deaths(states: list[State]) -> Iterator[Death]:
    """One way or the other out of every state, at some moment of it, and some more moments."""
    rng = random.Random(1)
    moments: dict[State, list[int]] = {}
    for at, state in enumerate(states, 1):
        moments.setdefault(state, []).append(at)
    for number, alike in enumerate(moments.values()):
        yield rng.choice(alike), bool(number % 2)
    begun = [at for at, (recorded, *_) in enumerate(states, 1) if recorded]
    for at in rng.sample(begun, min(10, len(begun))):
        yield at, bool(at % 2)


@pytest.mark.sweep
@pytest.mark.slow
@pytest.mark.parametrize("protocol", WISH)
def test_killed_at_every_await_it_ends_in_the_plan_or_the_backup(
    protocol: str, tmp_path: Path
) -> None:
    """What a process leaves behind is the journal and the board: awaits between two changes of
    these are alike. `BMSLINK_WHOLE_SWEEP=1` dies at each of them."""
    plan, states = rehearsal(protocol, tmp_path / "count")
    begin = next(at for at, (recorded, *_) in enumerate(states, 1) if recorded)
    assert len(states) - begin > 2 * len(plan.changes)
    over = next(at for at, (recorded, *_) in enumerate(states, 1) if recorded == states[-1][0])
    ends = set()
    deaths = dict.fromkeys((every_death if WHOLE_SWEEP else chosen_deaths)(states))
    for at, back in part(deaths, 1 if protocol in UNLIKE else 3):
        folder = tmp_path / f"{at}-{back}"
        open_then = begin <= at < over
        ends.add(
            virtual_run(
                one_death(
                    plan, protocol, folder, at, back=back, open_then=open_then, over=at >= over
                )
            )
        )
    assert ends == {"nothing", "done", "rolled back"}


async def one_death(
    plan: Plan, protocol: str, folder: Path, at: int, *, back: bool, open_then: bool, over: bool
) -> str:
    """`open_then`: the journal has its beginning by then, and not its end; `over`: its end too."""
    world = World(protocol, folder)
    device = world.device()
    await device.open()
    with suppress(Killed):
        await KilledAt(apply(device, plan, journal=world.journal), world, at)
    assert world.dead
    world.recover()
    async with world.device() as device:
        outcome = await resume(device, rollback=back, journal=world.journal)
    assert outcome.result in (("done", "rolled back") if open_then else ("nothing",))
    table, before = await world.table(), plan.table.image
    if outcome.result == "done" or over:
        assert equal(table, {**before, **plan.goal})
    else:
        assert set_back(table, before, plan)
    assert not world.journal.unfinished()
    return outcome.result


async def cut_off(world: World, *, after: int = 1) -> Plan:
    """A change that died right behind its `after`-th write."""
    plan = await world.plan(WISH[world.protocol])
    device = world.device()
    await device.open()

    def dying() -> None:
        world.dead = world.writes > after

    world.on_write = dying
    with suppress(Killed):
        await apply(device, plan, journal=world.journal)
    world.recover()
    world.on_write = lambda: None
    return plan


async def test_nothing_to_resume_says_so(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        outcome = await resume(device, journal=world.journal)
    assert (outcome.result, world.writes) == ("nothing", 0)


async def test_what_stands_already_is_not_written_again(tmp_path: Path) -> None:
    """Every write wears the memory of a board."""

    world = World("jbd", tmp_path)
    await cut_off(world)
    begun = world.writes  # the second write never left
    async with world.device() as device:
        assert (await resume(device, journal=world.journal)).result == "done"
    assert world.writes == begun + 1


async def test_another_board_is_not_resumed_and_keep_gives_up(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await cut_off(world)
    world.node.version = 0x21
    half = await world.table()
    async with world.device() as device:
        with pytest.raises(GateError, match="another board: this one has firmware"):
            await resume(device, journal=world.journal)
        assert len(world.journal.unfinished()) == 1
        outcome = await resume(device, keep=True, journal=world.journal)
    assert outcome.result == "kept"
    assert equal(await world.table(), half.image)
    assert not world.journal.unfinished()


async def test_what_would_trip_by_now_is_not_finished_but_can_be_set_back(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    before = await world.table()
    plan = await world.plan({"cell_ovp": 3.5, "balance_switch": False})
    device = world.device()
    await device.open()
    with suppress(Killed):
        world.on_write = lambda: setattr(world, "dead", True)
        await apply(device, plan, journal=world.journal)
    world.recover()
    world.on_write = lambda: None
    world.pack.set_cell_voltage(2, 3.55)
    async with world.device() as device:
        with pytest.raises(GateError, match=r"highest cell has 3\.55 V: it would trip now"):
            await resume(device, journal=world.journal)
        assert (await resume(device, rollback=True, journal=world.journal)).result == (
            "rolled back"
        )
    assert set_back(await world.table(), before.image, plan)


def tamper(folder: Path, damage: dict[str, Any], note: dict[str, Any] | None = None) -> None:
    """Change the record that begins the change, or the first write of it, and seal all anew."""
    (path,) = folder.glob("*.jsonl")
    begin, *rest = map(json.loads, path.read_text().splitlines())
    first = next(each for each in rest if each["event"] == "write")
    path.unlink()
    for record in (
        begin | damage,
        *(each | (note or {}) if each is first else each for each in rest),
    ):
        add(path, {k: v for k, v in record.items() if k not in ("prev", "hash")}, patience=1.0)


@pytest.mark.parametrize(
    "damage",
    [
        {"changes": [{"slot": 0x24, "new": "2328"}]},  # 9 V, outside the limits
        {"changes": [{"slot": 0x2C, "new": "0002"}]},  # the shunt: never written
        {"changes": [{"slot": 0x2F, "new": "0005"}]},  # the cell count: never written
        {"changes": [{"slot": 0x2D, "new": "1004"}]},  # a bit of it that is never written
        {"changes": [{"slot": 0x24, "new": "0e"}]},
        {"changes": [{"slot": "no number", "new": "0e10"}]},
        {"changes": None},
        {"image": {"24": "no hex"}},
        {"image": []},
        {"image": {"24": "0e10"}},  # not what the other slots held
        {"changes": [{"slot": float("inf"), "new": "0e10"}]},
        {"chemistry": "cheese"},
        {"map": "another"},
    ],
)
async def test_a_record_that_was_tampered_with_writes_nothing(
    damage: dict[str, Any], tmp_path: Path
) -> None:
    world = World("jbd", tmp_path)
    await cut_off(world)
    tamper(tmp_path, damage)
    assert not world.journal.damaged()
    before, writes = await world.table(), world.writes
    async with world.device() as device:
        with pytest.raises(GateError):
            await resume(device, journal=world.journal)
        with pytest.raises(GateError):
            await resume(device, rollback=True, journal=world.journal)
    assert world.writes == writes
    assert equal(await world.table(), before.image)


@pytest.mark.parametrize(
    "note",
    [
        {"slot": 0x10},  # the image of this record does not hold it
        {"new": "no hex"},
        {"new": "0e"},
    ],
)
async def test_a_write_on_record_that_cannot_be_set_back_writes_nothing(
    note: dict[str, Any], tmp_path: Path
) -> None:
    world = World("jbd", tmp_path)
    before = {f"{a:X}": raw.hex() for a, raw in (await world.table()).image.items()}
    await cut_off(world)
    tamper(tmp_path, {"image": {a: raw for a, raw in before.items() if a != "10"}}, note)
    writes = world.writes
    async with world.device() as device:
        for rollback in (False, True):
            with pytest.raises(GateError, match=r"record of the change cannot be used.*--keep"):
                await resume(device, rollback=rollback, journal=world.journal)
    assert world.writes == writes
    assert len(world.journal.unfinished()) == 1


async def test_what_was_waived_when_it_was_begun_is_waived_when_it_is_finished(
    tmp_path: Path,
) -> None:
    world = World("jbd", tmp_path)
    world.pack.set_cell_voltage(2, 3.55)
    async with world.device() as device:
        plan = await draft(
            device, {"cell_ovp": 3.5, "charge_utp": 1.0}, waive=["trip"], journal=world.journal
        )
        world.on_write = lambda: setattr(world, "dead", True)
        with suppress(Killed):
            await apply(device, plan, journal=world.journal)
    world.recover()
    world.on_write = lambda: None
    async with world.device() as device:
        assert (await resume(device, journal=world.journal)).result == "done"
    assert equal(await world.table(), {**plan.table.image, **plan.goal})


@pytest.mark.parametrize("rollback", [False, True])
async def test_whoever_says_that_it_is_the_same_board_has_all_its_settings_set_back(
    rollback: bool, tmp_path: Path
) -> None:
    """So many others moved that it would be taken for another board."""

    world = World("jbd", tmp_path)
    plan = await cut_off(world)
    world.pack.settings.update(charge_otp=50.0, discharge_otp=52.0, cell_uvp_delay=7.0)
    world.pack.settings.update(cell_ovp_delay=7.0)
    async with world.device() as device:
        with pytest.raises(GateError, match="other settings changed as well"):
            await resume(device, rollback=rollback, journal=world.journal)
        outcome = await resume(
            device, rollback=rollback, waive=["unchanged"], journal=world.journal
        )
    assert outcome.result == ("rolled back" if rollback else "done")
    table, before = await world.table(), plan.table.image
    if rollback:
        assert set_back(table, before, plan)
    else:
        assert equal(table, {**before, **plan.goal})


async def test_a_waiver_on_record_that_is_none_any_more_waives_nothing(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await cut_off(world)
    tamper(tmp_path, {"waived": ["of an earlier version", 7]})
    async with world.device() as device:
        with pytest.raises(UsageError, match="no waiver 'unchagned'"):
            await resume(device, waive=["unchagned"], journal=world.journal)
        assert (await resume(device, journal=world.journal)).result == "done"


async def test_a_record_whose_settings_have_no_names_is_shown(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await cut_off(world)
    tamper(tmp_path, {"changes": [{"slot": 0x24, "new": "0e10", "settings": [{"key": ["x"]}]}]})
    async with world.device() as device:
        found = await cut_off_change(device, world.journal)
    assert found is not None
    assert found.stands == {}


def test_the_serial_number_tells_packs_apart_where_the_place_does_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin("tcp://192.0.2.1:1", {"serial_number": "A1"}, [])
    (cut,) = journal.unfinished()

    def by(target: str, serial: str | None) -> str:
        return regards(cut, where(parse_target(target)), Fingerprint(serial_number=serial))

    assert by("serial:///dev/x", "A1") == "serial number"
    assert by("tcp://192.0.2.1:1", "B2") == ""
    assert by("tcp://192.0.2.1:1", None) == "place"
    assert by("tcp://192.0.2.2:1", None) == ""


async def test_a_pack_without_a_serial_number_that_took_its_place_is_left_alone(
    tmp_path: Path,
) -> None:
    """Another board of the same kind and firmware, on the same port, with settings of its own."""

    world = World("jbd", tmp_path)
    await cut_off(world)
    world.pack.settings["discharge_otp"] = 58.0
    before, writes = await world.table(), world.writes
    async with world.device() as device:
        for rollback in (False, True):
            with pytest.raises(GateError, match=r"discharge_otp.*same board.*--keep"):
                await resume(device, rollback=rollback, journal=world.journal)
        assert world.writes == writes
        assert equal(await world.table(), before.image)
        outcome = await resume(device, rollback=True, waive=["unchanged"], journal=world.journal)
        assert outcome.result == "rolled back"
    assert (await world.table()).values()["discharge_otp"] == 60.0


async def test_setting_back_waits_for_a_write_that_is_still_on_its_way(tmp_path: Path) -> None:
    """A gateway may hand over what it holds when we are long back: only then it is read."""

    world = World("jbd", tmp_path)
    before = await world.table()
    plan = await world.plan(WISH["jbd"])
    device = world.device()
    await device.open()
    world.on_write = lambda: setattr(world, "dead", True)
    with suppress(Killed):
        await apply(device, plan, journal=world.journal)
    world.recover()
    world.on_write = lambda: None
    later = asyncio.get_running_loop().call_later
    async with world.device() as device:
        settings = device.settings

        async def slow(*args: Any) -> Any:
            device.settings = settings
            found = await settings(*args)
            later(2.0, lambda: world.pack.settings.update(cell_ovp=3.6))
            return found

        device.settings = slow
        outcome = await resume(device, rollback=True, journal=world.journal)
    assert outcome.result == "rolled back"
    assert set_back(await world.table(), before.image, plan)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("jk-modbus+serial:///dev/ttyX", "jk-modbus+serial:///dev/ttyX?address=1", True),
        ("jk-modbus+serial:///dev/ttyX", "jk-modbus+serial:///dev/ttyX?address=2", False),
        ("daly-p81+tcp://h:1?address=0x2", "daly-p81+tcp://H:1?address=2&gap=0", True),
        ("jbd+serial:///dev/ttyX", "jbd+serial:///dev/ttyx", False),
        ("jbd+ble://AA:BB:CC:DD:EE:01", "jbd+ble://aa:bb:cc:dd:ee:01", True),
    ],
)
def test_a_place_has_one_name_however_it_is_written(one: str, other: str, same: bool) -> None:
    places = [place_of(parse_target(text)) for text in (one, other)]
    assert (places[0] == places[1]) is same


def test_a_clock_that_was_set_back_hides_nothing_and_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    months = iter(("2026-12", "2026-12", "1970-01", "1970-01"))
    monkeypatch.setattr(Journal, "_file", lambda self, now: self.folder / f"{next(months)}.jsonl")
    done, cut = journal.begin("a", {}, []), journal.begin("b", {}, [])
    done.end("done")
    cut.note("rollback")
    (found,) = journal.unfinished()
    assert found.id == cut.id
    assert [note["event"] for note in found.notes] == ["rollback"]


def test_names_that_are_no_text_and_lines_that_are_no_records_stop_no_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "\udcff")
    journal = Journal(tmp_path)
    journal.begin("serial:///dev/\udce9", {}, [])
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(b"[" * 100_000 + b"\n\0\0\0\n" + path.read_bytes())
    (found,) = journal.unfinished()
    assert found.about["target"] == "serial:///dev/\udce9"
    assert not found.damage


def test_a_firmware_that_is_not_told_any_more_is_another_board() -> None:
    known: dict[str, Any] = {"vendor": "JK", "firmware": "11.1", "serial_number": "1", "model": "a"}
    assert same_board(known, known) == ""
    assert same_board(known, {**known, "serial_number": None, "model": None}) == ""
    assert same_board(known, {**known, "firmware": None})
    assert "serial number 2, not 1" in same_board(known, {**known, "serial_number": "2"})


async def test_what_was_being_set_back_is_set_back(tmp_path: Path) -> None:
    """A change whose way back had begun is not finished because nobody says --rollback."""

    world = World("jbd", tmp_path)
    before = await world.table()
    plan = await cut_off(world)
    (cut,) = world.journal.unfinished()
    world.journal.reopen(cut).note("rollback", why="it failed")
    async with world.device() as device:
        assert (await resume(device, journal=world.journal)).result == "rolled back"
    assert set_back(await world.table(), before.image, plan)


def test_a_record_is_on_the_disk_and_behind_a_torn_one_on_a_line_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle) or sync(handle))
    journal = Journal(tmp_path)
    journal.append("one")
    assert len(synced) == 2  # the file and, because it is new, its folder
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes() + b'{"event": "torn')
    journal.append("two")
    assert len(synced) == 3
    assert [record["event"] for record in journal.records()] == ["one", "two"]
