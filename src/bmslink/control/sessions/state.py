"""What a session knows so far, and what is known beside the readings."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bmslink.control.decide.limits import RampMemory
from bmslink.control.sessions.permit import Permitting

__all__ = ["Around", "HeldEnd", "Phase", "SessionState"]


class HeldEnd(msgspec.Struct, frozen=True):
    """A condition that holds: since when, and in how many readings."""

    since: float
    count: int


class Phase(StrEnum):
    """Where it is."""

    APPROACH = "approach"
    HOLD = "hold"
    SETTLE = "settle"
    DONE = "done"


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the reading."""

    charge_held: str = ""
    """Who holds charging back, in words."""
    balance_held: str = ""
    stopped: str = ""
    """Who stopped everything."""
    cancelled: str = ""
    """Who cancelled the session."""


class SessionState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a session so far; times in s since it began."""

    phase: Phase = Phase.APPROACH
    time: float = 0.0
    seen: float = 0.0
    """When the last usable reading came."""
    why: str = ""
    """What is waited for, or done, in words."""
    best: float | None = None
    """V: the smallest difference at the top so far."""
    stalled: float = 0.0
    """s at the top since it became smaller."""
    held: float = 0.0
    """s at the top."""
    charged: float = 0.0
    """Ah put in."""
    worked: bool | None = None
    """Whether the balancer was seen at work; `None`: the board does not say."""
    idle: float = 0.0
    """s at the top in which it should have worked and was not seen to."""
    away: float | None = None
    """Since when the highest cell is away from the top."""
    within: float | None = None
    """Since when the cells are within the target."""
    rested: float | None = None
    """Since when the pack rests."""
    rounds: int = 0
    """How often a rest showed that it is not done."""
    hottest: float | None = None
    highest: float = 0.0
    """V of the highest cell ever."""
    permit: Permitting = Permitting()
    ends: dict[str, HeldEnd] = {}
    cvl: RampMemory | None = None
    ccl: RampMemory | None = None
    moved: float | None = None
    """When these were moved last."""

    def later(self, time: float) -> SessionState:
        """The same when it is taken up again: nobody looked meanwhile, which is no silence."""
        return msgspec.structs.replace(self, time=time, seen=time, moved=time, ends={})

    def with_permit(self, permit: Permitting) -> SessionState:
        """The same after the balancer was switched."""
        return msgspec.structs.replace(self, permit=permit)
