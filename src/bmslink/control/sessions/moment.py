"""What one reading shows of what a session goes by."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bmslink.control.decide.sample import HIGHEST_CELL, OPEN
from bmslink.model import Condition, Reading

__all__ = ["CellsNow", "Unusable", "look"]

_LOWEST_CELL = 0.5
"""V: below this a cell is dead or its wire is off, and nothing can be balanced by what it shows."""
_HOT_PARTS = ("balancer", "mosfet")
_NO_CELLS = ("mosfet", "balancer", "board", "ambient", "ic", "heater")
_PASSING = frozenset(
    {
        Condition.CHARGE_UNDERTEMPERATURE,
        Condition.DISCHARGE_UNDERTEMPERATURE,
        Condition.DISCHARGE_OVERCURRENT,
        Condition.CHARGE_OVERCURRENT,
        Condition.CELL_DELTA,
        Condition.FULLY_CHARGED,
        Condition.SOC_LOW,
    }
)
"""Protections that go by themselves: a cold morning, a kettle. The session waits."""


class Unusable(Exception):
    """A reading that says too little; the text says what is missing."""


class CellsNow(msgspec.Struct, frozen=True, kw_only=True):
    """V, A (positive while charging), °C, %, Ah; `None` is not known."""

    cells: tuple[float, ...]
    current: float | None
    soc: float | None = None
    capacity: float | None = None
    hottest: float | None = None
    """Of the cell probes."""
    coldest: float | None = None
    part: float | None = None
    """The hotter of balancer and MOSFETs."""
    balancing: bool | None = None
    charge_switch: bool | None = None
    balance_switch: bool | None = None
    charging_allowed: bool | None = None
    shut: bool = False
    """No charge current is let in, and nothing that the board says is the reason."""
    protections: tuple[str, ...] = ()
    """What has tripped and does not pass by itself, and what is broken."""
    passing: tuple[str, ...] = ()
    """What has tripped and goes by itself."""

    @property
    def high(self) -> float:
        """The highest cell."""
        return max(self.cells)

    @property
    def low(self) -> float:
        """The lowest cell."""
        return min(self.cells)

    @property
    def delta(self) -> float:
        """Between them, whole tenths of a millivolt."""
        return round(self.high - self.low, 4)

    @property
    def highest(self) -> int:
        """The number of the highest cell, from 1."""
        return self.cells.index(self.high) + 1

    @property
    def lowest(self) -> int:
        """The number of the lowest cell, from 1."""
        return self.cells.index(self.low) + 1

    @property
    def total(self) -> float:
        """All cells."""
        return sum(self.cells)


def look(reading: Reading, capacity: float | None = None) -> CellsNow:
    """What it shows. `capacity`: what somebody stated, Ah. Raises `Unusable`."""
    cells = tuple(v for v in reading.cell_voltages if v is not None)
    if len(cells) < 2 or len(cells) != len(reading.cell_voltages):
        raise Unusable("not every cell was measured")
    for number, volts in enumerate(cells, 1):
        if not _LOWEST_CELL <= volts <= HIGHEST_CELL:
            raise Unusable(f"cell {number} shows {volts:.3f} V, which no cell has")
    probes = _known(reading.temperatures, cells=True)
    parts = _known(reading.temperatures, cells=False)
    tripped = [*reading.protections, *reading.faults]
    switch, shut = reading.charge_switch, False
    if switch is None and reading.charging_allowed is False and not tripped:
        locked = Condition.SOFTWARE_LOCK in reading.alarms
        switch, shut = False if locked else None, not reading.alarms
    return CellsNow(
        cells=cells,
        current=reading.current,
        soc=reading.soc,
        capacity=capacity or reading.full_capacity or reading.nominal_capacity,
        hottest=max(probes, default=None),
        coldest=min(probes, default=None),
        part=max(parts, default=None),
        balancing=reading.balancing_active,
        charge_switch=switch,
        balance_switch=reading.balance_switch,
        charging_allowed=reading.charging_allowed,
        shut=shut,
        protections=tuple(str(c) for c in tripped if c not in _PASSING),
        passing=tuple(str(c) for c in reading.protections if c in _PASSING),
    )


def _known(temperatures: Mapping[str, float | None], *, cells: bool) -> list[float]:
    """What the probes at the cells say, or those at the parts that get hot; a broken wire says
    nothing."""
    return [
        celsius
        for name, celsius in temperatures.items()
        if celsius is not None
        and celsius > OPEN
        and (name not in _NO_CELLS if cells else name in _HOT_PARTS)
    ]
