"""One reading as the estimators see it: what cannot be is unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from bmslink.model import Reading

__all__ = ["Counted", "LifeSample", "sample_of"]

_NO_CELLS = ("mosfet", "board", "balancer", "ambient", "heater")
"""Probes that say nothing of the cells' temperature: names that contain one of these."""
_HIGHEST_RATE = 20.0
"""C: no pack gives more for as long as a reading takes."""


class Counted(msgspec.Struct, frozen=True):
    """What the one counter of charge and energy has counted: As, J, s (`EnergyTotals`)."""

    charge_in: float = 0.0
    charge_out: float = 0.0
    energy_in: float = 0.0
    energy_out: float = 0.0
    known: float = 0.0
    unknown: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether it can be what a counter says."""
        return all(0 <= n < math.inf for n in msgspec.structs.astuple(self))

    def since(self, before: Counted) -> Counted | None:
        """What was counted after `before`; `None` where that is another counter."""
        found = Counted(
            self.charge_in - before.charge_in,
            self.charge_out - before.charge_out,
            self.energy_in - before.energy_in,
            self.energy_out - before.energy_out,
            self.known - before.known,
            self.unknown - before.unknown,
        )
        # a hair below zero is the rounding of a float that went over the disk
        numbers = msgspec.structs.astuple(found)
        if not all(math.isfinite(n) and n > -1e-3 for n in numbers):
            return None
        return Counted(*(max(0.0, n) for n in numbers))

    def plus(self, more: Counted) -> Counted:
        """Both together."""
        mine, others = msgspec.structs.astuple(self), msgspec.structs.astuple(more)
        return Counted(*(a + b for a, b in zip(mine, others, strict=True)))


@dataclass(frozen=True, slots=True)
class LifeSample:
    """One reading, sound values only."""

    time: datetime
    """By the calendar, UTC."""
    age: float
    """s since the record of the battery began, by a clock that is never set."""
    step: float
    """s since the reading before, all known; 0 where the time between is unknown."""
    net: float
    """Charge counted since the record began, As; positive: more in than out."""
    unknown: float
    """s since the record began of which nothing is counted."""
    moved: float
    """Charge in and out since the record began, As."""
    current: float | None
    """A, positive while charging."""
    cells: tuple[float, ...]
    """V; empty unless every cell is known."""
    temperature: float | None
    """°C, mean of the cells' probes."""
    soc: float | None
    """%, as the board says."""

    @property
    def mean(self) -> float:
        """V per cell; only with cells."""
        return sum(self.cells) / len(self.cells)


def number(value: object, low: float, high: float) -> float | None:
    """A number within a range; else `None`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if low <= value <= high else None


def cells_of(reading: Reading) -> tuple[float, ...]:
    """Every cell's voltage, V; empty where one is unknown or no cell's."""
    found = [number(volts, 0.5, 5.0) for volts in reading.cell_voltages]
    known = tuple(volts for volts in found if volts is not None)
    return known if len(known) == len(found) else ()


def temperature_of(reading: Reading) -> float | None:
    """°C, mean of the cells' probes that are sound."""
    found = [
        value
        for name, each in reading.temperatures.items()
        if (value := number(each, -45.0, 120.0)) is not None
        and not any(word in name for word in _NO_CELLS)
    ]
    return sum(found) / len(found) if found else None


def sample_of(
    reading: Reading,
    *,
    time: datetime,
    age: float,
    step: float,
    counted: Counted,
    capacity: float | None,
) -> LifeSample:
    """What the estimators see of a reading. `capacity` in Ah."""
    most = _HIGHEST_RATE * (capacity or 1000.0)
    return LifeSample(
        time=time,
        age=age,
        step=step,
        net=counted.charge_in - counted.charge_out,
        unknown=counted.unknown,
        moved=counted.charge_in + counted.charge_out,
        current=number(reading.current, -most, most),
        cells=cells_of(reading),
        temperature=temperature_of(reading),
        soc=number(reading.soc, 0.0, 100.0),
    )


def widest(values: Sequence[float]) -> float:
    """Highest minus lowest."""
    return max(values) - min(values)
