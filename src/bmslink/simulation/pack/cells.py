"""The cells of a simulated pack: what they hold, and the voltage they show.

Each cell is a rest voltage over its charge and a resistance; one slow polarisation term follows
the current with a time constant of minutes. No two cells are quite alike.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Collection
from itertools import pairwise

from bmslink.settings.chemistry import Chemistry

__all__ = ["Cells"]

_POLARISATION_TIME = 300.0  # s
_POLARISATION_SHARE = 0.7  # of the direct resistance, fully built up
_SELF_DISCHARGE = 0.02 / (30 * 86400)  # of the capacity per second: 2 % a month
_OVERCHARGE_SLOPE = 0.08  # V per % above full
_DEPLETION_SLOPE = 0.15  # V per % below empty
_SOC_MARGIN = 10.0  # % beyond 0..100 after which a cell stores nothing more
_TRANSFER = 0.85  # of what an active balancer takes from one cell reaches the other
_HIGHEST = 10.0  # V: the end of what the measuring chip can tell


class Cells:
    """Cells in series. `stiffness` below is the factor on all resistances (1 at 25 °C)."""

    def __init__(self, kind: Chemistry, count: int, capacity: float, draw: random.Random) -> None:
        """`count` cells of about `capacity` Ah; `draw` decides how they differ."""
        self.kind = kind
        self.full = [capacity * factor for factor in _factors(draw, count, 0.005)]
        """Ah that each cell holds."""
        self._room = [  # Ah at which it stores nothing more, either way
            (-full * _SOC_MARGIN / 100, full * (1 + _SOC_MARGIN / 100)) for full in self.full
        ]
        typical = kind.resistance / capacity
        self._resistance = [typical * factor for factor in _factors(draw, count, 0.06)]
        self.resistance = sum(self._resistance)
        """Ω of all cells, at 25 °C, without polarisation."""
        leaks = _factors(draw, count, 0.2)
        self._leak = [_SELF_DISCHARGE * ah * f for ah, f in zip(self.full, leaks, strict=True)]
        offsets = [100 * (factor - 1) for factor in _factors(draw, count, 0.0035)]
        mean = sum(o * ah for o, ah in zip(offsets, self.full, strict=True)) / sum(self.full)
        self._offsets = [offset - mean for offset in offsets]  # %: the pack's SOC stays exact
        self._unbalanced = False
        self._polarising = 0.0  # A: the current the slow term has followed so far
        points = (
            (-_SOC_MARGIN, kind.empty_voltage - _SOC_MARGIN * _DEPLETION_SLOPE),
            *kind.curve,
            (100 + _SOC_MARGIN, kind.full_voltage + _SOC_MARGIN * _OVERCHARGE_SLOPE),
        )
        self._starts = [soc for soc, _ in kind.curve]
        self._pieces = [(x, y, (y1 - y) / (x1 - x)) for (x, y), (x1, y1) in pairwise(points)]
        self.fill(0)

    @property
    def soc(self) -> float:
        """State of charge of all cells together, 0..100 %."""
        return min(100.0, max(0.0, 100 * sum(self.charge) / sum(self.full)))

    def unbalance(self, volts: float) -> None:
        """Let them hold so different charges that they rest `volts` apart when the highest is
        full; in effect from the next `fill`."""
        kind, offsets = self.kind, self._offsets
        apart = 100 - kind.soc_at(kind.full_voltage - volts)
        now = max(offsets) - min(offsets)
        self._unbalanced = True
        if now > 0:
            self._offsets = [offset * apart / now for offset in offsets]

    def fill(self, soc: float) -> None:
        """All cells to that SOC in %, with the differences they had at first; none of these at
        0 and 100, but for cells that were unbalanced on purpose."""
        share = min(1.0, soc / 5, 1.0 if self._unbalanced else (100 - soc) / 5)
        self.charge = [
            full * (soc + share * offset) / 100
            for full, offset in zip(self.full, self._offsets, strict=True)
        ]
        self._settle()

    def move(
        self,
        current: float,
        seconds: float,
        bleed: float = 0.0,
        bled: Collection[int] = (),
        fed: int = 0,
    ) -> None:
        """Charge with `current` A for a while; the `bled` cells (from 1) lose `bleed` A of it,
        and of what one loses another (`fed`; 0: none) gets most."""
        kept = math.exp(-seconds / _POLARISATION_TIME)
        self._polarising = current + (self._polarising - current) * kept
        if not seconds:  # nothing flowed
            return
        hours = seconds / 3600
        ends = zip(self.charge, self._leak, self._room, strict=True)
        for index, (held, leak, (low, high)) in enumerate(ends):
            amps = current - bleed if index + 1 in bled else current
            if index + 1 == fed:
                amps += _TRANSFER * bleed
            charge = held + amps * hours - leak * seconds
            self.charge[index] = low if charge < low else high if charge > high else charge
        self._settle()

    def _settle(self) -> None:
        """The rest voltage of each cell, and how fast their sum rises, V per Ah."""
        rest: list[float] = []
        slope = 0.0
        for charge, full in zip(self.charge, self.full, strict=True):
            soc = 100 * charge / full
            start, voltage, gradient = self._pieces[bisect_right(self._starts, soc)]
            rest.append(voltage + (soc - start) * gradient)
            slope += gradient * 100 / full
        self._rest, self._slope = rest, slope

    def voltages(self, current: float, stiffness: float) -> list[float]:
        """What the BMS measures at that current: whole millivolts."""
        driven = (current + _POLARISATION_SHARE * self._polarising) * stiffness
        return [
            min(_HIGHEST, max(0.0, round(rest + driven * resistance, 3)))
            for rest, resistance in zip(self._rest, self._resistance, strict=True)
        ]

    def current_to(self, voltage: float, seconds: float, stiffness: float) -> float:
        """The current that brings the cells to that voltage in all by the end of a step, A.

        Looking ahead to the end is what keeps long steps stable where the curve is steep.
        """
        kept = math.exp(-seconds / _POLARISATION_TIME)
        direct = self.resistance * stiffness
        slow = direct * _POLARISATION_SHARE
        room = voltage - sum(self._rest) - slow * self._polarising * kept
        return room / (self._slope * seconds / 3600 + direct + slow * (1 - kept))

    def heat(self, current: float, stiffness: float) -> float:
        """What that current warms them with once it has lasted, W."""
        return current**2 * self.resistance * (1 + _POLARISATION_SHARE) * stiffness


def _factors(draw: random.Random, count: int, share: float) -> list[float]:
    """Factors with a mean of 1, spread by `share` (a standard deviation, cut at about two)."""
    raw = [max(-2.0, min(2.0, draw.gauss(0, 1))) for _ in range(count)]
    mean = sum(raw) / count
    return [1 + share * (value - mean) for value in raw]
