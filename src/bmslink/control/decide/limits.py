"""Where all verdicts meet: the most restrictive wins, whatever their order, and says why.

Limits fall at once and rise slowly: after a hold, then not faster than a slope.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from bmslink.control.decide.policy import Demand

__all__ = [
    "LIMITS",
    "PERMITS",
    "Effect",
    "Kind",
    "Limit",
    "Permit",
    "Ramp",
    "RampMemory",
    "Reason",
    "meet",
    "permit",
    "whole_thousandths",
]

PERMITS = ("charge", "discharge", "balance")
LIMITS = ("cvl", "ccl", "dcl", "dvl")


class Kind(StrEnum):
    """What a limit is for."""

    PROTECT = "protect"
    """More would harm the pack."""
    PHASE = "phase"
    """How it is charged now; more would do no harm."""


class Reason(msgspec.Struct, frozen=True, order=True):
    """Why something is not higher: the policy, the value it alone would set, and words."""

    policy: str
    """Its name."""
    value: float
    """The limit that it alone would set; 0 for a permit."""
    text: str
    """For people."""
    kind: Kind = Kind.PROTECT
    """Whether it protects the pack, or is a phase of charging."""


class Effect(msgspec.Struct, frozen=True):
    """What one verdict asks: a bound on a limit, or a demand on a switch."""

    on: str
    """One of LIMITS or PERMITS."""
    reason: Reason
    demand: Demand = Demand.OPEN
    """On a switch."""


class Limit(msgspec.Struct, frozen=True):
    """A published limit, V or A, and everything that contributes, the binding reason first."""

    value: float
    """V for voltages, A for currents; never negative."""
    reasons: tuple[Reason, ...]
    """What contributes, the binding one first."""

    @property
    def kind(self) -> Kind:
        """Of what binds it."""
        return self.reasons[0].kind

    def of(self, kind: Kind) -> float | None:
        """What the reasons of one kind alone ask for; `None` where there is none. The limit is the
        lower of both (DVL: the higher), so that several packs can be combined kind by kind."""
        return next((r.value for r in self.reasons if r.kind is kind), None)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "value": self.value,
            "kind": self.kind.value,
            "reasons": [{**_reason(r), "kind": r.kind.value} for r in self.reasons],
        }


class Permit(msgspec.Struct, frozen=True):
    """Whether the layer permits something; if not, who withdrew it."""

    demand: Demand = Demand.FREE
    """What is asked of the switch."""
    holders: tuple[Reason, ...] = ()
    """Who opens the switch; where nobody does, who keeps it from being switched on."""

    @property
    def allowed(self) -> bool:
        """Nobody withdraws it. A mirror of what the BMS does, and old data, withdraw nothing."""
        return self.demand < Demand.OPEN

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Who withdraws it."""
        return () if self.allowed else self.holders

    @property
    def emergency(self) -> bool:
        """At once: the current is not asked to fall first."""
        return self.demand == Demand.OPEN_NOW

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "allowed": self.allowed,
            "emergency": self.emergency,
            "demand": self.demand.name.lower(),
            "holders": [_reason(r) for r in self.holders],
            "reasons": [_reason(r) for r in self.reasons],
        }


def _reason(reason: Reason) -> dict[str, Any]:
    return {"policy": reason.policy, "value": reason.value, "text": reason.text}


def whole_thousandths(value: float) -> float:
    """Never more than the value (but for what floats lose)."""
    return math.floor(value * 1000 + 1e-6) / 1000


def meet(effects: Iterable[Effect], on: str, base: Reason | None = None) -> tuple[Reason, ...]:
    """All reasons for one limit, with that which holds without any effect, the most restrictive
    first: the lowest, for DVL the highest."""
    found = {e.reason for e in effects if e.on == on}
    if base is not None:
        found.add(base)
    if len(found) == 1:
        return tuple(found)
    turned = -1 if on == "dvl" else 1
    return tuple(sorted(found, key=lambda r: (turned * r.value, r.policy, r.text)))


def permit(effects: Iterable[Effect], on: str) -> Permit:
    """One permit: the highest demand wins."""
    against = [e for e in effects if e.on == on and e.demand]
    if not against:
        return _PERMITTED
    highest = max(e.demand for e in against)
    least = min(highest, Demand.OPEN)
    return Permit(highest, tuple(sorted({e.reason for e in against if e.demand >= least})))


_PERMITTED = Permit()


class RampMemory(msgspec.Struct):
    """What a `Ramp` knows; goals with their ages, s."""

    value: float | None = None
    goals: list[tuple[float, float]] = []
    kind: str = Kind.PROTECT


class Ramp:
    """One limit over time: down at once, up by `slope` per s to what was the lowest target of
    the last `hold` s.

    `turned` is for DVL, where higher is more restrictive. A lower target at any time never gives
    a higher limit at any later time.
    """

    def __init__(self, hold: float, slope: float, *, turned: bool = False) -> None:
        self._hold = hold
        self._slope = slope
        self._sign = -1 if turned else 1
        self._value: float | None = None
        self._time = 0.0
        self._kind = Kind.PROTECT
        self._goals: deque[tuple[float, float, Reason | None]] = deque()
        """Of the last `hold` s, with why: those that no later one undercuts."""

    @property
    def value(self) -> float | None:
        """The limit as it was moved last."""
        return None if self._value is None else self._sign * self._value

    @property
    def why(self) -> Reason | None:
        """The reason of the lowest target of the last `hold` s."""
        return self._goals[0][2] if self._goals else None

    @property
    def kind(self) -> Kind:
        """Of what made it fall last: what recovers from it is of the same kind."""
        return self._kind

    def remember(self, now: float) -> RampMemory:
        """What must survive a restart: the limit, and what still holds it down."""
        goals = [(now - time, goal) for time, goal, _ in self._goals]
        return RampMemory(self._value, goals, self._kind)

    def restore(self, found: RampMemory, now: float) -> None:
        """The same back."""
        self._value, self._time = found.value, now
        self._kind = Kind.PHASE if found.kind == Kind.PHASE else Kind.PROTECT
        self._goals = deque((now - age, goal, None) for age, goal in found.goals)

    def wait(self, now: float) -> None:
        """Nothing is heard: the time until `now` raises nothing later."""
        self._time = now

    def move(
        self, target: float, now: float, *, may_rise: bool, why: Reason | None = None
    ) -> float:
        """The limit at `now`, with this target from now on."""
        goal, goals = self._sign * target, self._goals
        while goals and goals[-1][1] >= goal:
            goals.pop()
        goals.append((now, goal, why))
        while goals[0][0] < now - self._hold:
            goals.popleft()
        _, lowest, binding = goals[0]
        value = self._value
        if value is None or lowest < value:
            value = lowest
            self._kind = Kind.PROTECT if binding is None else binding.kind
        elif may_rise:
            value = min(lowest, value + self._slope * (now - self._time))
        self._value, self._time = value, now
        return self._sign * value
