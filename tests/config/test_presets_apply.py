"""One preset sets up every kind of board without a waiver, and refuses what it should."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bmslink import connect
from bmslink.config import Plan, apply, draft
from bmslink.config.files.asked import Asked, ask
from bmslink.config.files.compare import compare, side_of_profile, side_of_table
from bmslink.config.files.presets import fitted_preset, preset
from bmslink.config.files.profile import NumberWithUnit, Profile, parse_profile, profile_of
from bmslink.config.records.history import stated_chemistry
from bmslink.packs import NamedPack
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.bands import CHARGE_RATE, DISCHARGE_RATE
from bmslink.settings.chemistry import CHEMISTRIES
from bmslink.settings.setting import Evidence
from bmslink.storage.journal import Journal
from support import part

BOARDS = ("jbd", "daly-d2", "daly-p81", "daly-a5", "jk-modbus", "jk02")


def edited(text: str, **moved: float) -> Profile:
    """A preset as somebody edits it: these numbers moved by so much."""
    for key, by in moved.items():
        found = re.search(rf'^{key} = "(\S+) (\S+)"$', text, re.MULTILINE)
        assert found is not None, key
        number = round(float(found[1]) + by, 3)
        text = text.replace(found[0], f'{key} = "{number:g} {found[2]}"')
    return parse_profile(text)


@pytest.mark.parametrize("protocol", BOARDS)
async def test_what_one_board_exports_fits_all_of_them(protocol: str, tmp_path: Path) -> None:
    """Also itself, where it asks for nothing."""
    journal = Journal(tmp_path)
    async with connect(f"sim://{protocol}?load=idle").board as device:
        identity, table = await device.identify(), await device.settings()
        text = profile_of(
            table, chemistry=stated_chemistry(device, identity, table, journal=journal)
        )
        same = await draft(device, parse_profile(text), journal=journal, chemistry="lfp")
        sides = [side_of_table("pack", table), side_of_profile("file", parse_profile(text))]
        assert not [each for each in compare(sides) if not any(each.missing)]
        assert not same.changes
        assert not same.blocked
    told = parse_profile(text).chemistry
    assert told == (None if protocol in ("daly-p81",) else "lfp")
    assert ("Nobody states" in text) is (told is None)
    for other in BOARDS:
        async with connect(f"sim://{other}?load=idle").board as device:
            plan = await draft(device, parse_profile(text), journal=journal, chemistry="lfp")
            assert not plan.blocked, [check.sentence for check in plan.blocked]


async def test_an_export_says_what_a_named_pack_states() -> None:
    async with connect("sim://jbd").board as device:
        identity, table = await device.identify(), await device.settings()
        device.named = NamedPack(name="van", target="sim://jbd", chemistry="nmc")
        assert stated_chemistry(device, identity, table) is None  # its name says lfp
        device.named = NamedPack(name="van", target="sim://jbd", chemistry="lfp")
        assert stated_chemistry(device, identity, table) == "lfp"


def cells_of(protocol: str, kind: str) -> int:
    """Some have 8 cells, some 16."""
    return 8 if (BOARDS.index(protocol) + len(kind)) % 2 else 16


@pytest.mark.sweep
@pytest.mark.parametrize(("protocol", "kind"), part(product(BOARDS, CHEMISTRIES), 3))
async def test_one_preset_with_three_edits_sets_up_every_board(
    protocol: str, kind: str, tmp_path: Path
) -> None:
    # for 16 cells, and edited so that its own releases and pack limits do not fit any more
    profile = edited(preset(kind, 16, 280), cell_ovp=-0.05, cell_uvp=0.2, charge_utp=4)
    cells = cells_of(protocol, kind)
    target = f"sim://{protocol}?cells={cells}&chemistry={kind}&load=idle&seed=1"
    journal = Journal(tmp_path)
    async with connect(target).board as device:
        plan = await draft(device, profile, journal=journal)
        assert not plan.blocked, [check.sentence for check in plan.blocked]
        outcome = await apply(device, plan, journal=journal)
        assert outcome.result == "done", outcome
        assert not any(check.waived for check in plan.checks)
        assert not [n for n in outcome.notes if "left out" not in n and "by itself" not in n]
        held = (await device.settings()).values()
        again = await draft(device, profile, journal=journal)
    assert (again.changes, again.blocked) == ((), ())
    assert held["cell_ovp"] == pytest.approx(CHEMISTRIES[kind].limits["cell_ovp"] - 0.05)
    assert held["nominal_capacity"] == 280
    assert held["charge_ocp"] == min(140, {"jbd": 100, "jk02": 200}.get(protocol, 200))
    if held.get("pack_ovp") is not None:
        together = cells * held["cell_ovp"]
        assert 0.95 * together <= held["pack_ovp"] <= together
    for key in ("cell_ovp_warning", "pack_ovp_warning", "charge_ocp_warning"):
        if held.get(key) is not None:
            assert held[key] < held[key.removesuffix("_warning")]


@pytest.mark.sweep
@pytest.mark.parametrize(("protocol", "kind"), part(product(BOARDS, [*CHEMISTRIES, "lfp-280"]), 3))
async def test_a_preset_fits_the_pack_that_it_was_made_for(
    protocol: str, kind: str, tmp_path: Path
) -> None:
    made_of = kind.removesuffix("-280")
    cells = 16 if cells_of(protocol, kind) == 8 else 8
    target = f"sim://{protocol}?cells={cells}&chemistry={made_of}&load=idle"
    async with connect(target).board as device:
        table, identity = await device.settings(), await device.identify()
        reading = await device.read()
        text = fitted_preset(kind, table, identity, reading)
        plan = await draft(device, parse_profile(text), journal=Journal(tmp_path))
        generic = await draft(device, parse_profile(preset(kind, 16)), journal=Journal(tmp_path))
    assert (plan.blocked, plan.left_out, generic.blocked) == ((), {}, ())
    follow = {e.key: e.follows for change in plan.changes for e in change.edits if e.follows}
    assert all(key.endswith("_warning") for key in follow), follow  # the rest is as printed
    asked = parse_profile(text).settings
    assert asked.keys() <= {row.key for row in table.map.settings if row.writable}
    assert len(reading.cell_voltages) == cells


async def test_the_chemistry_is_stated_once(tmp_path: Path) -> None:
    """A board that does not know its cells: what was stated with one change holds for the next."""
    journal = Journal(tmp_path)
    async with connect("sim://daly-p81?cells=16&load=idle&soc=50").board as device:
        unknown = await draft(device, {"cell_uvp": 2.45}, journal=journal)
        assert [check.name for check in unknown.blocked] == ["chemistry"]
        plan = await draft(device, {"cell_uvp": 2.45}, chemistry="lfp", journal=journal)
        await apply(device, plan, journal=journal)
        later = await draft(device, {"cell_ovp": 3.68}, journal=journal)
        assert (later.chemistry, later.blocked) == ("lfp", ())
        wrong = await draft(device, {"cell_ovp": 4.1}, journal=journal)
        assert [check.name for check in wrong.blocked] == ["chemistry"]
        told = await draft(device, {"cell_ovp": 3.68}, chemistry="nmc", journal=journal)
        assert told.chemistry == "nmc"  # a statement is newer than what is on record
    async with connect("sim://daly-p81?cells=16&load=idle&chemistry=nmc&soc=50").board as device:
        other = await draft(device, {"cell_uvp": 2.7}, journal=journal)
        assert other.chemistry is None  # the same board by its number, with limits of other cells


async def planned(target: str, profile: Profile, tmp_path: Path, **more: object) -> Plan:
    async with connect(f"sim://{target}&load=idle").board as device:
        return await draft(device, profile, journal=Journal(tmp_path), **more)


@pytest.mark.parametrize(
    ("target", "kind", "text", "blocked"),
    [
        # LFP limits on NMC cells, whoever says what they are
        ("daly-a5?chemistry=nmc&soc=5", "lfp", "", ["chemistry"]),
        ("jbd?chemistry=nmc&soc=5", "lfp", "", ["chemistry"]),
        ("daly-p81?chemistry=nmc&soc=5", "lfp", "", ["chemistry"]),
        # the limits of other cells on a board that does not know its own
        ("daly-p81?chemistry=lfp", "nmc", "", ["chemistry"]),
        ("jk02?chemistry=lfp&soc=50", "nmc", "", ["chemistry"]),
        # what is required is not done without
        (
            "jk02?cells=16",
            "lfp",
            '[settings]\ncell_ovp = "3.6 V"\npack_ovp = "57 V"',
            ["supported"],
        ),
        ("jbd?cells=16", "lfp", '[settings]\ncharge_ocp = "140 A"', ["rating"]),
        ("daly-a5?cells=16", "lfp", '[settings]\ncharge_ocp = "300 A"', ["rating"]),
        ("jk02?cells=16", "lfp", "[settings]\ncell_count = 8", ["rules"]),
        ("jbd?cells=8", "lfp", '[settings]\npack_ovp = "57.8 V"', ["rules", "chemistry"]),
        ("jbd?cells=16", "lfp", '[settings]\ncell_ovp_release = "3.7 V"', ["rules"]),
        ("jbd?cells=16", "lfp", '[optional]\ncell_ovp = "4.0 V"', ["chemistry"]),
    ],
)
async def test_what_harms_is_still_refused(
    target: str, kind: str, text: str, blocked: list[str], tmp_path: Path
) -> None:
    profile = parse_profile(text or preset(kind, 16, 100))
    made = await planned(target, profile, tmp_path)
    assert [check.name for check in made.blocked] == blocked, made.blocked


@pytest.mark.parametrize(("said", "held", "least"), [(20.0, 280.0, 20.0), (280.0, 20.0, 20.0)])
async def test_the_smaller_capacity_bounds_the_currents_of_a_fitted_preset(
    said: float, held: float, least: float
) -> None:
    """Neither the board nor the caller can make the pack larger than the other says."""
    async with connect("sim://jbd?cells=16&load=idle").board as device:
        table, identity = await device.settings(), await device.identify()
    image = {**table.image, **table.map.encode(table.image, {"nominal_capacity": held})}
    table = SettingsSnapshot(map=table.map, image=image)
    found = parse_profile(fitted_preset("lfp", table, identity, None, capacity=said)).settings
    charge, discharge = found["charge_ocp"], found["discharge_ocp"]
    assert isinstance(charge, NumberWithUnit)
    assert isinstance(discharge, NumberWithUnit)
    assert charge.value <= CHARGE_RATE * least
    assert discharge.value <= DISCHARGE_RATE * least


async def test_a_fitted_preset_says_what_this_board_cannot_be_given() -> None:
    async with connect("sim://jbd?cells=16&load=idle").board as device:
        table, identity = await device.settings(), await device.identify()
    rows = tuple(
        replace(row, evidence=Evidence.UNVERIFIED, reason="nobody saw it written")
        if row.key == "balance_delta"
        else row
        for row in table.map.settings
    )
    gone = {table.map.setting(key).slot for key in ("cell_ovp_delay", "charge_otp")}
    image = {slot: raw for slot, raw in table.image.items() if slot not in gone}
    table = SettingsSnapshot(map=replace(table.map, settings=rows), image=image)
    text = fitted_preset("lfp", table, identity, None)
    assert "Left out, read-only: nobody saw it written: balance_delta." in text
    assert re.search(r"Left out, the board does not answer for it: .*cell_ovp_delay", text)
    profile = parse_profile(text)
    assert not {"balance_delta", "cell_ovp_delay"} & profile.settings.keys()
    # what protects the cells is not left out without a word: a plan refuses that
    assert re.search(r"^charge_otp = .*# the board does not answer for it$", text, re.MULTILINE)
    assert ask(table, profile).unsupported == {"charge_otp": "the board does not answer for it"}


async def test_what_follows_stays_within_its_limits_and_is_proven() -> None:
    async with connect("sim://daly-d2?cells=16&load=idle").board as device:
        table = await device.settings()
    profile = parse_profile('schema = 1\n[settings]\ncell_ovp = "3.50 V"\n')
    assert ask(table, profile).follows == {"cell_ovp_warning": "cell_ovp"}

    def asked(**changed: Any) -> Asked:
        rows = tuple(
            replace(row, **changed) if row.key == "cell_ovp_warning" else row
            for row in table.map.settings
        )
        return ask(
            SettingsSnapshot(map=replace(table.map, settings=rows), image=table.image), profile
        )

    assert not asked(evidence=Evidence.DOCUMENT).follows
    assert asked(minimum=3.48).possible["cell_ovp_warning"] == 3.48
    assert asked(maximum=3.3).possible["cell_ovp_warning"] == 3.3


async def test_a_named_value_that_cannot_be_is_refused_and_follows_nothing() -> None:
    async with connect("sim://daly-d2?cells=16&load=idle").board as device:
        table = await device.settings()
    text = 'schema = 1\n[settings]\ncell_ovp = "3.50 V"\ncell_ovp_warning = "9.9 V"\n'
    found = ask(table, parse_profile(text))
    assert found.wrong.keys() == {"cell_ovp_warning"}
    assert found.possible == {"cell_ovp": 3.5}
    assert not found.follows


async def test_the_cells_that_the_caller_says_come_before_those_that_are_seen() -> None:
    async with connect("sim://jbd?cells=16&load=idle").board as device:
        table, identity = await device.settings(), await device.identify()
        reading = await device.read()
    assert 'title = "16S' in fitted_preset("lfp", table, identity, reading)
    assert 'title = "8S' in fitted_preset("lfp", table, identity, reading, cells=8)


async def test_a_board_that_holds_no_capacity_says_nothing_of_it() -> None:
    async with connect("sim://jbd?cells=16&load=idle").board as device:
        table, identity = await device.settings(), await device.identify()
    slot = table.map.setting("nominal_capacity").slot
    table = SettingsSnapshot(map=table.map, image={**table.image, slot: bytes(2)})
    assert table.values()["nominal_capacity"] == 0
    found = parse_profile(fitted_preset("lfp", table, identity, None)).settings
    assert not {"nominal_capacity", "charge_ocp", "discharge_ocp"} & found.keys()
