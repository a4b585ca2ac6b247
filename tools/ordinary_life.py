"""Ordinary lives of batteries under the policies, and real faults, judged by a second pack model.

    python tools/ordinary_life.py [--days N] [--seed N] [--only NAME]

Each life is a month of what owners do: full charges to the data sheet's voltage, kettles, an
inverter that starts, a heater, the sun on one probe, a radio that drops out, a morning at 2 °C.
None may stop or latch anything, link rules included. Each fault must open the path that it
concerns. The loop is closed: what the policies open is open, and a charger that obeys gets their
limits.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bmslink.control import Battery, Engine, Mode, PolicySet, Severity
from bmslink.control.decide.catalogue import default_policies
from bmslink.control.files import parse_policies
from bmslink.control.presets import preset
from bmslink.model import Condition, Reading
from second_pack import Charger, SecondPack

__all__ = ["FAULTS", "LIVES", "Fault", "Life", "Result", "live", "suffer"]

POLL = 5.0  # s
_HOUR, _DAY = 3600.0, 86400.0
_ALL = (Mode.SHADOW, Mode.ENFORCE)
_LAST = {"lfp": 3.75, "nmc": 4.30, "lto": 2.85}
"""V of a cell that no fault may bring about."""


@dataclass
class World:
    """One installation and the time of its day."""

    pack: SecondPack
    charger: Charger
    draw: random.Random
    now: float = 0.0

    @property
    def hour(self) -> float:
        """Of the day."""
        return (self.now % _DAY) / _HOUR

    def within(self, start: float, minutes: float) -> bool:
        """Whether it is so many minutes after an hour of the day."""
        return 0 <= self.hour - start < minutes / 60


Day = Callable[[World], float]
"""Goes on with the day; gives back the load, A."""


@dataclass(frozen=True)
class Life:
    """A battery, what is connected to it, and its days."""

    name: str
    kind: str = "lfp"
    cells: int = 4
    capacity: float = 280.0
    soc: float = 0.7
    apart: tuple[float, ...] = ()
    """By how much the cells' charge differs, 0..1."""
    charge: tuple[float, float] = (60.0, 3.55)
    """A and V per cell."""
    obeys: bool = False
    settings: dict[str, float] | None = None
    probes: int = 2
    unfitted: int = 0
    lost: bool = False
    """The radio drops out for 8 to 15 s, three times an hour."""
    use: str = ""
    """The preset; empty: the shipped policies."""
    balancer: float = 0.0
    day: Day = lambda world: 5.0
    ambient: Callable[[float], float] = lambda hour: 20.0


@dataclass
class Result:
    """What came of it."""

    stops: Counter[str] = field(default_factory=Counter)
    latches: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    highest: float = 0.0
    """Of a cell, V."""


def _house(world: World) -> float:
    """Sun from nine to four, an evening."""
    world.charger.on = 9 <= world.hour < 16
    return world.pack.capacity * (0.09 if 18 <= world.hour < 22 else 0.014)


def _kettles(world: World) -> float:
    load = _house(world)
    if any(world.within(start, 2.5) for start in (7.0, 12.5, 19.0)):
        load += 190.0
    if any(round(world.now % _DAY) == round(_HOUR * at) for at in (8.0, 8.1, 8.2, 8.3, 20.0)):
        load += 460.0  # an inverter's transformer, for less than a second: one sample sees it
    return load


def _heated(world: World) -> float:
    pack = world.pack
    if pack.core < 5.0:
        pack.heater = 120.0
    elif pack.core > 9.0:
        pack.heater = 0.0
    world.charger.on = world.within(8.0, 90) or world.within(17.0, 90)
    return 3.0


def _sunny(world: World) -> float:
    world.pack.sun = 12.0 if world.within(12.0, 60) else 0.0
    return _house(world)


def _ups(world: World) -> float:
    fails = world.now % (7 * _DAY) < _HOUR
    world.charger.on = not fails
    return 30.0 if fails else 0.5


def _cycle(low: float, high: float) -> Callable[[float], float]:
    return lambda hour: (low + high) / 2 - (high - low) / 2 * math.cos((hour - 4) / 12 * math.pi)


_BMS = {"cell_ovp": 3.65, "cell_uvp": 2.5, "charge_utp": 0.0, "charge_otp": 60.0,
        "discharge_otp": 65.0, "discharge_utp": -20.0}  # fmt: skip

LIVES = (
    Life("lfp, dumb charger at 14.2 V", charge=(60.0, 3.55), settings=_BMS, day=_house),
    Life("lfp, dumb charger at 14.4 V", charge=(60.0, 3.60), settings=_BMS, day=_house),
    Life("lfp, dumb charger at 14.6 V", charge=(60.0, 3.65), day=_house),
    Life("nmc to 4.20 V", kind="nmc", cells=7, capacity=50.0, charge=(12.0, 4.20), day=_house),
    Life("lto to 2.70 V", kind="lto", cells=5, capacity=100.0, charge=(40.0, 2.70), day=_house),
    Life("kettles and an inverter", day=_kettles, settings=_BMS, balancer=1.0),
    Life("a battery heater at -8 °C", day=_heated, ambient=_cycle(-8.0, -2.0), settings=_BMS),
    Life("sun on one probe", day=_sunny, settings=_BMS),
    Life("a radio that drops out", day=_kettles, lost=True, settings=_BMS),
    Life("a full pack behind a bad radio", day=_ups, lost=True, soc=0.99, charge=(20.0, 3.45)),
    Life("top imbalance of 1.5 %", apart=(0.0, 0.015, 0.0, 0.004), obeys=True, balancer=2.0,
         charge=(60.0, 3.55), day=_house, settings=_BMS),
    Life("two of five probes", unfitted=3, day=_house, settings=_BMS),
    Life("a van, mornings at 2 °C", use="van", capacity=200.0, day=_house,
         ambient=_cycle(2.0, 9.0), settings=_BMS, charge=(40.0, 3.55)),
    Life("a shed at 45 °C", day=_house, ambient=_cycle(28.0, 45.0), settings=_BMS),
    Life("a ups, always full", use="ups", capacity=100.0, soc=0.99, day=_ups, settings=_BMS,
         charge=(20.0, 3.45)),
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong for good, and the path that must be opened."""

    name: str
    life: Life
    path: str
    break_: Callable[[World], float]
    hours: float = 12.0


def _to_the_end(world: World) -> float:
    world.charger.on = False
    return 40.0


def _overcharged(world: World) -> float:
    world.charger.volts, world.charger.on = 20.0, True
    return 0.0


def _burning(world: World) -> float:
    world.pack.inside = 4000.0
    return 2.0


def _frozen(world: World) -> float:
    world.charger.on = True
    return 0.0


def _overloaded(world: World) -> float:
    return 1.43 * world.pack.capacity


FAULTS = (
    Fault("a charger that does not stop", Life("", settings=None), "charge", _overcharged),
    Fault("the same, 1.5 % apart", Life("", apart=(0.0, 0.015, 0.0, 0.0)), "charge", _overcharged),
    Fault(
        "an nmc pack at 20 V",
        Life("", kind="nmc", capacity=50.0, charge=(12.0, 4.2)),
        "charge",
        _overcharged,
    ),
    Fault("a load to the end", Life("", settings=_BMS), "discharge", _to_the_end),
    Fault("a cell that burns", Life(""), "discharge", _burning, 2.0),
    Fault("charging at -6 °C", Life("", ambient=lambda hour: -6.0), "charge", _frozen, 48.0),
    Fault("a load of 1.4 C", Life(""), "discharge", _overloaded, 0.5),
    Fault("a shed at 68 °C", Life("", ambient=lambda hour: 68.0), "discharge", _house, 48.0),
)


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

    def __init__(self, life: Life, seed: int) -> None:
        draw = random.Random(seed)
        apart = life.apart or tuple(draw.uniform(0, 0.0005) for _ in range(life.cells))
        ambient = life.ambient(0.0)
        pack = SecondPack(
            life.kind,
            life.cells,
            life.capacity,
            [life.soc + each for each in apart],
            spread=[draw.uniform(-0.1, 0.1) for _ in range(life.cells)],
            ambient=max(ambient, 6.0) if life.day is _heated else ambient,
            balancer=life.balancer or 0.3,
            balance_from={"lfp": 3.40, "nmc": 4.0, "lto": 2.45}[life.kind],
            ovp=(life.settings or {}).get("cell_ovp", math.inf),
        )
        amps, volts = life.charge
        charger = Charger(amps, volts * life.cells, obeys=life.obeys)
        self.life, self.world, self.result = life, World(pack, charger, draw), Result()
        self.policies = _policies(life)
        self.engine = Engine(self.policies, life.settings, acting=_ALL, sink=life.obeys, poll=POLL)
        self._silent_until = -1.0
        self.allowed = {"charge": True, "discharge": True}

    def beat(self, day: Day) -> None:
        """One poll."""
        world, pack = self.world, self.world.pack
        world.now += POLL
        pack.ambient = self.life.ambient(world.hour)
        pack.step(POLL, day(world), world.charger)
        self.result.samples += 1
        self.result.highest = max(self.result.highest, *pack.volts)
        if self.life.lost and world.draw.random() < 3 * POLL / _HOUR:
            self._silent_until = world.now + world.draw.uniform(8, 15)
        if world.now < self._silent_until:
            decision = self.engine.tick(world.now)
        else:
            decision = self.engine.step(self._reading(), world.now)
        for event in decision.events:
            row = self.policies.policies[event.policy]
            if event.what in ("trip", "latch") and {"charge", "discharge"} & set(row.acts):
                self.result.stops[event.policy] += row.severity >= Severity.TRIP
                self.result.latches[event.policy] += event.what == "latch"
        for path, open_before in self.allowed.items():
            allowed = getattr(decision, path).allowed
            self.result.opened[path] += open_before and not allowed
            self.allowed[path] = allowed
        pack.charge_open = not decision.charge.allowed
        pack.discharge_open = not decision.discharge.allowed
        world.charger.ccl = decision.limits.ccl.value
        world.charger.cvl = decision.limits.cvl.value

    def _reading(self) -> Reading:
        pack, noise = self.world.pack, self.world.draw.gauss
        cells = tuple(round(v + noise(0, 0.0015), 3) for v in pack.volts)
        probes: dict[str, float | None] = {
            f"cell_{n + 1}": round(t + noise(0, 0.15), 1) for n, t in enumerate(pack.probes)
        }
        probes |= dict.fromkeys(f"cell_{3 + n}" for n in range(self.life.unfitted))
        high = pack.protected == "high"
        told: dict[str, Any] = {
            "cell_voltages": cells,
            "voltage": round(sum(pack.volts), 2),
            "current": round(pack.current + noise(0, 0.05), 2),
            "soc": round(100 * min(1.0, sum(pack.soc) / len(pack.soc)), 1),
            "temperatures": {**probes, "mosfet": round(pack.mosfet + noise(0, 0.2), 1)},
            "charging_allowed": not high,
            "discharging_allowed": pack.protected != "low",
            "protections": (Condition.CELL_OVERVOLTAGE,) if high else (),
            "heater": pack.heater > 0,
            "conditions_known": True,
            "uptime": self.world.now,
            "raw": {"current_sign": "reported"},
        }
        return Reading(**told)


def live(life: Life, days: float, seed: int) -> Result:
    """So many days of a life."""
    loop = _Loop(life, seed)
    while loop.world.now < days * _DAY:
        loop.beat(life.day)
    return loop.result


def suffer(fault: Fault, seed: int) -> tuple[bool, float]:
    """Whether the path was opened before a cell was damaged, and the highest cell, V."""
    loop = _Loop(fault.life, seed)
    for _ in range(60):
        loop.beat(lambda world: 2.0)
    while loop.world.now < fault.hours * _HOUR and not loop.result.opened[fault.path]:
        loop.beat(fault.break_)
    for _ in range(60):  # and it stays open
        loop.beat(fault.break_)
    opened = not loop.allowed[fault.path]
    return opened and loop.result.highest < _LAST[fault.life.kind], loop.result.highest


def main(arguments: list[str]) -> int:
    """Print what came of each; 1 if anything was stopped without need, or missed."""
    parser = argparse.ArgumentParser(description="Ordinary lives, and real faults.")
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="part of a life's or fault's name")
    chosen = parser.parse_args(arguments)
    bad = 0
    for life in (each for each in LIVES if chosen.only in each.name):
        start = time.monotonic()
        found = live(life, chosen.days, chosen.seed)
        stops, latches = +found.stops, +found.latches
        bad += bool(stops or latches or +found.opened)
        print(
            f"{life.name:<34} {chosen.days:g} days, {found.samples} samples: "
            f"{stops.total()} stops, {latches.total()} latches {dict(stops | latches) or ''} "
            f"({time.monotonic() - start:.0f} s)",
            flush=True,
        )
    for fault in (each for each in FAULTS if chosen.only in each.name):
        seen, highest = suffer(fault, chosen.seed)
        bad += not seen
        word = "opened" if seen else "MISSED"
        print(f"fault: {fault.name}: {fault.path} {word}, highest cell {highest:.3f} V", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
