"""Policy files: what they may say, where an error stands, presets, and what `check` finds."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.config.files.profile import typed_value
from bmslink.control import Battery, Mode, PolicySet
from bmslink.control.check import Level, check_pack, check_policies, check_settings
from bmslink.control.decide.catalogue import default_policies
from bmslink.control.decide.quantities import QUANTITIES
from bmslink.control.decide.rule import fraction_at
from bmslink.control.decide.thresholds import THRESHOLDS
from bmslink.control.files import load_policies, parse_policies
from bmslink.control.presets import USES, preset
from bmslink.control.settings import load_settings
from bmslink.errors import SettingError, TargetError
from bmslink.settings.rules import lint
from bmslink.settings.units import NumberWithUnit, UnitError, parse, write
from control_support import Run, healthy, warm

HEAD = """\
schema = 1
[battery]
chemistry = "lfp"
cells = 16
capacity = "280 Ah"
"""
PATH = Path("p.toml")


def read(text: str) -> PolicySet:
    return parse_policies(HEAD + text, PATH)


def failure(text: str) -> str:
    with pytest.raises(TargetError) as caught:
        parse_policies(text, PATH)
    message = str(caught.value)
    assert message.startswith("p.toml, line ")
    assert message.endswith((".", "?"))
    return message.removeprefix("p.toml, line ")


# ---------------------------------------------------------------------------------------- units


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("3.60 V", "V", 3.6), ("30 mV", "V", 0.03), ("2000 ms", "s", 2.0), ("15 min", "s", 900.0),
     ("1 d", "s", 86400.0), ("0.5 C", "A", 140.0), ("100A", "A", 100.0), ("-20 °C", "°C", -20.0),
     ("-20 degC", "°C", -20.0), ("5 C", "°C", 5.0), ("1e1 V", "V", 10.0), (".5 s", "s", 0.5),
     ("2 K/min", "K/min", 2.0), (" 10 % ", "%", 10.0), (3, "", 3.0)],
)  # fmt: skip
def test_numbers_have_units(text: str | float, unit: str, value: float):
    """D8: a constant named 2000 ms had the value 1000 in a peer."""
    assert parse(text, unit, capacity=280) == value


@pytest.mark.parametrize(
    ("text", "unit"),
    [("3.6", "V"), (3.6, "V"), ("3.6 A", "V"), ("1e13 V", "V"), ("nan V", "V"), ("", "s"),
     ("٣ V", "A"), ("9" * 40 + " V", "V"), ("5 C", "V"), ("5 m", "s"), ("0.5 K", "°C")],
)  # fmt: skip
def test_other_texts_are_no_numbers(text: str | float, unit: str):
    with pytest.raises(UnitError, match="write it"):
        parse(text, unit)


QUANTITY_UNITS = sorted({quantity.unit for quantity in QUANTITIES.values()} | {"A", "Ah", "s"})


@given(st.text("+-.0123456789eE mVAhsCd°K%/in", max_size=12), st.sampled_from(QUANTITY_UNITS))
def test_profiles_and_policy_files_read_a_number_alike(text: str, unit: str) -> None:
    """There was a grammar for each, which took different exponents and units."""
    try:
        typed = typed_value(text)
        number = typed if isinstance(typed, NumberWithUnit) else NumberWithUnit(typed, "")
        there: float | None = number.to(unit.removesuffix(" of capacity"))
    except SettingError:
        there = None
    try:
        here: float | None = parse(text, unit)
    except UnitError:
        here = None
    if not text.rstrip().endswith("C") or unit != "A":  # a multiple of the capacity
        assert here == there


@given(st.integers(-100_000, 10**7), st.sampled_from(QUANTITY_UNITS))
def test_what_is_written_is_read_back(thousandths: int, unit: str):
    value = thousandths / 1000
    if unit == "V":
        value = abs(value) % 10
    assert parse(write(value, unit), unit) == pytest.approx(value, abs=1e-9, rel=1e-5)


# ---------------------------------------------------------------------------------------- files


def test_what_a_file_leaves_out_is_as_shipped():
    policies = read("")
    assert policies == default_policies(policies.battery)
    assert policies.battery.capacity == 280


def test_a_file_changes_rows_thresholds_and_curves():
    policies = read("""
[thresholds]
ov_trip = "3.58 V"
[curves]
ccl_voltage = [["3.40 V", "100 %"], ["3.50 V", "0 %"]]
[policies]
cell_overvoltage = { mode = "enforce", on_delay = "2 s", inside_bms = "20 mV", samples = 3 }
soc_floor = { mode = "enforce", trip = "15 %", release = "20 %" }
cell_undervoltage.on_missing = "trip"
charge_overtemperature.sensors = ["cell_2"]
charge_heat.lockout = "never"
bms_fault.mode = "off"
mosfet_overtemperature.on_missing = "ignore: it has no probe there"
""")
    rows = policies.policies
    assert policies.thresholds["ov_trip"] == 3.58
    assert policies.curves["ccl_voltage"] == ((3.4, 1.0), (3.5, 0.0))
    assert rows["cell_overvoltage"].mode is Mode.ENFORCE
    assert (rows["cell_overvoltage"].on_delay, rows["cell_overvoltage"].samples) == (2.0, 3)
    assert rows["cell_overvoltage"].inside_bms == 0.02
    assert (rows["soc_floor"].trip, rows["soc_floor"].mode) == (15.0, Mode.ENFORCE)
    assert rows["cell_undervoltage"].on_missing.rule == "trip"
    assert rows["charge_overtemperature"].sensors == ("cell_2",)
    assert rows["charge_heat"].lockout is None
    assert rows["bms_fault"].mode is Mode.OFF
    assert rows["mosfet_overtemperature"].on_missing.reason == "it has no probe there"
    assert rows["pack_overvoltage"].mode is Mode.SHADOW


def test_a_quantity_and_its_levels() -> None:
    """What is said of a quantity itself is meant of the level that has its name."""
    policies = read("""
[policies.cell_overvoltage]
mode = "enforce"
warn = { trip = "3.60 V" }
critical.mode = "off"
[policies.cell_delta]
top = { factor = "20 %" }
[policies.charge_overcurrent.trip]
on_delay = "4 min"
[policies.balance]
rate = { trip = "0.1 C", release = "0.05 C" }
""")
    rows = policies.policies
    assert (rows["cell_overvoltage"].mode, rows["cell_overvoltage_warning"].mode) == (
        Mode.ENFORCE, Mode.SHADOW,
    )  # fmt: skip
    assert rows["cell_overvoltage_warning"].trip == 3.6
    assert rows["cell_overvoltage_critical"].mode is Mode.OFF
    assert rows["cell_delta_top"].factor == 0.2
    assert rows["charge_overcurrent"].on_delay == 240
    assert rows["balance_rate"].trip == 0.1
    assert policies.policy("cell_overvoltage.warn") is rows["cell_overvoltage_warning"]
    changed = policies.changing("cell_overvoltage.warn", trip=3.61)
    assert changed.policies["cell_overvoltage_warning"].trip == 3.61
    assert len(policies.records) == 39


@pytest.mark.parametrize("chemistry", THRESHOLDS)
def test_every_level_is_found_by_both_of_its_names(chemistry: str) -> None:
    head = HEAD.replace("lfp", chemistry)
    shipped = default_policies(parse_policies(head, PATH).battery)
    for name, row in shipped.policies.items():
        own = f"[policies]\n{name} = {{ mode = 'enforce' }}"
        both = f"[policies.{row.record}]\n{row.level} = {{ mode = 'enforce' }}"
        wanted = shipped.changing(name, mode=Mode.ENFORCE)
        for schema in ("schema = 1", "schema = 2"):
            for text in (own, both):
                found = parse_policies(head.replace("schema = 1", schema) + text, PATH)
                others = {"stale_data": "stale_data_discharge",
                          "cell_delta_load": "cell_delta_charging"}  # fmt: skip
                if schema == "schema = 1" and text is own and name in others:
                    assert found == wanted.changing(others[name], mode=Mode.ENFORCE)
                else:
                    assert found == wanted, (name, schema)


def test_a_record_says_once_what_its_levels_share() -> None:
    for chemistry in THRESHOLDS:
        battery = Battery(chemistry=chemistry, cells=16, capacity=280.0)
        for name, record in default_policies(battery).records.items():
            rows = [*record.levels.values()]
            if name != "balance":  # about one switch
                assert len({(row.quantity, row.over, row.sensors) for row in rows}) == 1
            assert record.main is not None or name in ("cell_delta", "data_age", "balance")


def test_the_mode_of_all_does_not_switch_on_what_is_off():
    policies = parse_policies('mode = "enforce"\n' + HEAD, PATH).policies
    assert policies["cell_overvoltage"].mode is Mode.ENFORCE
    assert policies["soc_floor"].mode is Mode.OFF


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[thresholds]\nov_trip = 3.6", 7, 'write it with its unit, as "3.60 V"'),
        ("[thresholds]\nov_tripp = '3.6 V'", 7, "did you mean ov_trip?"),
        ("[thresholds]\nov_trip = '36 V'", 7, "0.1 to 6 V"),
        ("[policies]\ncell_overvolt = {}", 7, "there is no policy 'cell_overvolt'; did you mean"),
        ("[policies]\ncell_overvoltage = { trp = '3 V' }", 7, "unknown key 'trp'"),
        ("[policies]\ncell_overvoltage = 3", 7, "expected a table"),
        ("[policies.cell_overvoltage]\ntrip = 'ov_tripp'", 7, "did you mean ov_trip?"),
        ("[policies.cell_overvoltage]\ntrip = 'charge_ot_trip'", 7, "charge_ot_trip is in °C"),
        ("[policies.cell_overvoltage]\ntrip = '3.3 V'", 7, "release must be below trip"),
        ("[policies.cell_overvoltage]\n\nrelease = '3.7 V'", 8, "release must be below trip"),
        ("[policies.cell_overvoltage]\nmode = 'on'", 7, "one of off, shadow, enforce"),
        ("[policies.cell_overvoltage]\non_delay = '-1 s'", 7, "on_delay: 0 to 604800 s"),
        ("[policies.cell_overvoltage]\nsamples = 0", 7, "samples: 1 to 100"),
        ("[policies.cell_overvoltage]\nlockout = '3'", 7, '"3 in 15 min"'),
        ("[policies.cell_overvoltage]\non_missing = 'ignore'", 7, "the reason why"),
        ("[policies.soc_floor]\ninside_bms = '3 %'", 7, "the BMS has no setting for this"),
        ("[policies.cell_overvoltage]\nwarm = { trip = '3 V' }", 7,
         "no level 'warm'; did you mean warn?"),
        ("[policies.soc_floor]\ntrip = { trip = '9 %' }", 7, "no level 'trip'; there are: limit"),
        ("[policies]\ncell_delta = { factor = '9 %' }", 7,
         "say it of one of its levels: cell_delta.top_warn, cell_delta.top"),
        ("[policies]\ncell_overvoltage_warning = {}\ncell_overvoltage = { warn = {} }", 8,
         "cell_overvoltage.warn: the file says it twice, also as cell_overvoltage_warning"),
        ("[policies.cell_overvoltage]\ncurve = { trip = 3 }", 7, "trip: write it with its unit"),
        ("[policies.cell_overvoltage]\n\ntrip = { trip = '3.3 V' }", 8, "release must be below"),
        ("[curves]\nccl_voltage = [['3.5 V', '0 %'], ['3.4 V', '50 %']]", 7, "points must rise"),
        ("[curves]\nccl_voltage = [['3.4 V', '0 %'], ['3.5 V', '50 %']]", 7, "only fall towards"),
        ("[curves]\nccl_voltage = '3'", 7, "2 to 32 points"),
        ("[curves]\nccl_voltage = [[1], [2]]", 7, "a point is a pair"),
        ("[policies.charge_undertemperature]\ntrip = '-10 °C'\nrelease = '0 °C'", 7,
         "no charging below 0 °C"),
        ("[thresholds]\ncharge_ut_trip = '-5 °C'", 7, "no charging below 0 °C"),
        ("[curves]\ncharge_cold = [['-5 °C', '0 %'], ['0 °C', '5 %'], ['10 °C', '50 %']]", 7,
         "must be 0 % at 0 °C and below"),
    ],
)  # fmt: skip
def test_an_error_names_its_line(text: str, line: int, words: str):
    message = failure(HEAD + text)
    assert message.startswith(f"{line}: "), message
    assert words in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'schema' is missing"),
        ("schema = 3\n[battery]\n", "schema: this reads 1 and 2, not 3"),
        ("schema = 1\n", "'battery' is missing"),
        (HEAD.replace("lfp", "lipo"), "there is no chemistry 'lipo'"),
        (HEAD.replace("16", "0"), "cells: 1 to 48"),
        (HEAD.replace("280 Ah", "0 Ah"), "capacity: 0.1 to 100000 Ah"),
        (HEAD.replace('"280 Ah"', "280"), 'capacity: write it with its unit, as "280 Ah"'),
        (HEAD + "charge_current = ''", "charge_current: this is no number"),
        (HEAD + "fuse = '2 kA'", "the unit is A or mA or C"),
        ("schema = = 1", "Invalid value"),
    ],
)
def test_a_wrong_head_is_refused(text: str, words: str):
    assert words in failure(text)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(junk: str):
    for text in (junk, HEAD + junk, HEAD + f"[policies]\ncell_overvoltage.trip = {junk!r}"):
        try:
            parse_policies(text, PATH)
        except TargetError as exc:
            assert "p.toml, line " in str(exc)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(TargetError, match="control presets"):
        load_policies(tmp_path / "none.toml")


# -------------------------------------------------------------------------------------- presets


@pytest.mark.parametrize("chemistry", THRESHOLDS)
@pytest.mark.parametrize("use", USES)
def test_presets_say_what_is_shipped(chemistry: str, use: str):
    policies = parse_policies(preset(chemistry, use), PATH)
    shipped = default_policies(policies.battery)
    assert policies.thresholds == shipped.thresholds
    assert policies.curves == shipped.curves
    for name, policy in policies.policies.items():
        if name in USES[use].changes:
            expected = msgspec.structs.replace(shipped.policies[name], **USES[use].changes[name])
            assert policy == expected
        else:
            assert policy == shipped.policies[name]
    assert all(p.mode is not Mode.ENFORCE for p in policies.policies.values())


def test_every_number_of_a_preset_counts():
    """What stands in the file is what is used: a changed line changes the policies."""
    text = preset("lfp", "solar")
    before = parse_policies(text, PATH)
    for old, new in (('ov_trip = "3.70 V"', 'ov_trip = "3.58 V"'),
                     ('["3.45 V", "50 %"]', '["3.46 V", "50 %"]'),
                     ('load_delay = "10 s"', 'load_delay = "11 s"'),
                     ('outside_bms = "20 mV"', 'outside_bms = "25 mV"')):  # fmt: skip
        assert old in text
        assert parse_policies(text.replace(old, new), PATH) != before


def test_unknown_presets_are_refused():
    with pytest.raises(TargetError, match="known are: ups, solar, van, boat"):
        preset("lfp", "plane")
    with pytest.raises(TargetError, match="known are: lfp"):
        preset("lead", "ups")


# ---------------------------------------------------------------------------------------- check


def found(text: str, **own: float) -> dict[str, Level]:
    policies = read(text)
    findings = [*check_policies(policies, own), *check_settings(own, policies)]
    return {f.about: f.level for f in findings}


def test_a_shipped_file_has_nothing_worse_than_remarks():
    assert set(found("").values()) == {Level.REMARK}


def test_what_is_looser_than_usual_is_said():
    assert found("[thresholds]\nov_trip = '3.72 V'")["ov_trip"] is Level.WARNING
    assert found("[thresholds]\nuv_trip = '2.5 V'")["uv_trip"] is Level.WARNING
    off = found("[policies]\ncell_overvoltage.mode = 'off'")
    assert off["cell_overvoltage"] is Level.WARNING
    curve = "[curves]\nccl_voltage = [['3.4 V', '100 %'], ['3.72 V', '0 %']]"
    assert found(curve)["cell_overvoltage_derate"] is Level.WARNING


def test_a_charge_voltage_at_which_the_curve_leaves_nothing_is_said() -> None:
    (told,) = [f for f in check_policies(read("[thresholds]\ncharge_voltage = '3.6 V'"))
               if f.about == "charge_voltage" and "is 0 from" in f.text]  # fmt: skip
    assert told.text == "charge_voltage is 3.60 V, but the charge current is 0 from 3.55 V on."
    fitting = "[thresholds]\ncharge_voltage = '3.6 V'\n[curves]\nccl_voltage = "
    fitting += "[['3.55 V', '100 %'], ['3.65 V', '0 %']]"
    assert not [f for f in check_policies(read(fitting)) if "is 0 from" in f.text]


@pytest.mark.parametrize(("end", "flat"), [("100 %", True), ("0 %", False)])
def test_a_curve_that_limits_nothing_is_said(end: str, flat: bool) -> None:
    policies = read(f"[curves]\nccl_voltage = [['3.4 V', '100 %'], ['3.5 V', '{end}']]")
    told = [f.text for f in check_policies(policies, {}) if "is flat" in f.text]
    assert told == ["cell_overvoltage_derate: its curve is flat and limits nothing."] * flat


def test_a_more_careful_stop_in_the_cold_is_accepted_and_its_step_is_said():
    """The first edit of many an owner: no charging below 5 °C, and nothing else touched."""
    policies = read("[thresholds]\ncharge_ut_trip = '5 °C'\ncharge_ut_release = '8 °C'")
    (step,) = [f for f in check_policies(policies) if f.about == "charge_cold_derate"]
    assert step.level is Level.WARNING
    assert "still leaves 10% when charge_undertemperature acts at 5.0 °C" in step.text
    run = Run(policies)
    assert not run(healthy(temperatures=warm(4.0)), 20).charge.allowed
    assert run(healthy(temperatures=warm(9.0)), 120).charge.allowed


@pytest.mark.parametrize(
    ("row", "words"),
    [("trip = '4 V'", "acts at 4.00 V; 3.70 V is as shipped"),
     ("on_delay = '7 d'", "waits 7 d before it acts; 0 s is as shipped")],
)  # fmt: skip
def test_a_stop_that_comes_later_than_as_shipped_is_said(row: str, words: str):
    (doubt,) = [
        f
        for f in check_policies(read(f"[policies.cell_overvoltage]\n{row}"))
        if f.about == "cell_overvoltage"
    ]
    assert doubt.level is Level.WARNING
    assert words in doubt.text
    assert "cell_overvoltage" not in found("[policies.cell_overvoltage]\ntrip = '3.5 V'")
    assert "cell_overvoltage" not in found("[policies.cell_overvoltage]\non_delay = '2 s'")


def test_a_current_that_no_cell_bears_is_doubted():
    policies = parse_policies(HEAD + 'discharge_current = "2800 A"', PATH)
    (doubt,) = [f for f in check_policies(policies) if f.about == "discharge_current"]
    assert doubt.level is Level.WARNING
    assert "2800 A, 10 C at 280 Ah" in doubt.text


def test_charging_lfp_at_minus_twenty_is_dangerous():
    """D13: the presets of JK's app do that for every chemistry."""
    assert found("", charge_utp=-20.0)["charge_utp"] is Level.DANGER
    told = check_settings({"charge_utp": -20.0}, read(""))
    assert [f.text for f in told] == [
        v.sentence for v in lint({"charge_utp": -20.0}, chemistry="lfp")
    ]
    assert "charge_utp" not in found("", charge_utp=0.0)


@pytest.mark.parametrize(
    ("own", "about"),
    [({"cell_ovp": 4.2}, "cell_ovp"), ({"cell_uvp": 3.1}, "cell_uvp"),
     ({"cell_ovp": 3.6, "cell_ovp_release": 3.6}, "cell_ovp_release"),
     ({"cell_uvp": 2.6, "cell_uvp_release": 2.6}, "cell_uvp"),
     ({"cell_count": 15.0}, "cell_count"), ({"nominal_capacity": 100.0}, "nominal_capacity"),
     ({"balance_start_voltage": 3.0}, "balance_start_voltage"),
     ({"balance_delta": 0.002}, "balance_delta"), ({"charge_ocp_delay": 400.0}, "charge_ocp_delay"),
     ({"cell_ovp": 3.6, "full_charge_voltage": 3.58}, "full_charge_voltage")],
)  # fmt: skip
def test_doubtful_settings_are_found(own: dict[str, float], about: str):
    assert found("", **own)[about] > Level.REMARK
    assert about not in found("")


@pytest.mark.parametrize("chemistry", ["lfp", "nmc", "lto", "na-ion"])
def test_settings_are_judged_by_the_rules_that_a_change_is_judged_by(chemistry: str) -> None:
    """Above, at and below every number of the bands, alone and together."""
    numbers = {"cell_ovp": 3.6, "cell_uvp": 2.5, "balance_delta": 0.003, "charge_ocp_delay": 300.0,
               "balance_start_voltage": 3.35, "full_charge_voltage": 3.55}  # fmt: skip
    policies = default_policies(Battery(chemistry=chemistry, cells=16, capacity=280.0))
    for factor in (0.3, 0.7, 0.9, 1.0, 1.02, 1.2, 2.0, 400.0):
        for own in [{k: v * factor} for k, v in numbers.items()] + [
            {**numbers, key: value * factor} for key, value in numbers.items()
        ]:
            told = [(f.level, f.about, f.text) for f in check_settings(own, policies)]
            levels = {"error": Level.DANGER, "warning": Level.WARNING}
            assert sorted(told) == sorted(
                (levels[v.severity], v.keys[0], v.sentence)
                for v in lint(own, cells=16, chemistry=chemistry)
            )


def test_what_makers_ship_is_not_doubted() -> None:
    """JK's 3 mV and 300 s, JBD's balancing of NMC from 3.9 V, Daly's 50 mV below the limit."""
    nmc = default_policies(Battery(chemistry="nmc", cells=14, capacity=50.0))
    assert check_settings({"balance_start_voltage": 3.9}, nmc) == []
    assert check_settings({"balance_delta": 0.003, "discharge_ocp_delay": 300.0}, read("")) == []
    assert check_settings({"full_charge_voltage": 3.5, "cell_ovp": 3.55}, read("")) == []


def test_a_doubt_about_a_setting_hides_no_other() -> None:
    own = {"charge_ocp": 120.0, "charge_ocp_warning": 130.0}
    policies = parse_policies(HEAD + 'fuse = "100 A"', PATH)
    assert [f.level for f in check_settings(own, policies)] == [Level.DANGER] * 2


def test_an_overcurrent_setting_above_the_fuse():
    policies = parse_policies(HEAD + 'fuse = "100 A"', PATH)
    assert [f.level for f in check_settings({"charge_ocp": 120.0}, policies)] == [Level.DANGER]


def test_the_pack_is_compared_with_the_file():
    policies = read("")
    reading = healthy(temperatures={**warm(25.0), "cell_3": None}, nominal_capacity=100.0)
    assert {f.about for f in check_pack(reading, policies)} == {"sensors", "capacity"}
    (silent,) = [f for f in check_pack(reading, policies) if f.about == "sensors"]
    assert "cell_3. As long" in silent.text
    assert 'write sensors = ["cell_1", "cell_2"] in [battery]' in silent.text
    short = healthy(cell_voltages=(3.3,) * 15)
    assert check_pack(short, policies)[0].level is Level.DANGER


def test_settings_are_read_from_json_lines(tmp_path: Path):
    path = tmp_path / "s.jsonl"
    lines = [{"key": "cell_ovp", "value": 3.65, "unit": "V"}, {"key": "chemistry", "value": "lfp"}]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    assert load_settings(path) == {"cell_ovp": 3.65}
    path.write_text("{}")
    with pytest.raises(TargetError, match="line 1"):
        load_settings(path)
    with pytest.raises(TargetError, match="cannot be read"):
        load_settings(tmp_path)
    path.write_text(" \n\n")
    with pytest.raises(TargetError, match="is empty"):
        load_settings(path)


def test_no_accepted_file_charges_below_its_cut_off():
    policies = read("[curves]\ncharge_cold = [['2 °C', '0 %'], ['10 °C', '50 %']]")
    assert fraction_at(policies.curves["charge_cold"], 0.0) == 0
    cold = healthy(temperatures=warm(1.0))
    assert Run(policies, sink=True)(cold, 60).limits.ccl.value == 0
