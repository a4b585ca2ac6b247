"""Every history of acting up to a depth, and long random ones, judged by a truth of their own."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import acting_mutants
import explore_acting
from acting_world import CORE, LETTERS, Plan, World
from explore_acting import PLANS, canonical, explore, letters_of, rest
from support import WHOLE_SWEEP


@pytest.mark.parametrize(
    ("plan", "names", "depth"),
    [
        ("plain", CORE, 4),
        ("stubborn", CORE, 3),
        ("alternator", CORE, 3),
        ("tight", CORE, 3),
        ("shadow", tuple(LETTERS), 3),
        ("plain", tuple(LETTERS), 3),
        ("pair", tuple(LETTERS), 2),
    ],
)
def test_every_short_history(plan: str, names: tuple[str, ...], depth: int) -> None:
    found = explore(PLANS[plan], names, depth=depth, tails=4)
    assert found.broken is None, f"{found.broken} by {found.history}"
    assert found.depth == depth
    assert found.states[-1] > 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plan", "names", "depth"), [("plain", CORE, 5), ("tight", CORE, 5), ("pair", CORE, 3)]
)
def test_every_history(plan: str, names: tuple[str, ...], depth: int) -> None:
    found = explore(PLANS[plan], names, depth=depth, tails=4)
    assert found.broken is None, f"{found.broken} by {found.history}"


def test_states_that_count_as_one_go_the_same_ways() -> None:
    """Two worlds of one canonical form lead to the same canonical forms, whatever happens."""
    plan = PLANS["plain"]
    letters = letters_of(plan, CORE)
    start = World.new(plan)
    start.cycle()
    ways: dict[object, list[object]] = {}
    frontier, met = [start], 0
    for _ in range(3):
        following = []
        for world in frontier[:: 1 if len(frontier) < 200 else 4]:
            after = []
            for letter, name in letters:
                other = world.copy()
                other.step(letter, name)
                after.append(other)
            key, forms = canonical(world), [canonical(other) for other in after]
            met += key in ways
            assert ways.setdefault(key, forms) == forms
            following += after
        frontier = following
    assert met > 60


class Histories(RuleBasedStateMachine):
    """Long histories with all letters, times that fit no step, and a crash anywhere."""

    @initialize(
        plan=st.sampled_from([plan for plan in PLANS.values() if not plan.one_word]),
        first=st.floats(0.1, 90.0),
    )
    def begin(self, plan: Plan, first: float) -> None:
        self.world = World.new(plan)
        self.world.cycle(first)

    @rule(letter=st.sampled_from(tuple(LETTERS)), which=st.integers(0, 1))
    def happens(self, letter: str, which: int) -> None:
        switches = self.world.plan.switches
        self.world.step(letter, switches[which % len(switches)])

    @rule(seconds=st.floats(0.2, 700.0).map(lambda s: round(s, 1)))
    def time_passes(self, seconds: float) -> None:
        self.world.cycle(seconds)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            rest(self.world)


Histories.TestCase.settings = settings(
    max_examples=300 if WHOLE_SWEEP else 25,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestHistories = Histories.TestCase


def test_every_mutant_is_still_there() -> None:
    assert acting_mutants.missing() == []
    assert len(acting_mutants.MUTANTS) >= 40


def test_the_explorer_finds_a_guard_that_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole list takes minutes: `tools/acting_mutants.py`. This is one of them, by hand."""
    from bmslink.control.act import reconciler

    monkeypatch.setattr(reconciler, "obstacle", lambda *args, **more: ("", ""))
    found = explore(PLANS["plain"], CORE, depth=3, tails=0)
    assert found.broken is not None
    assert found.broken.law in ("A1", "A3", "person")


def test_the_command_says_how_many(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["explore_acting.py", "--depth", "2"])
    assert explore_acting._main() == 0
    assert "every history up to depth 2" in capsys.readouterr().out
