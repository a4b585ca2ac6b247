"""When a battery is surely full, and when it is surely empty: where the voltage says the charge.

Full: the charge voltage is held and little current flows. Empty: the lowest cell, without the drop
that its current makes, is beyond the knee of the curve. In between the curve of an LFP cell says
nothing, and nothing is made of it.
"""

from __future__ import annotations

from typing import NamedTuple

from bmslink.analysis.sample import LifeSample
from bmslink.settings.chemistry import Chemistry

__all__ = ["Anchor", "FullWatch", "empty_anchor", "full_anchor"]

_TAPER = 0.06
"""C: makers' sheets end a full charge at 0.05 C."""
_LEAK, _LEAK_AMPS = -0.005, -0.35
"""C and A: as much may seem to flow out of a battery whose charger holds the voltage. Boards'
currents have offsets of 0.1 to 0.3 A, which are much of a small battery's C."""
_HELD = 120.0
"""s that the voltage is held before it counts."""
_BEYOND = 5.0
"""% of charge at the knee: below it the curves of all makers fall steeply."""
_HEAVY = 0.6
"""C: above it the drop of the current hides the knee."""
_FULL_AT = {"lfp": 99.0}
_USUALLY_FULL_AT = 92.0
"""% where a charger for daily use holds: without a plateau the voltage says the charge there."""
_CURVE_AT_TOP = {"lfp": 0.004}
_CURVE_USUALLY = 0.012
_CURVE_AT_KNEE = 0.007
"""By how much makers' curves differ in charge, 0..1, one standard deviation."""
_VOLTS = 0.010
"""V that a board's cell voltage may be wrong by."""


class Anchor(NamedTuple):
    """A charge that the voltage says."""

    soc: float
    """0..1."""
    sigma: float
    """One standard deviation."""


def full_anchor(sample: LifeSample, kind: Chemistry, capacity: float) -> Anchor | None:
    """The charge, where this reading shows a full battery."""
    current = sample.current
    if current is None or not sample.cells:
        return None
    if not min(_LEAK * capacity, _LEAK_AMPS) <= current <= _TAPER * capacity:
        return None
    least = kind.ocv(_FULL_AT.get(kind.name, _USUALLY_FULL_AT))
    rest = sample.mean - current * kind.resistance / capacity
    if rest < least or max(sample.cells) > kind.limits["cell_ovp"] + 0.05:
        return None
    return Anchor(kind.soc_at(rest) / 100, _CURVE_AT_TOP.get(kind.name, _CURVE_USUALLY))


def empty_anchor(sample: LifeSample, kind: Chemistry, capacity: float) -> Anchor | None:
    """The charge of the lowest cell, where this reading shows an empty battery."""
    current = sample.current
    if current is None or not sample.cells or current > 0.002 * capacity:
        return None
    if -current > _HEAVY * capacity:
        return None
    drop = -current * kind.resistance / capacity
    low = min(sample.cells)
    rest = low + drop
    if rest > kind.ocv(_BEYOND) or low < kind.empty_voltage - 0.6:
        return None
    soc = kind.soc_at(rest)
    doubt = _VOLTS + 0.5 * drop
    apart = (kind.soc_at(rest + doubt) - kind.soc_at(rest - doubt)) / 200
    return Anchor(soc / 100, (apart**2 + _CURVE_AT_KNEE**2) ** 0.5)


class FullWatch:
    """Whether the charge voltage has been held long enough."""

    def __init__(self) -> None:
        self._since: float | None = None

    def hear(self, sample: LifeSample, anchor: Anchor | None) -> bool:
        """Whether it is full now: so for two minutes, without a gap."""
        if anchor is None:
            self._since = None
            return False
        if self._since is None or sample.step <= 0:
            self._since = sample.age
        return sample.age - self._since >= _HELD
