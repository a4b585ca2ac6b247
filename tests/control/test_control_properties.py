"""What must hold of the control engine whatever a pack says: one property per invariant."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bmslink.control import Decision, Demand, Engine, PolicySet
from bmslink.control.decide.catalogue import default_policies
from bmslink.control.decide.compile import compile_policies
from bmslink.control.decide.lasting.blind_time import blind_time
from bmslink.control.decide.limits import Effect, Ramp, Reason, meet, permit
from bmslink.control.decide.rule import fraction_at
from bmslink.control.decide.thresholds import CURVES, THRESHOLDS
from bmslink.model import Condition, Reading
from bmslink.simulation.pack.pack import Pack
from control_support import ALL, CELLS, LFP, Run, healthy, only, replace, text, verdicts, warm
from support import WHOLE_SWEEP, part

QUICK = settings(
    max_examples=100 if WHOLE_SWEEP else 15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LIMITS = ("cvl", "ccl", "dcl")
PERMITS = ("charge", "discharge", "balance")

volts = st.floats(2.0, 3.8).map(lambda v: round(v, 3))
celsius = st.floats(-25, 70).map(lambda t: round(t, 1))
SHIPPED = default_policies(LFP)


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    """Anything from healthy to dangerous, sometimes with holes."""
    base = draw(volts)
    reading = healthy(
        base,
        cells={draw(st.integers(1, CELLS)): draw(volts)},
        current=round(draw(st.floats(-180, 180)), 1),
        soc=draw(st.floats(0, 100)),
        temperatures=warm(draw(celsius), mosfet=draw(st.floats(20, 95))),
        protections=draw(st.sampled_from([(), (), (), (Condition.CELL_OVERVOLTAGE,)])),
        charging_allowed=draw(st.sampled_from([True, True, False, None])),
        raw={"current_sign": draw(st.sampled_from(["reported", "reported", "assumed"]))},
    )
    return draw(st.sampled_from([reading, reading, *holes(reading)]))


def holes(reading: Reading) -> list[Reading]:
    """The same reading with something that was not measured."""
    cells = reading.cell_voltages
    return [
        replace(reading, cell_voltages=(None, *cells[1:])),
        replace(reading, cell_voltages=(*cells[:-1], float("nan"))),
        replace(reading, cell_voltages=()),
        replace(reading, cell_voltages=cells[:-1]),
        replace(reading, voltage=None),
        replace(reading, current=None),
        replace(reading, current=float("nan")),
        replace(reading, soc=None),
        replace(reading, temperatures={}),
        replace(reading, temperatures={**reading.temperatures, "cell_2": None}),
        replace(reading, temperatures={**reading.temperatures, "cell_1": float("nan")}),
        replace(reading, soc=1e300, current=-1e308, cell_voltages=(1e308,) * CELLS),
        replace(reading, raw={"current_sign": ["assumed"]}, voltage=float("inf")),
        replace(reading, charging_allowed=None, discharging_allowed=None),
        Reading(),
    ]


logs = st.lists(st.tuples(readings(), st.integers(1, 40)), min_size=1, max_size=8)
"""Readings, each said for so many seconds."""


def play(run: Run, log: list[tuple[Reading, int]]) -> list[Decision]:
    found = []
    for reading, seconds in log:
        for _ in range(seconds):
            found.append(run(reading))
    return found


def restricts(one: Decision, other: Decision) -> bool:
    """Nothing of `one` is more than in `other`."""
    return (
        all(getattr(one.limits, n).value <= getattr(other.limits, n).value for n in LIMITS)
        and one.limits.dvl.value >= other.limits.dvl.value
        and all(getattr(one, n).allowed <= getattr(other, n).allowed for n in PERMITS)
    )


# -------------------------------------------------------------------------------------- meet: I-1

effects = st.lists(
    st.builds(
        Effect,
        on=st.sampled_from(["ccl", "dvl", "charge"]),
        reason=st.builds(
            Reason,
            policy=st.sampled_from("abc"),
            value=st.integers(0, 50).map(float),
            text=st.just("x"),
        ),
    )
)


@given(effects, st.randoms(use_true_random=False))
def test_the_order_of_verdicts_never_matters(found: list[Effect], shuffle: random.Random):
    other = [*found, *found]
    shuffle.shuffle(other)
    for name in ("ccl", "dvl"):
        assert meet(found, name) == meet(other, name)
    assert permit(found, "charge") == permit(other, "charge")


def test_equal_limits_keep_both_reasons():
    """D14: a peer kept its limits in a dictionary keyed by the value."""
    found = [Effect("ccl", Reason(name, 5.0, "x")) for name in ("heat", "cold")]
    assert [r.policy for r in meet(found, "ccl")] == ["cold", "heat"]


@QUICK
@given(logs, st.sets(st.sampled_from(sorted(SHIPPED.policies))))
def test_adding_policies_never_relaxes_anything(log: Any, names: set[str]):
    fewer = msgspec.structs.replace(
        SHIPPED, policies={n: p for n, p in SHIPPED.policies.items() if n in names}
    )
    for little, much in zip(play(Run(fewer), log), play(Run(SHIPPED), log), strict=True):
        assert restricts(much, little)


# ------------------------------------------------------------------------------ ramp: I-4 and I-5


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 40)), min_size=1, max_size=60))
def test_limits_fall_at_once_and_rise_slowly_after_a_hold(steps: list[tuple[int, int]]):
    ramp, now, before = Ramp(30.0, 5.0), 0.0, None
    seen: list[tuple[float, int]] = []
    for goal, passed in steps:
        now += passed
        seen.append((now, goal))
        value = ramp.move(goal, now, may_rise=True)
        assert value <= goal
        if before is not None and value > before:
            assert value - before <= 5.0 * passed + 1e-9
            assert all(g >= value for t, g in seen if t >= now - 30)
        before = value


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(0, 40)), min_size=1)
)
def test_a_lower_target_never_gives_a_higher_limit_later(steps: list[tuple[int, int, int]]):
    one, other, now = Ramp(30.0, 5.0), Ramp(30.0, 5.0), 0.0
    for goal, more, passed in steps:
        now += passed
        low = one.move(goal, now, may_rise=True)
        assert low <= other.move(goal + more, now, may_rise=True)


# -------------------------------------------------------------------------------- missing: I-7, D1


@pytest.mark.slow
@QUICK
@given(logs, readings(), st.integers(0, 14), st.integers(1, 30))
def test_a_missing_value_never_raises_or_enables(log: Any, last: Reading, which: int, secs: int):
    """D1: a peer fell back to the configured maximum. Whatever came before, a hole in what the
    pack goes on saying gives no more than the whole reading."""
    whole, holed = Run(), Run()
    play(whole, [*log, (last, 60)])
    before = play(holed, [*log, (last, 60)])[-1]
    for _ in range(secs):
        one, other = holed(holes(last)[which]), whole(last)
        for name in PERMITS:
            permitted = getattr(one, name).allowed
            assert permitted <= max(getattr(other, name).allowed, getattr(before, name).allowed)
        for name in LIMITS:
            most = max(getattr(d.limits, name).value for d in (other, before))
            assert getattr(one.limits, name).value <= most


@pytest.mark.parametrize("hole", [h for h in holes(healthy()) if h.soc is not None][:-1])
def test_what_is_missing_limits(hole: Reading):
    decision = Run()(hole, 3)
    assert decision.limits.ccl.value <= 10
    assert any("not measured" in r.text for r in decision.limits.ccl.reasons)


def test_part_of_the_cells_still_trips():
    run = Run()
    run(healthy(), 5)
    decision = run(healthy(3.3, cells={1: None, 9: 3.72}), 3)
    assert not decision.charge.allowed


# ---------------------------------------------------------------------------------- silence: I-8


@pytest.mark.slow
@QUICK
@given(logs, st.lists(st.integers(1, 120), min_size=1, max_size=4))
def test_old_data_raise_nothing_and_clear_nothing(log: Any, waits: list[int]):
    run = Run()
    before = play(run, log)[-1]
    run.silence(3)
    last = before
    for wait in waits:
        decision = run.silence(wait)
        assert decision.stale or wait < 3
        if decision.stale and last.stale:
            assert restricts(decision, last)
        assert set(verdicts(before)) - set(verdicts(decision)) == set()
        last = decision
    run.poll = 10.0
    run.silence(1800)
    assert run.decision.limits.ccl.value == 0
    assert run.decision.limits.dcl.value == 0
    for each in (run.decision.charge, run.decision.discharge):
        assert each.demand >= Demand.ZERO  # not switched on again; a lost link opens nothing


# ------------------------------------------------------------------------------ fixpoint: I-13, I-6


@pytest.mark.slow
@settings(max_examples=10 if WHOLE_SWEEP else 4, deadline=None)
@given(readings())
def test_a_constant_pack_comes_to_rest(reading: Reading):
    run = Run(only(*(set(SHIPPED.policies) - {"high_soc_dwell"})), poll=30.0)
    run(reading, 12 * 3600)
    state = run.decision.state
    assert run(reading, 1800).state == state


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize(
    ("threshold", "sink"),
    part(product(["ov_trip", "uv_release", "ov_release", "uv_trip"], [False, True]), 3),
)
def test_a_noisy_hour_at_a_threshold(threshold: str, sink: bool):
    draw = random.Random(4)
    run = Run(sink=sink)
    run(healthy(3.3), 10)
    for _ in range(3600):
        run(healthy(round(THRESHOLDS["lfp"][threshold] + draw.gauss(0, 0.003), 3)))
    assert max(run.changes["charge"], run.changes["discharge"]) <= 2


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("at", part([0.0, 3.0, 55.0, 50.0, -20.0, 60.0], 2))
def test_a_noisy_hour_at_a_temperature(at: float):
    draw = random.Random(4)
    run = Run()
    run(healthy(temperatures=warm(25.0)), 10)
    for _ in range(3600):
        run(healthy(temperatures=warm(round(at + draw.gauss(0, 0.3), 1))))
    assert max(run.changes["charge"], run.changes["discharge"]) <= 2


def test_a_cold_night_toggles_no_thousand_times():
    """smagicld/xiaoxiangBMS#70: the charge FET went on and off at the limit all night."""
    draw = random.Random(4)
    run = Run(poll=10.0)
    run(healthy(temperatures=warm(5.0)), 30)
    for _ in range(8 * 360):
        run(healthy(temperatures=warm(round(draw.uniform(-1.5, 2.5), 1))))
    assert run.changes["charge"] == 1
    assert not run.decision.charge.allowed


# ----------------------------------------------------------------------------- monotone: I-14, I-22


@QUICK
@given(volts, volts, celsius, celsius)
def test_nearer_to_danger_never_permits_more(one: float, other: float, warm_: float, hot: float):
    low, high = sorted((one, other))
    assert (
        Run()(healthy(3.0, cells={1: high}, temperatures=warm(25))).limits.ccl.value
        <= Run()(healthy(3.0, cells={1: low}, temperatures=warm(25))).limits.ccl.value
        or low < 2.5  # where deep discharge limits instead
    )
    assert (
        Run()(healthy(3.3, cells={1: min(low, 3.3)})).limits.dcl.value
        <= Run()(healthy(3.3, cells={1: min(high, 3.3)})).limits.dcl.value
    )
    far, near = sorted((warm_, hot), key=lambda t: abs(t - 30), reverse=True)
    if (far - 30) * (near - 30) >= 0:
        for name in ("ccl", "dcl"):
            one_, two = (
                getattr(Run()(healthy(temperatures=warm(t)), 30).limits, name).value
                for t in (far, near)
            )
            assert one_ <= two


@QUICK
@given(st.integers(51, 200), st.integers(1, 300), st.integers(1, 300))
def test_longer_overcurrent_is_never_cooler(amps: int, short: int, more: int):
    policies = only("charge_heat")
    heats = []
    for seconds in (short, short + more):
        engine = Engine(policies, acting=ALL)
        for now in range(seconds):
            engine.step(healthy(current=float(amps), uptime=float(now)), float(now))
        heats.append(engine.save()["charge_heat"])
    assert heats[0] <= heats[1]


@pytest.mark.parametrize("chemistry", CURVES)
@given(below=st.floats(0, 60))
def test_no_charge_current_below_the_cut_off(chemistry: str, below: float):
    cut_off = THRESHOLDS[chemistry]["charge_ut_trip"]
    curve = CURVES[chemistry]["charge_cold"]
    assert fraction_at(curve, cut_off - below) == 0


# ---------------------------------------------------------------------------- the same: I-15, I-20


@pytest.mark.slow
@QUICK
@given(logs, st.randoms(use_true_random=False))
def test_the_same_log_gives_the_same_bytes(log: Any, shuffle: random.Random):
    names = list(SHIPPED.policies)
    shuffle.shuffle(names)
    turned = msgspec.structs.replace(SHIPPED, policies={n: SHIPPED.policies[n] for n in names})
    first = [text(d) for d in play(Run(SHIPPED), log)]
    assert first == [text(d) for d in play(Run(turned), log)]


@pytest.mark.slow
@QUICK
@given(logs, st.integers(-1000, 10**7))
def test_no_clock_but_the_monotonic_one_matters(log: Any, shift: int):
    def run(start: float, when: Any) -> list[Any]:
        one = Run()
        one.now = start
        found = play(one, [(replace(r, time=when), s) for r, s in log])
        return [(d.state, d.events) for d in found]

    from datetime import UTC, datetime

    assert run(100.0, None) == run(100.0 + shift, datetime(2001, 1, 1, tzinfo=UTC))


@QUICK
@given(logs, st.integers(-10_000, -1))
def test_a_step_back_in_time_loses_no_violation(log: Any, step: int):
    run = Run()
    play(run, log)
    run.now += step
    run(healthy(3.72), 4)
    assert not run.decision.charge.allowed


# --------------------------------------------------------------------------------- suspect: I-16


def one_cell(reading: Reading, volts_: float) -> dict[str, Any]:
    return {"cell_voltages": (volts_, *reading.cell_voltages[1:])}


WILD: list[Callable[[Reading], dict[str, Any]]] = [
    lambda r: {
        "cell_voltages": (0.0,) * CELLS, "voltage": 0.0, "soc": 0.0, "charging_allowed": False,
        "temperatures": warm(-40.0, mosfet=-40.0), "protections": (Condition.CELL_UNDERVOLTAGE,),
    },
    lambda r: {"cell_voltages": (0.0,) * CELLS, "voltage": 0.0},
    lambda r: one_cell(r, 5.9),
    lambda r: one_cell(r, 0.0) | {"voltage": 49.5},
    lambda r: {"temperatures": warm(-30.0)},
    lambda r: {"temperatures": warm(90.0)},
    lambda r: {"soc": 0.0},
    lambda r: {"current": 9999.0},
    lambda r: {"current": 160.0, "raw": {"current_sign": "assumed"}},
]  # fmt: skip


@pytest.mark.parametrize("wild", range(len(WILD)))
@pytest.mark.parametrize("normal", [healthy(), healthy(3.71), healthy(temperatures=warm(-4.0))])
def test_one_suspect_sample_changes_nothing(wild: int, normal: Reading):
    """syssi/esphome-jk-bms#348, Louisvdw/dbus-serialbattery#1046: single corrupted readings."""
    with_it, without = Run(), Run()
    for run in (with_it, without):
        run(normal, 300)
    before = with_it.decision
    at_it = with_it(replace(normal, **WILD[wild](normal)))
    without(normal)
    assert "suspect" in at_it.quality.values()
    assert (at_it.charge, at_it.discharge) == (before.charge, before.discharge)
    assert at_it.limits.ccl.value <= before.limits.ccl.value
    for _ in range(60):
        one, other = with_it(normal), without(normal)
        assert one.charge.allowed == other.charge.allowed
        assert one.discharge.allowed == other.discharge.allowed
        for name in LIMITS:
            assert getattr(one.limits, name).value == getattr(other.limits, name).value


@pytest.mark.parametrize(
    ("reading", "permit_"),
    [(healthy(3.3, cells={4: 0.0}), "discharge"), (healthy(3.3, cells={4: 5.9}), "charge"),
     (healthy(temperatures=warm(-30.0)), "charge"), (healthy(temperatures=warm(90.0)), "charge")],
)  # fmt: skip
def test_what_is_confirmed_trips_within_the_deadline(reading: Reading, permit_: str):
    """fl4p/batmon-ha#388: a cell that really is at 0 V must reach the policies."""
    run = Run()
    run(healthy(), 30)
    assert not getattr(run(reading, 15), permit_).allowed


def test_a_violation_that_nothing_refutes_is_confirmed():
    run = Run()
    run(healthy(), 30)
    run(healthy(3.3, cells={4: 3.7}))
    assert run.silence(30).charge.allowed  # silence is no reading
    unread = healthy(3.3, cells={4: None})
    assert not run(unread, 3).charge.allowed


@pytest.mark.parametrize("cell", range(1, CELLS + 1))
def test_every_cell_is_judged(cell: int):
    """D7: a peer's loops left out the last rule, and mixed up two aggregates."""
    for volts_, permit_ in ((3.72, "charge"), (2.6, "discharge")):
        run = Run()
        run(healthy(), 5)
        decision = run(healthy(3.3, cells={cell: volts_}), 5)
        assert not getattr(decision, permit_).allowed
        assert f"cell {cell})" in text(decision)


# --------------------------------------------------------------------------- always: a machine


class Anything(RuleBasedStateMachine):
    """Readings, holes, silence and clock steps in any order."""

    @initialize()
    def start(self) -> None:
        self.run = Run()
        self.last: Decision | None = None
        self.reading = healthy()

    @rule(reading=readings(), times=st.integers(1, 20))
    def hear(self, reading: Reading, times: int) -> None:
        self.reading = reading
        for _ in range(times):
            self.last = self.run.decision
            self.run(reading)

    @rule(seconds=st.integers(1, 900))
    def nothing(self, seconds: int) -> None:
        self.last = self.run.decision
        self.run.silence(seconds)

    @rule(back=st.integers(1, 5000))
    def clock(self, back: int) -> None:
        self.run.now -= back

    @rule()
    def stop(self) -> None:
        self.run.engine.emergency_stop("stop")

    @precondition(lambda self: self.run.decision is not None)
    @rule()
    def restart(self) -> None:
        saved = self.run.engine.save()
        again = Run()
        again.now = self.run.now
        again.engine.load(saved, again.now)
        decision = again.silence(1)
        before = verdicts(self.run.decision)
        for name, state in before.items():
            if state == "latched":
                assert verdicts(decision)[name] == "latched"

    @invariant()
    def limits_have_reasons_that_reproduce_them(self) -> None:
        decision = self.run.decision
        if decision is None:
            return
        for name in (*LIMITS, "dvl"):
            limit = getattr(decision.limits, name)
            assert limit.reasons[0].value == limit.value
            assert limit.value >= 0

    @invariant()
    def no_permit_comes_from_doubtful_data(self) -> None:
        decision, last = self.run.decision, self.last
        if decision is None or last is None:
            return
        for name in ("charge", "discharge"):
            if getattr(decision, name).allowed and not getattr(last, name).allowed:
                assert not decision.stale

    @invariant()
    def a_bms_protection_is_never_overruled(self) -> None:
        decision = self.run.decision
        if decision is not None and not decision.stale and self.reading.protections:
            state = decision.quality["state"]
            if state == "good":
                assert decision.charge.demand >= Demand.NO_ENABLE


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)


# --------------------------------------------------------------------------------- blind: I-25


@pytest.mark.parametrize("soc", [15, 40, 60, 80, 95])
def test_the_blind_time_is_too_short_to_reach_a_limit(soc: int):
    policies: PolicySet = SHIPPED
    plan = compile_policies(policies, acting=ALL)
    for way in (1, -1):
        pack = Pack(soc=soc, load="idle")
        pack.advance(60)
        run = Run(policies)
        decision = run(dataclasses.replace(pack.truth(), uptime=None), 3)
        safe = blind_time(plan, run.engine.sample, decision.limits)
        seconds = safe.charge if way > 0 else safe.discharge
        assert 10 <= seconds <= 1800
        limit = decision.limits.ccl.value if way > 0 else decision.limits.dcl.value
        pack.set_load(way * limit)
        pack.advance(seconds)
        reading = pack.truth()
        assert reading.max_cell_voltage < 3.6
        assert reading.min_cell_voltage > 2.7
