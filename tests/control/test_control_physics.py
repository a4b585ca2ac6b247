"""The control engine over a pack that behaves, with noise, lost frames and corrupted ones."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from bmslink.control import Battery, Decision, Engine, Mode
from bmslink.control.decide.catalogue import default_policies
from bmslink.model import Reading
from bmslink.simulation.pack.pack import Pack
from control_support import ALL, replace
from support import WHOLE_SWEEP, part

pytestmark = pytest.mark.slow

LOST, CORRUPTED = 0.01, 0.001
_WRONG = (0.0, 1.1, 5.2, 9.9)


class Watched:
    """A pack that is read every `poll` seconds over a bad line, and its engine."""

    def __init__(self, poll: float = 10.0, seed: int = 7, **options: object) -> None:
        self.pack = Pack(cells=8, seed=seed, **options)
        battery = Battery(
            chemistry="lfp", cells=8, capacity=100.0, charge_current=50.0, discharge_current=100.0
        )
        self.engine = Engine(default_policies(battery), self.pack.settings, acting=ALL, poll=poll)
        self.poll = poll
        self.now = 0.0
        self.draw = random.Random(seed)
        self.trips: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()
        self.decision: Decision | None = None

    def watch(self, hours: float) -> Decision:
        """Go on for so long."""
        end = self.now + hours * 3600
        while True:
            self.pack.advance(self.poll)
            self.now += self.poll
            reading = self._heard()
            take = self.engine.tick if reading is None else None
            decision = take(self.now) if take else self.engine.step(reading, self.now)
            for event in decision.events:
                if event.what in ("trip", "latch"):
                    self.trips[event.policy] += 1
            last = self.decision
            for name in ("charge", "discharge"):
                if last and getattr(last, name).allowed != getattr(decision, name).allowed:
                    self.changes[name] += 1
            self.decision = decision
            if self.now >= end:
                return decision

    def _heard(self) -> Reading | None:
        draw = self.draw
        if draw.random() < LOST:
            return None
        truth = self.pack.truth()
        cells = [round(v + draw.gauss(0, 0.0015), 3) for v in truth.cell_voltages]
        if draw.random() < CORRUPTED:
            cells[draw.randrange(len(cells))] = draw.choice(_WRONG)
        return replace(
            truth,
            cell_voltages=tuple(cells),
            current=round(truth.current + draw.gauss(0, 0.05), 2),
            temperatures={
                name: None if t is None else round(t + draw.gauss(0, 0.15), 1)
                for name, t in truth.temperatures.items()
            },
        )


def stops(watched: Watched) -> set[str]:
    """The policies that tripped and act on charge or discharge."""
    rows = default_policies(watched.engine.plan.policies.battery).policies
    return {n for n in watched.trips if {"charge", "discharge"} & set(rows[n].acts)}


@pytest.mark.sweep
def test_a_day_of_sun_and_household_without_a_false_trip():
    watched = Watched(poll=10.0 if WHOLE_SWEEP else 20.0)
    watched.watch(24)
    assert stops(watched) == set()
    assert watched.changes == {}


@pytest.mark.sweep
@pytest.mark.parametrize("seed", part(range(2), 2))
def test_a_cold_night_stops_charging_once(seed: int):
    watched = Watched(seed=seed, ambient=12.0, soc=40.0, load=1.0)
    watched.watch(0.2)
    assert watched.decision.charge.allowed
    watched.pack.set_ambient(-12.0)
    decision = watched.watch(6)
    assert not decision.charge.allowed
    assert decision.discharge.allowed
    assert watched.changes["charge"] == 1
    watched.pack.set_ambient(20.0)
    assert watched.watch(8).charge.allowed
    assert watched.changes["charge"] == 2
    assert watched.decision.limits.ccl.value > 0


def test_a_failed_probe_limits_and_its_return_releases():
    watched = Watched(load="idle")
    watched.watch(0.2)
    watched.pack.break_probe("cell_1")
    assert watched.watch(0.1).limits.ccl.value <= 10
    assert watched.decision.charge.allowed
    watched.pack.set_temperature("cell_1", None)
    assert watched.watch(0.2).limits.ccl.value == 50


def test_a_charger_that_does_not_stop():
    watched = Watched(poll=1.0, soc=97.0, load=30.0)
    watched.pack.settings["cell_ovp"] = 3.9
    decision = watched.watch(0.5)
    assert not decision.charge.allowed
    assert decision.discharge.allowed
    assert decision.limits.ccl.value == 0


def test_a_weak_cell_stops_the_discharge_first():
    watched = Watched(poll=1.0, soc=50.0, load=-20.0)
    watched.watch(0.05)
    for step in range(60):
        watched.pack.set_cell_voltage(5, round(3.2 - 0.01 * step, 3))
        watched.watch(10 / 3600)
    assert not watched.decision.discharge.allowed
    assert watched.decision.charge.allowed
    assert any("cell 5" in reason.text for reason in watched.decision.discharge.reasons)


VIOLATIONS = (
    ("charge", lambda p: p.set_cell_voltage(3, 3.66)),
    ("discharge", lambda p: p.set_cell_voltage(6, 2.55)),
    ("charge", lambda p: p.set_temperature("cell_2", -6.0)),
    ("charge", lambda p: p.set_temperature("cell_1", 58.0)),
    ("discharge", lambda p: p.set_temperature("cell_1", 63.0)),
    ("discharge", lambda p: p.set_temperature("mosfet", 97.0)),
    ("discharge", lambda p: p.set_load(-170.0)),
    ("charge", lambda p: p.set_load(85.0)),
)


@pytest.mark.parametrize("kind", range(len(VIOLATIONS)))
def test_no_violation_is_missed(kind: int):
    permit, violate = VIOLATIONS[kind]
    for seed in range(12):
        watched = Watched(poll=1.0, seed=seed, load="idle")
        watched.watch((10 + seed) / 3600)
        assert getattr(watched.decision, permit).allowed
        violate(watched.pack)
        assert not getattr(watched.watch(25 / 3600), permit).allowed


def test_shadow_decides_the_same_and_does_nothing():
    watched = Watched(poll=1.0)
    quiet = Engine(watched.engine.plan.policies, watched.pack.settings, acting=(Mode.ENFORCE,))
    watched.pack.set_cell_voltage(2, 3.7)
    for second in range(10):
        watched.pack.advance(1.0)
        told = watched.pack.truth()
        loud, still = watched.engine.step(told, second), quiet.step(told, second)
        assert loud.events == still.events
        assert loud.verdicts == still.verdicts
        assert still.charge.allowed
        assert still.limits.ccl.value == (50 if second > 1 else 0)  # after three samples
    assert not loud.charge.allowed
