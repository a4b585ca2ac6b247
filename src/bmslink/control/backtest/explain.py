"""The reason tree of one moment: what is permitted and limited, by whom, and what every policy
made of what it saw."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from bmslink.control.backtest.logs import Entry, written
from bmslink.control.backtest.playback import Playback, make_engine, packs
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.engine import Engine
from bmslink.control.decide.policy import PolicySet, Severity
from bmslink.control.decide.rule import PolicyRule, State, at_ease, in_words
from bmslink.errors import TargetError
from bmslink.model import Reading

__all__ = ["Explanation", "Judgement", "explain_log", "explain_readings"]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy makes of the moment."""

    policy: str
    record: str
    """What it is a level of, and which: `cell_overvoltage` and `warn`."""
    level: str
    title: str
    severity: Severity
    mode: str
    state: str
    """`latched`, `tripped`, `missing`, `derating`, `pending` (beyond, and not yet for long
    enough), `resting` (its condition does not hold), `content`, or `unknown` (never measured)."""
    value: float | None
    threshold: float | None
    """`None`: a curve that never comes to 0."""
    release: float | None
    unit: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**msgspec.to_builtins(self), "severity": self.severity.name.lower()}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One pack at one moment."""

    target: str
    time: float
    """Seconds since 1970, UTC (or since the beginning of the log)."""
    reading: Reading
    decision: Decision
    judgements: tuple[Judgement, ...]
    ratings: dict[str, str]
    """`ccl`, `dcl` -> where the highest value comes from."""
    not_applicable: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        decision = self.decision.to_dict()
        del decision["time"]  # the same, as the engine counts it
        return {
            "target": self.target,
            "time": written(self.time),
            "decision": decision,
            "policies": [j.to_dict() for j in self.judgements],
            "not_applicable": dict(self.not_applicable),
        }


def explain_log(
    entries: Iterable[Entry],
    policies: PolicySet,
    settings: Mapping[str, float] | None = None,
    *,
    at: float | None = None,
    after: float | None = None,
    sink: bool = False,
) -> list[Explanation]:
    """The moment `at` (s since 1970) or `after` so many seconds of the log; else its end.

    One for each pack. `TargetError` if the log begins later.
    """
    found: dict[str, _Moment] = {}
    for target, poll, portion in packs(entries):
        if target not in found:
            found[target] = _Moment(make_engine(policies, settings, poll=poll, sink=sink), poll)
        for entry in portion:
            found[target].step(entry, at, after)
    told = [each.explanation(target) for target, each in found.items() if each.decision]
    if not told:
        raise TargetError("The log begins after that moment.")
    return told


def explain_readings(
    readings: Iterable[tuple[float, Reading]],
    policies: PolicySet,
    settings: Mapping[str, float] | None = None,
    *,
    poll: float,
    sink: bool = False,
) -> Explanation:
    """The moment after these readings (with the seconds at which each was received)."""
    moment = _Moment(make_engine(policies, settings, poll=poll, sink=sink), poll)
    target = ""
    for time, reading in readings:
        target = reading.target or ""
        moment.step(Entry(target, time, reading), None, None)
    return moment.explanation(target)


class _Moment:
    """Follows a pack until the moment has come."""

    def __init__(self, engine: Engine, poll: float) -> None:
        self.engine = engine
        self.decision: Decision | None = None
        self._playback = Playback(engine, self, poll)
        self._entry: Entry | None = None
        self._time = 0.0
        self._end = math.inf
        self._over = False

    def step(self, entry: Entry, at: float | None, after: float | None) -> None:
        """Take the next reading, unless the moment is over."""
        if self._over:
            return
        if self._entry is None and after is not None:
            self._end = entry.time + after
        if at is not None:
            self._end = at
        if entry.time > self._end:
            self._over = True
            if self._entry is not None:
                self._playback.wait_until(self._end)
            return
        self._playback.step(entry)

    def skipped(self, entry: Entry, why: str) -> None:
        """Nothing to tell."""

    def waited(self, time: float, decision: Decision, engine: Engine) -> None:
        """A moment without a reading."""
        self._time, self.decision = time, decision

    def sampled(self, entry: Entry, decision: Decision, engine: Engine) -> None:
        """A moment with a reading."""
        self._entry, self._time, self.decision = entry, entry.time, decision

    def explanation(self, target: str) -> Explanation:
        """What is known now."""
        if self.decision is None or self._entry is None:
            raise TargetError("There is no reading to explain.")
        plan = self.engine.plan
        return Explanation(
            target=target,
            time=self._time,
            reading=self._entry.reading,
            decision=self.decision,
            judgements=tuple(_judgements(self.engine.rules)),
            ratings={"ccl": plan.charge.basis, "dcl": plan.discharge.basis},
            not_applicable=dict(plan.not_applicable),
        )


def _judgements(rules: Iterable[tuple[PolicyRule, State]]) -> Iterator[Judgement]:
    for rule, state in rules:
        policy, trip = rule.policy, rule.trip * rule.sign
        yield Judgement(
            policy=rule.name,
            record=policy.record or policy.name,
            level=policy.level,
            title=policy.title,
            severity=policy.severity,
            mode=policy.mode,
            state=_state(rule, state),
            value=state.value,
            threshold=trip if math.isfinite(trip) else None,
            release=rule.release * rule.sign if math.isfinite(rule.release) else None,
            unit=rule.quantity.unit,
            text=state.cause if state.tripped else _seen(rule, state),
        )


def _state(rule: PolicyRule, state: State) -> str:
    if state.tripped:
        return "latched" if state.latched else "tripped"
    if state.missing:
        return "missing"
    if state.value is None:
        return "unknown"
    if not state.applies:
        return "resting"
    if state.since is not None:
        return "pending"
    return "content" if at_ease(rule, state) else "derating"


def _seen(rule: PolicyRule, state: State) -> str:
    quantity = rule.quantity
    if state.value is None:
        return f"{quantity.title}: not measured"
    text = f"{quantity.title} {in_words(quantity, state.value)}"
    if rule.curve is not None and state.fraction < 1:
        text += f" leaves {state.fraction:.0%}"
    trip = rule.trip * rule.sign
    if math.isfinite(trip):
        text += f", acts at or {'above' if rule.sign > 0 else 'below'} {in_words(quantity, trip)}"
    if not state.applies and rule.policy.when != "always":
        text += f" ({rule.policy.when} only)"
    return text
