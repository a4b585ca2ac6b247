"""Judges `bmslink.analysis` by two simulated years: what it says of capacity, resistance and energy
against what the pack model knows, and how often the stated uncertainties hold the truth.

    python tools/judge_life.py [--days 730] [--seeds 1] [--use "van"]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import linear_regression

from bmslink.analysis import BatteryLife, Counted
from bmslink.runtime.watching.energy import EnergyMeter, EnergyTotals
from life_world import USES, Told, Use, World

_DAY, _YEAR = 86400.0, 365.25 * 86400.0
_LONGEST = 360.0
"""s between two readings that are counted: three of the largest steps."""
_CHECKED = 91.25
"""Days between two looks at what is said."""


@dataclass
class Verdict:
    """Of one use and seed."""

    use: str
    seed: int
    capacity: tuple[float, float | None, float | None] = (0.0, None, None)
    """True, found, ± at the end."""
    passes: int = 0
    resistance: tuple[float, float | None, float | None] = (0.0, None, None)
    steps: int = 0
    energy: float = 0.0
    """By how much the counter is off, of all energy."""
    offset: tuple[float, float | None, float | None] = (0.0, None, None)
    fade: tuple[float, float | None, float | None] = (0.0, None, None)
    growth: tuple[float, float | None, float | None] = (0.0, None, None)
    covered: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    worst: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    days_full: tuple[float | None, float | None] = (None, None)
    readings: int = 0
    kept: int = 0
    """Bytes."""


class Judge:
    """Plays a use, with restarts, and compares."""

    def __init__(self, use: Use, seed: int) -> None:
        self.world = World(use, seed)
        self.use = use
        self.life, self.meter = BatteryLife(use.kind), EnergyMeter(_LONGEST)
        self.verdict = Verdict(use.name, seed)
        self.true = [0.0, 0.0]
        self.saved: tuple[dict[str, str], EnergyTotals, list[float]] | None = None
        self.before = Counted()
        self.at = self.lost_until = 0.0
        self.days: list[tuple[float, float, float]] = []
        """Each day: years, Ah, ln of Ω at 25 °C."""

    def run(self, days: float) -> Verdict:
        """All of it."""
        world, restart, look = self.world, 7 * _DAY, _CHECKED * _DAY
        for told in world.run(days):
            self.verdict.readings += 1
            if told.clock < self.lost_until:
                continue
            if told.clock > restart:
                restart += world.draw.uniform(3, 14) * _DAY
                self.restart(told.clock)
                continue
            self.hear(told, keep=told.clock > restart - 300)
            if told.clock > look:
                look += _CHECKED * _DAY
                self.check()
        self.check()
        self.finish(days)
        return self.verdict

    def hear(self, told: Told, *, keep: bool) -> None:
        """One reading."""
        reading, meter = told.reading, self.meter
        if told.gap:
            meter.blind()
        if reading.time is None:
            raise ValueError("a board tells the time")
        meter.hear(told.clock, reading.time, reading.voltage, reading.current)
        totals = meter.totals(told.clock, reading.time)
        if totals is None:
            raise ValueError("it was read")
        counted = counted_of(totals)
        if counted.known > self.before.known:
            self.true[0] += self.world.energy[0]
            self.true[1] += self.world.energy[1]
        self.world.energy = [0.0, 0.0]
        self.life.hear(told.clock, reading, counted)
        if not self.days or told.clock / _YEAR - self.days[-1][0] >= 1 / 365:
            self.days.append(self.state())
        self.before = counted
        if keep and (self.saved is None or told.clock - self.at >= 60):
            self.saved, self.at = (self.life.save(), totals, [*self.true]), told.clock

    def state(self) -> tuple[float, float, float]:
        """What is true: years, Ah, ln of Ω at 25 °C."""
        pack = self.world.pack
        ohms = sorted(pack.resistance(i, celsius=25.0) for i in range(4))
        return self.world.now / _YEAR, pack.weakest, math.log((ohms[1] + ohms[2]) / 2)

    def restart(self, clock: float) -> None:
        """A kill: what was not saved is lost."""
        if self.saved is None:
            return
        (kept, totals, self.true), self.saved = self.saved, None
        self.before = counted_of(totals)
        self.life, self.meter = BatteryLife.restore(kept, self.use.kind), EnergyMeter(_LONGEST)
        self.meter.resume(totals)
        self.lost_until = clock + self.world.draw.uniform(20, 600)

    def check(self) -> None:
        """What is said now against what is true now."""
        facts, pack, verdict = self.life.facts(), self.world.pack, self.verdict
        if facts is None:
            return
        now, found = pack.weakest, facts.capacity.now
        if found.value is not None and found.uncertainty is not None:
            # as of the latest pass: a battery goes on ageing without one
            self._cover("capacity", found.value, now, found.uncertainty)
        told = facts.resistance
        if told.temperature is not None and told.median.until is not None:
            for cell in told.cells:
                true = pack.resistance(cell.cell - 1, celsius=told.temperature)
                self._cover("resistance", cell.value, true, cell.uncertainty)
        offset = facts.capacity.offset
        if offset.value is not None and offset.uncertainty is not None:
            true = self.world.offset + self.world.wander
            verdict.covered["offset"].append(abs(offset.value - true) <= offset.uncertainty)
        years, capacities, logs = zip(*self.days, strict=True)
        for name, trend, true in (
            ("fade", facts.capacity.trend, slope(years, capacities) / now),
            ("growth", told.trend, slope(years, logs)),
        ):
            if trend.per_year is not None and trend.uncertainty is not None:
                self._trend(name, trend.per_year, 100 * true, trend.uncertainty)

    def _trend(self, name: str, found: float, true: float, sure: float) -> None:
        self.verdict.covered[name].append(abs(found - true) <= sure)
        setattr(self.verdict, name, (true, found, sure))

    def _cover(self, name: str, found: float, true: float, sure: float) -> None:
        self.verdict.covered[name].append(abs(found - true) <= sure)
        worst = self.verdict.worst
        worst[name] = max(worst[name], abs(found / true - 1))

    def finish(self, days: float) -> None:
        """What is said in the end."""
        facts, pack, verdict = self.life.facts(), self.world.pack, self.verdict
        if facts is None:
            return
        now = facts.capacity.now
        verdict.capacity = pack.weakest, now.value, now.uncertainty
        verdict.passes = now.evidence
        told = facts.resistance
        celsius = told.temperature
        ohms = sorted(pack.resistance(i, celsius=celsius) for i in range(4))
        verdict.resistance = (ohms[1] + ohms[2]) / 2, told.median.value, told.median.uncertainty
        verdict.steps = told.median.evidence
        offset = facts.capacity.offset
        verdict.offset = self.world.offset + self.world.wander, offset.value, offset.uncertainty
        flow = facts.throughput
        found = (flow.charged_energy + flow.discharged_energy) * 3600
        verdict.energy = found / sum(self.true) - 1 if sum(self.true) else 0.0
        verdict.kept = sum(map(len, self.life.save().values()))


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the line of least squares: what a battery lost and gained, said as one number."""
    return linear_regression(x, y).slope if len(x) > 1 else 0.0


def counted_of(totals: EnergyTotals) -> Counted:
    """The counter as the estimators take it."""
    return Counted(**{name: getattr(totals, name) for name in Counted.__struct_fields__})


def _three(values: tuple[float, float | None, float | None], scale: float, digits: int) -> str:
    true, found, sure = values
    if found is None or sure is None:
        return f"{true * scale:9.{digits}f}   unknown        "
    return f"{true * scale:9.{digits}f} {found * scale:8.{digits}f} ±{sure * scale:6.{digits}f}"


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=float, default=730)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--use")
    options = parser.parse_args()
    all_covered: dict[str, list[bool]] = defaultdict(list)
    for use in USES:
        if options.use not in (None, use.name):
            continue
        for seed in range(options.first, options.first + options.seeds):
            began = time.process_time()
            verdict = Judge(use, seed).run(options.days)
            print(
                f"{use.name} {seed}: {verdict.readings} readings, "
                f"{time.process_time() - began:.0f} s CPU, {verdict.kept} bytes kept"
            )
            print(f"  capacity   Ah {_three(verdict.capacity, 1, 2)}  of {verdict.passes} passes")
            print(
                f"  resistance mΩ {_three(verdict.resistance, 1000, 4)}  of {verdict.steps} steps"
            )
            print(f"  offset      A {_three(verdict.offset, 1, 3)}")
            print(f"  fade     %/yr {_three(verdict.fade, 1, 2)}")
            print(f"  growth   %/yr {_three(verdict.growth, 1, 2)}")
            print(f"  energy off {100 * verdict.energy:+.4f} %")
            for name, each in verdict.covered.items():
                worst = verdict.worst.get(name)
                more = "" if worst is None else f", worst {100 * worst:.1f} %"
                print(f"  covered: {name} {sum(each)}/{len(each)}{more}")
                all_covered[name] += each
            sys.stdout.flush()
    print(
        "all: "
        + ", ".join(
            f"{name} {sum(each)}/{len(each)} ({100 * sum(each) / len(each):.0f} %)"
            for name, each in all_covered.items()
        )
    )


if __name__ == "__main__":
    main()
