"""One pack of a bank, as it is known at one moment."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from bmslink.control.decide.decision import Decision, Limits
from bmslink.control.decide.limiter import RECOVERY
from bmslink.control.decide.limits import Kind, Limit, Reason
from bmslink.control.decide.sample import NO_SIGN
from bmslink.model import Reading

__all__ = ["DIRECTIONS", "Direction", "Member", "at_rest", "fresh_for"]

Direction = str
"""`charge` or `discharge`."""
DIRECTIONS: Mapping[Direction, float] = {"charge": 1.0, "discharge": -1.0}
"""Direction -> the sign of its current."""

_INTERVALS, _LEAST = 3.0, 5.0
"""A reading holds for so many intervals, and so many s at least."""
_FROZEN, _FORGOTTEN = 10.0, 60.0
"""s after which a decision that nobody renews counts for a share, and for nothing."""
_SHARE = 0.3
"""That share: the one that a pack's own policies leave of old limits."""
_REST, _REST_SHARE = 1.0, 0.005
"""A or of the capacity (1/h): less than that is no current."""
_DOUBTED = ("suspect", "missing", "frozen")
"""What a value is worth that says nothing of now."""
_CURRENTS = {"charge": "ccl", "discharge": "dcl"}


def fresh_for(interval: float) -> float:
    """How long a reading says how a pack is, s."""
    return max(_INTERVALS * interval, _LEAST)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a pack. Times in s of one monotonic clock."""

    name: str
    reading: Reading | None = None
    """The last one of this pack, however old."""
    heard: float | None = None
    """When that came."""
    decision: Decision | None = None
    """What its policies decided last."""
    capacity: float
    """Ah."""
    cells: int
    """In series."""
    chemistry: str = "lfp"
    interval: float = 1.0
    """s between two readings."""
    judged: bool = True
    """It has policies."""
    apart: bool = False
    """A person says that it is disconnected from the others."""
    board: str = ""
    """Which board it has; empty: it has not said so."""
    was: Mapping[Direction, bool | None] = {}
    """How it conducted before a restart, until it is read."""

    def fresh(self, now: float) -> bool:
        """Whether its reading says how it is now."""
        return self.heard is not None and now - self.heard <= fresh_for(self.interval)

    def just_heard(self, now: float) -> bool:
        """Whether no reading of it is missing yet."""
        return self.heard is not None and now - self.heard <= 2 * self.interval

    def volts(self, now: float) -> float | None:
        """Its voltage; `None` where that is not known now, or is one wild value."""
        worth = "good" if self.decision is None else self.decision.quality.get("voltage", "good")
        if self.reading is None or not self.fresh(now) or worth in _DOUBTED:
            return None
        return self.reading.voltage or None

    @property
    def measured(self) -> bool:
        """Whether the current of its reading is believed: one wild value says nothing."""
        known = self.decision is None or self.decision.quality.get("current", "good") == "good"
        return known and self.reading is not None and self.reading.current is not None

    @property
    def unsigned(self) -> bool:
        """Whether only the size of its current is measured: the direction is an assumption, so its
        policies doubt every one."""
        return self.reading is not None and self.reading.raw.get("current_sign") in NO_SIGN

    def flow(self, direction: Direction) -> float | None:
        """The current of its reading in a direction, A; `None`: nothing was read."""
        if self.reading is None or self.reading.current is None:
            return None
        return DIRECTIONS[direction] * self.reading.current

    def conducts(self, direction: Direction, now: float) -> bool | None:
        """Whether current can flow through it in a direction, by what it said last; `None`: it did
        not say. A pack that is not heard any more is as it was: it may conduct still."""
        if self.apart and not (self.fresh(now) and self._carries()):
            return False
        reading = self.reading
        if reading is None:
            return self.was.get(direction)
        flow = self.flow(direction) or 0.0
        if flow > at_rest(self.capacity):
            return True  # whatever its switches say
        if direction == "charge":
            fet, switch = reading.charging_allowed, reading.charge_switch
        else:
            fet, switch = reading.discharging_allowed, reading.discharge_switch
        if fet is not None:
            return fet
        return False if switch is False else None

    def _carries(self) -> bool:
        return abs(self.flow("charge") or 0.0) > at_rest(self.capacity)

    def most(self, direction: Direction, now: float) -> float:
        """The highest current that its policies let flow in a direction, A. Old decisions count for
        less, and end."""
        if self.decision is None:
            return 0.0
        limit: Limit = getattr(self.decision.limits, _CURRENTS[direction])
        return limit.value * self._counts(now)

    def _counts(self, now: float) -> float:
        """The share of a limit that still counts, by the age of the decision."""
        age = math.inf if self.decision is None else now - self.decision.time
        holds = fresh_for(self.interval)
        if age > max(_FORGOTTEN, 2 * holds):
            return 0.0
        return _SHARE if age > max(_FROZEN, holds) else 1.0

    def most_closed(self, direction: Direction, now: float) -> float:
        """The same with the switch of that direction closed: that it is open, and what recovers
        from that, limits nothing then."""
        if self.decision is None:
            return 0.0
        limit: Limit = getattr(self.decision.limits, _CURRENTS[direction])
        open_ = f"bms_{direction}_fet", RECOVERY
        closed = (each.value for each in limit.reasons if each.policy not in open_)
        return min(closed, default=limit.value) * self._counts(now)

    def binding(self, direction: Direction) -> tuple[str, str]:
        """The policy that holds that current where it is, and why."""
        if self.decision is None:
            return "no_data", "nothing was decided yet"
        reason = getattr(self.decision.limits, _CURRENTS[direction]).reasons[0]
        return reason.policy, reason.text

    @property
    def limits(self) -> Limits | None:
        """What its policies decided."""
        return None if self.decision is None else self.decision.limits

    def voltage_limit(self, name: str, kind: Kind | None = None) -> Reason | None:
        """What binds `cvl` or `dvl`, or what reasons of one kind ask of it; `None`: none does."""
        if self.limits is None:
            return None
        limit: Limit = getattr(self.limits, name)
        return next((r for r in limit.reasons if kind is None or r.kind is kind), None)


def at_rest(capacity: float) -> float:
    """The highest current that counts as none, A."""
    return max(_REST, _REST_SHARE * capacity)
