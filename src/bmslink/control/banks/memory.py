"""What a bank must not forget over a restart: who takes which share, who was open, what its limits
were. Pure.

A share belongs to the board that it was learned of, and to its capacity: another board, or other
cells, begin anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from bmslink.control.banks.member import DIRECTIONS, Direction, Member
from bmslink.control.decide.limits import RampMemory

__all__ = ["BankMemory", "KeptOverload", "KeptPack", "KeptShare", "parse_memory"]

_DAYS = 30 * 86400.0
"""s after which shares are forgotten: joints corrode, cables are replaced."""
_SHORT = 600.0
"""s of a restart: what was open then is open still, and limits rise from where they were."""
_EARLY = 60.0
"""s that a clock may have been set back by: what was saved later than that has an unknown age."""

_Positive = Annotated[float, msgspec.Meta(gt=0, le=1e6)]


class KeptShare(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned of the share of one board."""

    board: str
    """Who it is."""
    capacity: _Positive
    """Ah that it was learned with."""
    conductance: _Positive
    """Of each Ah, beside the mean of its bank: 1 is a share as its capacity says."""
    factor: Annotated[float, msgspec.Meta(ge=1, le=2)]
    """By which it may be off."""
    steps: Annotated[int, msgspec.Meta(ge=1)]
    spread: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0


class KeptPack(msgspec.Struct, frozen=True, kw_only=True):
    """How a pack was when it was heard last."""

    board: str
    """Who it is; empty: it never said so."""
    charge: bool | None = None
    """Whether it conducted so; `None`: it did not say."""
    discharge: bool | None = None


class KeptOverload(msgspec.Struct, frozen=True, kw_only=True):
    """A pack that was seen beyond its limit."""

    pack: str
    direction: Direction
    share: Annotated[float, msgspec.Meta(gt=0, le=1)]
    age: Annotated[float, msgspec.Meta(ge=0, le=_SHORT)]
    """s since it was seen."""


class BankMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Of one bank."""

    shares: dict[str, KeptShare] = {}
    """By the names of packs."""
    packs: dict[str, KeptPack] = {}
    over: tuple[KeptOverload, ...] = ()
    ramps: dict[str, RampMemory] = {}
    """Limit -> what it knows; ages in s."""

    def aged(self, age: float) -> BankMemory:
        """What of it counts when it is `age` s old; negative: the clock was set back, and nobody
        knows how old it is."""
        sure = -_EARLY <= age <= _SHORT
        return BankMemory(
            shares=self.shares if age <= _DAYS else {},
            packs=self.packs if sure else {},
            over=self.over if sure or age < 0 else (),
            ramps=self.ramps if sure or age < 0 else {},
        )

    def alike(self, other: BankMemory) -> bool:
        """Whether two differ at most in what changes all the time."""
        seen, there = ({(o.pack, o.direction, o.share) for o in m.over} for m in (self, other))
        return (self.shares, self.packs, seen) == (other.shares, other.packs, there)

    def was(self, name: str, board: str) -> Mapping[Direction, bool | None]:
        """How a pack conducted, whose board is now known as `board` (empty: it has not said); empty
        for another one."""
        kept = self.packs.get(name)
        if kept is None or (board and board != kept.board):
            return {}
        return {"charge": kept.charge, "discharge": kept.discharge}

    def heard(self, members: Mapping[str, Member], now: float) -> BankMemory:
        """The same with how the packs are now; of those that are not heard as it was."""
        packs = dict(self.packs)
        for name, each in members.items():
            if each.reading is not None:
                charge, discharge = (each.conducts(d, now) for d in DIRECTIONS)
                packs[name] = KeptPack(board=each.board, charge=charge, discharge=discharge)
        return msgspec.structs.replace(self, packs=packs)

    def to_dict(self) -> dict[str, Any]:
        """As a file holds it."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def parse_memory(values: Any) -> BankMemory:
    """What a file holds. Raises `ValueError` for what cannot be."""
    try:
        found = msgspec.convert(values, BankMemory)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    numbers = [r.value for r in found.ramps.values() if r.value is not None]
    numbers += [goal for r in found.ramps.values() for pair in r.goals for goal in pair]
    if not all(math.isfinite(each) for each in numbers):
        raise ValueError("a limit is no number")
    return found
