"""The levels of one measured value, judged together.

Most values are good and far from every level, most of the time: then one comparison passes over all
of them. What each level last saw is brought up to date when somebody looks, or when one of them is
judged again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from bmslink.control.decide.decision import Event
from bmslink.control.decide.quantities import Gate
from bmslink.control.decide.rule import (
    PolicyRule,
    PolicyTiming,
    State,
    advance,
    goes_on,
    goes_on_dark,
    in_words,
    unmeasured,
)
from bmslink.control.decide.sample import Quality, Sample

__all__ = ["JudgedMoment", "Measured", "Moment", "Watches"]

GOOD, MISSING = Quality.GOOD, Quality.MISSING
Measured = tuple[float | None, Quality]
Pair = tuple[PolicyRule, State]
_Member = tuple[int, PolicyRule, State, float]
"""Its place among all rules, the rule, its state, and the signed value below which nothing
follows."""
_Active = tuple[int, PolicyRule, State]


class Moment(NamedTuple):
    """What all levels are judged by."""

    sample: Sample
    now: float
    timing: PolicyTiming
    fresh: bool
    """There is a new measurement."""
    loaded: bool
    """So much flows that voltages sag."""
    applies: Callable[[Gate | None], bool | None]
    """Whether a gate is open; `None`: it cannot tell."""
    stop_reason: str
    """Why a person stopped everything."""


class JudgedMoment(NamedTuple):
    """What came of it."""

    active: list[Pair]
    """The rules that are not content, in their order."""
    events: list[Event]
    reread: bool
    """One waits to be confirmed."""


class LevelWatch:
    """Levels of one value that grow in the same direction, with the same gate."""

    __slots__ = ("_gate", "absent", "calm", "members", "passed")

    def __init__(self, gate: Gate | None, members: Sequence[_Member]) -> None:
        self._gate = gate
        self.members = members
        self.calm = False
        """Nothing is under way in any of them."""
        self.absent = False
        """None of them was ever seen, and none needs to be."""
        self.passed: float | None = None
        """The last value that changed nothing in any of them, to be told."""

    def tell(self, applies: Callable[[Gate | None], bool | None]) -> None:
        """Give every level the value that passed over it."""
        value, self.passed = self.passed, None
        if value is not None:
            is_open = applies(self._gate) is True
            for _, _, state, _ in self.members:
                state.value, state.applies = value, is_open


class Watches:
    """All rules, by the value they look at; curves apart, since one of them often follows."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        found: dict[tuple[int, int, Gate | None, bool], list[_Member]] = {}
        for place, (rule, state) in enumerate(pairs):
            member = (place, rule, state, _quiet_below(rule))
            key = (rule.source, rule.sign, rule.gate, rule.curve is not None)
            found.setdefault(key, []).append(member)
        self._rows = [
            (LevelWatch(gate, members), source, sign, min(below for *_, below in members), gate)
            for (source, sign, gate, _), members in found.items()
        ]
        """With which measured value, its sign, below which signed value nothing follows in any of
        the levels, and outside of which gate nothing does."""

    def tell(self, applies: Callable[[Gate | None], bool | None]) -> None:
        """Bring up to date what every level last saw."""
        for watch, *_ in self._rows:
            watch.tell(applies)

    def judge(self, measured: Sequence[Measured], moment: Moment) -> JudgedMoment:
        """Advance all rules."""
        active: list[_Active] = []
        events: list[tuple[int, Event]] = []
        reread = False
        applies_of = moment.applies
        for watch, source, sign, quiet, gate in self._rows:
            value, quality = measured[source]
            signed = value * sign if quality is GOOD and value is not None else None
            if signed is not None:
                if watch.calm and (signed < quiet or (gate and applies_of(gate) is False)):
                    watch.passed = value
                    continue
            elif watch.absent and quality is MISSING and value is None:
                continue
            if watch.passed is not None:
                watch.tell(applies_of)
            watch.calm, watch.absent = True, quality is MISSING
            applies = True if gate is None else applies_of(gate)
            for place, rule, state, below in watch.members:
                if signed is None:
                    goes = quality is MISSING and goes_on_dark(rule, state, value)
                elif (signed < below if applies else applies is False) and state.at_rest:
                    state.seen, state.value, state.applies = True, value, applies is True
                    continue
                else:
                    goes = bool(applies) and goes_on(rule, state, signed)
                watch.calm = False
                if watch.absent:
                    seen = state.seen or state.tripped or state.since is not None
                    watch.absent = rule.policy.optional and not seen
                if not goes:
                    what = _advance(rule, state, value, quality, applies, moment)
                    if what:
                        words = _words(what, rule, state, moment.stop_reason)
                        events.append((place, Event(rule.name, rule.policy.mode, what, words)))
                    reread = reread or (state.since is not None and not state.tripped)
                if state.tripped or state.missing or state.fraction < 1.0:
                    active.append((place, rule, state))
        active.sort()  # by place: no two are the same
        events.sort()
        return JudgedMoment(
            [(rule, state) for _, rule, state in active], [event for _, event in events], reread
        )


def _advance(
    rule: PolicyRule,
    state: State,
    value: float | None,
    quality: Quality,
    applies: bool | None,
    moment: Moment,
) -> str:
    """The long way, for what changes or may change."""
    release = rule.release_gate
    return advance(
        rule, state, value, quality, applies, moment.sample, moment.now, moment.timing,
        fresh=moment.fresh, loaded=moment.loaded,
        over=release is not None and moment.applies(release),
    )  # fmt: skip


def _quiet_below(rule: PolicyRule) -> float:
    """Below this signed value nothing follows: of a curve, before it begins to fall."""
    if rule.curve is None:
        return rule.trip
    whole = [x for x, left in rule.curve if left == 1.0]
    return max(whole, default=-math.inf)


def _words(what: str, rule: PolicyRule, state: State, stop_reason: str) -> str:
    if what in ("trip", "latch"):
        if rule.name == "emergency_stop" and stop_reason:
            state.cause = stop_reason
        return state.cause
    quantity = rule.quantity
    if what == "missing" or state.value is None:
        return unmeasured(rule, state)
    shown = f"{quantity.title} {in_words(quantity, state.value)}"
    if what == "measured":
        return f"{shown}: measured again"
    if not quantity.unit and rule.trip == 1:
        return f"{quantity.title}: no longer"
    if not state.applies and not rule.policy.holds:
        return f"{shown}, and no longer {rule.policy.when}"
    back = in_words(quantity, rule.release * rule.sign)
    return f"{shown}, back at or {'below' if rule.sign > 0 else 'above'} {back}"
