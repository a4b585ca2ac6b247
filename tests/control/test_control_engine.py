"""The control engine on readings that people would worry about."""

from __future__ import annotations

import io
import json

import pytest

from bmslink.control import Demand, Mode, Severity
from bmslink.control.decide.catalogue import CATALOGUE, default_policies
from bmslink.control.decide.compile import compile_policies
from bmslink.control.sinks import JsonLines
from bmslink.errors import GateError, TargetError
from bmslink.model import Condition
from control_support import ALL, LFP, Run, against, healthy, only, replace, text, verdicts, warm


def test_a_healthy_pack_may_do_what_it_is_rated_for():
    decision = Run()(healthy(), 120)
    assert decision.charge.allowed
    assert decision.discharge.allowed
    assert decision.limits.ccl.value == 50
    assert decision.limits.dcl.value == 100
    assert decision.limits.cvl.value == 55.2
    assert decision.limits.dvl.value == 48.0
    assert not decision.reread
    assert set(verdicts(decision)) <= {
        "balance_voltage", "balance_delta", "charge_cold_derate", "charge_hot_derate"
    }  # fmt: skip


def test_shipped_policies_only_watch():
    run = Run(acting=(Mode.ENFORCE,))
    decision = run(healthy(3.7), 10)
    assert decision.charge.allowed
    assert decision.limits.ccl.value == 50
    assert verdicts(decision)["cell_overvoltage"] == "tripped"


def test_two_samples_trip_and_the_second_one_acts_at_once():
    run = Run()
    run(healthy(3.3), 5)
    first = run(healthy(3.3, cells={7: 3.71}))
    assert first.charge.allowed
    assert first.reread
    second = run(healthy(3.3, cells={7: 3.71}))
    assert not second.charge.allowed
    assert second.limits.ccl.value == 0
    assert second.discharge.allowed
    reason = next(r for r in second.charge.reasons if r.policy == "cell_overvoltage")
    assert reason.text == "highest cell (cell 7) 3.710 V, at or above 3.700 V for 1.0 s"


def test_release_needs_time_and_recovery_is_slow():
    run = Run()
    run(healthy(3.71), 3)
    assert run(healthy(3.38), 58).charge.allowed is False
    back = run(healthy(3.38), 4)
    assert back.charge.allowed
    assert back.limits.ccl.value == 0
    assert back.limits.ccl.reasons[0].policy == "recovery"
    assert run(healthy(3.38), 24).limits.ccl.value == 0
    rising = run(healthy(3.38), 8).limits.ccl.value
    assert 0 < rising <= 5 * 8
    assert run(healthy(3.38), 20).limits.ccl.value == 50


def test_between_release_and_trip_nothing_changes():
    run = Run()
    assert run(healthy(3.64), 300).charge.allowed
    run(healthy(3.71), 3)
    assert not run(healthy(3.64), 3600).charge.allowed
    assert run.happened("cell_overvoltage") == ["trip"]


def test_the_fourth_trip_within_a_quarter_of_an_hour_stays():
    run = Run(only("cell_overvoltage"))
    for _ in range(4):
        run(healthy(3.71), 2)
        run(healthy(3.38), 70)
    assert run.happened("cell_overvoltage") == ["trip", "release"] * 3 + ["latch"]
    assert not run(healthy(3.38), 7200).charge.allowed
    run.engine.reset("cell_overvoltage")
    assert run(healthy(3.38), 2).charge.allowed


def test_trips_that_lie_far_apart_do_not_add_up():
    """D12: a counter over the whole life stopped a peer for good."""
    run = Run(only("cell_overvoltage"))
    for _ in range(12):
        run(healthy(3.71), 2)
        run(healthy(3.38), 400)
    assert set(run.happened("cell_overvoltage")) == {"trip", "release"}


@pytest.mark.slow
def test_a_latched_policy_waits_for_its_cause_and_for_a_person():
    run = Run()
    run(healthy(3.76), 3)
    assert verdicts(run.decision)["cell_overvoltage_critical"] == "latched"
    assert run.decision.charge.emergency
    with pytest.raises(GateError, match="while its cause lasts"):
        run.engine.reset("cell_overvoltage_critical")
    assert not run(healthy(3.35), 7200).charge.allowed
    run.engine.reset("cell_overvoltage_critical")
    assert run(healthy(3.35), 120).charge.allowed
    with pytest.raises(GateError, match="not latched"):
        run.engine.reset("cell_overvoltage_critical")
    with pytest.raises(GateError, match="no policy"):
        run.engine.reset("nonsense")


@pytest.mark.slow
def test_latches_survive_a_restart():
    run = Run()
    run(healthy(3.76), 3)
    saved = run.engine.save()
    again = Run()
    again.engine.load(saved, 0.0)
    again.now = 0.0
    decision = again(healthy(3.35), 7200)
    assert not decision.charge.allowed
    assert verdicts(decision)["cell_overvoltage_critical"] == "latched"
    with pytest.raises(TargetError, match="damaged"):
        again.engine.load({"tripped": 3}, 0.0)


def test_sag_under_load_is_not_empty_yet():
    run = Run(only("cell_undervoltage"))
    run(healthy(3.2), 3)
    sagging = healthy(2.65, current=-80.0)
    assert run(sagging, 8).discharge.allowed
    assert not run(sagging, 4).discharge.allowed
    assert run.decision.charge.allowed
    run = Run(only("cell_undervoltage"))
    run(healthy(2.8), 3)
    assert not run(healthy(2.65), 2).discharge.allowed


def test_deep_discharge_is_charged_gently_and_dead_cells_not_at_all():
    run = Run()
    low = run(healthy(2.3), 120)
    assert low.charge.allowed
    assert low.limits.ccl.value == pytest.approx(2.0)
    assert not low.discharge.allowed
    dead = Run()(healthy(1.9), 120)
    assert not dead.charge.allowed
    assert dead.limits.ccl.value == 0


@pytest.mark.parametrize(
    ("celsius", "charge", "discharge"),
    [(-21.0, False, False), (-5.0, False, True), (2.0, True, True), (25.0, True, True),
     (56.0, False, True), (61.0, False, False)],
)  # fmt: skip
def test_temperature_windows(celsius: float, charge: bool, discharge: bool):
    decision = Run()(healthy(temperatures=warm(celsius)), 60)
    assert (decision.charge.allowed, decision.discharge.allowed) == (charge, discharge)
    assert (decision.limits.ccl.value > 0) == charge
    assert (decision.limits.dcl.value > 0) == discharge


def test_current_falls_in_the_cold_and_load_in_the_heat():
    assert Run()(healthy(temperatures=warm(7.5)), 60).limits.ccl.value == pytest.approx(15)
    assert Run()(healthy(temperatures=warm(52.5)), 60).limits.dcl.value == pytest.approx(75)
    hot = healthy(temperatures=warm(25, mosfet=80.0))
    assert Run()(hot, 60).limits.dcl.value == pytest.approx(62.5)


def test_the_coldest_and_the_hottest_probe_count():
    decision = Run()(healthy(temperatures={"cell_1": 25.0, "cell_2": -3.0}), 60)
    assert not decision.charge.allowed
    assert "coldest cell probe (cell_2) -3.0 °C" in text(decision)


def test_a_silent_probe_is_named():
    run = Run()
    run(healthy(temperatures=warm(25.0, cell_3=None)), 70)
    (told,) = [event for event in run.events if event.policy == "silent_probe"]
    assert told.text == "silent probes: cell_3"


def test_what_was_counted_is_released_in_words():
    run = Run()
    run(healthy(charging_allowed=False), 5)
    run(healthy(), 5)
    told = [e.text for e in run.events if e.policy == "bms_charge_fet" and e.what == "release"]
    assert told == ["charge MOSFETs open: no longer"]


def test_a_bad_probe_can_be_left_out_by_name():
    bad = healthy(temperatures={"cell_1": 25.0, "cell_2": -20.0, "cell_3": None})
    policies = default_policies(LFP)
    assert not Run(policies)(bad, 60).charge.allowed
    import msgspec

    battery = msgspec.structs.replace(LFP, sensors=("cell_1",))
    assert Run(msgspec.structs.replace(policies, battery=battery))(bad, 60).limits.ccl.value == 50


@pytest.mark.parametrize(("share", "seconds"), [(1.10, 300), (1.25, 10), (1.6, 1)])
@pytest.mark.parametrize("way", [1, -1])
def test_overcurrent_in_definite_time(share: float, seconds: float, way: int):
    policies = only(
        *(f"{w}_overcurrent{k}" for w in ("charge", "discharge") for k in ("", "_fast", "_instant"))
    )
    run = Run(policies)
    rated = 50 if way > 0 else 100
    reading = healthy(current=way * share * rated)
    run(reading, seconds - 1)
    assert (run.decision.charge.allowed, run.decision.discharge.allowed) == (True, True)
    decision = run(reading, 3)
    assert (decision.charge.allowed, decision.discharge.allowed) == (way < 0, way > 0)


def test_heat_of_the_current_path_trips_before_long_and_forgets_slowly():
    run = Run(only("discharge_heat"))
    run(healthy(current=-160.0), 40)
    assert run.decision.discharge.allowed
    run(healthy(current=-160.0), 40)
    assert not run.decision.discharge.allowed
    assert not run(healthy(), 60).discharge.allowed
    assert run(healthy(), 60).discharge.allowed


@pytest.mark.slow
def test_the_rated_current_can_flow_for_ever():
    run = Run()
    decision = run(healthy(current=-100.0), 7200)
    assert decision.discharge.allowed
    assert decision.limits.dcl.value > 90
    assert not {e.policy for e in run.events if e.what in ("trip", "latch")} & {
        "discharge_heat", "discharge_overcurrent", "discharge_overcurrent_warning"
    }  # fmt: skip


def test_a_current_whose_sign_is_assumed_trips_both_and_releases_neither():
    run = Run(only("charge_overcurrent_instant", "discharge_overcurrent_instant"))
    run(healthy(), 3)
    run(healthy(current=170.0, raw={"current_sign": "assumed"}), 10)
    assert not run.decision.charge.allowed
    assert not run.decision.discharge.allowed
    small = healthy(current=30.0, raw={"current_sign": "assumed"})
    assert not run(small, 3600).charge.allowed
    assert run(healthy(current=0.3, raw={"current_sign": "assumed"}), 120).charge.allowed


def test_short_circuits_are_remembered():
    run = Run()
    shorted = healthy(protections=(Condition.SHORT_CIRCUIT,))
    run(shorted, 20)
    run(healthy(), 120)
    assert run.decision.discharge.allowed
    run(shorted, 5)
    run(healthy(), 1200)
    assert against(run.decision, "discharge") == {"short_circuit_memory"}
    assert run.decision.discharge.emergency


def test_one_short_circuit_that_a_lost_frame_hides_is_one():
    run = Run()
    shorted = healthy(protections=(Condition.SHORT_CIRCUIT,))
    for _ in range(10):
        run(shorted, 3)
        run(healthy())
    run(healthy(), 600)
    assert run.decision.discharge.allowed


@pytest.mark.parametrize(
    ("condition", "charge", "discharge"),
    [(Condition.CELL_OVERVOLTAGE, False, True), (Condition.CELL_UNDERVOLTAGE, True, False),
     (Condition.AFE, False, False), (Condition.FULLY_CHARGED, True, True),
     (Condition.SOFTWARE_LOCK, True, True)],
)  # fmt: skip
def test_bms_protections_are_mirrored_at_once(condition: Condition, charge: bool, discharge: bool):
    run = Run()
    run(healthy(), 10)
    decision = run(healthy(protections=(condition,)))
    assert (decision.limits.ccl.value > 0, decision.limits.dcl.value > 0) == (charge, discharge)
    for permit, free in ((decision.charge, charge), (decision.discharge, discharge)):
        assert permit.demand == (Demand.FREE if free else Demand.NO_ENABLE)
        assert permit.allowed
    if not charge:
        assert str(condition) in text(decision)


def test_an_open_fet_takes_the_limit_and_holds_nothing_open():
    """A pack whose FET is open must not be counted on, nor must our own trip hold itself."""
    run = Run()
    decision = run(healthy(charging_allowed=False), 3)
    assert decision.limits.ccl.value == 0
    assert decision.limits.dcl.value == 100
    assert decision.charge.allowed


def test_the_bms_did_not_trip():
    settings = {"cell_ovp": 3.65, "cell_ovp_delay": 2.0}
    run = Run(settings=settings)
    charging = healthy(3.68, current=20.0)
    run(charging, 6)
    assert "bms_did_not_trip_overvoltage" not in verdicts(run.decision)
    run(charging, 3)
    assert verdicts(run.decision)["bms_did_not_trip_overvoltage"] == "latched"
    run = Run(settings=settings)
    run(replace(charging, charging_allowed=False), 30)
    assert "bms_did_not_trip_overvoltage" not in verdicts(run.decision)


def test_thresholds_stay_inside_the_settings_of_the_bms():
    plan = compile_policies(default_policies(LFP), {"cell_ovp": 3.55, "cell_uvp": 2.8}, acting=ALL)
    rules = {rule.name: rule for rule in plan.rules}
    assert rules["cell_overvoltage"].trip == pytest.approx(3.52)
    assert rules["cell_overvoltage"].basis == "0.030 V inside the BMS's cell_ovp"
    assert rules["cell_undervoltage"].trip == pytest.approx(-2.85)
    assert plan.not_applicable["bms_did_not_trip_charge_hot"].endswith("charge_otp is not known")
    wide = compile_policies(default_policies(LFP), {"cell_ovp": 3.9}, acting=ALL)
    assert {r.name: r.trip for r in wide.rules}["cell_overvoltage"] == 3.7


def test_a_low_bms_setting_keeps_a_hysteresis():
    plan = compile_policies(default_policies(LFP), {"cell_ovp": 3.41}, acting=ALL)
    rule = next(r for r in plan.rules if r.name == "cell_overvoltage")
    assert rule.release <= rule.trip - 0.02 + 1e-9


def test_a_cell_that_runs_away():
    run = Run(only("runaway_cell"))
    for step in range(400):
        run(healthy(3.33, cells={3: round(3.34 + 0.0005 * step, 4)}))
    assert verdicts(run.decision)["runaway_cell"] == "tripped"
    assert run.decision.limits.ccl.value == 5
    run = Run(only("runaway_cell"))
    run(healthy(3.33, cells={3: 3.5}), 600)  # high, but not rising
    assert verdicts(run.decision) == {}


def test_cell_delta_depends_on_where_the_pack_is():
    names = [n for n in CATALOGUE["lfp"] if n.startswith("cell_delta")]
    top = healthy(3.44, current=20.0, cells={2: 3.36})
    assert "cell_delta_top_warning" in verdicts(Run(only(*names))(top, 90))
    load = healthy(3.25, current=-40.0, cells={2: 3.17})
    assert verdicts(Run(only(*names))(load, 90)) == {}
    rest = healthy(3.30, cells={2: 3.27})
    assert verdicts(Run(only(*names))(rest, 300)) == {}
    assert "cell_delta_rest_warning" in verdicts(Run(only(*names))(rest, 700))


def test_heating_up_without_a_load():
    run = Run(only("temperature_rise"))
    for step in range(300):
        run(healthy(temperatures=warm(25 + step * 3 / 60)))
    assert verdicts(run.decision)["temperature_rise"] == "latched"
    run = Run(only("temperature_rise"))
    for step in range(300):
        run(healthy(temperatures=warm(25 + step * 1 / 60)))
    assert verdicts(run.decision) == {}


def test_full_for_a_day_goes_to_float():
    run = Run(only("high_soc_dwell"), poll=60.0)
    full = healthy(3.42, soc=100.0)
    assert run(full, 86000).limits.cvl.value == 55.2
    assert run(full, 600).limits.cvl.value == pytest.approx(53.6)


def test_the_charge_voltage_follows_the_highest_cell():
    run = Run(only("cell_overvoltage_derate"), sink=True)
    high = healthy(3.42, current=10.0, cells={5: 3.52})
    before = run(high, 3).limits.cvl.value
    after = run(high, 20).limits.cvl.value
    assert after < before
    assert after >= 53.6
    assert "brought back to 3.450 V" in run.decision.limits.cvl.reasons[0].text


def test_without_a_sink_a_derate_at_zero_is_a_trip():
    policies = only("soc_ceiling", mode=Mode.SHADOW)
    full = healthy(3.45, current=5.0, soc=92.0)
    assert Run(policies, sink=True)(full, 40).charge.allowed
    without = Run(policies)
    assert not without(full, 40).charge.allowed
    assert not without(healthy(soc=88.0), 300).charge.allowed  # not before its release
    assert without(healthy(soc=84.0), 62).charge.allowed


def test_emergency_stop():
    run = Run()
    run(healthy(), 3)
    run.engine.emergency_stop("smoke, says Ana")
    decision = run(healthy())
    assert not decision.charge.allowed
    assert not decision.discharge.allowed
    assert not decision.balance.allowed
    assert "smoke, says Ana" in text(decision)
    with pytest.raises(GateError):
        run.engine.reset("emergency_stop")
    run.engine.release_stop()
    assert not run(healthy(), 3600).discharge.allowed
    run.engine.reset("emergency_stop")
    assert run(healthy(), 2).discharge.allowed


def test_balancing_is_permitted_only_where_it_helps():
    good = healthy(3.44, current=10.0, cells={4: 3.46})
    assert Run()(good, 90).balance.allowed
    for bad in (
        healthy(3.30, cells={4: 3.32}),
        healthy(3.44, current=-10.0, cells={4: 3.46}),
        replace(good, current=30.0),
        replace(good, temperatures=warm(2.0)),
        replace(good, temperatures=warm(25, balancer=75.0)),
        replace(good, alarms=(Condition.VOLTAGE_SENSE,)),
        healthy(3.44, current=10.0),
        replace(good, cell_voltages=()),
    ):
        assert not Run()(bad, 90).balance.allowed


def test_soc_limits_are_off_until_they_are_asked_for():
    assert Run()(healthy(soc=3.0), 120).discharge.allowed
    run = Run(only("soc_floor", mode=Mode.ENFORCE))
    assert not run(healthy(soc=3.0), 120).discharge.allowed


# ------------------------------------------------------------------------------ time and silence


def test_silence_lowers_in_stages_and_old_alarms_stay():
    """D9: a peer cleared the alarms and kept the limits when the BMS fell silent."""
    run = Run()
    alarmed = healthy(3.3, temperatures=warm(-5.0))
    run(alarmed, 60)
    assert against(run.decision, "charge") >= {"charge_undertemperature"}
    before = run.decision
    run.silence(3)
    assert run.decision.stale is False
    assert run.silence(3).stale
    assert run.decision.limits.dcl.value == before.limits.dcl.value
    assert run.silence(8).limits.dcl.value == pytest.approx(0.3 * before.limits.dcl.value)
    assert run.decision.limits.cvl.value <= 53.6
    run.silence(1800)
    assert run.decision.limits.dcl.value == 0
    assert run.decision.discharge.demand == Demand.ZERO
    assert "charge_undertemperature" in against(run.decision, "charge")
    assert set(verdicts(before)) <= set(verdicts(run.decision))


def test_near_full_ten_seconds_of_silence_are_the_most():
    run = Run()
    run(healthy(3.39, current=20.0), 30)
    assert run.silence(9).limits.ccl.value > 0
    assert run.silence(3).limits.ccl.value == 0
    assert run.decision.limits.dcl.value > 0  # a full pack may give


def test_nothing_was_ever_heard():
    run = Run()
    first = run.silence(1)
    assert first.limits.ccl.value == 0
    assert first.limits.dcl.value == 0
    assert first.limits.cvl.value > 40
    assert run.silence(15).limits.ccl.value == 0
    assert run.decision.charge.demand == Demand.ZERO


def test_a_gap_that_nobody_reported_counts_too():
    run = Run()
    run(healthy(), 30)
    run.now += 7200
    decision = run(healthy())
    assert "stale_data" in {r.policy for r in decision.charge.holders}
    assert run(healthy(), 120).charge.demand == Demand.FREE


def test_data_that_do_not_move_are_no_data():
    run = Run()
    stuck = healthy(current=-20.0, uptime=5.0)
    run(stuck, 59)
    assert not run.decision.stale
    run(stuck, 2000)
    assert run.decision.quality["cells"] == "frozen"
    assert run.decision.limits.dcl.value == 0
    assert run.decision.discharge.demand == Demand.ZERO


def test_a_pack_at_rest_may_say_the_same_for_ever():
    run = Run()
    for _ in range(100):
        run.now += 60
        decision = run.engine.step(healthy(), run.now)
    assert decision.quality["cells"] == "good"


def test_a_clock_that_steps_back_stops_nothing():
    run = Run()
    run(healthy(3.3), 10)
    run.now -= 3600
    run(healthy(3.71), 3)
    assert not run.decision.charge.allowed
    assert run(healthy(3.38), 70).charge.allowed


# ------------------------------------------------------------------------------------ the rows


OWN_SETTINGS = {"lfp": (3.6, 2.6), "nmc": (4.2, 2.9), "lto": (2.7, 1.8), "na-ion": (3.9, 1.8)}
"""What boards are shipped with."""


@pytest.mark.parametrize("chemistry", CATALOGUE)
def test_every_shipped_policy_has_a_hysteresis_and_only_watches(chemistry: str):
    import msgspec

    battery = msgspec.structs.replace(LFP, chemistry=chemistry)
    ovp, uvp = OWN_SETTINGS[chemistry]
    settings = {"cell_ovp": ovp, "cell_uvp": uvp, "charge_otp": 60.0, "charge_utp": -20.0}
    settings |= {"discharge_otp": 65.0, "discharge_utp": -25.0}
    plan = compile_policies(default_policies(battery), settings, acting=ALL)
    assert plan.not_applicable == {}
    for rule in plan.rules:
        assert rule.release < rule.trip or rule.curve, rule.name
        stop = rule.name == "emergency_stop"  # what a person stops is never only watched
        assert rule.policy.mode is (Mode.ENFORCE if stop else Mode.SHADOW)
        assert rule.policy.on_missing.rule != "ignore" or rule.policy.on_missing.reason
        if rule.policy.severity >= Severity.DERATE:
            assert rule.policy.acts, rule.name
    curves = {r.name: r for r in plan.rules if r.curve}
    rules = {r.name: r for r in plan.rules}
    for derate, trip in (("cell_overvoltage_derate", "cell_overvoltage"),
                         ("cell_undervoltage_derate", "cell_undervoltage"),
                         ("charge_cold_derate", "charge_undertemperature"),
                         ("charge_hot_derate", "charge_overtemperature")):  # fmt: skip
        assert curves[derate].trip <= rules[trip].trip, derate


# --------------------------------------------------------------------------------------- limits


def test_a_small_reduction_waits_for_nothing():
    """D2: a peer may hold back a reduction of less than a third for a minute."""
    run = Run()
    before = run(healthy(temperatures=warm(20.0)), 5).limits.ccl.value
    after = run(healthy(temperatures=warm(19.8))).limits.ccl.value
    assert 0 < before - after < 0.1 * before


def test_a_stop_is_a_voltage_that_a_charger_understands():
    """D10: an inverter took 0.1 V for nonsense and went on charging."""
    run = Run()
    run(healthy(3.3), 5)
    decision = run(healthy(3.3, temperatures=warm(-5.0)), 30)
    assert decision.limits.ccl.value == 0
    assert decision.limits.cvl.value == pytest.approx(52.8)
    assert decision.limits.cvl.reasons[0].policy == "charge_stopped"


def test_json_lines_tell_changes_at_once_and_the_rest_now_and_then():
    run = Run()
    file = io.StringIO()
    sink = JsonLines(file, period=5.0)
    for reading in [healthy()] * 12 + [healthy(3.3, cells={2: 3.7})] * 2:
        sink(run(reading))
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["time"] for line in lines][-1] == run.now
    assert len(lines) <= 6
    assert lines[-1]["schema"] == 1
    assert lines[-1]["charge"]["allowed"] is False
    assert lines[-1]["ccl"]["value"] == 0.0
    assert lines[-1]["ccl"]["reasons"][0]["policy"] in verdicts(run.decision)
    assert lines[-1]["bms"] == {"charge": True, "discharge": True}
    assert {v["severity"] for v in lines[-1]["verdicts"]} <= {"warn", "derate", "trip"}


# ----------------------------------------------------------------------------- what time must do


def test_a_trip_lasts_its_shortest_time():
    run = Run(only("charge_overcurrent_instant"))
    run(healthy(current=100.0), 3)
    assert not run(healthy(), 55).charge.allowed
    assert run(healthy(), 10).charge.allowed


def test_nothing_cools_down_unseen():
    run = Run(only("discharge_heat"))
    run(healthy(current=-160.0), 80)
    run.now += 3600
    assert not run(healthy(), 30).discharge.allowed


def test_a_clock_step_begins_the_release_again():
    run = Run(only("cell_overvoltage"))
    run(healthy(3.71), 3)
    run(healthy(3.38), 55)
    run.now -= 5
    assert not run(healthy(3.38), 30).charge.allowed
    assert run(healthy(3.38), 40).charge.allowed


def test_the_return_from_a_wild_value_is_good_and_so_is_its_repetition():
    run = Run()
    run(healthy(), 5)
    assert run(healthy(3.3, cells={4: 0.9})).quality["cells"] == "suspect"
    assert run(healthy()).quality["cells"] == "good"
    run(healthy(3.3, cells={4: 0.9}))
    assert run(healthy(3.3, cells={4: 0.9})).quality["cells"] == "good"
