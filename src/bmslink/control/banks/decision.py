"""What a bank may be charged and discharged with, with every reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from bmslink.control.banks.shares import PackShare
from bmslink.control.decide.decision import Limits
from bmslink.control.decide.limits import LIMITS, Kind, Limit, Reason

__all__ = ["BankCode", "BankDecision", "BankLimit", "BankReason", "MemberShown", "in_order"]


class BankCode(StrEnum):
    """Why a limit of a bank is not higher. A closed list; it may grow."""

    SHARE = "share"
    """A pack would have more than its own limit, by its share of the current."""
    OVERLOAD = "overload"
    """The same, by a share that a pack was seen to take beyond its limit."""
    VANISHED = "vanished"
    """The same of a pack that is not heard: it may conduct still."""
    UNREAD = "unread"
    """A pack was never read, and may conduct."""
    SUM = "sum"
    """The sum of what all conducting packs may take."""
    NOT_CONDUCTING = "not_conducting"
    """No pack conducts in this direction."""
    PROTECT = "protect"
    """A pack asks for that voltage to be protected."""
    PHASE = "phase"
    """The phase in which the bank is charged."""
    RECOVERY = "recovery"
    """It was lower a moment ago, and rises slowly."""
    WEAKEST = "weakest"
    """The pack of a stack with the lowest limit."""


class BankReason(msgspec.Struct, frozen=True):
    """One reason: what it alone would set, V or A."""

    code: BankCode
    value: float
    pack: str
    """The pack that it comes from; empty: from all of them."""
    text: str
    """For people."""
    policy: str = ""
    """The policy of that pack which holds its own limit; empty: none does."""
    kind: Kind = Kind.PROTECT

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "code": self.code.value,
            "value": self.value,
            "pack": self.pack or None,
            "policy": self.policy or None,
            "kind": self.kind.value,
            "text": self.text,
        }


def in_order(reasons: Iterable[BankReason], *, turned: bool = False) -> tuple[BankReason, ...]:
    """The one that binds first: the lowest, or (`turned`) the highest. What names no pack comes
    after one that does."""
    sign = -1 if turned else 1
    return tuple(sorted(reasons, key=lambda r: (sign * r.value, not r.pack, r.code, r.pack)))


class BankLimit(msgspec.Struct, frozen=True):
    """A limit of a bank, V or A, and all reasons, the binding one first."""

    value: float
    reasons: tuple[BankReason, ...]

    @classmethod
    def of(cls, reasons: Iterable[BankReason], *, turned: bool = False) -> BankLimit:
        """The lowest of at least one; `turned`: the highest."""
        found = in_order(reasons, turned=turned)
        return cls(found[0].value, found)

    @property
    def why(self) -> BankReason:
        """The reason that binds, behind what only recovers."""
        recovers = self.reasons[0].code is BankCode.RECOVERY and len(self.reasons) > 1
        return self.reasons[1 if recovers else 0]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        why = self.why
        return {
            "value": self.value,
            "code": self.reasons[0].code.value,
            "pack": why.pack or None,
            "kind": why.kind.value,
            "reasons": [each.to_dict() for each in self.reasons],
        }


class MemberShown(msgspec.Struct, frozen=True, kw_only=True):
    """A pack as its bank sees it."""

    name: str
    fresh: bool
    charge: bool | None
    """Whether it conducts so; `None`: it may."""
    discharge: bool | None
    apart: bool = False
    shares: Mapping[str, PackShare] = {}
    """`charge`, `discharge`: its share of the current, where it conducts."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "fresh": self.fresh,
            "conducts": {"charge": self.charge, "discharge": self.discharge},
            "apart": self.apart,
            "shares": {name: share.to_dict() for name, share in self.shares.items()},
        }


class BankDecision(msgspec.Struct, frozen=True, kw_only=True):
    """One bank at one moment. `None`: not known, or not reckoned (`trouble` says why)."""

    bank: str
    connection: str
    time: float
    """Monotonic seconds, as passed in."""
    acts: bool = True
    """Whether something may obey it; the limits of packs in series are reported only."""
    cvl: BankLimit | None = None
    ccl: BankLimit | None = None
    dcl: BankLimit | None = None
    dvl: BankLimit | None = None
    phase: str | None = None
    """How the bank is being charged: as the pack that is least far."""
    voltage: float | None = None
    """V, of the packs that are heard: parallel the median, in series the sum."""
    current: float | None = None
    """A, charging positive, of all packs; `None` where one of them is not heard."""
    soc: float | None = None
    """%, by capacity; in series of the emptiest."""
    soc_spread: float | None = None
    """How far the packs are apart, %."""
    capacity: float | None = None
    """Ah of the packs that conduct; in series of the smallest."""
    members: tuple[MemberShown, ...] = ()
    trouble: tuple[str, ...] = ()
    """What keeps the limits from being reckoned, or makes them lower, in sentences."""

    @property
    def limits(self) -> Limits | None:
        """As the limits of a pack are, for what carries them out; `None`: there are none."""
        found = [getattr(self, name) for name in LIMITS]
        if not self.acts or None in found:
            return None
        return Limits(*map(_plain, found))

    @property
    def bound(self) -> tuple[object, ...]:
        """Which reason of which pack binds each limit."""
        values = tuple(getattr(self, name) for name in LIMITS)
        return tuple((v.reasons[0].code, v.why.code, v.why.pack) if v else None for v in values)

    @property
    def state(self) -> tuple[object, ...]:
        """What is told at once when it changes: all but time and measurements."""
        values = tuple(getattr(self, name) for name in LIMITS)
        return (*((v.value, v.why.code, v.why.pack) for v in values if v), self.phase, self.trouble)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all keys, always in the same order."""
        limits = {name: getattr(self, name) for name in LIMITS}
        return {
            "bank": self.bank,
            "connection": self.connection,
            "acts": self.acts,
            **{name: None if each is None else each.to_dict() for name, each in limits.items()},
            "phase": self.phase,
            "voltage": self.voltage,
            "current": self.current,
            "soc": self.soc,
            "soc_spread": self.soc_spread,
            "capacity": self.capacity,
            "packs": [each.to_dict() for each in self.members],
            "trouble": list(self.trouble),
        }


def _plain(limit: BankLimit) -> Limit:
    reasons = tuple(Reason(r.code.value, r.value, r.text, r.kind) for r in limit.reasons)
    return Limit(limit.value, reasons)
