"""What was decided, written down: the journal that changes of settings are written to as well.

A record for each change of what is permitted, of what holds a limit down, or of a policy's state:
who, why, what was measured, before and after. A budget per pack keeps years of it small; what it
leaves out is counted in the next record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from bmslink.control.decide.decision import Decision
from bmslink.control.decide.limits import LIMITS, PERMITS
from bmslink.control.decide.sample import Sample
from bmslink.storage.journal import Journal

__all__ = ["FREE", "Audit", "Budget", "gist"]

FREE = frozenset({"rating", "charge_voltage", "discharge_voltage"})
"""What binds a limit that no policy lowers."""
_BURST, _EVERY = 60, 600.0
"""Records at once, and seconds for each one after that: at most 53 000 a year and pack."""


def gist(decision: Decision) -> tuple[object, ...]:
    """What of a decision matters to people: permits and who withdrew them, whether a limit is
    lowered or 0, which policies tripped. Equal: nothing new, though numbers may have moved."""
    permits = tuple(
        (p.allowed, p.emergency, tuple(r.policy for r in p.reasons))
        for p in (decision.charge, decision.discharge, decision.balance)
    )
    limits = decision.limits
    held = tuple(
        "zero" if not limit.value else limit.reasons[0].policy in FREE
        for limit in (limits.cvl, limits.ccl, limits.dcl, limits.dvl)
    )
    policies = tuple((v.policy, v.state) for v in decision.verdicts if v.state != "derating")
    return permits, held, policies


class Budget:
    """`burst` at once, then one every `every` seconds."""

    def __init__(self, burst: int = _BURST, every: float = _EVERY) -> None:
        self._burst = burst
        self._every = every
        self._left = float(burst)
        self._time: float | None = None

    def take(self, now: float) -> bool:
        """Whether there is still one; if so it is spent. `now` in s."""
        if self._time is not None:
            gained = max(0.0, now - self._time) / self._every
            self._left = min(float(self._burst), self._left + gained)
        self._time = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Audit:
    """Writes down what changes on one pack. A change of a permit has a budget of its own, which
    nothing less important can use up."""

    def __init__(
        self,
        target: str,
        why: Mapping[str, Any],
        *,
        shadow: bool,
        append: Callable[..., None] | None = None,
    ) -> None:
        """`why` is what all records share: the policy file and its hash."""
        self._target = target
        self._why = dict(why)
        self._shadow = shadow
        self._append = append or Journal().append
        self._permits, self._others = Budget(), Budget()
        self._left_out = 0
        self._last: Decision | None = None
        self._gist: tuple[object, ...] | None = None

    def __call__(self, decision: Decision, sample: Sample) -> bool:
        """Take a decision and the sample it was made on; tells whether its gist is new.

        Raises `JournalError`; the next change is tried again.
        """
        what = gist(decision)
        if what == self._gist:
            return False
        before, old = self._last, self._gist
        self._last, self._gist = decision, what
        permits_changed = old is None or what[0] != old[0]
        budget = self._permits if permits_changed else self._others
        if not budget.take(decision.time):
            self._left_out += 1
            return True
        left_out, self._left_out = self._left_out, 0
        self._append(
            "decision",
            target=self._target,
            user=os.environ.get("USER") or os.environ.get("USERNAME") or "",
            shadow=self._shadow,
            **self._why,
            inputs=_inputs(decision, sample),
            before=None if before is None else _state(before),
            after=_state(decision),
            **({"left_out": left_out} if left_out else {}),
        )
        return True


def _inputs(decision: Decision, sample: Sample) -> dict[str, Any]:
    reading = sample.reading
    return {
        "time": None if reading.time is None else reading.time.isoformat(),
        "min_cell": sample.min_cell,
        "max_cell": sample.max_cell,
        "voltage": sample.voltage,
        "current": sample.current,
        "soc": sample.soc,
        "temperatures": dict(sample.temperatures),
        "protections": [str(c) for c in reading.protections],
        "faults": [str(c) for c in reading.faults],
        "quality": dict(decision.quality),
        "bms": dict(decision.bms),
    }


def _state(decision: Decision) -> dict[str, Any]:
    permits = {
        name: {
            "allowed": permit.allowed,
            "because": [f"{r.policy}: {r.text}" for r in permit.reasons],
        }
        for name in PERMITS
        for permit in (getattr(decision, name),)
    }
    limits = {
        name: {"value": limit.value, "because": f"{reason.policy}: {reason.text}"}
        for name in LIMITS
        for limit in (getattr(decision.limits, name),)
        for reason in limit.reasons[:1]
    }
    return {**permits, **limits, "policies": {v.policy: v.state for v in decision.verdicts}}
