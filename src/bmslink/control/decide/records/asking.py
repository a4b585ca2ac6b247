"""What rules that are not content ask of limits and switches, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bmslink.control.decide.decision import Limits, PolicyVerdict
from bmslink.control.decide.limits import Effect, Kind, Reason, whole_thousandths
from bmslink.control.decide.policy import Action, Demand, Severity
from bmslink.control.decide.rule import PolicyRule, State, at_ease, in_words, unmeasured

__all__ = ["Asking", "RuleDemands"]

Pair = tuple[PolicyRule, State]
_LIMIT_OF = {Action.CHARGE: "ccl", Action.DISCHARGE: "dcl"}


class RuleDemands(NamedTuple):
    """What all rules ask."""

    effects: dict[str, list[Effect]]
    """By the limit or switch that they are on."""
    verdicts: tuple[PolicyVerdict, ...]
    floats: bool
    """One asks for the float voltage, as a phase of charging."""
    shared: bool
    """A share of the last limits is in force."""


class _Kept(NamedTuple):
    """What one rule asks and says, until it has changed."""

    version: int
    """Of the rule's state."""
    effects: list[Effect]
    verdict: PolicyVerdict | None
    floats: bool
    """It asks for the float voltage."""
    shares: bool
    """It asks for a share of the last limits, which change by themselves."""


class Asking:
    """The rules of one pack, asking."""

    def __init__(
        self, rated: Mapping[Action, Reason], capacity: float, floating: float, *, sink: bool
    ) -> None:
        """`rated`: the highest currents; `capacity` in Ah; `floating`: the float voltage, V."""
        self._rated = rated
        self._capacity = capacity
        self._floating = floating
        self._sink = sink
        self._kept: dict[str, _Kept] = {}
        self._before: tuple[Sequence[Pair], list[int], RuleDemands] | None = None

    def __call__(self, active: Sequence[Pair], fresh: Limits | None) -> RuleDemands:
        """What these rules ask; `fresh`: the last limits that were decided on fresh data. What is
        given back is read only: the same rules ask the same again."""
        versions = [state.version for _, state in active]
        if self._before is not None and self._before[:2] == (active, versions):
            return self._before[2]
        effects: dict[str, list[Effect]] = {}
        verdicts: list[PolicyVerdict] = []
        floats = shared = changing = False
        for rule, state in active:
            kept = self._kept.get(rule.name)
            if kept is None or kept.version != state.version or kept.shares:
                kept = self._kept[rule.name] = self._work_out(rule, state, fresh)
            _, asks, verdict, floating, shares = kept
            for effect in asks:
                effects.setdefault(effect.on, []).append(effect)
            if verdict is not None:
                verdicts.append(verdict)
            if floating or shares:
                floats, shared = floats or floating, shared or (shares and state.tripped)
                changing = changing or shares
        found = RuleDemands(effects, tuple(verdicts), floats, shared)
        self._before = None if changing else (active, versions, found)
        return found

    def _work_out(self, rule: PolicyRule, state: State, fresh: Limits | None) -> _Kept:
        asks = [*self._effects(rule, state, fresh)] if rule.acts else []
        verdict = None if at_ease(rule, state) else _verdict(rule, state)
        floats = rule.acts and state.tripped and _is_phase(rule)
        return _Kept(state.version, asks, verdict, floats, rule.policy.of == "last")

    def _effects(self, rule: PolicyRule, state: State, fresh: Limits | None) -> Iterator[Effect]:
        policy = rule.policy
        demand = _demand(rule, sink=self._sink)
        for action in policy.acts:
            if action == Action.FLOAT:
                if state.tripped:
                    kind = Kind.PHASE if _is_phase(rule) else Kind.PROTECT
                    yield Effect("cvl", Reason(rule.name, self._floating, state.cause, kind))
            elif action == Action.BALANCE:
                if state.tripped or state.missing:
                    text = state.cause or unmeasured(rule, state)
                    yield Effect("balance", Reason(rule.name, 0.0, text), demand)
            elif policy.severity >= Severity.TRIP and state.tripped:
                reason = Reason(rule.name, 0.0, state.cause)
                yield Effect(_LIMIT_OF[action], reason)
                yield Effect(action, reason, demand)
            else:
                yield from self._derate(rule, state, action, fresh)

    def _derate(
        self, rule: PolicyRule, state: State, action: Action, fresh: Limits | None
    ) -> Iterator[Effect]:
        policy = rule.policy
        limit, rated = _LIMIT_OF[action], self._rated[action]
        if policy.severity == Severity.DERATE:
            curved = rule.curve is not None
            left = state.fraction if curved else policy.factor if state.tripped else 1.0
            amps = whole_thousandths(left * self._base(policy.of, action, fresh))
            if (curved or state.tripped) and (amps < rated.value or not left):
                text = _left(rule, state) if curved and state.value is not None else state.cause
                reason = Reason(rule.name, amps, text)
                if amps < rated.value:
                    yield Effect(limit, reason)
                if not left:
                    yield Effect(action, reason, _demand(rule, sink=self._sink))
        if state.missing and policy.on_missing.rule == "derate":
            amps = whole_thousandths(policy.on_missing.factor * rated.value)
            yield Effect(limit, Reason(rule.name, amps, unmeasured(rule, state)))

    def _base(self, of: str, action: Action, fresh: Limits | None) -> float:
        if of == "capacity":
            return self._capacity
        if of == "last" and fresh is not None:
            return fresh.ccl.value if action == Action.CHARGE else fresh.dcl.value
        return self._rated[action].value


def _is_phase(rule: PolicyRule) -> bool:
    """It does nothing but ask for the float voltage."""
    return rule.policy.acts == (Action.FLOAT,)


def _demand(rule: PolicyRule, *, sink: bool) -> Demand:
    """What a rule asks of a switch that it acts on."""
    policy = rule.policy
    if policy.demands is not None:
        return policy.demands
    if policy.severity == Severity.EMERGENCY:
        return Demand.OPEN_NOW
    if policy.severity == Severity.TRIP or not (sink or rule.curve is not None):
        return Demand.OPEN
    return Demand.ZERO


def _left(rule: PolicyRule, state: State) -> str:
    """What a curve leaves, in words."""
    of = "1 C" if rule.policy.of == "capacity" else "the rating"
    return f"{rule.policy.title}: {_share(rule, state)} of {of}"


def _share(rule: PolicyRule, state: State) -> str:
    shown = "" if state.value is None else in_words(rule.quantity, state.value)
    return f"{rule.quantity.title} {shown} leaves {state.fraction:.0%}"


def _verdict(rule: PolicyRule, state: State) -> PolicyVerdict:
    policy = rule.policy
    if state.tripped:
        name, text = "latched" if state.latched else "tripped", state.cause
    elif state.missing:
        name, text = "missing", unmeasured(rule, state)
    else:
        name, text = "derating", _share(rule, state)
    return PolicyVerdict(rule.name, policy.mode, policy.severity, name, f"{policy.title}: {text}")
