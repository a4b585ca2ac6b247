"""The second pack model, growing old: with time, warmth and use it loses capacity, and its
resistance grows. Independent of everything under `src/`, like the model itself.

The loss with time follows the square root of time and doubles about every 12 K; the loss with use
is linear in full cycles. A step may be minutes long: the charger's voltage is held at its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise

from second_pack import KINDS, Charger, SecondPack

__all__ = ["Ageing", "AgeingPack"]

_YEAR = 365.25 * 86400.0
_TAU_1, _TAU_2 = 20.0, 600.0
_DAY = 86400.0


@dataclass(frozen=True)
class Ageing:
    """How fast."""

    calendar: float = 0.025
    """Of the capacity, after the first year at 25 °C."""
    cycles: float = 0.00012
    """Of the capacity, for each full cycle."""
    growth: float = 2.5
    """By how many times the loss of capacity the resistance grows."""


@dataclass
class AgeingPack(SecondPack):
    """Grows old from the first step."""

    ageing: Ageing = field(default_factory=Ageing)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fresh = self.capacity
        self.lived = 0.0
        self.moved = 0.0
        self.stress = 0.0
        self._aged = 0.0
        self._seconds = 0.0
        self._new = KINDS[self.kind]

    @property
    def cycles(self) -> float:
        """Full cycles."""
        return self.moved / 2 / 3600 / self.fresh

    @property
    def weakest(self) -> float:
        """Ah of the cell that holds the least: what the pack gives from full to empty."""
        return self.capacity * (1 + 0.02 * min(self.spread))

    def resistance(self, index: int, seconds: float = 10.0, celsius: float | None = None) -> float:
        """Ω of a cell so long after a step."""
        core = self.core if celsius is None else celsius
        cold = math.exp(24_000.0 / 8.314 * (1 / (core + 273.15) - 1 / 298.15))
        ohm = self._kind.resistance / self.capacity * cold * (1 + self.spread[index])
        one, other = math.exp(-seconds / _TAU_1), math.exp(-seconds / _TAU_2)
        return ohm * (0.5 + 0.25 * (1 - one) + 0.25 * (1 - other))

    def step(self, seconds: float, load: float, charger: Charger) -> None:
        """Time passes; it may be minutes."""
        self._seconds = seconds
        super().step(seconds, load, charger)
        self.lived += seconds
        self.moved += abs(self.current) * seconds
        self.stress += seconds * 2 ** ((self.core - 25.0) / 12.0)
        if self.lived - self._aged >= _DAY:
            self.grow_old()

    def grow_old(self) -> None:
        """Capacity and resistance as of now."""
        self._aged = self.lived
        lost = self.ageing.calendar * math.sqrt(self.stress / _YEAR)
        lost += self.ageing.cycles * self.cycles
        self.capacity = self.fresh * (1 - lost)
        # a cell's R·C is what the model keeps: R grows, though C shrinks
        grown = (1 + self.ageing.growth * lost) * (1 - lost)
        self._kind = replace(self._new, resistance=self._new.resistance * grown)

    def _flow(self, inner: float, ohms: float, load: float, charger: Charger) -> float:
        """What flows so that the charger's voltage is reached at the end of the step."""
        seconds = self._seconds
        one, other = 1 - math.exp(-seconds / _TAU_1), 1 - math.exp(-seconds / _TAU_2)
        faded = inner - sum(self.fast) * one - sum(self.slow) * other
        rise = sum(self._slope(soc) for soc in self.soc) * seconds / 3600 / self.capacity
        whole = ohms * (1 + 0.5 * one + 0.5 * other) + rise
        return super()._flow(faded, whole, load, charger)

    def _slope(self, soc: float) -> float:
        """V for each 1 of charge, a little above where it is."""
        curve = self._new.curve
        for (x0, y0), (x1, y1) in pairwise(curve):
            if soc < x1:
                return (y1 - y0) / (x1 - x0)
        return 0.0
