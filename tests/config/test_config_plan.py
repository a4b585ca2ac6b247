"""Plans: what changes, in which order, and what is left out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.config import WAIVERS, Plan, draft, make_plan
from bmslink.device import connect
from bmslink.errors import SettingError
from bmslink.model import Identity, Reading
from bmslink.protocols.common.settings_map import SettingsSnapshot
from bmslink.settings.rules import lint
from bmslink.settings.setting import Danger, Setting
from bmslink.storage.journal import Journal
from support import virtual_run


@lru_cache
def board(target: str = "sim://jbd?load=idle") -> tuple[SettingsSnapshot, Identity, Reading]:
    async def main() -> tuple[SettingsSnapshot, Identity, Reading]:
        async with connect(target).board as device:
            return await device.settings(), await device.identify(), await device.read()

    return virtual_run(main())


def plan(wanted: Mapping[str, object], target: str = "sim://jbd?load=idle", **more) -> Plan:
    table, identity, reading = board(target)
    return make_plan(table, wanted, identity=identity, reading=reading, **more)


def names(made: Plan) -> list[str]:
    return [check.name for check in made.blocked]


def test_only_what_differs_is_written_and_rounding_is_shown() -> None:
    made = plan({"cell_ovp": 3.6004, "cell_uvp": 2.5, "cell_uvp_delay": 2})
    (change,) = made.changes
    (edit,) = change.edits
    assert (edit.key, edit.old, edit.asked, edit.new) == ("cell_ovp", 3.65, 3.6004, 3.6)
    assert (change.slot, change.old.hex(), change.new.hex()) == (0x24, "0e42", "0e10")
    assert not made.blocked
    assert json.loads(json.dumps(made.to_dict()))["changes"][0]["settings"][0]["new"] == 3.6


def test_settings_that_share_a_slot_change_together() -> None:
    made = plan({"cell_uvp_delay": 4, "cell_ovp_delay": 5, "balance_switch": False, "jbd_leds": 1})
    assert names(made) == ["limits"]  # 1 is not on
    made = plan(
        {"cell_uvp_delay": 4, "cell_ovp_delay": 5, "balance_switch": False, "jbd_leds": True}
    )
    assert {c.slot: c.new.hex() for c in made.changes} == {0x3D: "0405", 0x2D: "0012"}


@pytest.mark.parametrize(
    "wanted",
    [
        {"cell_ovp": 4.2, "cell_ovp_release": 4.1, "cell_uvp": 3.0, "cell_uvp_release": 3.3},
        {"cell_ovp": 2.7, "cell_ovp_release": 2.5, "cell_uvp": 1.8, "cell_uvp_release": 2.0},
        {
            "charge_otp": 2.0,
            "charge_otp_release": 1.0,
            "charge_utp": -20.0,
            "charge_utp_release": -15.0,
            "discharge_otp": 119.0,
            "discharge_otp_release": 110.0,
        },
        {
            "full_charge_voltage": 4.15,
            "empty_voltage": 3.1,
            "cell_ovp": 4.2,
            "balance_start_voltage": 4.0,
        },
    ],
)
def test_no_step_on_the_way_contradicts_itself(wanted: dict[str, object]) -> None:
    made = plan(wanted)
    assert {edit.key for c in made.changes for edit in c.edits} == set(wanted)
    assert "order" not in names(made)
    image = dict(made.table.image)

    def errors() -> set[str]:
        values = made.table.map.decode(image)
        found = lint(values, cells=16, chemistry=made.chemistry)
        return {v.rule for v in found if v.severity == "error"}

    allowed = errors()
    states = []
    for change in made.changes:
        image[change.slot] = change.new
        states.append(errors())
    allowed |= states[-1]
    assert all(state <= allowed for state in states)


LADDER = ("cell_uvp", "cell_uvp_release", "cell_ovp_release", "cell_ovp")
_SANE = st.tuples(*(st.integers(low, 350) for low in (150, 160, 240, 250))).map(sorted)


@settings(max_examples=25, deadline=None)
@given(
    start=_SANE.filter(lambda n: len(set(n)) == 4 and n[2] >= 240 and n[3] >= 250),
    end=_SANE.filter(lambda n: len(set(n)) == 4 and n[2] >= 240 and n[3] >= 250),
)
def test_between_any_two_sane_tables_there_is_an_order(start: list[int], end: list[int]) -> None:
    table, identity, reading = board()

    def values(numbers: list[int]) -> dict[str, object]:
        return {key: number / 100 for key, number in zip(LADDER, numbers, strict=True)}

    first = SettingsSnapshot(
        map=table.map, image={**table.image, **table.map.encode(table.image, values(start))}
    )
    made = make_plan(first, values(end), identity=identity, reading=reading)
    image = dict(first.image)
    for change in made.changes:
        image[change.slot] = change.new
        now = table.map.decode(image)
        assert lint({key: now[key] for key in LADDER}) == []


def test_what_widens_comes_first_and_what_narrows_last() -> None:
    made = plan({"charge_ocp": 50, "discharge_ocp": 80, "cell_ovp": 3.7, "cell_uvp": 2.7})
    keys = [edit.key for change in made.changes for edit in change.edits]
    assert keys[0] == "cell_ovp"
    assert set(keys[1:]) == {"charge_ocp", "discharge_ocp", "cell_uvp"}


def test_what_can_cut_the_link_is_written_last() -> None:
    table, identity, reading = board()
    rows = tuple(
        replace(row, danger=Danger.LINK) if row.key == "cell_ovp" else row
        for row in table.map.settings
    )
    table = SettingsSnapshot(map=replace(table.map, settings=rows), image=table.image)
    wanted = {"cell_ovp": 3.7, "cell_uvp": 2.7, "charge_ocp": 50, "discharge_ocp": 80}
    made = make_plan(table, wanted, identity=identity, reading=reading, chemistry="lfp")
    assert made.changes[-1].keys == ("cell_ovp",)


def test_what_the_pack_lacks_is_named_and_left_out_with_consent_only() -> None:
    wanted = {"cell_ovp": 3.6, "float_voltage": 3.4, "jbd_shunt": 2.0, "cell_count": 16}
    made = plan(wanted)
    assert names(made) == ["supported"]
    assert set(made.unsupported) == {"float_voltage", "jbd_shunt"}  # it has 16 cells as asked
    assert "calibrates" in made.unsupported["jbd_shunt"]
    made = plan(wanted, waive=["partial"])
    assert not made.blocked
    assert [c.slot for c in made.changes] == [0x24]
    assert next(c for c in made.checks if c.name == "supported").waived


@pytest.mark.parametrize(
    "value", [9.9, -1, math.nan, math.inf, "3.6", True, None, [3.6], 10**400, b"\x0e\x10"]
)
def test_impossible_values_change_nothing(value: object) -> None:
    made = plan({"cell_ovp": value}, waive=["partial", "trip", "rules", "chemistry"])
    assert (names(made), made.changes) == (["limits"], ())
    assert "cell_ovp" in next(c for c in made.checks if c.name == "limits").sentence


def test_all_that_stands_in_the_way_is_shown_at_once() -> None:
    made = plan({"cell_uvp": 3.4, "charge_utp": -20, "cell_ovp": 99, "jk_heating": 1})
    assert names(made) == ["supported", "limits", "rules", "chemistry", "trip"]


def test_a_name_that_no_bms_has_cannot_be_waived_away() -> None:
    made = plan({"cell_opv": 3.6}, waive=["partial"])
    assert names(made) == ["limits"]
    told = next(c for c in made.checks if c.name == "limits").sentence
    assert told.endswith("Did you mean cell_ovp?")
    made = plan({"jbd_hardwre_cell_ovp": 3.9}, waive=WAIVERS)
    assert (names(made), made.changes) == (["limits"], ())
    told = next(c for c in made.checks if c.name == "limits").sentence
    assert told.endswith("Did you mean jbd_hardware_cell_ovp?")


def test_an_unknown_waiver_is_an_error() -> None:
    with pytest.raises(SettingError, match="no waiver 'everything'"):
        plan({}, waive=["everything"])


def test_what_stands_already_is_remarked_and_does_not_block() -> None:
    table, identity, reading = board()
    odd = table.map.encode(table.image, {"charge_utp": -20, "cell_ovp_release": 3.7})
    stands = SettingsSnapshot(map=table.map, image={**table.image, **odd})
    made = make_plan(stands, {"discharge_ocp": 90}, identity=identity, reading=reading)
    assert not made.blocked
    assert any("charge_utp (-20) lets it charge" in remark for remark in made.remarks)
    assert any("cell_ovp_release (3.7) must lie below" in remark for remark in made.remarks)


def test_a_backup_goes_back_byte_for_byte_but_for_what_is_never_written() -> None:
    table, identity, reading = board()
    backup = dict(table.image)
    backup[0x24] = bytes.fromhex("1388")  # 5 V, outside of what we would set: it stood there
    backup[0x2C] = bytes.fromhex("0007")  # the shunt
    backup[0x2D] = bytes.fromhex("1010")  # LEDs on, balancing off, bit 12 that nobody may write
    backup[0x77] = b"\0\0"
    made = make_plan(
        table, {}, identity=identity, reading=reading, raw=backup, stood={0x24: [backup[0x24]]}
    )
    assert {c.slot: c.new.hex() for c in made.changes} == {0x24: "1388", 0x2D: "0014"}
    assert "limits" not in names(made)
    assert made.vouched == {0x24: backup[0x24]}
    assert made.left_out.keys() == {"balance_switch"}
    assert sum("more than may be written" in remark for remark in made.remarks) == 2
    assert any("no slot 77" in remark for remark in made.remarks)
    with pytest.raises(SettingError, match="does not fit"):
        make_plan(table, {}, identity=identity, reading=reading, raw={0x24: b"\0"})


@pytest.mark.parametrize("key", [s.key for s in board()[0].map.settings if s.writable])
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_every_value_within_limits_is_stored_as_meant(key: str, data: st.DataObject) -> None:
    table = board()[0]
    row = table.map.setting(key)
    value = data.draw(values_of(row))
    image = {**table.image, **table.map.encode(table.image, {key: value})}
    held = table.map.decode(image)
    if isinstance(value, float):
        assert abs(held[key] - value) <= row.step / 2 + 1e-9
    else:
        assert held[key] == value
    others = table.values()
    whole = {"jbd_function_bits"}  # the word that the switches are bits of
    assert {k for k in held if held[k] != others[k]} <= {key} | whole
    assert table.map.encode(image, {key: held[key]}) == {}


def values_of(row: Setting) -> st.SearchStrategy[object]:
    if row.kind == "switch":
        return st.booleans()
    if row.kind == "choice":
        return st.sampled_from(list(row.choices.values()))
    return st.floats(row.minimum, row.maximum)


async def test_a_plan_shows_the_frames_that_will_go_out(tmp_path) -> None:
    async with connect("sim://jbd?load=idle").board as device:
        made = await draft(device, {"cell_ovp": 3.6}, journal=Journal(tmp_path))
        assert [frame.hex() for frame in made.frames] == [
            "dd5a00025678ff3077",  # factory mode, as the vendor's tool enters it
            "dd5a24020e10ffbc77",
            "dd5a01022828ffad77",
        ]
        values = (await device.settings()).values()
        assert values["cell_ovp"] == 3.65


def test_what_a_board_computes_anew_is_written_behind_what_makes_it_do_so() -> None:
    table, identity, reading = board("sim://daly-d2?load=idle")
    key = "cell_ovp"
    limit, warning = (table.map.setting(name).slot for name in (key, f"{key}_warning"))
    assert table.map.related[limit] == (warning,)
    for up in (0.01, -0.01):
        wanted = {name: table.values()[name] + up for name in (f"{key}_warning", key)}
        made = make_plan(table, wanted, identity=identity, reading=reading)
        assert [change.slot for change in made.changes] == [limit, warning]
