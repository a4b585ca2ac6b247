"""Ordinary lives of batteries under policies that act, and real faults, on a second pack model.

    python tools/ordinary_life.py [--days N] [--every] [--faults N] [--only NAME] [--jobs N]

Each life is a month of what owners do (`lives.py`): full charges to the data sheet's voltage,
kettles, an inverter that starts, a heater, the sun on one probe, a radio that drops out, a morning
at 2 °C. None may stop or latch anything, link rules included. Each fault must open the path that it
concerns, in time, whatever its size, the charge it begins at, and the radio. The loop is closed:
what the policies hold goes through ledger and reconciler to the switches of a simulated board
(`acting_board.py`), what is off is off, and a charger that obeys gets the limits. A month of
ordinary life may write a switch four times a day at most.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from acting_board import PATHS, ActingBoard
from bmslink.control import Battery, Engine, Mode, PolicySet, Severity
from bmslink.control.decide.catalogue import default_policies
from bmslink.control.files import parse_policies
from bmslink.control.presets import preset
from lives import DAY, HOUR, LIVES, Day, Life, World, begin, go_on, house, reading

__all__ = ["FAULTS", "LIVES", "Fault", "Life", "Outcome", "Result", "live", "suffer"]

_ALL = (Mode.SHADOW, Mode.ENFORCE)
_SETTLED, _CALM = 600.0, 30.0  # s: after so long without anything new, so long between readings
_AROUND = 60.0  # s before and after a drop-out of the radio, in which every poll is made
MOST_WRITES = 4
"""Switch writes a day."""
_LAST = {"lfp": 3.75, "nmc": 4.30, "lto": 2.85}
"""V of a cell that no fault may bring about."""


@dataclass
class Result:
    """What came of it."""

    stops: Counter[str] = field(default_factory=Counter)
    latches: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    silent: int = 0
    """Polls that nobody answered."""
    highest: float = 0.0
    """Of a cell, V."""
    writes: int = 0
    """Of switches, in the day with the most of them."""
    alarms: Counter[str] = field(default_factory=Counter)
    """What acts said about the switches, by what it is."""

    @property
    def quiet(self) -> bool:
        """Nothing was stopped, latched or opened, and switches were left alone."""
        opened = +self.stops or +self.latches or +self.opened
        return not opened and self.writes <= MOST_WRITES


# ------------------------------------------------------------------------------------ one life


def _policies(life: Life) -> PolicySet:
    if life.use:
        text = preset(life.kind, life.use, cells=life.cells, capacity=life.capacity)
        return parse_policies(text, Path(f"{life.use}.toml"))
    sensors = ("cell_1", "cell_2") if life.unfitted else ()
    battery = Battery(
        chemistry=life.kind, cells=life.cells, capacity=life.capacity, sensors=sensors
    )
    return default_policies(battery)


class _Loop:
    """A world, its engine, and the line between them."""

    def __init__(self, life: Life, seed: int, *, every: bool = True) -> None:
        """`every`: no poll is left out."""
        self.every = every
        self._calm, self._calm_since = False, 0.0
        self.life, self.world, self.result = life, begin(life, seed), Result()
        self.policies = _policies(life)
        self.engine = Engine(
            self.policies, life.settings, acting=_ALL, sink=life.obeys, poll=life.poll
        )
        self._gone = (math.inf, math.inf)
        """The next drop-out of the radio, from when to when."""
        self._drop_out(0.0)
        self.board = ActingBoard(draw=random.Random(seed), capacity=life.capacity)
        self._alive = dict.fromkeys(PATHS, True) if life.obeys else {}

    def _drop_out(self, now: float) -> None:
        """When the radio is gone next."""
        if self.life.lost:
            draw = self.world.draw
            begins = now + draw.expovariate(self.life.lost / HOUR)
            self._gone = (begins, begins + draw.uniform(8, 15))

    def beat(self, day: Day) -> None:
        """One poll; where nothing has happened for ten minutes only every sixth is made."""
        world, pack, life = self.world, self.world.pack, self.life
        if not go_on(world, life, life.poll, day):
            self._calm_since = world.now
        if world.now > self._gone[1] + _AROUND:
            self._drop_out(world.now)
        near = world.now > self._gone[0] - _AROUND
        calm = world.now - self._calm_since >= _SETTLED and not near
        if calm and self._calm and world.now % _CALM:
            return
        self.result.samples += 1
        self.result.highest = max(self.result.highest, *pack.volts)
        if self._gone[0] <= world.now < self._gone[1]:
            self.result.silent += 1
            told = None
            decision = self.engine.tick(world.now)
        else:
            told = reading(world, life, self.board.shown())
            decision = self.engine.step(told, world.now)
        if calm is not self._calm and not self.every:
            self._calm = calm
            self.engine.retime(_CALM if calm else life.poll)
        for event in decision.events:
            row = self.policies.policies[event.policy]
            if event.what in ("trip", "latch") and {"charge", "discharge"} & set(row.acts):
                self.result.stops[event.policy] += row.severity >= Severity.TRIP
                self.result.latches[event.policy] += event.what == "latch"
        before = dict(self.board.on)
        self.board.cycle(decision, told, world.now, self._alive)
        for path, on in self.board.on.items():
            self.result.opened[path] += before[path] and not on
        pack.charge_open = not self.board.on["charge"]
        pack.discharge_open = not self.board.on["discharge"]
        world.charger.ccl = decision.limits.ccl.value
        world.charger.cvl = decision.limits.cvl.value


def live(life: Life, days: float, seed: int, *, every: bool = True) -> Result:
    """So many days of a life; unless `every`, with fewer readings where nothing happens."""
    loop = _Loop(life, seed, every=every)
    while loop.world.now < days * DAY:
        loop.beat(life.day)
    loop.result.writes = loop.board.most_in_a_day()
    loop.result.alarms = loop.board.said
    return loop.result


# --------------------------------------------------------------------------------- real faults


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong for good, and the path that must be opened."""

    name: str
    life: Life
    path: str
    break_: Day
    wrong: Callable[[World], bool]
    """Whether the pack itself, not its board, is beyond what it may be."""
    within: float
    """s, the policy's delay and the readings it needs: so soon the path is open, drop-outs apart"""
    hours: float = 12.0


@dataclass(frozen=True)
class Outcome:
    """What came of a fault."""

    opened: bool
    """In time, for good, and before a cell was damaged."""
    took: float
    """s from the moment at which the pack was beyond; `inf`: it never was, or nothing opened."""
    highest: float
    """Of a cell, V."""


def _to_the_end(world: World) -> float:
    world.charger.on = False
    return world.pack.capacity * (0.1 + 0.35 * world.size)


def _hard_to_the_end(world: World) -> float:
    world.charger.on = False
    return world.pack.capacity * (0.55 + 0.35 * world.size)


def _overcharged(world: World) -> float:
    """A charger that does not stop: at its highest it would damage every cell."""
    volts = _LAST[world.pack.kind] * (1.02 + 0.4 * world.size)
    world.charger.volts, world.charger.on = volts * world.pack.cells, True
    return 0.0


def _too_fast(world: World) -> float:
    world.charger.on = True
    world.charger.amps = world.pack.capacity * (0.62 + 0.3 * world.size)
    return 0.0


def _burning(world: World) -> float:
    world.pack.inside = 1500.0 + 4000.0 * world.size
    return 2.0


def _charging(world: World) -> float:
    world.charger.on = True
    return 0.0


def _overloaded(world: World) -> float:
    world.charger.on = False
    return world.pack.capacity * (1.22 + 0.26 * world.size)


def _high(volts: float) -> Callable[[World], bool]:
    return lambda world: max(world.pack.volts) >= volts + 0.002


def _low(world: World) -> bool:
    return min(world.pack.volts) <= 2.695


def _cold(world: World) -> bool:
    return min(world.pack.probes) <= -0.3


def _hot(celsius: float) -> Callable[[World], bool]:
    return lambda world: max(world.pack.probes) >= celsius + 0.3


def _flows(world: World) -> bool:
    return abs(world.pack.current) > 0.6 * world.pack.capacity


_APART = (0.0, 0.015, 0.0, 0.0)
_FULL = Life("", soc=0.93)
_NMC = Life("", kind="nmc", capacity=50.0, soc=0.93, charge=(12.0, 4.2))
_LTO = Life("", kind="lto", cells=5, capacity=100.0, soc=0.93, charge=(40.0, 2.7))

FAULTS = (
    Fault("a charger that does not stop", _FULL, "charge", _overcharged, _high(3.70), 10.0),
    Fault("the same, 1.5 % apart", replace(_FULL, apart=_APART), "charge", _overcharged,
          _high(3.70), 10.0),
    Fault("an nmc pack overcharged", _NMC, "charge", _overcharged, _high(4.25), 10.0),
    Fault("an lto pack overcharged", _LTO, "charge", _overcharged, _high(2.75), 10.0),
    Fault("a load to the end", Life("", soc=0.1), "discharge", _to_the_end, _low, 10.0),
    Fault("a heavy load to the end", Life("", soc=0.2), "discharge", _hard_to_the_end, _low, 20.0),
    Fault("a cell that burns", Life(""), "discharge", _burning, _hot(60.0), 20.0),
    Fault("charging at -6 °C", Life("", core=4.0, ambient=lambda hour: -6.0), "charge",
          _charging, _cold, 20.0, 48.0),
    Fault("charging at 59 °C", Life("", core=52.0, ambient=lambda hour: 59.0), "charge", _charging,
          _hot(55.0), 20.0, 48.0),
    Fault("a load of 1.2 to 1.5 C", Life(""), "discharge", _overloaded, _flows, 20.0, 0.5),
    Fault("a charger of 0.6 to 0.9 C", Life("", soc=0.3), "charge", _too_fast, _flows, 20.0, 0.5),
    Fault("a shed at 68 °C", Life("", core=55.0, ambient=lambda hour: 68.0), "discharge", house,
          _hot(60.0), 20.0, 48.0),
)  # fmt: skip

_RADIO = 20.0  # s that a drop-out may add: at most 15, and the poll after it


def suffer(fault: Fault, seed: int) -> Outcome:
    """Break something, at a size, a charge and a radio that the seed decides."""
    draw = random.Random(seed)
    life = replace(
        fault.life, soc=fault.life.soc + draw.uniform(-0.03, 0.03), lost=60.0 * (seed % 2)
    )
    loop = _Loop(life, seed)
    for _ in range(60):
        loop.beat(lambda world: 2.0)
    began = math.inf
    while loop.world.now < fault.hours * HOUR and not loop.result.opened[fault.path]:
        loop.beat(fault.break_)
        if began == math.inf and fault.wrong(loop.world):
            began = loop.world.now - life.poll
    took = max(0.0, loop.world.now - began) if loop.result.opened[fault.path] else math.inf
    for _ in range(60):  # and it stays open
        loop.beat(fault.break_)
    opened = not loop.board.on[fault.path] and loop.result.highest < _LAST[life.kind]
    return Outcome(
        opened and took <= fault.within + _RADIO * bool(life.lost), took, loop.result.highest
    )


# ---------------------------------------------------------------------------------------- figures


_LIFE = {life.name: life for life in LIVES}
_FAULT = {fault.name: fault for fault in FAULTS}


def _lived(name: str, days: float, seed: int, every: bool) -> tuple[Result, float]:
    start = time.process_time()  # by its name, because what a day does cannot be pickled
    return live(_LIFE[name], days, seed, every=every), time.process_time() - start


def _suffered(name: str, seeds: range) -> list[Outcome]:
    return [suffer(_FAULT[name], seed) for seed in seeds]


def main(arguments: list[str]) -> int:
    """Print what came of each; 1 if anything was stopped without need, or missed."""
    parser = argparse.ArgumentParser(description="Ordinary lives, and real faults.")
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="part of a life's or fault's name")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--every", action="store_true", help="all polls, in calm hours too")
    parser.add_argument("--faults", type=int, default=100, help="variations of each fault")
    chosen = parser.parse_args(arguments)
    lives = [name for name in _LIFE if chosen.only in name] if chosen.days else []
    faults = [name for name in _FAULT if chosen.only in name] if chosen.faults else []
    seeds = range(chosen.seed, chosen.seed + chosen.faults)
    bad = 0
    with ProcessPoolExecutor(chosen.jobs) as pool:
        lived = pool.map(
            partial(_lived, days=chosen.days, seed=chosen.seed, every=chosen.every), lives
        )
        suffered = pool.map(partial(_suffered, seeds=seeds), faults)
        for name, (found, took) in zip(lives, lived, strict=True):
            bad += not found.quiet
            told = +found.stops | +found.latches | +found.alarms
            print(
                f"{name:<34} {chosen.days:g} days, {found.samples} samples, {found.silent} lost: "
                f"{found.stops.total()} stops, {found.latches.total()} latches, "
                f"{found.writes} switch writes {dict(told) or ''} ({took:.0f} s)",
                flush=True,
            )
        for name, outcomes in zip(faults, suffered, strict=True):
            missed = [seed for seed, each in zip(seeds, outcomes, strict=True) if not each.opened]
            bad += len(missed)
            print(
                f"fault: {name:<31} {len(outcomes)} times, {_FAULT[name].path} opened in "
                f"{max(each.took for each in outcomes):.0f} s at most, highest cell "
                f"{max(each.highest for each in outcomes):.3f} V, {len(missed)} missed "
                f"{missed[:5] or ''}",
                flush=True,
            )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
