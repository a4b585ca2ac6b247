"""The simulated pack obeys physics, its own settings, and its seed."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bmslink.errors import TargetError
from bmslink.model import Condition, Switch
from bmslink.settings.chemistry import CHEMISTRIES, chemistry
from bmslink.simulation.pack.cells import Cells
from bmslink.simulation.pack.load import daily_current
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.pack.protection import RULES
from support import part

HOUR = 3600.0
quick = settings(max_examples=15, deadline=None, derandomize=True)
every_chemistry = pytest.mark.parametrize("name", CHEMISTRIES)


def charged(pack: Pack) -> float:
    """Ah in the pack, as it says itself."""
    remaining = pack.truth().remaining_capacity
    assert remaining is not None
    return remaining


# -- chemistry -----------------------------------------------------------------------------------


@every_chemistry
def test_the_curve_rises_from_empty_to_full(name):
    kind = chemistry(name)
    assert [kind.curve[0][0], kind.curve[-1][0]] == [0, 100]
    for (soc, volts), (next_soc, next_volts) in itertools.pairwise(kind.curve):
        assert soc < next_soc
        assert volts < next_volts
    assert kind.empty_voltage < kind.nominal_voltage < kind.full_voltage


@every_chemistry
@quick
@given(soc=st.floats(0, 100))
@example(soc=0.0)
@example(soc=100.0)
def test_soc_at_is_the_inverse_of_ocv(name, soc):
    kind = chemistry(name)
    assert kind.soc_at(kind.ocv(soc)) == pytest.approx(soc, abs=1e-6)


@every_chemistry
def test_beyond_the_curve_are_its_ends(name):
    kind = chemistry(name)
    assert (kind.ocv(-5), kind.ocv(105)) == (kind.empty_voltage, kind.full_voltage)
    assert (kind.soc_at(0.0), kind.soc_at(9.0)) == (0, 100)


def test_lfp_is_flat_in_the_middle_and_nmc_is_not():
    def middle(name):
        return chemistry(name).ocv(80) - chemistry(name).ocv(30)

    assert middle("lfp") < 0.06
    assert middle("nmc") > 0.3


@every_chemistry
def test_limits_stand_in_order_around_the_curve(name):
    kind = chemistry(name)
    limits = kind.limits
    voltages = [
        limits[key]
        for key in (
            "cell_uvp",
            "cell_uvp_warning",
            "cell_uvp_release",
            "cell_ovp_release",
            "cell_ovp_warning",
            "cell_ovp",
        )
    ]
    assert voltages == sorted(set(voltages))
    assert limits["cell_uvp"] < kind.empty_voltage < kind.full_voltage < limits["cell_ovp_warning"]
    for kind_of_use in ("charge", "discharge"):
        assert limits[f"{kind_of_use}_utp"] < limits[f"{kind_of_use}_utp_release"]
        assert limits[f"{kind_of_use}_otp_release"] < limits[f"{kind_of_use}_otp"]
    assert limits["charge_utp"] >= limits["discharge_utp"]
    assert limits["charge_otp"] <= limits["discharge_otp"]


def test_an_unknown_chemistry_names_the_known_ones():
    with pytest.raises(TargetError, match="'lead'; known are: lfp, nmc, lto, na-ion"):
        chemistry("lead")


# -- physics -------------------------------------------------------------------------------------


@every_chemistry
@quick
@given(
    soc=st.floats(30, 70),
    amps=st.floats(-20, 20),
    seconds=st.floats(1, HOUR),
)
def test_charge_is_neither_made_nor_lost(name, soc, amps, seconds):
    pack = Pack(chemistry=name, cells=4, soc=soc, load=amps)
    before = charged(pack)
    pack.advance(seconds)
    leak = 100 * 0.02 / 720 * seconds / HOUR  # 2 % a month
    assert charged(pack) - before == pytest.approx(amps * seconds / HOUR - leak, abs=3e-3)


@every_chemistry
def test_charging_raises_the_voltage_and_discharging_lowers_it(name):
    pack = Pack(chemistry=name, soc=50, load="idle")
    rest = pack.truth().voltage
    pack.set_load(50)
    at_once = pack.truth().voltage
    pack.advance(600)
    later = pack.truth().voltage
    assert rest < at_once < later
    pack.set_load(-50)
    assert pack.truth().voltage < later
    pack.set_load("idle")
    relaxing = pack.truth().voltage
    pack.advance(HOUR)
    assert rest < pack.truth().voltage < relaxing  # the polarisation decays, the charge stays


def test_the_drop_is_current_times_resistance():
    rest = Pack(soc=50, load="idle").truth().voltage
    loaded = Pack(soc=50, load=-100).truth().voltage
    assert rest - loaded == pytest.approx(100 * 16 * 0.08 / 99, rel=0.02)  # SOH is 99 %


@pytest.mark.parametrize(
    ("soc", "amps", "volts"), [(100, 5, 3.45 + 0.08 * 5 / 0.99), (0, -5, 2.6 - 0.15 * 5 / 0.99)]
)
def test_beyond_full_and_empty_the_voltage_runs_away(soc, amps, volts):
    pack = Pack(soc=soc, cells=1, load=amps)
    pack.settings |= {"cell_ovp": 9, "pack_ovp": 9, "cell_uvp": 0, "pack_uvp": 0}
    pack.advance(HOUR)
    pack.set_load("idle")
    pack.advance(HOUR)
    assert pack.truth().cell_voltages[0] == pytest.approx(volts, abs=0.003)


def test_cold_cells_are_stiffer():
    drops = []
    for ambient in (25, 0):
        idle, loaded = (Pack(soc=50, ambient=ambient, load=load).truth() for load in (0, -50))
        drops.append(idle.voltage - loaded.voltage)
    assert drops[1] == pytest.approx(drops[0] * 1.65, rel=0.03)


def test_an_idle_pack_loses_about_two_percent_a_month():
    pack = Pack(soc=80, cells=2, load="idle")
    pack.advance(30 * 86400)
    assert pack.truth().soc == pytest.approx(78, abs=0.1)


def test_current_warms_the_cells_and_the_mosfet_more():
    pack = Pack(soc=90, load=-100)
    before = pack.truth().temperatures
    pack.advance(1200)
    after = pack.truth().temperatures
    cells, mosfet = after["cell_1"] - before["cell_1"], after["mosfet"] - before["mosfet"]
    assert 0.5 < cells < mosfet < 40
    pack.set_load("idle")
    pack.advance(12 * HOUR)
    assert pack.truth().temperatures == before


def test_the_cells_follow_the_ambient_slowly():
    pack = Pack(load="idle")
    before = pack.truth().temperatures
    pack.set_ambient(-10)
    assert pack.truth().temperatures == before
    pack.advance(600)
    assert -10 < pack.truth().temperatures["cell_1"] < 24
    pack.advance(24 * HOUR)
    assert pack.truth().temperatures["cell_1"] == pytest.approx(-10, abs=0.5)


def test_discharged_amp_hours_are_counted_as_cycles():
    pack = Pack(capacity=10, soc=90, load=-4)
    before = pack.truth()
    pack.advance(HOUR)
    pack.set_load(4)
    pack.advance(HOUR)
    after = pack.truth()
    assert after.cycle_capacity - before.cycle_capacity == pytest.approx(4)
    assert before.cycles == int(before.cycle_capacity / 10)


@quick
@given(seed=st.integers(0, 2**70), soc=st.integers(0, 100), cells=st.integers(1, 48))
def test_every_pack_is_whole_and_says_the_soc_it_was_given(seed, soc, cells):
    reading = Pack(seed=seed, soc=soc, cells=cells, probes=4, load="idle").truth()
    assert reading.soc == pytest.approx(soc, abs=1e-6)
    assert len(reading.cell_voltages) == len(reading.cell_resistances or ()) == cells
    assert reading.voltage == pytest.approx(sum(v for v in reading.cell_voltages if v))
    assert list(reading.temperatures) == ["cell_1", "cell_2", "cell_3", "cell_4", "mosfet"]
    unknown = [key for key, value in reading.to_dict().items() if value is None]
    assert unknown == ["target", "name", "time"]


# -- time ----------------------------------------------------------------------------------------


def test_the_seed_decides_everything():
    def story(seed):
        pack = Pack(seed=seed)
        pack.advance(HOUR)
        return pack.truth()

    assert story(7) == story(7)
    assert story(7) != story(8)


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("name", part(CHEMISTRIES, 2))
def test_one_big_step_equals_many_small_ones(name):
    big, small = (Pack(chemistry=name, cells=4, soc=70) for _ in range(2))
    big.advance(8 * HOUR)  # through the taper at the top and into the evening
    for _ in range(8 * 60):
        small.advance(60)
    one, other = big.truth(), small.truth()
    assert one.soc == pytest.approx(other.soc, abs=0.3)
    assert one.voltage == pytest.approx(other.voltage, rel=2e-3)
    assert one.temperatures["cell_1"] == pytest.approx(other.temperatures["cell_1"], abs=0.2)
    assert one.uptime == other.uptime == 8 * HOUR


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize(
    ("name", "capacity"),
    part([("lfp", 1000), *((name, 100) for name in CHEMISTRIES), ("lfp", 5)], 2),
)
def test_days_of_sun_and_household_need_no_protection(name, capacity):
    pack = Pack(chemistry=name, capacity=capacity, cells=4)
    socs, currents = [], []
    for _ in range(3 * 8):
        pack.advance(3 * HOUR)
        reading = pack.truth()
        assert (reading.alarms, reading.protections, reading.faults) == ((), (), ())
        socs.append(reading.soc)
        currents.append(reading.current)
    assert min(currents) < 0 < max(currents)
    assert min(socs) > 8
    if capacity <= 100:
        assert max(socs) > 95


@pytest.mark.parametrize("seconds", [0, 60, 600])
def test_the_charger_foresees_where_its_current_leads(seconds):
    """At the end of the step the cells stand exactly at the voltage that was asked for."""
    cells = Cells(chemistry("nmc"), 4, 100, random.Random(1))
    cells.fill(82)
    cells.move(10, 300)
    target = sum(cells.voltages(0, 1)) + 0.15
    current = cells.current_to(target, seconds, 1.3)
    cells.move(current, seconds)
    assert sum(cells.voltages(current, 1.3)) == pytest.approx(target, abs=0.003)


@pytest.mark.slow
def test_the_longest_advance_is_stable():
    """Steps of 60 s at the steep top of the curve, where a naive charger would swing."""
    pack = Pack(chemistry="lfp", soc=99, cells=4)
    pack.advance(31 * 86400)
    reading = pack.truth()
    assert reading.protections == ()
    assert reading.cell_delta < 0.05


def test_the_day_is_a_function_of_time_alone():
    day = [daily_current(1, hour * HOUR, 100) for hour in range(24)]
    assert day == [daily_current(1, hour * HOUR, 100) for hour in range(24)]
    assert day != [daily_current(2, hour * HOUR, 100) for hour in range(24)]
    assert all(current > 0 for current in day[2:5])  # 11 to 13 o'clock
    assert all(current < 0 for current in day[10:20])  # 19 to 4 o'clock
    whole, half = (daily_current(1, 40_000, capacity) for capacity in (100, 50))
    assert whole == pytest.approx(2 * half)


def test_an_empty_pack_is_left_alone_by_the_daily_load():
    pack = Pack(soc=9, cells=2)
    pack.switch(Switch.CHARGE, False)  # the sun may not help
    pack.advance(3 * 86400)
    assert 7.5 < pack.truth().soc < 9
    assert pack.truth().discharging_allowed


# -- protections ---------------------------------------------------------------------------------

TRIPS = {
    "cell_ovp": ("CELL", 3.651, 3.41, 3.40),
    "cell_uvp": ("CELL", 2.499, 2.99, 3.00),
    "charge_otp": ("cell_1", 55, 50.1, 50),
    "charge_utp": ("cell_2", 0, 2.9, 3),
    "discharge_otp": ("cell_1", 60, 55.1, 55),
    "discharge_utp": ("cell_1", -20, -17.1, -17),
    "mosfet_otp": ("mosfet", 95, 75.1, 75),
}
"""Rule -> what is held, a value that trips, one that does not yet release, one that does."""


def hold(pack, what, value):
    if what == "CELL":
        pack.set_cell_voltage(3, value)
    else:
        pack.set_temperature(what, value)


def gates(pack):
    reading = pack.truth()
    return {Switch.CHARGE: reading.charging_allowed, Switch.DISCHARGE: reading.discharging_allowed}


@pytest.mark.parametrize("name", TRIPS)
def test_a_limit_trips_after_its_delay_and_releases_with_hysteresis(name):
    rule = next(rule for rule in RULES if rule.name == name)
    what, beyond, between, back = TRIPS[name]
    pack = Pack(load="idle")
    pack.settings[f"{name}_delay"] = 7.0
    hold(pack, what, beyond)
    pack.advance(6)
    assert rule.condition not in pack.truth().protections
    assert rule.condition in pack.truth().alarms
    pack.advance(1)
    reading = pack.truth()
    assert rule.condition in reading.protections
    assert rule.condition not in reading.alarms
    assert not any(gates(pack)[switch] for switch in rule.opens)
    hold(pack, what, between)
    pack.advance(60)
    assert rule.condition in pack.truth().protections
    hold(pack, what, back)
    pack.advance(1)
    assert rule.condition not in pack.truth().protections
    assert all(gates(pack)[switch] for switch in rule.opens)


@pytest.mark.parametrize(
    ("setting", "limit", "condition"),
    [
        ("pack_ovp", 50.0, Condition.PACK_OVERVOLTAGE),
        ("pack_uvp", 54.0, Condition.PACK_UNDERVOLTAGE),
    ],
)
def test_pack_limits_are_read_from_the_settings_as_they_are_now(setting, limit, condition):
    pack = Pack(soc=50, load="idle")
    pack.advance(10)
    assert pack.truth().protections == ()
    pack.settings[setting] = pack.settings[f"{setting}_release"] = limit
    pack.advance(10)
    assert pack.truth().protections == (condition,)


@pytest.mark.parametrize(
    ("amps", "condition", "delay", "release"),
    [
        (101, Condition.CHARGE_OVERCURRENT, 10, 32),
        (-151, Condition.DISCHARGE_OVERCURRENT, 10, 32),
        (-460, Condition.SHORT_CIRCUIT, 0.1, 60),
    ],
)
def test_overcurrent_is_cut_and_tried_again_later(amps, condition, delay, release):
    pack = Pack(soc=50, load=amps)
    assert pack.truth().current == amps
    pack.advance(delay)
    reading = pack.truth()
    assert reading.protections == (condition,)
    assert reading.current == 0
    pack.advance(release - 2)
    assert pack.truth().protections == (condition,)
    pack.advance(2)
    assert pack.truth().protections == ()
    assert pack.truth().current == amps


def test_a_pack_charged_without_mercy_stops_at_the_cell_limit():
    pack = Pack(soc=90, load=20)
    highest, seen = 0.0, set()
    for _ in range(60):
        pack.advance(120)
        reading = pack.truth()
        highest = max(highest, reading.max_cell_voltage)
        seen.update(reading.alarms, reading.protections)
    assert Condition.CELL_OVERVOLTAGE in seen
    assert highest < 3.72
    assert reading.soc == 100


def test_a_pack_drained_without_mercy_stops_at_the_cell_limit_and_can_be_charged():
    pack = Pack(soc=15, load=-30)
    pack.advance(2 * HOUR)
    reading = pack.truth()
    assert Condition.CELL_UNDERVOLTAGE in reading.protections
    assert Condition.SOC_LOW in reading.alarms
    assert (reading.current, reading.discharging_allowed, reading.charging_allowed) == (
        0,
        False,
        True,
    )
    assert reading.min_cell_voltage > 2.4
    pack.set_load(20)
    pack.advance(HOUR)
    assert pack.truth().discharging_allowed
    assert pack.truth().current == 20


def test_without_a_delay_the_current_is_cut_in_the_same_moment():
    pack = Pack(soc=50, load=101)
    pack.settings["charge_ocp_delay"] = 0
    reading = pack.truth()
    assert reading.protections == (Condition.CHARGE_OVERCURRENT,)
    assert (reading.current, reading.charging_allowed) == (0, False)


def test_frozen_cells_are_not_charged_but_give():
    pack = Pack(soc=50, ambient=-5, load=10)
    pack.advance(5)
    reading = pack.truth()
    assert reading.protections == (Condition.CHARGE_UNDERTEMPERATURE,)
    assert (reading.current, reading.charging_allowed) == (0, False)
    pack.set_load(-10)
    assert pack.truth().current == -10


def test_an_unknown_temperature_neither_trips_nor_releases():
    pack = Pack(load="idle")
    for name in ("cell_1", "cell_2"):
        pack.set_temperature(name, -10)
    pack.advance(5)
    for name in ("cell_1", "cell_2"):
        pack.break_probe(name)
    pack.advance(HOUR)
    reading = pack.truth()
    assert reading.protections == (Condition.CHARGE_UNDERTEMPERATURE,)
    assert reading.faults == (Condition.TEMPERATURE_SENSE,)
    assert reading.temperatures["cell_1"] is None


def test_a_pack_without_probes_only_knows_its_mosfet():
    pack = Pack(probes=0, ambient=-30, load=10)
    pack.advance(60)
    assert list(pack.truth().temperatures) == ["mosfet"]
    assert pack.truth().protections == ()


@pytest.mark.parametrize(
    ("switch", "amps"), [(Switch.CHARGE, 10), (Switch.DISCHARGE, -10)], ids=str
)
def test_a_switch_opens_its_fet_and_only_its_direction(switch, amps):
    pack = Pack(soc=50, load=amps)
    pack.switch(switch, False)
    reading = pack.truth()
    assert reading.current == 0
    assert gates(pack) == {each: each is not switch for each in gates(pack)}
    pack.set_load(-amps)
    assert pack.truth().current == -amps
    pack.switch(switch, True)
    assert all(gates(pack).values())


# -- balancing -----------------------------------------------------------------------------------


def test_balancing_brings_the_cells_together_over_hours():
    def spread_after(hours, on):
        pack = Pack(soc=98, cells=8, load="idle", seed=3)
        pack.settings["balance_start_voltage"] = 3.3
        pack.settings["balance_delta"] = 0.001
        pack.switch(Switch.BALANCE, on)
        pack.advance(hours * HOUR)
        return pack.truth().cell_delta

    assert spread_after(10, on=False) > 0.007
    assert spread_after(10, on=True) < 0.4 * spread_after(0, on=True)


def test_neighbours_take_turns():
    pack = Pack(load="idle")
    for number in (2, 3, 4, 9):
        pack.set_cell_voltage(number, 3.45)
    turns = []
    for _ in range(4):
        reading = pack.truth()
        assert reading.balancing_active
        assert reading.balance_current == 0.5
        turns.append(reading.balancing_cells)
        pack.advance(10)
    assert turns == [(3, 9), (2, 4)] * 2


def test_only_high_cells_above_the_start_voltage_bleed():
    pack = Pack(load="idle")
    assert pack.truth().balancing_cells == ()
    pack.set_cell_voltage(2, 3.399)
    assert pack.truth().balancing_cells == ()
    pack.set_cell_voltage(2, 3.4)
    assert pack.truth().balancing_cells == (2,)
    pack.switch(Switch.BALANCE, False)
    assert pack.truth().balancing_cells == ()
    pack.switch(Switch.BALANCE, True)
    for number in range(1, 17):
        pack.set_cell_voltage(number, 3.45 + 0.009 * (number == 5))
    assert pack.truth().balancing_cells == ()
    assert pack.truth().balance_current == 0


# -- hands on it ---------------------------------------------------------------------------------


def test_overrides_hold_until_they_are_taken_back():
    pack = Pack(load="idle")
    before = pack.truth()
    pack.set_cell_voltage(16, 0)
    pack.set_temperature("mosfet", 61.5)
    pack.break_probe("cell_2")
    reading = pack.truth()
    assert reading.cell_voltages[15] == 0
    assert reading.voltage == pytest.approx(sum(before.cell_voltages[:15]))
    assert (reading.temperatures["mosfet"], reading.temperatures["cell_2"]) == (61.5, None)
    assert Condition.CELL_DELTA in reading.alarms
    pack.set_cell_voltage(16, None)
    pack.set_temperature("mosfet", None)
    pack.set_temperature("cell_2", None)
    assert pack.truth() == before


def test_the_load_goes_back_to_how_the_pack_was_built():
    pack = Pack(load=-5)
    pack.set_load("idle")
    assert pack.truth().current == 0
    pack.set_load(None)
    assert pack.truth().current == -5


@pytest.mark.parametrize(("severity", "field"), [("alarm", "alarms"), ("fault", "faults")])
def test_a_raised_condition_stands_until_cleared(severity, field):
    pack = Pack(load="idle")
    pack.raise_condition(severity, Condition.EEPROM)
    pack.raise_condition(severity, Condition.AFE)
    assert getattr(pack.truth(), field) == (Condition.AFE, Condition.EEPROM)
    pack.advance(HOUR)
    pack.clear_condition(Condition.AFE)
    assert getattr(pack.truth(), field) == (Condition.EEPROM,)
    assert all(gates(pack).values())


def test_a_raised_protection_opens_what_the_real_one_opens():
    pack = Pack(load=10)
    pack.set_cell_voltage(1, 3.6)
    assert Condition.CELL_OVERVOLTAGE in pack.truth().alarms
    pack.raise_condition("protection", Condition.CELL_OVERVOLTAGE)
    reading = pack.truth()
    assert Condition.CELL_OVERVOLTAGE not in reading.alarms
    assert reading.protections == (Condition.CELL_OVERVOLTAGE,)
    assert gates(pack) == {Switch.CHARGE: False, Switch.DISCHARGE: True}
    assert reading.current == 0


def test_clearing_a_real_trip_resets_it_and_a_lasting_cause_trips_again():
    pack = Pack(load="idle")
    pack.set_cell_voltage(1, 3.7)
    pack.advance(2)
    pack.clear_condition(Condition.CELL_OVERVOLTAGE)
    assert Condition.CELL_OVERVOLTAGE not in pack.truth().protections
    pack.advance(2)
    assert Condition.CELL_OVERVOLTAGE in pack.truth().protections


def test_a_wrong_cell_count_setting_is_a_fault():
    pack = Pack(cells=15)
    pack.settings["cell_count"] = 16
    assert pack.truth().faults == (Condition.CELL_COUNT_MISMATCH,)


def test_probes_far_apart_are_an_alarm():
    pack = Pack(load="idle")
    pack.set_temperature("cell_1", 40)
    pack.set_temperature("cell_2", 25)
    assert pack.truth().alarms == (Condition.TEMPERATURE_DELTA,)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"chemistry": "lead"}, "known are: lfp"),
        ({"cells": 0}, "number of cells is 1 to 48, not 0"),
        ({"cells": 49}, "not 49"),
        ({"cells": 10**400}, "not 10000000"),
        ({"capacity": 0}, "capacity in Ah is 1 to 10000"),
        ({"capacity": float("nan")}, "not nan"),
        ({"soc": 100.1}, "not 100.1"),
        ({"soc": -1}, "charge in % is 0 to 100"),
        ({"ambient": float("inf")}, "not inf"),
        ({"probes": 17}, "0 to 16"),
        ({"load": "sun"}, "cycle, idle or up to ±1000 A"),
        ({"load": float("nan")}, "not 'nan'"),
        ({"load": -1001}, "not '-1001'"),
        ({"load": 10**400}, "not '1000000"),
    ],
)
def test_impossible_packs_are_refused_in_a_sentence(options, sentence):
    with pytest.raises(TargetError, match=sentence):
        Pack(**options)


@pytest.mark.parametrize(
    "act",
    [
        lambda pack: pack.advance(-1),
        lambda pack: pack.advance(float("inf")),
        lambda pack: pack.advance(32 * 86400),
        lambda pack: pack.set_cell_voltage(0, 3.3),
        lambda pack: pack.set_cell_voltage(17, None),
        lambda pack: pack.set_cell_voltage(1, float("nan")),
        lambda pack: pack.set_cell_voltage(1, -0.1),
        lambda pack: pack.set_temperature("cell_3", 20),
        lambda pack: pack.set_temperature("cell_1", 201),
        lambda pack: pack.break_probe("board"),
        lambda pack: pack.set_load("much"),
        lambda pack: pack.set_soc(101),
        lambda pack: pack.set_ambient(-51),
        lambda pack: pack.raise_condition("warning", Condition.AFE),
    ],
)
def test_impossible_wishes_are_refused_and_change_nothing(act):
    pack = Pack(load="idle")
    before = pack.truth()
    with pytest.raises(TargetError):
        act(pack)
    assert pack.truth() == before
