"""What people ask of what acts on a pack, by name: the same for the API, a running `control run`,
and a board that nobody watches."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from bmslink.control.act.actuator import ACTUATORS
from bmslink.control.act.messages import (
    EmergencyStop,
    OverridePolicy,
    PersonOff,
    PersonOn,
    Request,
    ResetStop,
    Resume,
)
from bmslink.errors import UsageError

__all__ = ["ActingWish"]


class ActingWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One of them."""

    do: Literal["stop", "reset", "resume", "override", "off", "on"]
    """`stop`: everything off, until a reset. `reset`: the stop, and latched policies, end.
    `resume`: a stand-down ends; sends nothing. `override`: a policy is set aside for a while.
    `off`, `on`: a switch by hand; what is held is not switched on."""
    policy: str = ""
    """Which one is set aside, or reset; empty for a reset: all that may be."""
    minutes: float = 0.0
    """How long a policy is set aside; at most 60."""
    switch: str = ""
    """Of which one the stand-down ends; empty: of all."""
    why: str = ""
    untested: bool = False
    """A stop: switches that nobody has tried on a board are switched off, too."""
    waive: tuple[str, ...] = ()
    """Checks that need not hold: `join`, for a switch that closes beside other packs."""

    @property
    def waived(self) -> frozenset[str]:
        """All checks that may fail for it."""
        return frozenset({*self.waive, *(("untested",) if self.untested else ())})

    @classmethod
    def of(cls, values: object) -> ActingWish:
        """From JSON. Raises `UsageError`."""
        try:
            return msgspec.convert(values, cls)
        except msgspec.ValidationError as error:
            raise UsageError(f"This cannot be asked of what acts: {error}.") from None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def request(self, who: str) -> Request:
        """In the words of the reconciler. Raises `UsageError`."""
        if self.untested and self.do != "stop":
            raise UsageError(f"{self.do}: untested goes with a stop alone.")
        if self.do == "stop":
            return EmergencyStop(who, self.why[:200])
        if self.do == "reset":
            return ResetStop(who)
        if self.do in ("resume", "off", "on"):
            if (self.switch or self.do != "resume") and self.switch not in ACTUATORS:
                raise UsageError(
                    f"{self.do}: {self.switch[:40]!r} is no switch; choose {', '.join(ACTUATORS)}."
                )
            if self.do == "resume":
                return Resume(who, self.switch or None)
            return PersonOn(self.switch, who) if self.do == "on" else PersonOff(self.switch, who)
        if not self.policy:
            raise UsageError("override: which policy?")
        return OverridePolicy(self.policy, self.minutes * 60, who, self.why[:200])
