"""A second battery pack, to judge the policies with: independent of the simulated one.

Nothing under `src/` imports this, and it imports nothing of `bmslink.simulation` or of the
chemistries of `bmslink.settings`: two models that share their mistakes agree about nothing.

Each cell: rest voltage over charge, R0, two RC pairs (20 s and 10 min), resistances that grow in
the cold (Arrhenius), a capacity, a leak. The pack: one lump of heat with a way to the air, probes
that lag behind it, MOSFETs with little mass, a balancer, a BMS that protects itself.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["KINDS", "Charger", "Kind", "ParallelPacks", "SecondPack"]

_GAS = 8.314  # J/(mol K)
_WARM = 298.15  # K
_ACTIVATION = 24_000.0  # J/mol: the resistance doubles from 25 to about 5 °C
_TAU_1, _TAU_2 = 20.0, 600.0  # s


@dataclass(frozen=True)
class Kind:
    """A chemistry: rest voltages by state of charge (0..1), and R·C of a cell in Ω·Ah."""

    curve: tuple[tuple[float, float], ...]
    resistance: float


# From discharge curves at C/20 in makers' sheets and papers, read off anew for this file.
KINDS: Mapping[str, Kind] = {
    "lfp": Kind(
        ((0.0, 2.50), (0.01, 2.78), (0.03, 2.98), (0.06, 3.10), (0.10, 3.19), (0.15, 3.215),
         (0.25, 3.26), (0.40, 3.285), (0.55, 3.295), (0.66, 3.315), (0.72, 3.328), (0.90, 3.334),
         (0.96, 3.342), (0.985, 3.365), (0.995, 3.43), (1.0, 3.52), (1.01, 3.75), (1.03, 4.3)),
        0.07,
    ),
    "nmc": Kind(
        ((0.0, 2.90), (0.02, 3.20), (0.05, 3.35), (0.10, 3.46), (0.20, 3.56), (0.35, 3.63),
         (0.50, 3.71), (0.65, 3.84), (0.80, 3.97), (0.90, 4.07), (1.0, 4.195), (1.03, 4.26),
         (1.10, 4.45)),
        0.09,
    ),
    "lto": Kind(
        ((0.0, 1.75), (0.02, 1.97), (0.06, 2.09), (0.15, 2.18), (0.30, 2.235), (0.50, 2.295),
         (0.70, 2.385), (0.85, 2.47), (0.95, 2.555), (1.0, 2.66), (1.02, 2.76), (1.06, 3.0)),
        0.03,
    ),
}  # fmt: skip


def _at(curve: tuple[tuple[float, float], ...], x: float) -> float:
    index = min(max(bisect_right(curve, (x, math.inf)), 1), len(curve) - 1)
    (x0, y0), (x1, y1) = curve[index - 1], curve[index]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


@dataclass
class Charger:
    """Constant current, then constant voltage; `obeys`: the limits that it is told."""

    amps: float
    volts: float
    obeys: bool = False
    on: bool = True
    cvl: float = math.inf
    ccl: float = math.inf

    @property
    def most(self) -> tuple[float, float]:
        """What it may give now: A and V."""
        if not self.on:
            return 0.0, self.volts
        if self.obeys:
            return min(self.amps, self.ccl), min(self.volts, self.cvl)
        return self.amps, self.volts


@dataclass
class SecondPack:
    """Several cells in series. Currents are positive while charging; temperatures in °C."""

    kind: str
    cells: int
    capacity: float
    soc: list[float]
    """Of each cell, 0..1."""
    spread: list[float] = field(default_factory=list)
    """What each cell's resistance and capacity differ by, ±."""
    ambient: float = 20.0
    balancer: float = 0.0
    """A that the highest cell loses while it balances."""
    balance_from: float = 0.0
    ovp: float = math.inf
    uvp: float = 0.0
    charge_open: bool = False
    """The host opened the charge path; a load may still flow."""
    discharge_open: bool = False
    heater: float = 0.0
    """W into the pack."""
    inside: float = 0.0
    """W that a failing cell makes."""
    sun: float = 0.0
    """K by which the sun warms probe 1 in the end."""

    def __post_init__(self) -> None:
        self._kind = KINDS[self.kind]
        self.spread = self.spread or [0.0] * self.cells
        self.fast = [0.0] * self.cells
        self.slow = [0.0] * self.cells
        self.core = self.ambient
        self.probes = [self.ambient, self.ambient]
        self.mosfet = self.ambient
        self.current = 0.0
        self.balancing = False
        self.protected = ""
        self.volts = [self._rest(i) for i in range(self.cells)]
        # 1 kJ/(kg K), and 7.5 kg a kWh; it cools to the air in some hours
        energy = self.cells * self.capacity * self._rest(0) / 1000
        self._mass = 7500.0 * energy
        self._way = self._mass / (5 * 3600)

    def _rest(self, index: int) -> float:
        return _at(self._kind.curve, self.soc[index])

    def step(self, seconds: float, load: float, charger: Charger) -> None:
        """Time passes with a load of so many A (positive) and a charger."""
        inner, ohms = self.source()
        self.carry(seconds, self._flow(inner, ohms, load, charger))

    def source(self) -> tuple[float, float]:
        """What it is for whatever is connected: a voltage, V, behind a resistance, Ω."""
        inner = [self._rest(i) + self.fast[i] + self.slow[i] for i in range(self.cells)]
        ohm = 0.5 * self._ohm()
        return sum(inner), sum(ohm * (1 + self.spread[i]) for i in range(self.cells))

    def _ohm(self) -> float:
        """R0 and both RC pairs of a cell together, as cold as it is."""
        cold = math.exp(_ACTIVATION / _GAS * (1 / (self.core + 273.15) - 1 / _WARM))
        return self._kind.resistance / self.capacity * cold

    def passes(self, amps: float) -> bool:
        """Whether its paths let such a current through."""
        if amps > 0:
            return not (self.charge_open or self.protected == "high")
        return amps == 0 or not (self.discharge_open or self.protected == "low")

    def carry(self, seconds: float, amps: float) -> None:
        """Time passes with this current."""
        self.current = amps
        ohm = self._ohm()
        straight = [0.5 * ohm * (1 + self.spread[i]) for i in range(self.cells)]
        one, other = math.exp(-seconds / _TAU_1), math.exp(-seconds / _TAU_2)
        highest = max(range(self.cells), key=lambda i: self.volts[i])
        apart = self.volts[highest] - min(self.volts)
        self.balancing = bool(self.balancer) and (
            self.volts[highest] > self.balance_from and apart > 0.005
        )
        for i in range(self.cells):
            part = 0.25 * ohm * (1 + self.spread[i])
            self.fast[i] = self.fast[i] * one + amps * part * (1 - one)
            self.slow[i] = self.slow[i] * other + amps * part * (1 - other)
            flow = amps - (self.balancer if self.balancing and i == highest else 0.0)
            self.soc[i] += flow * seconds / 3600 / (self.capacity * (1 + 0.02 * self.spread[i]))
            self.soc[i] = min(1.2, max(0.0, self.soc[i]))
            self.volts[i] = self._rest(i) + self.fast[i] + self.slow[i] + amps * straight[i]
        self._protect()
        self._warm(seconds, amps, self.cells * ohm)

    def _flow(self, inner: float, ohms: float, load: float, charger: Charger) -> float:
        """What flows, A, through the paths that are closed."""
        most, volts = charger.most
        wanted = min(most, max(0.0, (volts - inner) / ohms + load)) - load
        return wanted if self.passes(wanted) else 0.0

    def _protect(self) -> None:
        """The BMS's own stops."""
        high, low = max(self.volts), min(self.volts)
        if high >= self.ovp:
            self.protected = "high"
        elif low <= self.uvp:
            self.protected = "low"
        elif (self.protected == "high" and high < self.ovp - 0.2) or (
            self.protected == "low" and low > self.uvp + 0.3
        ):
            self.protected = ""

    def _warm(self, seconds: float, amps: float, ohms: float) -> None:
        heat = amps * amps * ohms + self.heater + self.inside
        self.core += (heat - self._way * (self.core - self.ambient)) * seconds / self._mass
        aims = [self.core + self.sun, self.core]
        # a mat lies nearer to the first probe
        aims[0] += 0.02 * self.heater
        lag = 1 - math.exp(-seconds / 120)
        self.probes = [p + (aim - p) * lag for p, aim in zip(self.probes, aims, strict=True)]
        hot = self.core + 12.0 * (abs(amps) / max(self.capacity, 1)) ** 2 * 4
        self.mosfet += (hot - self.mosfet) * (1 - math.exp(-seconds / 90))


@dataclass
class ParallelPacks:
    """Packs on one pair of busbars: the voltage of the node is where all currents add up."""

    packs: list[SecondPack]
    cables: list[float]
    """Ω between each pack and the busbars, with its FETs and joints."""
    joined: list[bool] = field(default_factory=list)
    """Whether its breaker is closed."""

    def __post_init__(self) -> None:
        self.joined = self.joined or [True] * len(self.packs)
        self.volts = self._node(0.0)

    def step(self, seconds: float, load: float, charger: Charger) -> None:
        """Time passes with a load of so many A (positive) and a charger at the busbars."""
        most, volts = charger.most
        node = self._node(most - load)
        if charger.on and node > volts:
            node = max(volts, self._node(-load))
        self.volts = node
        for pack, way in zip(self.packs, self._ways(), strict=True):
            pack.carry(seconds, way.flow(node))

    def _ways(self) -> list[_Way]:
        return [
            _Way(pack, inner, ohms + cable, joined)
            for pack, cable, joined in zip(self.packs, self.cables, self.joined, strict=True)
            for inner, ohms in (pack.source(),)
        ]

    def _node(self, amps: float) -> float:
        """The voltage at which all packs together take so much; where they cannot, the nearest."""
        ways = self._ways()
        low = min(way.inner for way in ways) - 20.0
        high = max(way.inner for way in ways) + 20.0
        for _ in range(50):
            middle = (low + high) / 2
            if sum(way.flow(middle) for way in ways) < amps:
                low = middle
            else:
                high = middle
        return high


@dataclass
class _Way:
    """A pack as the busbars see it: V behind Ω."""

    pack: SecondPack
    inner: float
    ohms: float
    joined: bool

    def flow(self, node: float) -> float:
        """A, at this voltage of the node."""
        amps = (node - self.inner) / self.ohms
        return amps if self.joined and self.pack.passes(amps) else 0.0
