"""What a bank has as a whole: voltage, current, charge. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TypedDict

from bmslink.control.banks.member import Member

__all__ = ["Sums", "parallel_sums", "series_sums"]


class Sums(TypedDict):
    """As in `BankDecision`."""

    voltage: float | None
    current: float | None
    soc: float | None
    soc_spread: float | None
    capacity: float | None


def parallel_sums(members: Sequence[Member], conducting: Sequence[Member], now: float) -> Sums:
    """Of packs in parallel."""
    heard = [each for each in conducting if each.fresh(now)]
    voltages = [v for each in heard if (v := _voltage(each)) is not None]
    charges = _charges(heard)
    capacity = sum(each.capacity for each in conducting)
    soc = None
    if charges and len(charges) == len(heard):
        whole = sum(each.capacity for each in heard)
        soc = sum(soc * each.capacity for soc, each in zip(charges, heard, strict=True)) / whole
    return Sums(
        voltage=_rounded(median(voltages), 3) if voltages else None,
        current=_total(members, now),
        soc=_rounded(soc, 2),
        soc_spread=_spread(charges),
        capacity=_rounded(capacity, 3) if conducting else None,
    )


def series_sums(members: Sequence[Member], now: float) -> Sums:
    """Of packs in series: one current, and all voltages."""
    heard = [each for each in members if each.fresh(now)]
    whole = len(heard) == len(members)
    voltages = [v for each in heard if (v := _voltage(each)) is not None]
    currents = [c for each in heard if (c := each.flow("charge")) is not None]
    charges = _charges(heard)
    every = whole and len(voltages) == len(members)
    return Sums(
        voltage=_rounded(sum(voltages), 3) if every else None,
        current=_rounded(median(currents), 3) if currents else None,
        soc=min(charges) if charges and len(charges) == len(members) else None,
        soc_spread=_spread(charges),
        capacity=min(each.capacity for each in members),
    )


def _voltage(member: Member) -> float | None:
    return None if member.reading is None else member.reading.voltage


def _charges(heard: Sequence[Member]) -> list[float]:
    return [r.soc for each in heard if (r := each.reading) is not None and r.soc is not None]


def _spread(charges: Sequence[float]) -> float | None:
    return _rounded(max(charges) - min(charges), 2) if len(charges) > 1 else None


def _total(members: Sequence[Member], now: float) -> float | None:
    """The sum of all currents; a pack that is apart and silent adds none."""
    total = 0.0
    for each in members:
        flow = each.flow("charge") if each.fresh(now) else None
        if flow is None:
            if each.apart:
                continue
            return None
        total += flow
    return _rounded(total, 3)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
