"""What was not read, not measured anew or not meant proves nothing to the control engine."""

from __future__ import annotations

import ast
import json
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

import bmslink.control.decide
from bmslink.control import Demand, Mode
from bmslink.control.backtest.logs import Log
from bmslink.control.check import check_settings
from bmslink.control.decide.catalogue import default_policies
from bmslink.control.decide.compile import ratings
from bmslink.control.decide.lasting.blind_time import blind_time
from bmslink.control.decide.limits import Effect, Reason, meet
from bmslink.control.decide.policy import OnMissing, Reset
from bmslink.control.decide.quantities import QUANTITIES
from bmslink.control.decide.rule import in_words
from bmslink.model import Condition
from bmslink.settings.chemistry import chemistry
from control_support import LFP, Run, against, healthy, holders, only, replace, text, verdicts, warm

UNREAD = replace(healthy(), conditions_known=False)


# --------------------------------------------------------------------------- unread conditions


def test_conditions_that_were_not_read_are_missing_and_not_absent():
    run = Run()
    decision = run(UNREAD, 3)
    assert decision.quality["conditions"] == "missing"
    assert decision.quality["state"] == "good"
    found = verdicts(decision)
    assert found["bms_charge_protection"] == found["bms_discharge_protection"] == "missing"
    assert decision.limits.ccl.value == 10
    assert decision.limits.dcl.value == 20
    assert "balance_conditions" in against(decision, "balance")


def test_a_protection_is_not_released_by_readings_that_do_not_tell():
    run = Run(only("bms_charge_protection"))
    run(replace(healthy(), protections=(Condition.CELL_OVERVOLTAGE,)), 3)
    assert run(UNREAD, 600).charge.demand == Demand.NO_ENABLE
    assert run(healthy(), 20).charge.demand == Demand.NO_ENABLE
    assert run(healthy(), 60).charge.demand == Demand.FREE


def test_what_other_values_show_counts_even_if_the_rest_was_not_read():
    run = Run(only("bms_charge_protection"))
    shown = replace(UNREAD, protections=(Condition.CELL_OVERVOLTAGE,))
    assert "bms_charge_protection" in holders(run(shown), "charge")


def test_an_open_fet_is_known_without_conditions():
    run = Run(only("bms_charge_fet"))
    assert run(replace(UNREAD, charging_allowed=False)).limits.ccl.value == 0


def test_unread_readings_do_not_end_a_short_circuit():
    run = Run(only("short_circuit_memory"))
    short = replace(healthy(), protections=(Condition.SHORT_CIRCUIT,))
    for reading in (short, UNREAD, UNREAD, UNREAD, short):
        assert run(reading).discharge.allowed
    run(healthy(), 3)
    assert not run(short).discharge.allowed


def test_a_line_of_a_log_without_conditions_does_not_say_that_there_are_none(tmp_path: Path):
    line = healthy().to_dict() | {"protocol": "jk", "time": "2026-01-01T00:00:00Z"}
    lines = [line, {k: v for k, v in line.items() if k != "protections"}]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert [e.reading.conditions_known for e in Log(path)] == [True, False]


def test_a_value_that_is_back_trips_in_the_same_cycle():
    run = Run(only("bms_charge_protection"))
    run(UNREAD, 5)
    told = run(replace(healthy(), protections=(Condition.CELL_OVERVOLTAGE,)))
    assert "bms_charge_protection" in holders(told, "charge")


# ------------------------------------------------------------------------------ silent probes


def test_a_probe_that_is_told_no_more_is_silent_and_releases_nothing():
    run = Run(only("charge_undertemperature", "silent_probe"))
    run(healthy(temperatures={"cell_1": 12.0, "cell_2": 4.0}), 3)
    run(healthy(temperatures={"cell_1": 12.0, "cell_2": 2.0}), 3)
    run(healthy(temperatures={"cell_1": 12.0, "cell_2": 0.0}), 15)
    assert not run.decision.charge.allowed
    gone = run(healthy(temperatures={"cell_1": 12.0}), 3600)
    assert not gone.charge.allowed
    assert verdicts(gone)["silent_probe"] == "tripped"


def test_names_without_end_are_not_all_remembered():
    run = Run(only("charge_undertemperature"))
    for number in range(1000):
        run(healthy(temperatures={f"cell_{number}": 20.0}))
    assert len(run.engine.sample.probes) <= 128


def test_a_probe_left_out_may_say_anything():
    """A probe that is not connected reads far outside what is possible."""
    battery = msgspec.structs.replace(LFP, sensors=("cell_1",))
    run = Run(msgspec.structs.replace(default_policies(LFP), battery=battery))
    decision = run(healthy(temperatures=warm(25.0, cell_2=-200.0)), 30)
    assert decision.quality["temperatures"] == "good"
    assert decision.limits.ccl.value == 50


def test_a_probe_that_one_policy_names_is_judged():
    battery = msgspec.structs.replace(LFP, sensors=("cell_1",))
    shipped = only("charge_overtemperature", sensors=("cell_2",))
    run = Run(msgspec.structs.replace(shipped, battery=battery))
    run(healthy(), 3)
    assert not run(healthy(temperatures=warm(25.0, cell_2=58.0)), 30).charge.allowed


# ------------------------------------------------------------------------ the same once more


def test_the_same_measurement_said_twice_is_one():
    run = Run(only("cell_overvoltage"), poll=1.0)
    run(healthy(), 3)
    high = replace(healthy(cells={3: 3.71}), uptime=run.uptime + 1)
    run.now += 1
    for later in (0.0, 0.0, 0.1, 0.3):
        assert run.engine.step(high, run.now + later).charge.allowed
    assert not run.engine.step(high, run.now + 0.6).charge.allowed


def test_a_new_condition_beside_the_same_measurement_counts():
    run = Run(only("bms_charge_protection"))
    reading = replace(healthy(), uptime=5.0)
    assert holders(run.engine.step(reading, 1.0), "charge") == {"no_data"}
    told = replace(reading, protections=(Condition.CELL_OVERVOLTAGE,))
    assert "bms_charge_protection" in holders(run.engine.step(told, 1.05), "charge")


def test_a_bound_beyond_the_threshold_begins_the_release_again():
    run = Run(only("cell_overvoltage"))
    run(healthy(3.71), 3)
    run(healthy(3.38), 55)
    run(healthy(3.38, cells={1: 3.71, 2: None}), 1)
    assert not run(healthy(3.38), 30).charge.allowed
    assert run(healthy(3.38), 40).charge.allowed


def test_a_release_does_not_go_on_while_nothing_is_heard():
    run = Run(only("cell_overvoltage"))
    run(healthy(3.71), 3)
    run(healthy(3.38), 10)
    run.silence(300)
    assert not run(healthy(3.38), 50).charge.allowed
    assert run(healthy(3.38), 20).charge.allowed


def test_outside_its_region_a_cell_delta_is_no_reason_any_more():
    run = Run(only("cell_delta_top"))
    apart = {"cells": {3: 3.56}}
    run(healthy(3.42, **apart, current=20.0), 70)
    assert verdicts(run.decision)["cell_delta_top"] == "tripped"
    run(healthy(3.42, **apart, current=-20.0), 70)
    assert verdicts(run.decision) == {}


def test_what_is_missing_for_long_begins_the_release_again():
    run = Run(only("cell_overvoltage"))
    run(healthy(3.71), 3)
    run(healthy(3.38), 50)
    run(replace(healthy(3.38), cell_voltages=()), 10)
    assert not run(healthy(3.38), 40).charge.allowed
    assert run(healthy(3.38), 25).charge.allowed


def test_an_emergency_waits_for_a_person_whatever_the_file_says():
    run = Run(only("cell_overvoltage_critical", reset=Reset.AUTO))
    run(healthy(3.76), 3)
    assert not run(healthy(3.3), 3600).charge.allowed


def test_a_probe_that_was_there_before_the_restart_is_missing_after_it():
    run = Run(only("mosfet_overtemperature"))
    run(healthy(), 3)
    again = Run(only("mosfet_overtemperature"))
    again.engine.load(json.loads(json.dumps(run.engine.save())), 0.0)
    again.now = 0.0
    gone = again(healthy(temperatures=warm(25.0, mosfet=None)), 10)
    assert verdicts(gone) == {"mosfet_overtemperature": "missing"}
    assert verdicts(Run(only("mosfet_overtemperature"))(healthy(temperatures={}), 10)) == {}


def test_a_reset_forgets_the_trips_that_locked_it_out():
    run = Run(only("cell_overvoltage"))
    for _ in range(4):
        run(healthy(3.71), 2)
        run(healthy(3.38), 70)
    run.engine.reset("cell_overvoltage")
    run(healthy(3.38), 5)
    run(healthy(3.71), 2)
    assert run.happened("cell_overvoltage")[-2:] == ["release", "trip"]


def test_currents_rise_by_five_amperes_a_second_and_no_faster():
    run = Run()
    run(healthy(3.71), 3)
    told = [run(healthy(3.38)).limits.ccl.value for _ in range(150)]
    assert max(b - a for a, b in pairwise(told)) == 5.0
    assert told[-1] == 50


def test_a_temperature_that_jumps_is_suspect_and_one_that_moves_is_not():
    run = Run()
    run(healthy(), 3)
    assert run(healthy(temperatures=warm(22.9))).quality["temperatures"] == "suspect"
    run(healthy(), 3)
    assert run(healthy(temperatures=warm(23.1))).quality["temperatures"] == "good"


def test_a_running_time_that_stands_still_at_rest_is_frozen():
    run = Run()
    still = healthy(uptime=5.0)
    assert run(still, 149).quality["state"] == "good"
    assert run(still, 5).quality["state"] == "frozen"


def test_the_charge_voltage_waits_a_minute_and_rises_by_a_millivolt_per_cell():
    run = Run(only("cell_overvoltage"))
    run(healthy(3.5), 3)
    run(healthy(3.71, voltage=55.0), 3)
    told = [run(healthy(3.38, voltage=55.0)).limits.cvl.value for _ in range(250)]
    first = next(n for n, (a, b) in enumerate(pairwise(told)) if b > a)
    released = run.events[-1]
    assert released.what == "release"
    assert first >= 60 + 30 + 60 - 2  # released; the current may rise; held
    assert max(b - a for a, b in pairwise(told)) == pytest.approx(0.016)


def test_suspect_values_move_no_charge_voltage():
    run = Run(only("cell_overvoltage", "cell_overvoltage_derate"))
    run(healthy(), 3)
    assert run(healthy(cells={1: 4.9}, voltage=52.8)).limits.cvl.value == 55.2
    run(healthy(3.71), 3)
    assert run(healthy(3.71, voltage=0.0)).limits.cvl.value > 50


def test_old_data_permit_no_balancing():
    run = Run(only("cell_overvoltage"))
    assert run(healthy(), 3).balance.allowed
    run.silence(5)
    assert against(run.decision, "balance") == {"no_data"}


def test_limits_are_never_rounded_up():
    battery = msgspec.structs.replace(LFP, charge_current=33.3336)
    run = Run(msgspec.structs.replace(only("cell_overvoltage"), battery=battery))
    assert run(healthy(), 3).limits.ccl.value == 33.333


@pytest.mark.parametrize(("error", "state"), [(0.5, None), (0.6, "tripped")])
def test_cells_and_pack_voltage_may_differ_by_one_percent(error: float, state: str | None):
    run = Run(only("cell_sum"))
    assert verdicts(run(healthy(voltage=52.8 + error), 20)).get("cell_sum") == state


def test_the_highest_discharge_voltage_wins():
    told = [Effect("dvl", Reason(str(volts), volts, "")) for volts in (48.0, 50.0, 44.0)]
    assert meet(told, "dvl")[0].value == 50.0


def test_a_gap_cools_no_more_than_a_moment():
    run = Run(only("discharge_heat"))
    run(healthy(current=-190.0), 400)
    hot = run.engine.rules[0][1].value
    run.silence(1000)
    run(healthy())
    assert run.engine.rules[0][1].value > 0.95 * hot


def test_a_probe_that_speaks_again_is_no_rise():
    run = Run(only("temperature_rise"))
    run(healthy(temperatures=warm(25.0, cell_2=35.0)), 200)
    run(healthy(temperatures=warm(25.0, cell_2=None)), 190)
    run(healthy(temperatures=warm(25.0, cell_2=35.0)), 300)
    assert run.happened("temperature_rise").count("latch") == 0


def test_half_of_the_time_that_is_left_may_go_unseen():
    run = Run()
    limits = run(healthy(soc=40.0), 100).limits
    sample, plan = run.engine.sample, run.engine.plan
    down = min(40.0, chemistry("lfp").soc_at(3.3)) / 100 * 100 / limits.dcl.value
    assert blind_time(plan, sample, limits).discharge == pytest.approx(0.5 * down * 3600)


@pytest.mark.parametrize("condition", Condition)
def test_a_condition_of_one_direction_leaves_the_other_alone(condition: Condition):
    run = Run(only("bms_charge_protection", "bms_discharge_protection"))
    run(healthy(), 3)
    decision = run(replace(healthy(), protections=(condition,)))
    held = {way: bool(holders(decision, way)) for way in ("charge", "discharge")}
    if condition.startswith("charge_") or condition.endswith("_overvoltage"):
        assert (held["charge"], held["discharge"]) == (True, False)
    if condition.startswith("discharge_") or condition.endswith("_undervoltage"):
        assert (held["charge"], held["discharge"]) == (False, True)


def test_half_of_the_cells_do_not_run_away():
    run = Run(only("runaway_cell"))
    for second in range(400):
        high = round(3.5 + second / 4000, 4)
        run(healthy(3.3, cells=dict.fromkeys(range(1, 9), high)))
    assert run.events == []


@pytest.mark.parametrize(("amps", "quality"), [(1.9, "good"), (2.1, "suspect")])
def test_only_a_current_near_zero_needs_no_sign(amps: float, quality: str):
    decision = Run()(healthy(current=amps, raw={"current_sign": "assumed"}))
    assert decision.quality["current"] == quality


def test_bits_beside_broken_values_prove_nothing():
    run = Run(only("bms_charge_protection"))
    run(healthy(), 3)
    broken = healthy(cells={1: 9.9}, protections=(Condition.CELL_OVERVOLTAGE,))
    assert run(broken).charge.allowed
    assert run(healthy()).charge.allowed
    assert run.events == []


def test_frozen_data_cool_nothing_down():
    run = Run(only("discharge_heat"))
    run(healthy(current=-190.0), 400)
    frozen = replace(healthy(current=-5.0), uptime=1.0)
    assert not run(frozen, 900).discharge.allowed
    assert run(healthy(current=-5.0), 300).discharge.allowed


def test_a_value_of_two_fields_is_worth_no_more_than_the_worse_of_them():
    run = Run(only("cell_sum"))
    run(healthy(), 3)
    run(healthy(voltage=0.0), 8)
    assert verdicts(run.decision)["cell_sum"] == "missing"


# ----------------------------------------------------------------------------------- the rest


def test_the_trips_of_a_lockout_survive_a_restart():
    run = Run(only("cell_overvoltage"))
    for _ in range(3):
        run(healthy(3.71), 2)
        run(healthy(3.38), 70)
    assert run.decision.charge.allowed
    again = Run(only("cell_overvoltage"))
    again.engine.load(json.loads(json.dumps(run.engine.save())), 0.0)
    again.now = 0.0
    again(healthy(3.38), 5)
    again(healthy(3.71), 2)
    assert again.happened("cell_overvoltage") == ["latch"]


def test_a_short_circuit_that_took_the_supply_of_the_host_is_remembered():
    run = Run(only("short_circuit_memory"))
    run(replace(healthy(), protections=(Condition.SHORT_CIRCUIT,)))
    again = Run(only("short_circuit_memory"))
    again.engine.load(json.loads(json.dumps(run.engine.save())), 0.0)
    again.now = 0.0
    again(healthy(), 3)
    assert not again(replace(healthy(), protections=(Condition.SHORT_CIRCUIT,))).discharge.allowed


def test_a_broken_current_does_not_hide_that_it_heats_up():
    run = Run(only("temperature_rise"))
    for second in range(400):
        broken = 1e5 if second % 20 == 0 else 0.0
        run(healthy(temperatures=warm(round(25 + second / 20, 2)), current=broken))
    assert not run.decision.charge.allowed


def test_settings_beyond_all_numbers_are_no_settings():
    settings = {"cell_count": float("inf"), "cell_ovp": float("-inf"), "charge_utp": float("nan")}
    assert check_settings(settings, default_policies(LFP)) == []


@pytest.mark.parametrize("sink", [False, True])
def test_a_derate_that_is_a_trip_does_not_toggle_all_night(sink: bool):
    run = Run(only("soc_ceiling", mode=Mode.SHADOW), sink=sink)
    for _ in range(8):
        run(healthy(soc=92.0), 40)
        run(healthy(soc=80.0), 70)
    assert run(healthy(soc=80.0), 3600).charge.allowed is sink
    assert run.changes["charge"] == (0 if sink else 7)
    assert (run.decision.limits.ccl.value > 0) is sink


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.OFF])
def test_what_a_person_stops_is_stopped_whatever_the_mode(mode: Mode):
    run = Run(only("emergency_stop", mode=mode), acting=(Mode.ENFORCE,))
    assert run(healthy()).charge.allowed
    run.engine.emergency_stop("smoke")
    decision = run(healthy())
    assert not (decision.charge.allowed or decision.discharge.allowed or decision.balance.allowed)


def test_the_order_of_probes_changes_no_byte():
    told = {"cell_1": 61.0, "cell_2": 61.0, "mosfet": 30.0}
    texts = set()
    for names in (told, dict(reversed(told.items()))):
        run = Run()
        texts.add(text(run(healthy(temperatures=names), 30)))
    assert len(texts) == 1


def test_a_negative_setting_of_the_bms_is_a_size():
    """Some boards store the limit of the discharge current as a negative number."""
    found = ratings(LFP, {"discharge_ocp": -80.0, "charge_ocp": 0.0})
    assert (found[0].amps, found[1].amps) == (50.0, 72.0)


def test_no_negative_zero_in_words():
    assert in_words(QUANTITIES["min_temperature"], -0.04) == "0.0 °C"


def test_ignoring_what_is_missing_needs_a_reason_that_stands_with_the_policy():
    rows = default_policies(LFP).policies.values()
    for row in rows:
        if row.acts and row.on_missing.rule == "ignore":
            assert row.on_missing.reason, row.name
    assert default_policies(LFP).policies["bms_charge_protection"].on_missing == OnMissing()


DECIDE = Path(bmslink.control.decide.__file__).parent
PURE = sorted(
    ".".join(path.relative_to(DECIDE).with_suffix("").parts) for path in DECIDE.rglob("*.py")
)
HARMLESS = {"hashlib", "__future__", "bisect", "collections", "enum", "itertools", "math",
            "msgspec", "operator", "re", "statistics", "types", "typing"}  # fmt: skip


@pytest.mark.parametrize("module", PURE)
def test_the_engine_has_no_clock_no_chance_and_no_outside(module: str):
    path = DECIDE.joinpath(*module.split(".")).with_suffix(".py")
    known = {f"bmslink.control.decide.{name}" for name in PURE}
    known |= {
        "bmslink.analysis",
        "bmslink.settings.bands",
        "bmslink.settings.chemistry",
        "bmslink.errors",
        "bmslink.model",
    }
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= HARMLESS
        elif isinstance(node, ast.ImportFrom):
            assert node.module in known or str(node.module).partition(".")[0] in HARMLESS
        elif isinstance(node, ast.Name):
            assert node.id not in {"open", "print", "input", "__import__", "exec", "eval"}
