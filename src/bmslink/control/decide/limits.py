"""Where all verdicts meet: the most restrictive wins, whatever their order, and says why.

Limits fall at once and rise slowly: after a hold, then not faster than a slope.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

__all__ = ["LIMITS", "PERMITS", "Effect", "Limit", "Permit", "Ramp", "Reason", "meet", "permit"]

PERMITS = ("charge", "discharge", "balance")
LIMITS = ("cvl", "ccl", "dcl", "dvl")


class Reason(msgspec.Struct, frozen=True, order=True):
    """Why something is not higher: the policy, the value it alone would set, and words."""

    policy: str
    """Its name."""
    value: float
    """The limit that it alone would set; 0 for a permit."""
    text: str
    """For people."""


class Effect(msgspec.Struct, frozen=True):
    """What one verdict asks: a bound on a limit, or (`value` 0) no permit."""

    on: str
    """One of LIMITS or PERMITS."""
    reason: Reason
    emergency: bool = False


class Limit(msgspec.Struct, frozen=True):
    """A published limit, V or A, and everything that contributes, the binding reason first."""

    value: float
    """V for voltages, A for currents; never negative."""
    reasons: tuple[Reason, ...]
    """What contributes, the binding one first."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"value": self.value, "reasons": [_reason(r) for r in self.reasons]}


class Permit(msgspec.Struct, frozen=True):
    """Whether the layer permits something; if not, who withdrew it."""

    allowed: bool
    """`False`: withdrawn."""
    reasons: tuple[Reason, ...] = ()
    """Who withdrew it."""
    emergency: bool = False
    """At once: the current is not asked to fall first."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "allowed": self.allowed,
            "emergency": self.emergency,
            "reasons": [_reason(r) for r in self.reasons],
        }


def _reason(reason: Reason) -> dict[str, Any]:
    return {"policy": reason.policy, "value": reason.value, "text": reason.text}


def meet(effects: Iterable[Effect], on: str) -> tuple[Reason, ...]:
    """All reasons for one limit, the most restrictive first: the lowest, for DVL the highest."""
    turned = -1 if on == "dvl" else 1
    found = {e.reason for e in effects if e.on == on}
    return tuple(sorted(found, key=lambda r: (turned * r.value, r.policy, r.text)))


def permit(effects: Iterable[Effect], on: str) -> Permit:
    """One permit: given unless somebody withdraws it."""
    against = [e for e in effects if e.on == on]
    if not against:
        return _PERMITTED
    reasons = tuple(sorted({e.reason for e in against}))
    return Permit(False, reasons, any(e.emergency for e in against))


_PERMITTED = Permit(True)


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
        self._goals: deque[tuple[float, float]] = deque()
        """Of the last `hold` s: those that no later one undercuts."""

    def move(self, target: float, now: float, *, may_rise: bool) -> float:
        """The limit at `now`, with this target from now on."""
        goal, goals = self._sign * target, self._goals
        while goals and goals[-1][1] >= goal:
            goals.pop()
        goals.append((now, goal))
        while goals[0][0] < now - self._hold:
            goals.popleft()
        lowest = goals[0][1]
        value = self._value
        if value is None or lowest < value:
            value = lowest
        elif may_rise:
            value = min(lowest, value + self._slope * (now - self._time))
        self._value, self._time = value, now
        return self._sign * value
