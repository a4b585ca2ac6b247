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
    follow,
    in_words,
    stays,
    unmeasured,
)
from bmslink.control.decide.sample import Quality, Sample

__all__ = ["JudgedMoment", "Measured", "Moment", "Watches"]

GOOD, MISSING = Quality.GOOD, Quality.MISSING
Measured = tuple[float | None, Quality]
Pair = tuple[PolicyRule, State]
_Member = tuple[int, PolicyRule, State, Gate | None, int, float]
"""Its place among all rules, the rule, its state, its gate, its sign, and the signed value below
which nothing follows."""


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


class Watch:
    """Levels of one value that grow in the same direction."""

    __slots__ = ("absent", "calm", "members", "passed", "quiet", "sign", "source")

    def __init__(self, source: int, sign: int, members: Sequence[_Member]) -> None:
        self.source = source
        """Which measured value."""
        self.sign = sign
        self.members = members
        self.quiet = min(quiet for *_, quiet in members)
        """Below this signed value nothing follows in any of them."""
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
            for _, _, state, gate, _, _ in self.members:
                state.value, state.applies = value, applies(gate) is True


class Watches:
    """All rules, by the value they look at; curves apart, since one of them often follows."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        found: dict[tuple[int, int, bool], list[_Member]] = {}
        for place, (rule, state) in enumerate(pairs):
            member = (place, rule, state, rule.gate, rule.sign, _quiet_below(rule))
            key = (rule.source, rule.sign, rule.curve is not None)
            found.setdefault(key, []).append(member)
        self._watches = [Watch(key[0], key[1], members) for key, members in found.items()]
        self._rows = [(watch, watch.source, watch.sign, watch.quiet) for watch in self._watches]

    def tell(self, applies: Callable[[Gate | None], bool | None]) -> None:
        """Bring up to date what every level last saw."""
        for watch in self._watches:
            watch.tell(applies)

    def judge(self, measured: Sequence[Measured], moment: Moment) -> JudgedMoment:
        """Advance all rules."""
        active: list[tuple[int, PolicyRule, State]] = []
        events: list[tuple[int, Event]] = []
        reread = False
        for watch, source, sign, quiet in self._rows:
            value, quality = measured[source]
            if quality is GOOD and watch.calm and value is not None and value * sign < quiet:
                watch.passed = value
            elif quality is MISSING and watch.absent and value is None:
                pass
            elif _judge(watch, value, quality, moment, active, events):
                reread = True
        active.sort(key=_place)
        events.sort(key=_place)
        return JudgedMoment([each[1:] for each in active], [event for _, event in events], reread)


def _judge(
    watch: Watch,
    value: float | None,
    quality: Quality,
    moment: Moment,
    active: list[tuple[int, PolicyRule, State]],
    events: list[tuple[int, Event]],
) -> bool:
    """Advance the levels of one value; gives back whether one waits to be confirmed."""
    sample, now, timing, fresh, loaded, applies_of, stop_reason = moment
    watch.tell(applies_of)
    watch.calm, reread = True, False
    watch.absent = quality is MISSING
    for place, rule, state, gate, sign, quiet in watch.members:
        applies = True if gate is None else applies_of(gate)
        if (  # good, within or at rest, and nothing under way
            quality is GOOD
            and value is not None
            and (value * sign < quiet if applies else applies is False)
            and state.since is None
            and state.missing_since is None
            and not state.tripped
            and state.fraction == 1.0
        ):
            state.seen = True
            state.value = value
            state.applies = applies is True
            continue
        watch.calm = False
        if quality is GOOD and value is not None and applies:
            if state.tripped and stays(rule, state, value):
                active.append((place, rule, state))
                continue
            if rule.curve is not None and follow(rule, state, value):
                if state.fraction < 1.0:
                    active.append((place, rule, state))
                continue
        release = rule.release_gate
        what = advance(
            rule, state, value, quality, applies, sample, now, timing,
            fresh=fresh, loaded=loaded, over=release is not None and applies_of(release),
        )  # fmt: skip
        if not rule.policy.optional or state.seen or state.tripped or state.since is not None:
            watch.absent = False
        if what:
            words = _words(what, rule, state, stop_reason)
            events.append((place, Event(rule.name, rule.policy.mode, what, words)))
        if state.tripped:
            active.append((place, rule, state))
        elif state.missing or state.fraction < 1.0:
            active.append((place, rule, state))
            reread = reread or state.since is not None
        elif state.since is not None:
            reread = True
    return reread


def _place(item: tuple[int, object] | tuple[int, object, object]) -> int:
    return item[0]


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
