"""Undoing the last change: what comes back, what stops it, and what befalls it on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from construct import Int16ub, Struct

from bmslink.config import Outcome, Plan, Undo, apply, draft, draft_undo, make_plan, resume, undo
from bmslink.errors import GateError
from bmslink.model import Identity
from bmslink.protocols.common.settings_map import SettingsMap, SettingsSnapshot, Slot
from bmslink.settings.setting import Evidence, Setting
from bmslink.simulation.responder import make_responder
from bmslink.storage.chain import add
from bmslink.storage.journal import Journal, JournalError
from config_faults import WISHES, World, equal

LFP = {"chemistry": "lfp"}


async def change(world: World, wanted: Mapping[str, object] | None = None) -> Plan:
    """A change that is made in peace."""
    plan = await world.plan(wanted)
    async with world.device(faulty=False) as device:
        outcome = await apply(device, plan, journal=world.journal, command="settings set")
    assert outcome.result == "done"
    return plan


async def undone(world: World, **how: object) -> Outcome:
    async with world.device() as device:
        return await undo(device, journal=world.journal, **{**LFP, **how})


async def values(world: World) -> dict[str, object]:
    return (await world.table()).values()


def journal_of(folder: Path) -> Path:
    """Its one file."""
    (path,) = folder.glob("*.jsonl")
    return path


@pytest.mark.parametrize("protocol", [p for p in WISHES if p != "jk-nw"])
async def test_undo_brings_back_what_was_and_undone_it_is_a_redo(
    protocol: str, tmp_path: Path
) -> None:
    world = World(protocol, tmp_path)
    plan = await change(world)
    before, after = plan.table, await world.table()
    assert not equal(after, before.image)
    for wanted in (before.image, after.image, before.image):
        outcome = await undone(world)
        assert outcome.result == "done"
        held = {**wanted, **{c.slot: after.image[c.slot] for c in plan.changes if _switch(c)}}
        assert equal(await world.table(), held)
    ends = [r.get("undoes") for r in world.journal.records() if r["event"] == "begin"]
    assert ends[0] is None
    assert all(ends[1:])


def _switch(change) -> bool:
    return any(edit.key.endswith("_switch") for edit in change.edits)


async def test_the_plan_says_which_change_is_undone(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    (begin,) = (r for r in world.journal.records() if r["event"] == "begin")
    async with world.device() as device:
        plan = await draft_undo(device, journal=world.journal, **LFP)
    assert isinstance(plan.raw, Undo)
    assert plan.raw.transaction == begin["id"]
    assert (plan.raw.time, plan.raw.command) == (begin["time"], "settings set")
    assert plan.to_dict()["undoes"]["transaction"] == begin["id"]
    assert [(e.key, e.old, e.new) for c in plan.changes for e in c.edits] == [
        ("cell_ovp", 3.6, 3.65)
    ]
    assert not plan.blocked
    assert world.writes == 0


@pytest.mark.parametrize("protocol", ["jbd", "jk02", "jk-modbus", "daly-d2", "daly-p81", "daly-a5"])
async def test_what_goes_out_is_what_setting_the_old_values_sends(
    protocol: str, tmp_path: Path
) -> None:
    world = World(protocol, tmp_path)
    old = (await change(world)).table.values()
    async with world.device() as device:
        back = await draft_undo(device, journal=world.journal, **LFP)
        keys = [edit.key for change in back.changes for edit in change.edits]
        again = await draft(device, {k: old[k] for k in keys}, journal=world.journal, **LFP)
        assert back.frames == again.frames
        before = len(world.sent)
        await apply(device, back, journal=world.journal)
    sent = [data for data in world.sent[before:] if data in back.frames]
    assert set(sent) == set(back.frames)


async def test_only_what_the_change_was_about_comes_back(tmp_path: Path) -> None:
    """Also where one slot holds both: both warning levels of A5 are in one message."""
    world = World("daly-a5", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    async with world.device(faulty=False) as device:
        other = await draft(device, {"cell_uvp": 2.6}, journal=Journal(tmp_path / "other"), **LFP)
        assert (await apply(device, other, journal=Journal(tmp_path / "other"))).result == "done"
    table = await world.table()
    (slot,) = (c.slot for c in other.changes)
    assert slot == table.map.setting("cell_ovp").slot
    outcome = await undone(world)
    assert outcome.stands == {"cell_ovp": 3.65}
    assert (await values(world))["cell_uvp"] == 2.6


async def test_what_somebody_else_changed_since_is_a_choice(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6, "charge_utp": 1.0})
    world.pack.settings["cell_ovp"] = 3.62
    with pytest.raises(
        GateError, match=r"cell_ovp is 3\.62 V \(before the change 3\.65 V, written"
    ):
        await undone(world)
    assert world.writes == 0
    async with world.device() as device:
        plan = await draft_undo(device, journal=world.journal, **LFP)
        (since,) = plan.raw.since
        assert (since.before, since.written, since.now) == (3.65, 3.6, 3.62)
        assert [check.name for check in plan.blocked] == ["unchanged"]
        kept = await draft_undo(device, journal=world.journal, keep_changed=True, **LFP)
    assert kept.left_out == {"cell_ovp": "somebody else changed it since"}
    assert [e.key for c in kept.changes for e in c.edits] == ["charge_utp"]
    outcome = await undone(world, waive=["unchanged"])
    assert outcome.result == "done"
    assert outcome.stands == {"cell_ovp": 3.65, "charge_utp": 0.0}
    begin = [r for r in world.journal.records() if r["event"] == "begin"][-1]
    assert "unchanged" in begin["waived"]


async def test_what_changes_between_plan_and_write_stops_it(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    async with world.device() as device:
        plan = await draft_undo(device, journal=world.journal, **LFP)
        world.pack.settings["cell_ovp"] = 3.62
        with pytest.raises(GateError, match="somebody else since"):
            await apply(device, plan, journal=world.journal)
        world.pack.settings["cell_ovp"] = 3.6
    await change(world, {"charge_utp": 1.0})
    async with world.device() as device:
        with pytest.raises(GateError, match="another change was made since the plan"):
            await apply(device, plan, journal=world.journal)
    assert world.writes == 0


async def test_a_forged_undo_writes_what_the_journal_says(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    async with world.device() as device:
        plan = await draft_undo(device, journal=world.journal, **LFP)
        forged = replace(plan, changes=(), checks=(), raw=replace(plan.raw, transaction="beef"))
        with pytest.raises(GateError, match="another change"):
            await apply(device, forged, journal=world.journal)
        bare = replace(plan, raw={0x24: b"\x0f\xff"})
        with pytest.raises(Exception, match="whole backup"):
            await apply(device, bare, journal=world.journal)
    assert world.writes == 0


async def test_nothing_to_undo_is_no_success(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    with pytest.raises(GateError, match="nothing to undo"):
        await undone(world)
    plan = await change(world, {"cell_ovp": 3.6})
    world.pack.settings["cell_ovp"] = 3.65
    outcome = await undone(world)  # somebody did it already, by hand
    assert outcome.result == "nothing"
    assert equal(await world.table(), plan.table.image)
    assert world.writes == 0


async def test_what_was_set_back_is_no_change_to_undo(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    plan = await world.plan({"charge_utp": 1.0})
    world.fault = "read-only from here on"
    async with world.device() as device:
        with pytest.raises(Exception, match="set back"):
            await apply(device, plan, journal=world.journal)
    world.recover()
    assert (await undone(world)).stands == {"cell_ovp": 3.65}


async def test_no_undo_turns_a_switch(tmp_path: Path) -> None:
    world = World("jk-nw", tmp_path)
    await change(world)
    with pytest.raises(GateError, match="undoing changes no switch"):
        await undone(world)
    world = World("jk04", tmp_path / "more")
    await change(world)
    async with world.device() as device:
        plan = await draft_undo(device, journal=world.journal, **LFP)
    assert list(plan.left_out) == ["balance_switch"]
    assert (await undone(world)).result == "done"
    assert (await values(world))["balance_switch"] is False


async def test_another_board_at_the_same_place_is_left_alone(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    other = World("jbd", tmp_path)
    other.pack = type(other.pack)(cells=8, load="idle", seed=2)
    other.node = make_responder("jbd", other.pack)
    with pytest.raises(GateError, match="the last change here was of another board"):
        await undone(other)
    other = World("jbd", tmp_path)
    other.node.version = 0x21
    with pytest.raises(GateError, match=r"with firmware 8\.0 .* this board has firmware 2\.1"):
        await undone(other)
    assert other.writes == 0


async def test_a_record_that_does_not_verify_is_not_undone(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    path = journal_of(tmp_path)
    old = [json.loads(line) for line in path.read_text().splitlines()]
    for record in old:
        for name in ("hash", "prev"):
            record.pop(name, None)
        record["schema"] = 1
    path.write_text("".join(json.dumps(record) + "\n" for record in old))
    with pytest.raises(GateError, match="cannot be trusted"):
        await undone(world)
    assert world.writes == 0


def rewritten(folder: Path, **begin: object) -> None:
    """The journal with another first record of its change, and right checksums."""
    path = journal_of(folder)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    path.unlink()
    for record in records:
        kept = {k: v for k, v in record.items() if k not in ("hash", "prev")}
        add(path, kept | (begin if kept["event"] == "begin" else {}), patience=1.0)


async def test_at_another_place_a_board_without_a_number_needs_a_word(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    there = {"path": ["/dev/ttyUSB7"], "address": 1}
    rewritten(tmp_path, target="serial:///dev/ttyUSB7", place=there)
    with pytest.raises(GateError, match="made at serial:///dev/ttyUSB7, and this board only"):
        await undone(world)
    assert world.writes == 0
    assert (await undone(world, waive=["place"])).result == "done"


async def test_over_another_port_of_the_pack_it_names_the_right_one(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    begin = next(iter(world.journal.records()))
    pack = {**begin["pack"], "protocol": "jbd-up"}
    rewritten(tmp_path, pack=pack, target="serial:///dev/ttyUSB7")
    with pytest.raises(GateError, match=r"Undo it over jbd-up\+serial:///dev/ttyUSB7"):
        await undone(world)


@pytest.mark.parametrize(
    "changes",
    [
        [{"slot": 0x24, "old": "0e", "new": "0e10"}],
        [{"slot": 0x2424, "old": "0e42", "new": "0e10"}],
        [{"slot": 0x24, "old": None, "new": "0e10"}],
        [{"new": "0e10"}],
        "x",
    ],
)
async def test_a_record_that_makes_no_sense_is_not_undone(changes, tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    rewritten(tmp_path, changes=changes)
    with pytest.raises(GateError, match="record of the last change cannot be used"):
        await undone(world)
    assert world.writes == 0


async def test_what_the_maker_set_outside_our_limits_comes_back(tmp_path: Path) -> None:
    """The journal shows that this board held it: so it needs no waiver."""
    world = World("jbd", tmp_path)
    world.pack.settings["cell_ovp_delay"] = 100
    plan = await world.plan({"cell_ovp_delay": 3})
    async with world.device(faulty=False) as device:
        await apply(device, plan, journal=world.journal)
    outcome = await undone(world, waive=["rules"])
    assert outcome.result == "done"
    assert world.pack.settings["cell_ovp_delay"] == 100


def test_what_belongs_to_the_one_board_comes_back_too() -> None:
    """No backup brings an address back, because it may be of another board; the journal's record
    is of this one."""
    row = Setting(
        key="an_address", title="", slot=1, own=True, minimum=0, maximum=15,
        evidence=Evidence.CAPTURE,
    )  # fmt: skip
    slot = Slot(address=1, layout=Struct("an_address" / Int16ub))
    settings = SettingsMap(name="x", evidence="", slots=(slot,), settings=(row,))
    table = SettingsSnapshot(map=settings, image={1: b"\0\5"})
    who = Identity(protocol="jk02", firmware="1")
    plan = make_plan(table, {}, identity=who, reading=None, raw={1: b"\0\1"}, restore=True)
    assert [(edit.old, edit.new) for c in plan.changes for edit in c.edits] == [(5.0, 1.0)]


async def test_what_the_cells_are_need_not_be_stated_again(tmp_path: Path) -> None:
    """Somebody stated it with the change; back is wider, which nobody may go without knowing it."""
    world = World("daly-p81", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    rewritten(tmp_path, chemistry=None)
    with pytest.raises(GateError, match="What the cells are made of is unknown"):
        await undone(world, chemistry=None)
    rewritten(tmp_path, chemistry="lfp")
    assert (await undone(world, chemistry=None)).result == "done"


@pytest.mark.parametrize(
    "record",
    [
        {"chemistry": {"lfp": 1}},
        {"chemistry": ["lfp"]},
        {"chemistry": "lead"},
        {"chemistry": "lfp", "waived": ["chemistry"]},
        {"chemistry": "lfp", "waived": None},
    ],
)
async def test_what_a_record_cannot_say_of_the_cells_is_not_taken(
    record: dict[str, object], tmp_path: Path
) -> None:
    """Not even by the next plan; and what was waived then is no statement now."""
    world = World("daly-p81", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    rewritten(tmp_path, **record)
    with pytest.raises(GateError, match="What the cells are made of is unknown"):
        await undone(world, chemistry=None)
    async with world.device() as device:
        plan = await draft(device, {"cell_ovp": 3.65}, journal=world.journal)
    assert plan.chemistry is None
    assert world.writes == 0


async def test_a_full_disk_refuses_it_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})

    def full(event: str, **data: object) -> None:
        raise JournalError("The journal cannot be written (No space left on device).")

    monkeypatch.setattr(world.journal, "append", full)
    with pytest.raises(GateError, match="No space left"):
        await undone(world)
    assert world.writes == 0


async def test_while_a_change_is_cut_off_it_is_resumed_first(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    world.fault = "dies"
    with pytest.raises(Exception, match="resume"):
        await undone(world)
    world.recover()
    with pytest.raises(GateError, match="cut off"):
        await undone(world)
    async with world.device() as device:
        outcome = await resume(device, journal=world.journal)  # setting back had begun
    assert outcome.result == "rolled back"
    assert (await values(world))["cell_ovp"] == 3.6
    assert (await undone(world)).stands == {"cell_ovp": 3.65}


async def test_the_record_is_private_and_written_before_the_first_frame(tmp_path: Path) -> None:
    """It is the automatic backup: all slots, who the board is, when, and with what."""
    world = World("jbd", tmp_path / "journal")
    plan = await world.plan({"cell_ovp": 3.6})
    held: list[list[str]] = []
    world.on_write = lambda: held.append([r["event"] for r in world.journal.records()])
    async with world.device() as device:
        await apply(device, plan, journal=world.journal, command="config apply p.toml")
    assert held[0][0] == "begin"
    begin = next(iter(world.journal.records()))
    assert {int(k, 16): bytes.fromhex(v) for k, v in begin["image"].items()} == plan.table.image
    assert begin["command"] == "config apply p.toml"
    assert begin["pack"]["vendor"] == "JBD"
    assert journal_of(world.journal.folder).stat().st_mode & 0o077 == 0
    assert world.journal.folder.stat().st_mode & 0o077 == 0


async def test_a_change_by_other_rows_is_not_undone(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    rewritten(tmp_path, map="jbd-of-tomorrow")
    with pytest.raises(GateError, match="settings of jbd-of-tomorrow"):
        await undone(world)
    assert world.writes == 0


async def test_a_change_of_this_place_comes_before_a_later_one_of_a_board_that_looks_the_same(
    tmp_path: Path,
) -> None:
    world = World("jbd", tmp_path)
    await change(world, {"cell_ovp": 3.6})
    await change(world, {"cell_uvp": 2.6})
    path = journal_of(tmp_path)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    path.unlink()
    begun = [record["id"] for record in records if record["event"] == "begin"]
    there = {"place": {"path": ["/dev/ttyUSB7"], "address": 1}, "target": "serial:///dev/ttyUSB7"}
    for record in records:
        kept = {k: v for k, v in record.items() if k not in ("hash", "prev")}
        moved = there if record["id"] == begun[1] and record["event"] == "begin" else {}
        add(path, kept | moved, patience=1.0)
    async with world.device() as device:
        plan = await draft_undo(device, journal=world.journal, **LFP)
    assert plan.undoes is not None
    assert plan.undoes.transaction == begun[0]
