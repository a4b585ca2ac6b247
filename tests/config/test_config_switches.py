"""Switches are no settings: no file and no way back turns one on."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bmslink.config import apply, draft, switch
from bmslink.config.files.backup import make_backup
from bmslink.config.files.profile import parse_profile, profile_of
from bmslink.config.identity.known_as import pack_of
from bmslink.config.records.history import ChangeHistory
from bmslink.model import Command, Switch
from bmslink.places import place_of
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.setting import SWITCHES
from bmslink.storage.journal import Journal
from config_faults import World

SETTABLE = [
    ("jk02", Switch.CHARGE),
    ("jk02", Switch.BALANCE),
    ("jk-modbus", Switch.CHARGE),
    ("daly-d2", Switch.CHARGE),
    ("daly-p81", Switch.DISCHARGE),
    ("jk-nw", Switch.CHARGE),
    ("jk04", Switch.BALANCE),
    ("jbd", Switch.BALANCE),
]
"""Boards that keep a switch among their settings; that of JBD shares its slot with others."""


def key_of(which: Switch) -> str:
    return f"{which}_switch"


async def held(world: World, which: Switch) -> object:
    return (await world.table()).values()[key_of(which)]


def test_the_switches_are_those_of_the_command() -> None:
    assert {f"{which}_switch" for which in Switch} == SWITCHES


@pytest.mark.parametrize(("protocol", "which"), SETTABLE)
async def test_a_restore_leaves_a_switch_as_it_is(
    protocol: str, which: Switch, tmp_path: Path
) -> None:
    world = World(protocol, tmp_path)
    async with world.device() as device:
        kept = make_backup(str(device.target), await device.identify(), await device.settings())
        assert kept.values[key_of(which)] is True
        await switch(device, Command(which, False), journal=world.journal)
        made = await draft(device, {}, raw=kept, journal=world.journal)
        assert (made.blocked, made.changes) == ((), ())
        assert "a restore changes no switch" in made.to_dict()["left_out"][key_of(which)]
        outcome = await apply(device, made, journal=world.journal)
    assert outcome.result == "nothing"
    assert any(key_of(which) in note for note in outcome.notes)
    assert await held(world, which) is False


async def test_what_shares_the_slot_of_a_switch_is_restored(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        table = await device.settings()
        kept = make_backup(str(device.target), await device.identify(), table)
        change = {"balance_switch": False, "jbd_leds": not table.values()["jbd_leds"]}
        await apply(
            device, await draft(device, change, journal=world.journal), journal=world.journal
        )
        made = await draft(device, {}, raw=kept, journal=world.journal)
        assert [edit.key for c in made.changes for edit in c.edits] == ["jbd_leds"]
        await apply(device, made, journal=world.journal)
    values = (await world.table()).values()
    assert values["jbd_leds"] == table.values()["jbd_leds"]
    assert values["balance_switch"] is False


@pytest.mark.parametrize("protocol", ["jk02", "jk-modbus", "daly-d2", "daly-p81", "jbd"])
async def test_no_switch_is_exported(protocol: str, tmp_path: Path) -> None:
    table: SettingsSnapshot = await World(protocol, tmp_path).table()
    assert SWITCHES & table.values().keys()
    assert not SWITCHES & parse_profile(profile_of(table, own=True)).settings.keys()


PROFILE = parse_profile("[settings]\ncharge_switch = true\ncell_ovp = 3.6\n")


async def test_a_profile_sets_a_switch_only_where_it_is_asked_to(tmp_path: Path) -> None:
    world = World("jk02", tmp_path)
    off = parse_profile("[settings]\ncharge_switch = false\ncell_ovp = 3.6\n")
    async with world.device() as device:
        made = await draft(device, off, journal=world.journal)
        assert made.blocked == ()
        assert "--switches" in made.to_dict()["left_out"]["charge_switch"]
        assert [edit.key for c in made.changes for edit in c.edits] == ["cell_ovp"]
        outcome = await apply(device, made, journal=world.journal)
        assert any("charge_switch was left out" in note for note in outcome.notes)
        assert await held(world, Switch.CHARGE) is True
        made = await draft(device, off, switches=True, journal=world.journal)
        assert (made.blocked, made.left_out) == ((), {})
        await apply(device, made, journal=world.journal)
    assert await held(world, Switch.CHARGE) is False


async def test_a_profile_turns_nothing_on_that_a_person_turned_off(tmp_path: Path) -> None:
    world = World("jk02", tmp_path)
    async with world.device() as device:
        await switch(device, Command(Switch.CHARGE, False), journal=world.journal)
        made = await draft(device, PROFILE, switches=True, journal=world.journal)
        why = made.left_out["charge_switch"]
        moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}"
        assert re.match(rf"a person switched it off \({moment}\)", why)
        await apply(device, made, journal=world.journal)
        assert await held(world, Switch.CHARGE) is False
        await switch(device, Command(Switch.CHARGE, True), journal=world.journal)
        made = await draft(device, PROFILE, switches=True, journal=world.journal)
        assert made.left_out == {}


async def test_a_person_who_turns_it_off_behind_the_plan_is_heard(tmp_path: Path) -> None:
    world = World("jk02", tmp_path)
    async with world.device() as device:
        await apply(
            device,
            await draft(
                device,
                parse_profile("[settings]\ncharge_switch = false\n"),
                switches=True,
                journal=world.journal,
            ),
            journal=world.journal,
        )
        await switch(device, Command(Switch.CHARGE, True), journal=world.journal)
        made = await draft(device, PROFILE, switches=True, journal=world.journal)
        await switch(device, Command(Switch.CHARGE, False), journal=world.journal)
        await apply(device, made, confirm=lambda plan: True, journal=world.journal)
    assert await held(world, Switch.CHARGE) is False


@pytest.mark.parametrize("on", [False, True])
async def test_whoever_names_a_switch_sets_it_under_load_too(on: bool, tmp_path: Path) -> None:
    """`settings set T discharge_switch=off` passes the gates of `switch T discharge off`."""

    world = World("jk02", tmp_path)
    world.pack.set_load(-20.0)
    async with world.device() as device:
        await switch(device, Command(Switch.DISCHARGE, not on), journal=world.journal)
        made = await draft(device, {"discharge_switch": on}, journal=world.journal)
        assert made.blocked == ()
        beside = await draft(
            device, {"discharge_switch": on, "cell_count": 5}, journal=world.journal
        )
        assert on or "load" in {check.name for check in beside.blocked}
        await apply(device, made, journal=world.journal)
    assert await held(world, Switch.DISCHARGE) is on


def setting(new: bool, asked: bool | None) -> dict[str, Any]:
    edit = {"key": "charge_switch", "old": not new, "new": new, "asked": asked}
    return {"changes": [{"slot": 1, "old": "", "new": "", "settings": [edit]}]}


OFF, ON = {"switch": "charge", "on": False}, {"switch": "charge", "on": True}


@pytest.mark.parametrize(
    ("begun", "end", "off"),
    [
        ([OFF], "done", True),
        ([OFF], "ignored", True),
        ([OFF], "rolled back", True),
        ([OFF], "refused", False),
        ([OFF, ON], "done", False),
        ([OFF, {"switch": "balance", "on": True}], "done", True),
        ([setting(False, False)], "done", True),
        ([setting(False, False), setting(True, True)], "done", False),
        ([setting(False, False), setting(True, None)], "done", True),  # an old restore
        ([{"switch": ["charge"], "on": False}, {"changes": [7, {"settings": 7}]}], "done", False),
    ],
)
async def test_the_journal_knows_who_turned_what_off(
    begun: list[dict[str, Any]], end: str, off: bool, tmp_path: Path
) -> None:
    world, journal = World("jk02", tmp_path), Journal(tmp_path / "journal")
    async with world.device() as device:
        identity, table = await device.identify(), await device.settings()
        for begin in begun:
            told = {"target": "x", "pack": pack_of(identity), **begin}
            journal.append("begin", id=f"{len(list(journal.records())):x}", **told)
            journal.append("end", id=f"{len(list(journal.records())) - 1:x}", outcome=end)
        found = ChangeHistory(journal, device, identity, table).switched_off()
        assert found.keys() == ({"charge_switch"} if off else set())
        other = replace(identity, serial_number="another one")
        assert ChangeHistory(journal, device, other, table).switched_off() == {}


async def test_another_board_at_the_same_place_lifts_nothing(tmp_path: Path) -> None:
    """Without serial numbers the place is the same, but the cells tell the two apart."""

    world, journal = World("jbd", tmp_path), Journal(tmp_path / "journal")
    async with world.device() as device:
        identity, table = await device.identify(), await device.settings()
        mine = {"target": place_of(device.target), "pack": pack_of(identity)}
        other = mine | {"pack": pack_of(replace(identity, cell_count=13))}
        for name, begin in (("a", mine | OFF), ("b", other | ON)):
            journal.append("begin", id=name, **begin)
            journal.append("end", id=name, outcome="done")
        history = ChangeHistory(journal, device, identity, table)
        assert history.switched_off().keys() == {"charge_switch"}


async def test_an_altered_record_lifts_nothing(tmp_path: Path) -> None:
    """Only what verifies says that a person turned a switch on again."""

    world, journal = World("jk02", tmp_path), Journal(tmp_path / "journal")
    async with world.device() as device:
        identity, table = await device.identify(), await device.settings()
        plain = {"target": "x", "pack": pack_of(identity)}
        for name, begin in (("a", OFF), ("b", ON)):
            journal.append("begin", id=name, **plain, **begin)
            journal.append("end", id=name, outcome="done")
        assert ChangeHistory(journal, device, identity, table).switched_off() == {}
        (file,) = journal.folder.glob("*.jsonl")
        file.write_text(file.read_text().replace('"on": true', '"on":  true', 1))
        assert ChangeHistory(journal, device, identity, table).switched_off().keys() == {
            "charge_switch"
        }
