"""Packs in series: what they say together, for people. Nothing here is to be obeyed.

The same current flows through all of them, so the lowest limit of any pack is that of the stack.
Voltages add up only while the packs are equally full: what the stack may be charged to is bound by
the pack that is nearest to its own limit.
"""

from __future__ import annotations

from collections.abc import Sequence

from bmslink.control.banks.decision import (
    BankCode,
    BankDecision,
    BankLimit,
    BankReason,
    MemberShown,
)
from bmslink.control.banks.member import DIRECTIONS, Direction, Member
from bmslink.control.banks.sums import series_sums

__all__ = ["SeriesBank"]

_APART = 3.0
"""%: packs whose charges differ by more cannot be filled and emptied together."""
_UNEQUAL = 2.0
"""A: two packs in series that read currents further apart do not both measure well."""


class SeriesBank:
    """One stack."""

    def __init__(self, name: str) -> None:
        self.name = name

    def step(self, members: Sequence[Member], now: float) -> BankDecision:
        """What it says at `now`, monotonic seconds."""
        sums = series_sums(members, now)
        judged = all(each.judged for each in members)
        return BankDecision(
            bank=self.name,
            connection="series",
            time=now,
            acts=False,
            ccl=_weakest("charge", members, now) if judged else None,
            dcl=_weakest("discharge", members, now) if judged else None,
            cvl=_voltage(members, "cvl", 1.0),
            dvl=_voltage(members, "dvl", -1.0),
            members=tuple(
                MemberShown(
                    name=each.name,
                    fresh=each.fresh(now),
                    charge=each.conducts("charge", now),
                    discharge=each.conducts("discharge", now),
                    apart=each.apart,
                )
                for each in members
            ),
            trouble=tuple(_trouble(members, sums["soc_spread"], now)),
            **sums,
        )


def _weakest(direction: Direction, members: Sequence[Member], now: float) -> BankLimit:
    """The lowest limit of any pack; of one that is open, 0."""
    reasons = []
    for each in members:
        policy, why = each.binding(direction)
        amps = each.most(direction, now)
        if each.conducts(direction, now) is False:
            reason = BankReason(
                BankCode.NOT_CONDUCTING, 0.0, each.name, f"{each.name} is open for {direction}"
            )
        else:
            text = f"{each.name} may take {amps:g} A ({why})"
            reason = BankReason(BankCode.WEAKEST, amps, each.name, text, policy)
        reasons.append(reason)
    return BankLimit.of(reasons)


def _voltage(members: Sequence[Member], name: str, sign: float) -> BankLimit | None:
    """The voltage of the stack at which the first pack is at its own limit, if all move alike;
    never beyond the sum of their limits."""
    limits = [asked for each in members if (asked := each.voltage_limit(name)) is not None]
    volts = [r.voltage for each in members if (r := each.reading) is not None and r.voltage]
    if len(limits) < len(members) or len(volts) < len(members):
        return None
    whole, total = sum(volts), sum(each.value for each in limits)
    left = [sign * (asked.value - v) for asked, v in zip(limits, volts, strict=True)]
    nearest = min(range(len(members)), key=left.__getitem__)
    bound = whole + sign * len(members) * left[nearest]
    pack, asked = members[nearest], limits[nearest]
    text = f"{pack.name} is nearest to its own limit, {asked.value:g} V ({asked.text})"
    return BankLimit.of(
        [
            BankReason(BankCode.WEAKEST, round(bound, 3), pack.name, text, asked.policy),
            BankReason(BankCode.SUM, round(total, 3), "", "the sum of all packs' limits"),
        ],
        turned=sign < 0,
    )


def _trouble(members: Sequence[Member], spread: float | None, now: float) -> list[str]:
    found = [f"{each.name} has no policies." for each in members if not each.judged]
    found += [f"{each.name} is not heard." for each in members if not each.fresh(now)]
    if spread is not None and spread > _APART:
        found.append(f"The charges of the packs differ by more than {_APART:g} %.")
    flows = {m.name: f for m in members if m.fresh(now) and (f := m.flow("charge")) is not None}
    if flows and max(flows.values()) - min(flows.values()) > _UNEQUAL:
        found.append(
            f"One current flows through all of them, and they read more than {_UNEQUAL:g} A apart."
        )
    if any(member.conducts(d, now) is False for member in members for d in DIRECTIONS):
        found.append(
            "A pack of the stack is open: its FETs may see the voltage of the whole stack."
        )
    return found
