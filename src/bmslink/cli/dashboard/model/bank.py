"""All packs together: what a bank takes and gives, and the worst of everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.model.ranking import in_order

__all__ = ["BankSums", "sums_of", "time_left"]

_STEADY = 60.0
"""The current of so many seconds says how long it lasts."""
_IDLE = 0.002
"""C; below that nobody knows how long it lasts."""
_LONGEST = 30 * 24 * 3600.0

Extreme = tuple[float, str]
"""A value, and the name of its pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BankSums:
    """Of the packs whose readings are live; V, A, W, %, °C. `None`: no live pack says it."""

    packs: int
    live: int
    current: float | None
    power: float | None
    soc: tuple[float, float] | None
    """The lowest and the highest."""
    lowest_cell: Extreme | None
    highest_cell: Extreme | None
    delta: Extreme | None
    coldest: Extreme | None
    warmest: Extreme | None
    seconds: float | None
    """Until it is full (while charging) or empty at the current of the last minute."""
    charging: bool
    worst: WatchedPack | None
    """The first of the list, whatever it is sorted by."""
    limits: tuple[float, float] | None
    """What the service lets the bank of all these packs take and give, A."""


def sums_of(packs: Sequence[WatchedPack], now: float) -> BankSums:
    """The sums of a bank."""
    live = [p for p in packs if p.freshness(now) == "live" and p.reading is not None]
    readings = [(p, p.reading) for p in live if p.reading is not None]
    currents = [r.current for _, r in readings if r.current is not None]
    powers = [r.power for _, r in readings if r.power is not None]
    charges = [r.soc for _, r in readings if r.soc is not None]
    probes = [(v, p.name) for p, r in readings for v in r.temperatures.values() if v is not None]
    lows = [(v, p.name) for p, r in readings if (v := r.min_cell_voltage) is not None]
    highs = [(v, p.name) for p, r in readings if (v := r.max_cell_voltage) is not None]
    deltas = [(v, p.name) for p, r in readings if (v := r.cell_delta) is not None]
    steady = [p.history.mean_current(now - _STEADY) for p in live]
    flowing = sum(v for v in steady if v is not None) if None not in steady and steady else None
    return BankSums(
        packs=len(packs),
        live=len(live),
        current=sum(currents) if currents else None,
        power=sum(powers) if powers else None,
        soc=(min(charges), max(charges)) if charges else None,
        lowest_cell=min(lows, default=None),
        highest_cell=max(highs, default=None),
        delta=max(deltas, default=None),
        coldest=min(probes, default=None),
        warmest=max(probes, default=None),
        seconds=None if len(live) < len(packs) else _seconds(live, flowing),
        charging=(flowing or 0.0) > 0,
        worst=next(iter(in_order(packs, "worst", now)), None),
        limits=_limits(packs),
    )


def _limits(packs: Sequence[WatchedPack]) -> tuple[float, float] | None:
    """`None` where these are not the packs of one bank."""
    if len({pack.bank.get("bank") for pack in packs}) != 1:
        return None
    amps = [packs[0].bank.get(name) for name in ("ccl", "dcl")]
    numbers = [float(each) for each in amps if isinstance(each, int | float)]
    return (numbers[0], numbers[1]) if len(numbers) == len(amps) else None


def time_left(pack: WatchedPack, now: float) -> tuple[float | None, bool]:
    """The same of one pack: seconds until full or empty, and whether it charges."""
    flowing = pack.history.mean_current(now - _STEADY)
    return _seconds([pack], flowing), (flowing or 0.0) > 0


def _seconds(packs: Sequence[WatchedPack], flowing: float | None) -> float | None:
    left, full = 0.0, 0.0
    for pack in packs:
        reading = pack.reading
        if reading is None:
            return None
        whole = reading.full_capacity or reading.nominal_capacity
        if reading.remaining_capacity is None or whole is None:
            return None
        left, full = left + reading.remaining_capacity, full + whole
    now = sum(p.reading.current or 0.0 for p in packs if p.reading is not None)
    if flowing is None or full <= 0 or abs(flowing) < _IDLE * full or now * flowing <= 0:
        return None  # nothing flows, or the other way than a moment ago
    amount = full - left if flowing > 0 else left
    seconds = max(0.0, amount) / abs(flowing) * 3600
    return seconds if seconds <= _LONGEST else None
