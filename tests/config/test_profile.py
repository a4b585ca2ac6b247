"""Profiles: what a file may say, and that what we write is what we read."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bmslink.config.files.backup import BackupError, load_backup
from bmslink.config.files.presets import PRESETS, preset
from bmslink.config.files.profile import (
    Profile,
    ProfileError,
    load_profile,
    parse_profile,
    profile_of,
    typed_value,
)
from bmslink.errors import SettingError, TargetError
from bmslink.protocols.common.settings_map import SettingsMap, SettingsSnapshot, Slot
from bmslink.protocols.daly.a5.map import a5_map
from bmslink.protocols.names import VENDOR_PREFIXES, no_name, vendor_names
from bmslink.settings.rules import lint
from bmslink.settings.setting import Setting, Value
from bmslink.settings.units import NumberWithUnit
from known_boards import BOARDS


@cache
def board() -> SettingsMap:
    """A map with numbers of all kinds, a choice, and rows that belong to one board."""
    return a5_map("20220810")


def empty() -> dict[int, bytes]:
    image = {slot.address: bytes(slot.layout.sizeof()) for slot in board().slots}
    return {**image, 0x5B: bytes.fromhex("7530" * 4)}  # no current; 0 would be 3000 A


def values_of(row: Setting) -> st.SearchStrategy[Value]:
    if row.kind == "choice":
        return st.sampled_from(sorted(row.choices.values()))
    top = row.maximum if row.unit != "V" else min(row.maximum or 240.0, 240.0)  # 48 cells of 5 V
    return st.floats(row.minimum or 0.0, top).map(row.nearest)


ANY_VALUES = st.fixed_dictionaries(
    {}, optional={r.key: values_of(r) for r in board().settings if r.writable}
)


@settings(max_examples=40, deadline=None)
@given(ANY_VALUES)
def test_a_profile_of_a_board_asks_for_what_stands_in_it(wanted: dict[str, Value]) -> None:
    image = {**empty(), **board().encode(empty(), wanted)}
    table = SettingsSnapshot(map=board(), image=image)
    profile = parse_profile(profile_of(table, title='a "title" \\ and\nmore'))
    asked, missing = profile.wanted(board())
    assert not missing
    held = table.values()
    assert asked == {k: held[k] for k in asked}
    may = {r.key for r in board().settings if r.writable and not r.own}
    assert asked.keys() == {key for key in may if held[key] is not None}
    assert wanted.items() <= asked.items()


def row(key: str, slot: Slot, **more: Any) -> Setting:
    return Setting(key=key, title="", slot=slot.address, name="nominal_capacity", **more)


def test_own_settings_and_switches_are_left_out() -> None:
    slot = board().slots[0]
    own = SettingsMap(
        name="x",
        evidence="",
        slots=(slot,),
        settings=(
            row("jk_device_address", slot, own=True),
            row("jk_calibrating", slot, live=True),
            row("jbd_shunt", slot, reason="no"),
            row("nominal_capacity", slot, unit="Ah"),
            row("charge_switch", slot, kind="switch"),
            row("jk_heating", slot, kind="switch"),
        ),
    )
    table = SettingsSnapshot(map=own, image={slot.address: bytes(slot.layout.sizeof())})
    plain = {"nominal_capacity", "jk_heating"}
    assert set(parse_profile(profile_of(table)).settings) == plain
    with_own = parse_profile(profile_of(table, own=True)).settings
    assert set(with_own) == plain | {"jk_device_address"}


def test_a_profile_gives_its_switches_only_where_they_are_asked_for() -> None:
    profile = parse_profile(
        "[settings]\ncharge_switch = true\nbalance_switch = false\ncell_ovp = 3.6"
    )
    asked, missing = profile.wanted(board())
    assert (asked, missing) == ({"cell_ovp": 3.6}, [])
    asked, missing = profile.wanted(board(), switches=True)
    assert asked.keys() | {*missing} == {"charge_switch", "balance_switch", "cell_ovp"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3.6", 3.6),
        (" +3.6 ", 3.6),
        ("3600 mV", NumberWithUnit(3600.0, "mV")),
        ("-5 °C", NumberWithUnit(-5.0, "°C")),
        ("1e2 A", NumberWithUnit(100.0, "A")),
        (".5V", NumberWithUnit(0.5, "V")),
    ],
)
def test_numbers_as_they_are_typed(text: str, value: object) -> None:
    assert typed_value(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "nan", "inf", "1e999", "1e999 V", "3,6", "0x10", "3.6 volts", "3.6 V V", "1" * 100_000],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(SettingError):
        typed_value(text)


@pytest.mark.parametrize(
    ("value", "unit", "found"),
    [
        (NumberWithUnit(3600, "mV"), "V", 3.6),
        (NumberWithUnit(3.6, "V"), "V", 3.6),
        (NumberWithUnit(2, "h"), "s", 7200.0),
        (NumberWithUnit(90, "min"), "h", 1.5),
        (NumberWithUnit(500, "ms"), "s", 0.5),
        (NumberWithUnit(2, "d"), "h", 48.0),
        (NumberWithUnit(5, "C"), "°C", 5.0),
        (NumberWithUnit(5, "degC"), "°C", 5.0),
        (NumberWithUnit(100, "mA"), "A", 0.1),
        (NumberWithUnit(280000, "mAh"), "Ah", 280.0),
    ],
)
def test_units_are_converted(value: NumberWithUnit, unit: str, found: float) -> None:
    assert value.to(unit) == found


@pytest.mark.parametrize(
    ("unit", "wanted"), [("A", "V"), ("°C", "K"), ("Ah", "A"), ("s", ""), ("", "V")]
)
def test_units_that_do_not_go_together(unit: str, wanted: str) -> None:
    with pytest.raises(SettingError, match="no value"):
        NumberWithUnit(1.0, unit).to(wanted)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("cell_ovp = nan", 3),
        ("cell_ovp = inf", 3),
        ("cell_ovp = -inf", 3),
        (f"cell_ovp = {10**400}", 3),
        ('cell_ovp = "3.6 volts"', 3),
        ('cell_ovp = "1e999 V"', 3),
        ("cell_ovp = [3.6]", 3),
        ("cell_ovp = {v = 3.6}", 3),
        ("cell_ovp = 2026-01-01", 3),
        ("CELL-OVP = 3.6", 3),
        ('"cell ovp" = 3.6', 0),
        ('"../x" = 3.6', 0),
    ],
)
def test_what_no_setting_can_hold_is_said_with_its_line(body: str, line: int) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile(f"schema = 1\n[settings]\n{body}\n", "p.toml")
    assert str(caught.value).startswith(f"p.toml, line {line}: " if line else "p.toml")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "",
        "settings = 1",
        "schema = 2\n[settings]",
        "title = 1\n[settings]",
        "[settings]\ncell_ovp = 3.6\ncell_ovp = 3.5",
        "[settings]\nx = 1\n[other]",
        "[settings",
        "cell_ovp = 3.6",
        f"[settings]\nx = {'9' * 5000}",
        f"[settings]\nx = {'[' * 100_000}",
        '{"kind": "bmslink-backup"}',
        "\0",
    ],
)
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(ProfileError):
        parse_profile(text)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=120))
@example("[settings]\na=1979-05-27T99:32:00Z")
@example('[settings]\na="\\ud800"')
@example("[settings]\na=+nan")
def test_any_text_is_a_profile_or_a_profile_error(text: str) -> None:
    try:
        found: Any = parse_profile(text)
    except ProfileError:
        return
    assert isinstance(found, Profile)


@pytest.mark.parametrize(
    ("data", "word"),
    [(b"\xff\xfe[settings]", "UTF-8"), (b"#" * (1 << 20) + b"#", "longer than")],
)
def test_files_that_are_no_text(tmp_path: Any, data: bytes, word: str) -> None:
    file = tmp_path / "p.toml"
    file.write_bytes(data)
    with pytest.raises(ProfileError, match=word):
        load_profile(file)


def test_a_byte_order_mark_and_a_missing_file(tmp_path: Any) -> None:
    file = tmp_path / "p.toml"
    file.write_bytes(b"\xef\xbb\xbf[settings]\ncell_ovp = 3.6\n")
    assert load_profile(file).settings == {"cell_ovp": 3.6}
    for missing in (tmp_path / "no.toml", tmp_path):
        with pytest.raises(ProfileError, match="cannot be read"):
            load_profile(missing)


def test_a_unit_that_the_board_does_not_use_is_said_with_its_line() -> None:
    profile = parse_profile('[settings]\nsleep_delay = "1 h"\ncell_ovp = "3.6 A"\n', "p.toml")
    with pytest.raises(ProfileError, match=r"p.toml, line 3: cell_ovp: 3.6 A is no value in V"):
        profile.wanted(board())
    asked, missing = parse_profile('[settings]\nsleep_delay = "1 h"\njk_heating = true\n').wanted(
        board()
    )
    assert asked == {"sleep_delay": 3600.0}
    assert missing == ["jk_heating"]
    with pytest.raises(ProfileError, match="chemistry is no number"):
        parse_profile('[settings]\nchemistry = "3 V"\n').wanted(board())


@pytest.mark.parametrize("cells", [4, 8, 16, 24])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_profile_without_a_flaw(name: str, cells: int) -> None:
    profile = parse_profile(preset(name, cells))
    values = {
        key: value.plain()[1] if isinstance(value, NumberWithUnit) else value
        for key, value in profile.settings.items()
    }
    family = next(f for f in ("lfp", "nmc", "lto", "na-ion") if name.startswith(f))
    assert not [v.sentence for v in lint(values, cells=cells, chemistry=family)]


def test_presets_know_their_limits() -> None:
    for arguments in (("nickel", 16), ("lfp", 0), ("lfp", 33), ("lfp", 16, 0.0)):
        with pytest.raises(TargetError):
            preset(*arguments)


def test_a_slip_of_the_pen_is_not_taken_for_what_a_board_lacks() -> None:
    with pytest.raises(ProfileError, match=r"line 2: no BMS has .*'cell_opv'.*mean cell_ovp\?"):
        parse_profile("[settings]\ncell_opv = 3.6\n", "p.toml")
    with pytest.raises(ProfileError, match=r"'jbd_hardwre_cell_ovp'.*mean jbd_hardware_cell_ovp\?"):
        parse_profile("[settings]\njbd_hardwre_cell_ovp = 3.9\n")
    assert parse_profile(
        "[settings]\nsoc_high_warning = 90\njbd_hardware_cell_ovp = 3.9\n"
    ).settings


def test_every_name_of_a_map_is_a_name() -> None:
    keys = {row.key for each in BOARDS.values() for row in each.map.settings}
    assert not [key for key in keys if no_name(key)]
    assert vendor_names() == {key for key in keys if key.startswith(VENDOR_PREFIXES)}


def test_a_count_has_no_unit_of_a_voltage() -> None:
    rows = [row for each in BOARDS.values() for row in each.map.settings if "count" in row.key]
    assert {row.unit for row in rows} == {""}


def test_a_backup_and_a_profile_that_are_mixed_up_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="`bmslink config restore FILE TARGET`"):
        parse_profile('{"kind": "bmslink-backup"}')
    (tmp_path / "p.toml").write_text("[settings]\ncell_ovp = 3.6\n")
    with pytest.raises(BackupError, match=r"`bmslink config apply .*p\.toml TARGET`"):
        load_backup(tmp_path / "p.toml")
