"""The gates: each is named, all are shown, and what would harm is not sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_config_plan import board

from bmslink.config import (
    WAIVERS,
    Check,
    Plan,
    adjust,
    apply,
    draft,
    draft_adjustment,
    make_plan,
    switch,
)
from bmslink.config.checks.check import Health
from bmslink.config.checks.rating import rated
from bmslink.errors import GateError, Refused, RollbackError
from bmslink.model import Adjustment, Command, Condition, Identity, Reading, Switch
from bmslink.packs import NamedPack
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.setting import Danger, Evidence
from bmslink.storage.journal import JournalError
from config_faults import World, equal


def check(
    name: str,
    wanted: Mapping[str, object],
    *,
    live: Mapping[str, Any] | None = None,
    who: Mapping[str, Any] | None = None,
    table: SettingsSnapshot | None = None,
    **more: Any,
) -> Check:
    found, identity, reading = board()
    made = make_plan(
        table or found,
        wanted,
        identity=replace(identity, **(who or {})),
        reading=replace(reading, **(live or {})),
        **more,
    )
    return next(each for each in made.checks if each.name == name)


def test_an_ordinary_change_passes_every_gate() -> None:
    found, identity, reading = board()
    made = make_plan(found, {"cell_ovp": 3.6}, identity=identity, reading=reading)
    assert made.blocked == ()
    assert {each.passed for each in made.checks} == {True, None}
    assert len({each.name for each in made.checks}) == len(made.checks) == 19


def test_every_waiver_is_of_a_check_and_the_rest_cannot_be_waived() -> None:
    found, identity, reading = board()
    made = make_plan(found, {}, identity=identity, reading=reading)
    by_waiver = {each.waiver for each in made.checks if each.waiver}
    for name in ("identity", "map", "plausible", "limits", "journal", "unfinished"):
        assert not next(each for each in made.checks if each.name == name).waiver
    assert by_waiver <= WAIVERS.keys()


def test_an_unknown_firmware_is_read_only() -> None:
    assert check("identity", {}, who={"firmware": None}).passed is False


def mapped(**changes: Any) -> SettingsSnapshot:
    found = board()[0]
    return SettingsSnapshot(map=replace(found.map, **changes), image=found.image)


def test_a_locked_map_writes_nothing_and_says_how_to_help() -> None:
    _, identity, reading = board()
    locked = mapped(read_only_reason="nobody has recorded it")
    made = make_plan(locked, {"cell_ovp": 3.6}, identity=identity, reading=reading, waive=WAIVERS)
    assert [each.name for each in made.blocked] == ["map"]
    assert "bmslink capture" in made.blocked[0].sentence
    assert made.changes == ()


def test_what_only_a_document_proves_needs_the_waiver() -> None:
    found = board()[0]
    rows = tuple(
        replace(row, evidence=Evidence.DOCUMENT) if row.key == "cell_ovp" else row
        for row in found.map.settings
    )
    assert check("tested", {"cell_uvp": 2.6}, table=mapped(settings=rows)).passed
    paper = check("tested", {"cell_ovp": 3.6}, table=mapped(settings=rows))
    assert (paper.passed, paper.waiver, paper.blocks) == (False, "untested", True)
    untested = mapped(untested_reason="its firmware was never recorded")
    assert check("tested", {}, table=untested).passed is False
    assert not check("tested", {}, table=untested, waive=["untested"]).blocks


@pytest.mark.parametrize(
    ("vendor", "model", "amps", "cells"),
    [
        ("JBD", "JBD-SP04S034-L4S-200A-B-U", 200, 4),
        ("JBD", "JBD-SP04S060-300A-L4S", 300, 4),
        ("JBD", "SP15S001-P13S-30A", 30, 13),
        ("JBD", "JBD48100000", 0, 0),
        ("JK", "JK_PB2A16S20P", 200, 16),
        ("JK", "JK-BD6A17S6P", 60, 17),
        ("JK", "JK_BD4A20S4P", 40, 20),
        ("JK", "JK_B2A8S30P", 300, 8),
        ("JK", "JK-B2A16S", 0, 0),
        ("Daly", "8S100A", 100, 8),
        ("Daly", "DL-BMS-R32-01E", 0, 0),
        ("Daly", "A 40A or 60A board", 0, 0),
        (None, None, 0, 0),
    ],
)
def test_names_that_say_what_a_board_can(
    vendor: str | None, model: str | None, amps: float, cells: int
) -> None:
    found = rated(Identity(vendor=vendor, model=model))
    assert found.amps == amps
    assert found.cells in (cells, 0)


def test_a_limit_beyond_the_boards_name_is_refused() -> None:
    assert check("rating", {"charge_ocp": 100}).passed
    over = check("rating", {"charge_ocp": 101, "discharge_ocp": 151})
    assert over.sentence == (
        "The board's name says 100 A and 16 cells; beyond that: charge_ocp 101 A, "
        "discharge_ocp 151 A."
    )
    assert over.blocks
    assert check("rating", {"discharge_ocp": 149}).passed  # it holds 150: narrower never stops


def test_more_cells_than_the_boards_name_says_are_refused() -> None:
    table, identity, reading = board("sim://jk02?load=idle")
    for model, stops in (("JK_PB2A16S20P", True), ("JK_PB2A24S20P", False)):
        who = replace(identity, model=model, hardware=None)
        made = make_plan(table, {"cell_count": 17}, identity=who, reading=reading)
        (rating,) = (each for each in made.checks if each.name == "rating")
        assert rating.blocks is stops
        assert ("beyond that: cell_count 17." in rating.sentence) is stops


def test_bytes_outside_the_limits_are_waived_for_a_backup_only() -> None:
    slot = board()[0].map.setting("cell_ovp").slot
    beyond = {slot: (9000).to_bytes(2, "big")}
    for restore in (True, False):
        found = check("limits", {}, raw=beyond, restore=restore, waive=["limits"])
        assert found.passed is False
        assert found.blocks is not restore


def test_without_a_rating_the_capacity_says_what_is_too_much() -> None:
    unnamed = {"model": "BMS"}
    assert check("rating", {"charge_ocp": 200}, who=unnamed).passed
    over = check("rating", {"charge_ocp": 201, "discharge_ocp": 301}, who=unnamed)
    assert over.sentence.endswith("beyond that: charge_ocp 201 A, discharge_ocp 301 A.")
    assert over.waiver == "rating"
    vouching = {"charge_ocp": 201, "nominal_capacity": 400}
    assert check("rating", vouching, who=unnamed).blocks
    table, identity, reading = board("sim://daly-a5?load=idle")
    for wanted in ({"charge_ocp": 1000}, {"discharge_ocp": 1000}, {"short_circuit_current": 65535}):
        made = make_plan(table, wanted, identity=identity, reading=reading)
        assert "rating" in [each.name for each in made.blocked]


def test_what_is_stated_of_a_pack_counts_more_than_its_capacity() -> None:
    def rating(wanted: Mapping[str, object], **pack: float) -> Check:
        return check("rating", wanted, who={"model": "BMS"}, named=NamedPack("van", "", **pack))

    assert rating({"charge_ocp": 250}, rating_current=250, fuse=300).passed
    over = rating({"charge_ocp": 251}, rating_current=250, fuse=300)
    assert over.sentence == ("bmslink.toml says a rating of 250 A; beyond that: charge_ocp 251 A.")
    assert "a fuse of 120 A; beyond that" in rating({"charge_ocp": 121}, fuse=120).sentence


@pytest.mark.parametrize(
    ("wanted", "live", "sentence"),
    [
        ({"cell_uvp": 3.3}, {}, "the lowest cell has 3.3"),
        ({"cell_ovp": 3.31}, {"cell_voltages": (3.32,) * 16}, "the highest cell has 3.32 V"),
        ({"pack_ovp": 52.9}, {}, "the pack has"),
        ({"pack_uvp": 53.0}, {"voltage": 52.9}, "the pack has 52.9 V"),
        ({"charge_ocp": 20}, {"current": 20.0}, "it is charged with 20 A"),
        ({"discharge_ocp": 20}, {"current": -21.0}, "it is discharged with 21 A"),
        ({"charge_otp": 20}, {"current": 2.0}, "the warmest probe has 2"),
        ({"charge_utp": 26}, {"current": 2.0}, "the coldest probe has 2"),
        ({"discharge_otp": 20}, {"current": 0.0}, "the warmest probe has 2"),
        ({"discharge_utp": 26}, {"current": -2.0}, "the coldest probe has 2"),
        ({"discharge_utp": 26}, {"current": None}, "the coldest probe has 2"),
    ],
)
def test_what_would_trip_now_is_refused(
    wanted: dict[str, object], live: dict[str, Any], sentence: str
) -> None:
    if "cell_uvp" in wanted:
        live = {"cell_voltages": (3.3,) * 16}
    found = check("trip", wanted, live=live)
    assert found.blocks, found.sentence
    assert sentence in found.sentence
    assert "would trip now" in found.sentence


@pytest.mark.parametrize(
    ("wanted", "current"),
    [({"charge_utp": 26}, 0.0), ({"charge_otp": 20}, -5.0), ({"discharge_utp": 26}, 5.0)],
)
def test_a_temperature_limit_may_forbid_what_does_not_happen(
    wanted: dict[str, object], current: float
) -> None:
    found = check("trip", wanted, live={"current": current})
    assert found.passed
    assert "as soon as current flows that way" in found.sentence


def test_only_what_changes_is_asked_whether_it_trips() -> None:
    tripping = {"cell_voltages": (2.4,) * 16, "voltage": 38.4}
    assert check("trip", {"charge_ocp": 50}, live=tripping).passed
    assert check("trip", {"cell_ovp_delay": 5}, live=tripping).passed is None


def test_without_live_values_nothing_is_written() -> None:
    found, identity, _ = board()
    made = make_plan(found, {"cell_ovp": 3.6}, identity=identity, reading=None)
    assert [each.name for each in made.blocked] == ["trip", "health"]


@pytest.mark.parametrize(
    ("live", "sentence"),
    [
        ({"cell_voltages": (3.3,) * 15 + (None,)}, "Not every cell"),
        ({"cell_voltages": ()}, "Not every cell"),
        ({"cell_voltages": (3.3,) * 15 + (0.0,), "voltage": 49.5}, "0 V is no working cell"),
        ({"voltage": 40.0}, "but the pack says 40.00 V"),
        ({"voltage": None}, "voltage is unknown"),
        ({"current": None}, "current is unknown"),
    ],
)
def test_readings_that_make_no_sense_block(live: dict[str, Any], sentence: str) -> None:
    found = check("health", {}, live=live)
    assert found.blocks
    assert sentence in found.sentence


def test_a_disturbed_line_blocks() -> None:
    assert check("health", {}, health=Health(99, 4)).passed
    found = check("health", {}, health=Health(90, 10))
    assert found.sentence == "10 of 100 frames were damaged."
    assert found.waiver == "health"


def test_an_active_protection_blocks_and_a_lock_by_command_does_not() -> None:
    found = check("protection", {}, live={"protections": (Condition.CELL_OVERVOLTAGE,)})
    assert (found.blocks, found.sentence) == (True, "Active: cell_overvoltage.")
    assert check("protection", {}, live={"protections": (Condition.SOFTWARE_LOCK,)}).passed


def test_what_all_protection_stands_on_is_not_changed_under_load() -> None:
    found = board()[0]
    assert found.map.setting("nominal_capacity").danger is Danger.COMMISSIONING
    assert check("load", {"nominal_capacity": 90}, live={"current": -1.0}).passed
    assert check("load", {"nominal_capacity": 90}, live={"current": -1.1}).blocks
    assert check("load", {"nominal_capacity": 90}, live={"current": None}).blocks
    assert check("load", {"cell_ovp": 3.6}, live={"current": -50.0}).passed is None


@pytest.mark.parametrize(
    ("who", "given", "kind"),
    [
        ({"chemistry": "lto"}, None, "lto"),
        ({"chemistry": "lto"}, "nmc", "nmc"),
        ({"model": "JBD-SP16S020-P16S-100A"}, None, "nmc"),
        ({"model": "BMS"}, None, None),
        ({"model": "BMS"}, "LFP", "lfp"),
    ],
)
def test_what_the_cells_are_made_of(
    who: dict[str, Any], given: str | None, kind: str | None
) -> None:
    found, identity, reading = board()
    made = make_plan(found, {}, identity=replace(identity, **who), reading=reading, chemistry=given)
    assert made.chemistry == kind


def test_an_lfp_pack_is_never_set_to_charge_in_the_frost() -> None:
    found = check("chemistry", {"charge_utp": -20, "charge_utp_release": -10})
    assert found.blocks
    assert "charge_utp (-20) lets it charge below 0 °C" in found.sentence
    waived = check("chemistry", {"charge_utp": -20}, waive=["chemistry"])
    assert (waived.passed, waived.waived, waived.blocks) == (False, True, False)


async def test_what_is_blocked_is_not_sent_and_waivers_are_journalled(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    before = await world.table()
    async with world.device() as device:
        made: Plan = await draft(device, {"charge_utp": -20}, journal=world.journal)
        with pytest.raises(GateError, match=r"Nothing was sent\. charge_utp") as caught:
            await apply(device, made, journal=world.journal)
        assert len(caught.value.checks) == 19
        assert (world.writes, list(world.journal.records())) == (0, [])
        assert equal(await world.table(), before.image)
        made = await draft(
            device, {"charge_utp": -20}, waive=["chemistry", "load"], journal=world.journal
        )
        await apply(device, made, journal=world.journal)
    begin = next(r for r in world.journal.records() if r["event"] == "begin")
    assert begin["waived"] == ["chemistry"]


async def test_the_gates_look_again_when_the_plan_is_old(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    made = await world.plan({"cell_uvp": 2.9})
    world.pack.set_cell_voltage(1, 2.85)
    async with world.device() as device:
        with pytest.raises(GateError, match=r"lowest cell has 2\.85 V"):
            await apply(device, made, journal=world.journal)
    assert world.writes == 0


# --------------------------------------------------------------------------------- switches


async def test_switches_are_read_back(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        for name in (Switch.CHARGE, Switch.DISCHARGE, Switch.BALANCE):
            for on in (False, True):
                outcome = await switch(device, Command(name, on), journal=world.journal)
                assert outcome.result == "done", outcome.sentence
                assert world.pack.switches[name] is on
                others = {k: v for k, v in world.pack.switches.items() if k is not name}
                assert all(others.values())
    assert not world.journal.unfinished()


async def test_a_protection_is_never_turned_into_a_lock(tmp_path: Path) -> None:
    """E1 holds both locks: one is never made from a FET that a protection opened."""

    world = World("jbd", tmp_path)
    world.pack.raise_condition("protection", Condition.CELL_OVERVOLTAGE)
    async with world.device() as device:
        off = await switch(device, Command(Switch.DISCHARGE, False), journal=world.journal)
        assert off.result == "done"
        assert world.pack.switches[Switch.CHARGE] is True
    world.pack.clear_condition(Condition.CELL_OVERVOLTAGE)
    assert (await read(world)).charging_allowed is True


async def read(world: World) -> Reading:
    async with world.device(faulty=False) as device:
        return await device.read()


async def test_a_switch_that_a_protection_holds_is_told_so(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    world.pack.raise_condition("protection", Condition.CELL_OVERVOLTAGE)
    async with world.device() as device:
        outcome = await switch(device, Command(Switch.CHARGE, True), journal=world.journal)
    assert outcome.result == "ignored"
    assert "cell_overvoltage is active" in outcome.sentence
    assert not world.journal.unfinished()


async def test_a_switch_that_nothing_shows_is_unproven(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        world.pack.switch = lambda switch, on: None
        outcome = await switch(device, Command(Switch.CHARGE, False), journal=world.journal)
    assert outcome.result == "unproven"
    assert "still conducts" in outcome.sentence


async def test_a_switch_that_goes_back_by_itself_is_told_so(tmp_path: Path) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        toggle, loop = world.pack.switch, asyncio.get_running_loop()

        def forgetful(name: Switch, on: bool) -> None:
            toggle(name, on)
            loop.call_later(3.0, toggle, name, not on)

        world.pack.switch = forgetful
        outcome = await switch(device, Command(Switch.CHARGE, False), journal=world.journal)
    assert outcome.result == "unproven"
    assert "was read back, but 4 s later it no longer holds" in outcome.sentence


async def test_a_switch_after_which_the_line_is_dead_says_that_nothing_is_known(
    tmp_path: Path,
) -> None:
    world = World("jbd", tmp_path)
    async with world.device() as device:
        toggle = world.pack.switch

        def last(name: Switch, on: bool) -> None:
            toggle(name, on)
            world.deaf_until = float("inf")

        world.pack.switch = last
        with pytest.raises(RollbackError, match="what came of it cannot be read"):
            await switch(device, Command(Switch.CHARGE, False), journal=world.journal)
    assert len(world.journal.unfinished()) == 1


async def test_what_cannot_be_switched_says_why(tmp_path: Path) -> None:
    world = World("jk-bus", tmp_path)
    async with world.device(faulty=False) as device:
        with pytest.raises(GateError, match="cannot be switched"):
            await switch(device, Command(Switch.CHARGE, False), journal=world.journal)


async def test_a_switch_that_was_thrown_is_told_although_the_disk_is_full_now(
    tmp_path: Path,
) -> None:
    world = World("jbd", tmp_path)
    append = world.journal.append

    def full(event: str, **data: object) -> None:
        if event == "end":
            raise JournalError("The disk is full.")
        append(event, **data)

    world.journal.append = full
    async with world.device() as device:
        outcome = await switch(device, Command(Switch.CHARGE, False), journal=world.journal)
    assert outcome.result == "done"
    assert "the journal does not say so: The disk is full" in outcome.notes[0]
    assert len(world.journal.unfinished()) == 1


async def test_a_switch_on_that_cannot_be_written_down_is_refused_and_not_sent(
    tmp_path: Path,
) -> None:
    world = World("jbd", tmp_path)
    world.pack.switch(Switch.CHARGE, False)
    append = world.journal.append

    def full(event: str, **data: object) -> None:
        if event != "begin":
            raise JournalError("The disk is full.")
        append(event, **data)

    world.journal.append = full
    async with world.device() as device:
        with pytest.raises(GateError, match=r"The disk is full\. Nothing was sent"):
            await switch(device, Command(Switch.CHARGE, True), journal=world.journal)
    assert world.pack.switches[Switch.CHARGE] is False


@pytest.mark.parametrize("on", [True, False])
async def test_a_board_that_refuses_to_be_read_after_a_switch_did_not_refuse_the_switch(
    on: bool, tmp_path: Path
) -> None:
    world = World("jbd", tmp_path)
    world.pack.switch(Switch.CHARGE, not on)
    async with world.device() as device:
        read = device.read

        async def refused() -> Reading:
            if world.pack.switches[Switch.CHARGE] is on:
                raise Refused("The board says no.")
            return await read()

        device.read = refused
        with pytest.raises(RollbackError, match=r"was sent.*cannot be read: The board says no"):
            await switch(device, Command(Switch.CHARGE, on), journal=world.journal)
    assert len(world.journal.unfinished()) == 1


# -------------------------------------------------------------------------- clock and charge


async def test_a_clock_is_set_on_the_board_that_was_asked_and_on_no_other(tmp_path: Path) -> None:
    world = World("daly-a5", tmp_path)
    async with world.device() as device:
        made = await draft_adjustment(
            device, Adjustment(soc=50.0), waive=WAIVERS, journal=world.journal
        )
        other = replace(made.plan.identity, serial_number="another", hardware="another")
        stale = replace(made, plan=replace(made.plan, identity=other))
        with pytest.raises(GateError, match="made for another board"):
            await adjust(device, stale, journal=world.journal)
        assert list(world.journal.records()) == []
        assert (await adjust(device, made, journal=world.journal)).result == "done"


async def test_before_a_clock_is_set_the_settings_are_read_until_they_can_be_set_back_to(
    tmp_path: Path,
) -> None:
    """What changes beside is set back to them, so no reading that is wrong may be taken."""

    world = World("daly-a5", tmp_path)
    async with world.device() as device:
        made = await draft_adjustment(
            device, Adjustment(soc=50.0), waive=WAIVERS, journal=world.journal
        )
        settings, spoilt = device.settings, [b"\x0c\x80", b"\xff\xf0"]

        async def garbled(*args: Any) -> SettingsSnapshot:
            found = await settings(*args)
            slot = found.map.setting("cell_ovp").slot
            row = found.image[slot]
            new = (spoilt.pop(0) if spoilt else b"") + row
            return replace(found, image={**found.image, slot: new[: len(row)]})

        device.settings = garbled
        with pytest.raises(GateError, match="Two readings of the settings differ"):
            await adjust(device, made, journal=world.journal)
        assert not spoilt
        spoilt.extend([b"\xff\xf0", b"\xff\xf0"])
        with pytest.raises(GateError, match=r"Nothing was sent.*cannot be true"):
            await adjust(device, made, journal=world.journal)
        assert list(world.journal.records()) == []


# ------------------------------------------------------------------------ what moves, or not


@pytest.mark.parametrize("protocol", ["jk02", "jk-modbus", "daly-p81"])
async def test_values_that_stand_still_are_not_trusted(protocol: str, tmp_path: Path) -> None:
    """A gateway that goes on telling what it heard last looks like a calm pack."""

    world = World(protocol, tmp_path)
    async with world.device() as device:
        wanted = {"cell_ovp": 3.6}
        made = await draft(device, wanted, journal=world.journal)
        assert not made.blocked
        read = device.read

        async def still() -> Reading:
            return replace(await read(), uptime=made_at)

        made_at, device.read = (await read()).uptime, still
        stale = await draft(device, wanted, journal=world.journal)
        assert [each.name for each in stale.blocked] == ["health"]
        assert "uptime has stood still for" in stale.blocked[0].sentence
        with pytest.raises(GateError, match="stood still"):
            await apply(device, made, journal=world.journal)
    assert world.writes == 0


def test_new_words_for_the_chemistry_change_no_cells() -> None:
    daly = board("sim://daly-a5?load=idle")[0]
    assert daly.values()["chemistry"] == "lfp"
    wanted = {"chemistry": "nmc", "cell_ovp": 4.2}

    def made(**more: Any) -> Check:
        table, identity, reading = board("sim://daly-a5?load=idle")
        plan = make_plan(table, wanted, identity=identity, reading=reading, **more)
        return next(each for each in plan.checks if each.name == "chemistry")

    found = made()
    assert found.blocks
    assert found.sentence == "The board would take its cells for nmc, but they are lfp."
    stated = made(chemistry="nmc")
    assert stated.blocks  # it still says lfp
    assert stated.sentence == "The board says lfp, but --chemistry says nmc."
    assert not made(chemistry="nmc", waive=["chemistry"]).blocks


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"jbd_hardware_cell_uvp": 3.4}, "lowest cell"),
        ({"jbd_hardware_cell_ovp": 3.0}, "highest cell"),
    ],
)
def test_the_second_limits_trip_as_well(wanted: dict[str, float], told: str) -> None:
    found = check("trip", wanted)
    assert found.blocks
    assert told in found.sentence


def test_a_short_circuit_limit_below_the_current_trips() -> None:
    table, identity, reading = board("sim://daly-a5?load=idle")
    for amps, trips in ((-50.0, True), (50.0, True), (39.0, False)):
        made = make_plan(
            table,
            {"short_circuit_current": 40},
            identity=identity,
            reading=replace(reading, current=amps),
        )
        assert next(each for each in made.checks if each.name == "trip").blocks is trips
