"""Two years of a battery's use, as a board tells of them: for judging `bmslink.analysis`.

What is used and how is a `Use`; the pack behind it is `AgeingPack`. The board's current has an
offset that wanders and a gain that is wrong, its cells are measured some seconds beside it, it
rounds, loses readings, and is out of reach for hours. Time runs in large steps where nothing
happens, and second by second around load steps.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ageing_pack import Ageing, AgeingPack
from bmslink.model import Reading
from second_pack import Charger

__all__ = ["USES", "Told", "Use", "World"]

HOUR, DAY, YEAR = 3600.0, 86400.0, 365 * 86400.0
_BEGAN = datetime(2024, 3, 1, tzinfo=UTC)
_POLL = 5.0


@dataclass
class Plan:
    """One day: what is switched on when, and what may be charged."""

    loads: list[tuple[float, float, float]] = field(default_factory=list)
    """Start and length, s; A."""
    base: float = 0.0
    """A at all times."""
    sources: list[tuple[float, float, float]] = field(default_factory=list)
    """Chargers that are switched on and off: start and length, s; A."""
    sun: float = 0.0
    """A at noon."""


Days = Callable[[random.Random, int], Plan]


@dataclass(frozen=True)
class Use:
    """A battery and its days."""

    name: str
    days: Days
    capacity: float
    kind: str = "lfp"
    volts: float = 3.5
    """V of each cell that its charger holds."""
    warm: tuple[float, float] = (20.0, 8.0)
    """°C, mean and swing over the year."""
    coarse: float = 120.0
    """s."""
    ageing: Ageing = field(default_factory=Ageing)
    uvp: float = 2.8
    soc: float = 0.6


def _house(draw: random.Random, day: int) -> Plan:
    winter = 0.5 + 0.5 * math.cos(2 * math.pi * ((day + 60) % 365) / 365)
    cloudy = draw.random() < 0.25 + 0.35 * winter
    sun = (75 - 45 * winter) * (0.35 if cloudy else 1.0) * draw.uniform(0.8, 1.1)
    loads = [
        (draw.uniform(5.5, 21.5) * HOUR, draw.uniform(180, 900), draw.uniform(30, 75))
        for _ in range(4)
    ]
    loads.append((17.5 * HOUR, 2.5 * HOUR, draw.uniform(20, 32)))
    return Plan(loads, 3.0 + 2.0 * winter, [], sun)


def _van(draw: random.Random, day: int) -> Plan:
    weekend = day % 7 in (4, 5, 6) or draw.random() < 0.06
    if not weekend:
        plug = [(8 * HOUR, 10 * HOUR, 20.0)] if day % 7 == 3 else []
        return Plan([], 0.15, plug)
    loads = [
        (h * HOUR + draw.uniform(0, 1800), draw.uniform(120, 600), draw.uniform(15, 60))
        for h in (7, 12, 19)
    ]
    loads.append((18 * HOUR, 4 * HOUR, draw.uniform(5, 9)))
    drive = [] if draw.random() < 0.5 else [(10 * HOUR, draw.uniform(0.7, 2.5) * HOUR, 40.0)]
    return Plan(loads, 2.2, drive, 4.0)


def _ups(draw: random.Random, _day: int) -> Plan:
    loads = []
    if draw.random() < 0.12:
        loads.append((draw.uniform(1, 22) * HOUR, draw.uniform(120, 1500), draw.uniform(25, 45)))
    return Plan(loads, 0.05, [(0.0, DAY, 20.0)])


def _boat(draw: random.Random, day: int) -> Plan:
    season = (day % 365) < 200
    if not season:
        return Plan([], 0.05, [])
    sailing = day % 7 in (5, 6) or draw.random() < 0.1
    if not sailing:
        return Plan([], 0.3, [(9 * HOUR, 9 * HOUR, 30.0)] if day % 7 in (0, 4) else [])
    loads = [(9 * HOUR, 8 * HOUR, draw.uniform(8, 14))]
    loads += [(h * HOUR, draw.uniform(60, 300), draw.uniform(40, 90)) for h in (8, 13, 18, 20)]
    return Plan(loads, 3.5, [], 8.0)


USES = (
    Use("solar house", _house, 280.0),
    Use("van", _van, 100.0, warm=(17.0, 10.0), ageing=Ageing(0.03, 0.0002)),
    Use("UPS", _ups, 100.0, volts=3.45, warm=(26.0, 2.0), ageing=Ageing(0.05, 0.0001)),
    Use("boat", _boat, 200.0, warm=(14.0, 9.0), ageing=Ageing(0.02, 0.0003), volts=3.48),
)


@dataclass(frozen=True)
class Told:
    """What arrives, and what is true then."""

    clock: float
    reading: Reading
    gap: bool
    """Something was lost before it."""


class World:
    """One battery with its board."""

    def __init__(self, use: Use, seed: int) -> None:
        self.use, self.draw = use, random.Random(f"{use.name} {seed}")
        draw = self.draw
        spread = [draw.uniform(-0.12, 0.12) for _ in range(4)]
        self.pack = AgeingPack(
            use.kind,
            4,
            use.capacity * draw.uniform(0.93, 1.02),
            [use.soc] * 4,
            spread=spread,
            balancer=0.3,
            balance_from=3.40,
            uvp=use.uvp,
            ovp=3.62,
            ambient=use.warm[0],
            ageing=use.ageing,
        )
        self.charger = Charger(0.0, 4 * use.volts)
        self.offset = draw.choice((-1, 1)) * draw.uniform(0.1, 0.3)
        self.wander = 0.0
        self.gain = 1 + draw.gauss(0, 0.005)
        self.gain = min(1.01, max(0.99, self.gain))
        self.lag = draw.uniform(0.5, 3.0)
        """s that the cells are older than the current."""
        self.now = 0.0
        self.soc = 60.0
        self.energy = [0.0, 0.0]
        """J in and out, of what the board measures, without rounding, since `forget`."""
        self._past: list[tuple[float, tuple[float, ...]]] = []
        self._fine = False
        self._power = 0.0
        self._plan = Plan()
        self._edges: list[float] = []
        self._away = 0.0

    # -- time ------------------------------------------------------------------------------------

    def run(self, days: float) -> Iterator[Told]:
        """Everything that is read in so many days."""
        end, last, day = self.now + days * DAY, self.now, -1
        gap = False
        while self.now < end:
            if int(self.now // DAY) != day:
                day = int(self.now // DAY)
                self._begin_day(day)
            seconds = self._next()
            self._advance(seconds)
            if self.now - last < _POLL - 0.5:
                continue
            if self.now < self._away or self.draw.random() < 0.01:
                gap = gap or self.now < self._away
                continue
            last = self.now
            yield Told(self.now, self.read(), gap)
            gap = False

    def _begin_day(self, day: int) -> None:
        draw = self.draw
        self._plan = self.use.days(draw, day)
        start = day * DAY
        edges = {
            start + a + d
            for a, length, _ in (*self._plan.loads, *self._plan.sources)
            for d in (0.0, length)
        }
        self._edges = sorted(e for e in edges if e > self.now)
        mean, swing = self.use.warm
        self.pack.ambient = mean - swing * math.cos(2 * math.pi * (day + 40) / 365)
        self.pack.ambient += draw.uniform(-2, 2)
        self.wander = max(-0.05, min(0.05, self.wander + draw.gauss(0, 0.01)))
        if draw.random() < 1 / 20:
            self._away = self.now + draw.uniform(0, 18) * HOUR + draw.uniform(1, 6) * HOUR

    def _next(self) -> float:
        """How long the next step is, s."""
        while self._edges and self._edges[0] < self.now - 30:
            self._edges.pop(0)
        coarse = self.use.coarse
        if self.pack.current > 0.01 * self.pack.capacity:
            # A reading tells the current of the step that ends with it: as long a step up the
            # hill of a day as down, else charge is lost that no board loses.
            coarse = 60.0
        if min(self.pack.volts) < 3.08:
            coarse = 20.0
        midnight = (self.now // DAY + 1) * DAY - self.now
        if not self._edges:
            return min(coarse, max(1.0, midnight))
        ahead = self._edges[0] - self.now
        if ahead > 65:
            return min(coarse, ahead - 60, max(1.0, midnight))
        return 5.0 if ahead > 10 else 1.0

    def _advance(self, seconds: float) -> None:
        plan, pack = self._plan, self.pack
        at = (self.now + seconds / 2) % DAY
        load = plan.base + sum(a for start, long, a in plan.loads if start <= at < start + long)
        sun = max(0.0, math.sin(math.pi * (at / HOUR - 7) / 11)) if 7 < at / HOUR < 18 else 0.0
        self.charger.amps = plan.sun * sun + sum(
            a for start, long, a in plan.sources if start <= at < start + long
        )
        self.charger.on = self.charger.amps > 0.1
        pack.step(seconds, load, self.charger)
        self.now += seconds
        amps = self.measured()
        power = amps * sum(pack.volts)
        for each in (self._power, power):
            self.energy[each < 0] += abs(each) * seconds / 2
        self._power = power
        self._fine = seconds < 2
        self._past.append((self.now, tuple(pack.volts)))
        while len(self._past) > 12:
            self._past.pop(0)
        self.soc += 100 * amps * seconds / 3600 / self.use.capacity
        full = min(pack.volts) > 3.4 and 0 <= pack.current < 0.05 * pack.capacity
        self.soc = 100.0 if full else min(100.0, max(0.0, self.soc))

    # -- what the board says ---------------------------------------------------------------------

    def measured(self) -> float:
        """A, with the board's gain and offset."""
        return self.pack.current * self.gain + self.offset + self.wander

    def read(self) -> Reading:
        """What arrives."""
        draw, volts = self.draw, self.pack.volts
        if self._fine:  # in longer steps nothing changes within the lag
            then = self.now - self.lag
            volts = next((list(v) for when, v in reversed(self._past) if when <= then), volts)
        cells = tuple(round(v + draw.gauss(0, 0.0004), 3) for v in volts)
        amps = round(self.measured() + draw.gauss(0, 0.02), 2)
        return Reading(
            time=_BEGAN + timedelta(seconds=self.now),
            voltage=round(sum(volts), 2), current=amps, soc=round(self.soc, 1),
            nominal_capacity=self.use.capacity, cycles=int(self.pack.cycles),
            cell_voltages=cells,
            temperatures={"cell_1": round(self.pack.probes[0], 1),
                          "cell_2": round(self.pack.probes[1], 1), "mosfet": 40.0},
        )  # fmt: skip
