"""The long proofs of acting, a little of each: random histories, violations through switches that
do not always obey, deaths at an await, kills. Their tools do the whole."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import crash_acting
import soak_acting
import soak_kill_acting
import wander_acting
from acting_world import TRIP
from bmslink.control import Demand
from bmslink.control.act.messages import (
    EmergencyStop,
    OverridePolicy,
    PersonOff,
    PersonOn,
    ResetStop,
)
from crash_acting import points, run, scenario_of
from crash_bench import WHO, Act, Bench, bench_of
from support import WHOLE_SWEEP


def test_random_histories_break_no_law() -> None:
    tally = wander_acting.Tally()
    for seed in range(2000 if WHOLE_SWEEP else 100):
        found = wander_acting.wander(seed, tally, tail=seed % 10 == 0)
        assert found is None, found
    assert tally.deaths > tally.histories
    assert tally.ons > tally.histories / 10
    assert "deaths of the program" in str(tally)


def test_a_broken_law_is_told_by_the_shortest_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that finds nothing proves nothing."""
    from bmslink.control.act import reconciler

    monkeypatch.setattr(reconciler, "obstacle", lambda *args, **more: ("", ""))
    seeds = (wander_acting.wander(seed, wander_acting.Tally()) for seed in range(50))
    found = next(each for each in seeds if each is not None)
    assert len(found.history) < 8
    assert "broken" in str(found)


def test_violations_are_off_in_time_whatever_becomes_of_commands() -> None:
    found = [soak_acting.acted(2000 if WHOLE_SWEEP else 120, seed, 10.0) for seed in (3, 4)]
    for tally in found:
        assert tally.missed == tally.wrong == []
        assert tally.sent["charge", False] > 10
        assert tally.sent["charge", True] > 0
        assert tally.sent.total() > tally.happened["remark off"] + tally.happened["remark on"]


def test_the_soak_sees_a_switch_that_stays_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from bmslink.control.act import reconciler

    monkeypatch.setattr(reconciler._Cycle, "_again", lambda self, name, record, wish: record)
    assert soak_acting.acted(300, 3, 10.0).missed


# -- killed at an await --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "scenario"), [("jbd", "both"), ("daly-a5", "trip"), ("daly-d2", "stop")]
)
def test_killed_at_an_await(protocol: str, scenario: str) -> None:
    """`tools/crash_acting.py` takes every await of every scenario and dialect."""
    tried = points(protocol, scenario)
    assert len(tried) > 60
    for point in tried[7 :: 5 if WHOLE_SWEEP else 110]:
        found = run(protocol, scenario, point)
        assert found.died
        assert found.broken == [], (point, found.broken)


class Deaths(RuleBasedStateMachine):
    """Anything in any order, on real frames, and a death at any await of it."""

    @initialize(protocol=st.sampled_from(crash_acting.DIALECTS))
    def begin(self, protocol: str) -> None:
        self.place = bench_of(protocol)
        self.bench: Bench = self.place.__enter__()
        self.name = "balance" if protocol == "jk04" else "charge"
        self.alive = self.bench.begin(self.bench.time)
        self._do(Act(polls=4))

    def _do(self, act: Act, dies_in: int = 0) -> None:
        if not self.alive:
            self.alive = self.bench.begin(self.bench.time)
        loop = self.bench.loop
        loop.dies_at = loop.callbacks + dies_in if dies_in else math.inf
        self.alive = self.bench.do(act)
        loop.dies_at = math.inf
        assert self.bench.outcome.broken == []

    @rule(dies_in=st.integers(0, 150), opens=st.sampled_from([Demand.OPEN, Demand.OPEN_NOW]))
    def violation(self, dies_in: int, opens: Demand) -> None:
        self._do(Act(demand={self.name: opens}, polls=2), dies_in)

    @rule(dies_in=st.integers(0, 100))
    def clear(self, dies_in: int) -> None:
        self._do(Act(demand={}, polls=1), dies_in)

    @rule(dies_in=st.integers(0, 80), asked=st.integers(0, 4))
    def person(self, dies_in: int, asked: int) -> None:
        asks = (
            PersonOff(self.name, WHO), PersonOn(self.name, WHO), EmergencyStop(WHO), ResetStop(WHO),
            OverridePolicy(TRIP, 60.0, WHO),
        )  # fmt: skip
        self._do(Act(ask=asks[asked], polls=1), dies_in)

    @rule(dies_in=st.integers(0, 200))
    def a_minute(self, dies_in: int) -> None:
        self._do(Act(polls=7, every=10.0), dies_in)

    def teardown(self) -> None:
        if hasattr(self, "place"):
            if not self.alive:
                self.bench.begin(self.bench.time)
            self.bench.end()
            self.place.__exit__(None, None, None)
            assert self.bench.outcome.broken == []


Deaths.TestCase.settings = settings(
    max_examples=200 if WHOLE_SWEEP else 4,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestDeaths = Deaths.TestCase


def test_an_on_that_was_refused_changes_nothing_of_what_a_person_wanted() -> None:
    """A reset that died left the stop: the on after it is refused, and the off before it lasts."""
    history = Deaths()
    history.begin("jk02")
    for asked, dies_in in ((0, 0), (2, 65), (3, 4)):
        history.person(dies_in, asked)
    history.violation(88, Demand.OPEN_NOW)
    history.person(79, 1)
    assert history.bench.person == {"charge"}
    history.teardown()


def test_every_scenario_is_of_acts() -> None:
    for protocol in crash_acting.DIALECTS:
        for name in crash_acting.possible(protocol):
            assert any(act.armed for act in scenario_of(protocol, name))


@pytest.mark.slow
@pytest.mark.real_time
async def test_two_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tools/soak_kill_acting.py` takes fifty."""
    for name in ("RUNTIME", "JOURNAL", "STATE", "CONFIG"):
        monkeypatch.setenv(f"BMSLINK_{name}", str(tmp_path / name))
    found = await soak_kill_acting.soak(2, 1, 3, tmp_path, ("jk-nw",))
    assert found.kills == 2
    assert found.findings == []
