"""What the engine decides at one moment, with every reason."""

from __future__ import annotations

from typing import Any

import msgspec

from bmslink.control.decide.lasting.phase import ChargePhase
from bmslink.control.decide.limits import Limit, Permit
from bmslink.control.decide.policy import Mode, Severity

__all__ = ["Decision", "Event", "Limits", "PolicyVerdict"]


class Event(msgspec.Struct, frozen=True):
    """Something that changed: `trip`, `latch` (a trip that stays), `release`, `missing`,
    `measured` (again)."""

    policy: str
    """Its name."""
    mode: Mode
    """Whether it acts or only watches."""
    what: str
    """See above."""
    text: str
    """For people: the value, and where."""


class PolicyVerdict(msgspec.Struct, frozen=True):
    """A policy that is not content."""

    policy: str
    """Its name."""
    mode: Mode
    """Whether it acts or only watches."""
    severity: Severity
    """How much it may do."""
    state: str
    """`tripped`, `latched`, `derating` or `missing`."""
    text: str
    """For people: the value, and where."""


class Limits(msgspec.Struct, frozen=True):
    """What charger and load may do with the pack: V of the pack and A, all positive."""

    cvl: Limit
    """Charge voltage limit."""
    ccl: Limit
    """Charge current limit."""
    dcl: Limit
    """Discharge current limit."""
    dvl: Limit
    """Discharge voltage limit: the load stops there."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name).to_dict() for name in self.__struct_fields__}


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The desired state of one pack. A permit that is given is no command to switch on."""

    time: float
    """Monotonic seconds, as passed in."""
    charge: Permit
    """Whether the pack may be charged."""
    discharge: Permit
    """Whether it may be discharged."""
    balance: Permit
    """Whether it may balance."""
    limits: Limits
    """What charger and load may do, V and A."""
    phase: ChargePhase = ChargePhase.BULK
    """How the pack is being charged."""
    verdicts: tuple[PolicyVerdict, ...] = ()
    """All policies that are not content, in shadow too."""
    events: tuple[Event, ...] = ()
    """What changed in this cycle."""
    reread: bool = False
    """A violation waits to be confirmed: read the pack again at once."""
    stale: bool = False
    """The data are too old to raise anything."""
    quality: dict[str, str]
    """Field -> good, suspect, missing, stale or frozen."""
    bms: dict[str, bool | None]
    """What the BMS itself permits, beside what is derived."""

    @property
    def state(self) -> tuple[object, ...]:
        """Everything but the time and what changed: equal means nothing new is wanted."""
        return (self.charge, self.discharge, self.balance, self.limits, self.phase, self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all keys, always in the same order."""
        return {
            "time": self.time,
            "charge": self.charge.to_dict(),
            "discharge": self.discharge.to_dict(),
            "balance": self.balance.to_dict(),
            **self.limits.to_dict(),
            "phase": self.phase.value,
            "verdicts": [_plain(v) for v in self.verdicts],
            "events": [_plain(e) for e in self.events],
            "reread": self.reread,
            "stale": self.stale,
            "quality": dict(self.quality),
            "bms": dict(self.bms),
        }


def _plain(item: Event | PolicyVerdict) -> dict[str, Any]:
    return {
        name: value.name.lower() if isinstance(value, Severity) else value
        for name, value in ((n, getattr(item, n)) for n in item.__struct_fields__)
    }
