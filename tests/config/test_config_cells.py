"""What the cells are made of is stated by somebody, and what nobody states is never widened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from test_config_plan import board

from bmslink.config import Plan, apply, draft, draft_adjustment, make_plan
from bmslink.config.checks.charge import check_soc
from bmslink.config.checks.check import Check
from bmslink.config.files.presets import preset, preset_values
from bmslink.config.files.profile import Profile, parse_profile
from bmslink.errors import GateError, TargetError
from bmslink.model import Adjustment, Reading
from bmslink.packs import NamedPack
from bmslink.protocols.jk.map import TABLE_BYTES, jk_map
from bmslink.settings.bands import BANDS, STRICTER, looser
from bmslink.settings.chemistry import CHEMISTRIES
from bmslink.settings.setting import ASKING, Danger
from config_faults import World
from support import part

JBD, P81, JK = "sim://jbd?load=idle", "sim://daly-p81?load=idle", "sim://jk02?load=idle"
NMC = {"cell_ovp": 4.2, "cell_ovp_release": 4.1}


def plan(
    wanted: Mapping[str, object] | Profile,
    target: str = JBD,
    *,
    live: Mapping[str, Any] | None = None,
    who: Mapping[str, Any] | None = None,
    **more: Any,
) -> Plan:
    table, identity, reading = board(target)
    return make_plan(
        table,
        wanted,
        identity=replace(identity, **(who or {})),
        reading=replace(reading, **(live or {})),
        **more,
    )


def chemistry(wanted: Mapping[str, object], target: str = JBD, **more: Any) -> Check:
    made = plan(wanted, target, **more)
    return next(each for each in made.checks if each.name == "chemistry")


@pytest.mark.parametrize("name", ["lifepo4", "foo", "", "lfp nmc", 5])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(TargetError, match="known are: lfp, nmc, lto, na-ion"):
        plan({"charge_utp": -20}, chemistry=name)


@pytest.mark.parametrize("name", ["LFP", " lfp "])
def test_upper_case_is_the_same_name(name: str) -> None:
    assert chemistry({"charge_utp": -20}, chemistry=name).blocks


def test_a_statement_against_the_boards_name_needs_a_waiver() -> None:
    found = chemistry(NMC, chemistry="nmc")
    assert found.sentence == "The board's name (L16S) says lfp, but --chemistry says nmc."
    assert (found.blocks, found.waiver) == (True, "chemistry")
    named = NamedPack("van", JBD, chemistry="nmc")
    assert "bmslink.toml (van) says nmc" in chemistry(NMC, named=named).sentence
    assert chemistry({"discharge_ocp": 90}, named=named).passed  # nothing that cells decide
    assert chemistry({"discharge_ocp": 90}, chemistry="nmc").blocks


@pytest.mark.parametrize(
    ("kind", "volts", "fits"),
    [
        ("nmc", 3.28, True),
        ("lfp", 3.28, True),
        ("lfp", 3.76, False),
        ("lto", 3.30, False),
        ("lto", 2.40, True),
        ("nmc", 2.40, False),
        ("na-ion", 3.28, True),
        ("na-ion", 4.10, False),
    ],
)
def test_the_cells_themselves_can_contradict(kind: str, volts: float, fits: bool) -> None:
    live = {"cell_voltages": (3.28 if volts > 2.9 else volts,) * 15 + (volts,)}
    found = chemistry({"charge_utp": 5}, P81, chemistry=kind, live=live)
    assert found.blocks is not fits
    assert fits or f"{volts:g} V" in found.sentence


def test_the_limits_in_a_board_and_those_asked_for_state_nothing() -> None:
    """A wrongly configured board would vouch for itself, and so would a profile."""
    for held in (3.75, 4.25):
        table, identity, reading = board(P81)
        image = {**table.image, **table.map.encode(table.image, {"cell_ovp": held})}
        made = make_plan(
            replace(table, image=image), {**NMC, "cell_ovp": 4.3}, identity=identity,
            reading=reading,
        )  # fmt: skip
        assert made.chemistry is None
        assert "chemistry" in [each.name for each in made.blocked]
    presets = {**preset_values("nmc", 16, 100)}
    made = plan(presets, P81, waive=["partial"])
    assert made.chemistry is None
    assert "chemistry" in [each.name for each in made.blocked]


def test_the_hint_is_only_a_hint() -> None:
    found = chemistry(NMC, P81, waive=["chemistry"])
    assert (found.blocks, found.waiver) == (True, "")
    assert "state it with --chemistry (lfp, nmc, lto, na-ion)" in found.sentence
    assert "look like those of lfp cells, which proves nothing" in found.sentence


async def test_no_ratchet_lifts_the_limits_of_cells_that_nobody_knows(tmp_path: Path) -> None:
    """Two small steps to 4.2 V, each of them once "ok chemistry"."""

    world = World("daly-p81", tmp_path)
    async with world.device() as device:
        lower = await draft(device, {"cell_ovp": 3.6}, journal=world.journal)
        await apply(device, lower, journal=world.journal)
        for volts in (3.65, 3.75, 4.2):
            wanted = {"cell_ovp": volts, "cell_ovp_release": volts - 0.1}
            made = await draft(device, wanted, journal=world.journal)
            with pytest.raises(GateError, match="may only become stricter"):
                await apply(device, made, journal=world.journal)
        made = await draft(device, {"chemistry": "nmc"}, journal=world.journal)
        assert made.blocked
    assert (await world.table()).values()["cell_ovp"] == 3.6


def test_on_a_board_that_says_what_it_has_its_word_is_no_ratchet_either() -> None:
    a5 = "sim://daly-a5?load=idle"
    assert chemistry({"chemistry": "nmc"}, a5).blocks
    assert chemistry({"chemistry": "nmc"}, a5, named=NamedPack("v", a5, chemistry="nmc")).blocks


@pytest.mark.parametrize("key", sorted(STRICTER))
def test_every_limit_of_the_chemistry_has_a_direction(key: str) -> None:
    way = STRICTER[key]
    assert way == (-1 if "ovp" in key or "request" in key or "float" in key else 1)
    assert looser(key, 10.0, 10.0 - way)
    assert not looser(key, 10.0, 10.0 + way)
    assert looser(key, None, 10.0)


def test_of_unknown_cells_each_limit_may_become_stricter_and_not_looser() -> None:
    table = board(P81)[0]
    held = table.values()
    for key in sorted(STRICTER.keys() & table.map.by_key.keys()):
        step = STRICTER[key] * 2 * table.map.setting(key).step
        assert chemistry({key: held[key] + step}, P81).passed is None, key
        assert chemistry({key: held[key] - step}, P81).blocks, key


def test_a_pack_states_its_chemistry_in_the_file_of_names() -> None:
    named = NamedPack("shed", P81, chemistry="nmc")
    found = chemistry({"cell_ovp": 4.2, "charge_utp": -20}, P81, named=named)
    assert found.sentence.startswith("charge_utp (-20) lets it charge below 0")
    assert chemistry({**NMC, "cell_uvp": 3.0}, P81, named=named).passed
    against = chemistry(NMC, P81, named=named, chemistry="lfp")
    assert against.sentence == "bmslink.toml (shed) says nmc, but --chemistry says lfp."


@pytest.mark.parametrize("kind", CHEMISTRIES)
@pytest.mark.parametrize("protocol", ["jbd", "daly-p81", "daly-d2", "daly-a5", "jk02"])
def test_presets_pass_on_the_boards_they_are_made_for(kind: str, protocol: str) -> None:
    target = f"sim://{protocol}?load=idle&chemistry={kind}"
    made = plan(preset_values(kind, 16), target, waive=["partial"], chemistry=kind)
    # JK's boards have no word for sodium: what this one calls its cells contradicts nothing
    assert not made.blocked


@pytest.mark.parametrize(
    ("cells", "stops"), [(13, True), (15, True), (16, False), (17, True), (19, True)]
)
def test_a_preset_for_another_number_of_cells_stops(cells: int, stops: bool) -> None:
    made = plan(preset_values("lfp", cells, 100), waive=["partial"])
    assert ("rules" in [each.name for each in made.blocked]) is stops


EDITED = ["jbd", "daly-p81", "daly-d2", "daly-a5", "jk-modbus", "jk02"]


@pytest.mark.sweep
@pytest.mark.parametrize("kind", CHEMISTRIES)
@pytest.mark.parametrize("protocol", EDITED)
def test_a_preset_bears_every_usual_edit(kind: str, protocol: str) -> None:
    """What belongs to the limits of the cells follows them, wherever in their band they are. Of 16
    edits, every third, from another one on for the next board and the next chemistry."""
    band, text = BANDS[kind], preset(kind, 8, 280)
    base = parse_profile(text)
    edited = product(band.ovp, band.uvp, (0, 10), (8, 16))
    first = EDITED.index(protocol) + list(CHEMISTRIES).index(kind)
    for ovp, uvp, utp, cells in part(edited, 3, first):
        target = f"sim://{protocol}?load=idle&chemistry={kind}&cells={cells}&soc=50"
        edits = {"cell_ovp": ovp, "cell_uvp": uvp, "charge_utp": band.charge_utp + utp}
        profile = replace(base, settings={**base.settings, **edits})
        made = plan(profile, target)
        assert not made.blocked, (edits, [each.sentence for each in made.blocked])


@pytest.mark.parametrize(
    ("name", "cells", "capacity", "told"),
    [
        ("lead", 4, None, "no preset 'lead'"),
        ("lfp", 0, None, "1 to 32 cells"),
        ("lfp", 33, None, "1 to 32 cells"),
        ("lfp", 4, 0.9, "1 to 20000 Ah"),
        ("lfp", 4, 20001.0, "1 to 20000 Ah"),
    ],
)
def test_a_preset_that_cannot_be_is_refused(
    name: str, cells: int, capacity: float | None, told: str
) -> None:
    with pytest.raises(TargetError, match=told):
        preset_values(name, cells, capacity)


def test_bands_hold_together() -> None:
    for band in BANDS.values():
        assert band.dead < band.uvp[0] <= band.working[0] < band.uvp[1]
        assert band.ovp[1] <= band.working[1]
        assert band.ovp[1] < band.second_ovp


# ------------------------------------------------------------------------- asked by its own name


@pytest.mark.parametrize(
    ("target", "wanted", "harm"),
    [
        (JK, {"jk_temperature_sensors_disabled": True}, "take a protection away"),
        (JBD, {"jbd_load_detection": False}, "take a protection away"),
        (JBD, {"jbd_external_switch": True}, "let something else cut the power"),
    ],
)
def test_what_takes_a_protection_or_the_link_asks_by_its_own_name(
    target: str, wanted: dict[str, bool], harm: str
) -> None:
    table, identity, reading = board(target)
    ((key, value),) = wanted.items()
    image = {**table.image, **table.map.encode(table.image, {key: not value})}
    start = replace(table, image=image)
    made = make_plan(start, wanted, identity=identity, reading=reading)
    (found,) = made.blocked
    assert (found.name, found.waiver) == (key, key)
    assert harm in found.sentence
    waived = make_plan(start, wanted, identity=identity, reading=reading, waive=[key])
    assert not waived.blocked


def test_back_to_the_harmless_position_nobody_is_asked() -> None:
    table, identity, reading = board(JK)
    image = table.map.encode(table.image, {"jk_temperature_sensors_disabled": True})
    start = replace(table, image={**table.image, **image})
    wanted = {"jk_temperature_sensors_disabled": False}
    assert not make_plan(start, wanted, identity=identity, reading=reading).blocked


def test_every_setting_that_can_cut_the_link_or_a_protection_asks() -> None:
    every = jk_map("32s", "15.41", b"\xff" * TABLE_BYTES, b"\xff" * 16)
    targets = (JBD, JK, P81, "sim://jk-modbus", "sim://daly-d2", "sim://daly-a5", "sim://jk04")
    asking = set()
    for settings in (every, *(board(target)[0].map for target in targets)):
        for row in settings.settings:
            if row.danger in (Danger.LINK, Danger.PROTECTION):
                assert row.key in ASKING, row.key
            if row.key in ASKING:
                asking.add(row.key)
                assert row.danger in (Danger.LINK, Danger.PROTECTION, Danger.POWER), row.key
                assert row.must_ask(None)
                assert row.must_ask(not ASKING[row.key])
                assert row.must_ask(ASKING[row.key]) is (ASKING[row.key] is None)
    assert asking == set(ASKING)


# ------------------------------------------------------------------------------- state of charge


def told(wanted: float, kind: str | None = "lfp", **live: Any) -> Check:
    reading = Reading(soc=60.0, current=0.0, cell_voltages=(3.30,) * 16)
    return check_soc(wanted, replace(reading, **live), kind)


@pytest.mark.parametrize(
    ("wanted", "live", "sentence"),
    [
        (100, {"current": -12.0}, "not set to full while it is discharged with 12 A"),
        (100, {}, "the board counts 60 % now, and that is a jump."),
        (100, {"soc": 97.0}, "lfp cells of 3.3 to 3.3 V have 23 to 77 %"),
        (0, {"current": 5.0, "soc": 3.0, "cell_voltages": (2.7,) * 16}, "not set to empty"),
        (60, {"soc": None}, "does not say what it counts"),
        (60, {"cell_voltages": ()}, "voltages are unknown"),
        (60, {"current": None}, "current is unknown"),
    ],
)
def test_a_state_of_charge_that_the_pack_contradicts_stops(
    wanted: float, live: dict[str, Any], sentence: str
) -> None:
    found = told(wanted, **live)
    assert found.blocks
    assert found.waiver == "soc"
    assert sentence in found.sentence


def test_a_small_correction_passes() -> None:
    assert told(55).passed
    assert told(100, soc=98.0, cell_voltages=(3.45,) * 16, current=2.0).passed
    assert told(55, None).passed


async def test_a_jump_is_sent_with_its_waiver_only(tmp_path: Path) -> None:
    world = World("daly-a5", tmp_path)
    async with world.device() as device:
        wish = Adjustment(soc=100.0)
        made = await draft_adjustment(device, wish, journal=world.journal)
        assert [each.name for each in made.plan.blocked] == ["soc"]
        made = await draft_adjustment(device, wish, waive=["soc"], journal=world.journal)
        assert not made.plan.blocked
