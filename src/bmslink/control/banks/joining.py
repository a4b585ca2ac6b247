"""Whether a pack may be switched on beside others: what flows between them then. Pure.

A switch that closes lets current equalise: the difference of the voltages over both resistances.
It has to be within what the pack may take, and within what each of the others may give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from bmslink.control.banks.member import Direction, Member

__all__ = ["JoinCode", "JoinVerdict", "may_join", "resistance_of"]

_CELL: Mapping[str, float] = {"lfp": 0.05, "nmc": 0.03, "na-ion": 0.03, "lto": 0.01}
"""Ω·Ah of a cell: below what makers' sheets give at 1 kHz (LFP of 280 Ah 0.25 mΩ: 0.07; NMC of
50 Ah 0.7 mΩ: 0.035; LTO of 40 Ah 0.35 mΩ: 0.014). The less, the higher the current that is
reckoned with; cables and FETs are left out for the same reason."""
_NONE = 0.05
"""V: two packs that read voltages so near each other may be equal."""


class JoinCode(StrEnum):
    """Why a pack may not be switched on. A closed list; it may grow."""

    FREE = ""
    """It may."""
    UNKNOWN = "unknown"
    """The voltage of the pack, or of the others, is not known now."""
    CURRENT = "current"
    """Too much would flow."""
    TURN = "turn"
    """Another pack of the bank is being switched on."""


class JoinVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    code: JoinCode
    text: str = ""
    """Why not, with numbers, in a sentence."""
    difference: float | None = None
    """V of the pack above the others."""
    current: float | None = None
    """A that would flow into the pack."""

    @property
    def free(self) -> bool:
        """It may be switched on."""
        return self.code is JoinCode.FREE


_FREE = JoinVerdict(code=JoinCode.FREE)


def resistance_of(member: Member, given: Mapping[str, float]) -> tuple[float, str]:
    """Ω of a pack with its cables, and where that is from."""
    if member.name in given:
        return given[member.name], "as bmslink.toml says"
    each = _CELL.get(member.chemistry, min(_CELL.values()))
    return each * member.cells / member.capacity, "reckoned low, from its capacity"


def may_join(
    pack: Member,
    others: Sequence[Member],
    direction: Direction,
    given: Mapping[str, float],
    now: float,
    *,
    opened: bool = False,
) -> JoinVerdict:
    """Whether the switch for `direction` of a pack may be closed beside others of its bank; one
    that is closed already may. `given`: known resistances, Ω; `opened`: as if it were open now."""
    beside = [each for each in others if _connected(each, now)]
    closed = pack.fresh(now) and pack.conducts(direction, now) is True and not opened
    if not beside or closed or pack.apart:
        return _FREE
    for each in (*beside, pack):
        if each.volts(now) is None:
            return JoinVerdict(
                code=JoinCode.UNKNOWN,
                text=f"The voltage of {each.name} is not known now, so nobody can say what would "
                f"flow between {pack.name} and the others.",
            )
    return _equalising(pack, beside, direction, given, now)


def _equalising(
    pack: Member,
    beside: Sequence[Member],
    direction: Direction,
    given: Mapping[str, float],
    now: float,
) -> JoinVerdict:
    """What flows through the switch that closes, against the limits of all: from the highest of
    those that can give, or to the lowest of those that can take. Another one may be on the bus with
    one of its switches only, so its voltage is not that of the bus."""
    into = direction == "charge"
    opposite = "discharge" if into else "charge"
    open_ = [each for each in beside if each.conducts(opposite, now) is not False]
    volts = [each.volts(now) or 0.0 for each in open_]
    if not volts:
        return _FREE
    difference = (pack.volts(now) or 0.0) - (max(volts) if into else min(volts))
    if abs(difference) <= _NONE or (difference < 0) is not into:
        return msgspec.structs.replace(_FREE, difference=round(difference, 3))
    ohms, source = resistance_of(pack, given)
    ways = {each.name: 1 / resistance_of(each, given)[0] for each in open_}
    amps = abs(difference) / (ohms + 1 / sum(ways.values()))
    bounds = [_Bound(pack, direction, pack.most_closed(direction, now), 0.0, amps)]
    for each in open_:
        flows = max(0.0, each.flow(opposite) or 0.0)
        part = amps * ways[each.name] / sum(ways.values())
        bounds.append(_Bound(each, opposite, each.most(opposite, now), flows, part))
    found = JoinVerdict(
        code=JoinCode.FREE, difference=round(difference, 3), current=round(amps if into else -amps)
    )
    over = [each for each in bounds if each.flows + each.part > each.allowed]
    if not over:
        return found
    worst = min(over, key=lambda each: each.allowed - each.flows - each.part)
    least = min((each.allowed - each.flows) / each.part for each in over)
    within = max(_NONE, math.floor(100 * abs(difference) * least) / 100)
    where = "below" if into else "above"
    text = (
        f"{pack.name} has {abs(difference):.2f} V {where} the packs beside it: about {amps:.0f} A "
        f"would flow {'into' if into else 'out of'} it ({1000 * ohms:.1f} mΩ, {source}), and "
        f"{worst.pack.name} may take {worst.allowed:g} A of {worst.direction} current"
        + ("" if worst.pack is pack else f", not {worst.flows + worst.part:.0f} A")
        + f". It may join within {within:.2f} V of them."
    )
    return msgspec.structs.replace(found, code=JoinCode.CURRENT, text=text)


class _Bound(NamedTuple):
    """What one pack may take, A, and what it would."""

    pack: Member
    direction: Direction
    allowed: float
    flows: float
    """That way already."""
    part: float
    """What comes on top."""


def _connected(member: Member, now: float) -> bool:
    """Whether it may be on the bus, in either direction."""
    return any(member.conducts(d, now) is not False for d in ("charge", "discharge"))
