"""What owners do with batteries, day by day, played on the second pack model.

A life is a battery, what is connected to it, and its days. `begin` sets it up, `go_on` lets time
pass, `reading` is what a board tells of it, noise included.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bmslink.model import Condition, Reading
from second_pack import Charger, SecondPack

__all__ = ["DAY", "HOUR", "LIVES", "POLL", "Life", "World", "begin", "go_on", "house", "reading"]

POLL = 5.0  # s
HOUR, DAY = 3600.0, 86400.0
_BALANCES_FROM = {"lfp": 3.40, "nmc": 4.0, "lto": 2.45}  # V per cell


@dataclass
class World:
    """One installation and the time of its day."""

    pack: SecondPack
    charger: Charger
    draw: random.Random
    size: float = 0.5
    """How bad a fault is, 0 to 1."""
    now: float = 0.0
    """s."""
    scene: tuple[object, ...] = ()
    """What is on, and how much of it."""

    @property
    def hour(self) -> float:
        """Of the day."""
        return (self.now % DAY) / HOUR

    def within(self, start: float, minutes: float) -> bool:
        """Whether it is so many minutes after an hour of the day."""
        return 0 <= self.hour - start < minutes / 60

    def at(self, *hours: float) -> bool:
        """Whether one of these hours of the day strikes now."""
        return any(round(self.now % DAY) == round(HOUR * hour) for hour in hours)


Day = Callable[[World], float]
"""Goes on with the day; gives back the load, A."""


@dataclass(frozen=True)
class Life:
    """A battery, what is connected to it, and its days."""

    name: str
    kind: str = "lfp"
    cells: int = 4
    capacity: float = 280.0
    """Ah."""
    soc: float = 0.7
    apart: tuple[float, ...] = ()
    """By how much the cells' charge differs, 0..1."""
    charge: tuple[float, float] = (60.0, 3.55)
    """A and V per cell."""
    obeys: bool = False
    settings: dict[str, float] | None = None
    """Of the BMS, as far as they are known: V and °C."""
    unfitted: int = 0
    """Probes that the board announces and nobody fitted."""
    poll: float = POLL
    """s between readings."""
    lost: float = 0.0
    """So often an hour the radio drops out, for 8 to 15 s."""
    use: str = ""
    """The preset; empty: the shipped policies."""
    balancer: float = 0.3
    """A."""
    day: Day = lambda world: 5.0
    ambient: Callable[[float], float] = lambda hour: 20.0
    """°C by the hour of the day."""
    core: float | None = None
    """°C of the cells at the beginning, if not that of the air."""


# ------------------------------------------------------------------------------------- their days


def house(world: World) -> float:
    """Sun from nine to four, an evening."""
    world.charger.on = 9 <= world.hour < 16
    return world.pack.capacity * (0.09 if 18 <= world.hour < 22 else 0.014)


def _kettles(world: World) -> float:
    load = house(world)
    if any(world.within(start, 2.5) for start in (7.0, 12.5, 19.0)):
        load += 190.0
    if world.at(8.0, 8.1, 8.2, 8.3, 20.0):
        load += 460.0  # an inverter's transformer, for less than a second: one sample sees it
    return load


def _cooking(world: World) -> float:
    """8.5 kW of an inverter on 48 V, an hour a day, and what starts at its side."""
    load = house(world)
    if world.within(12.0, 25) or world.within(18.5, 35):
        load += 166.0
    return load + (260.0 if world.at(12.2, 18.6, 18.8) else 0.0)


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
    return house(world)


def _underway(world: World) -> float:
    """An engine morning and evening, and what is on at anchor."""
    world.charger.on = world.within(7.5, 100) or world.within(17.0, 80)
    windlass = world.within(7.6, 1.5) or world.within(18.2, 1.5)
    return 6.0 + (14.0 if world.hour >= 20 else 0.0) + (110.0 if windlass else 0.0)


def _ups(world: World) -> float:
    fails = world.now % (7 * DAY) < HOUR
    world.charger.on = not fails
    return 30.0 if fails else 0.5


def _cycle(low: float, high: float) -> Callable[[float], float]:
    return lambda hour: (low + high) / 2 - (high - low) / 2 * math.cos((hour - 4) / 12 * math.pi)


_BMS = {"cell_ovp": 3.65, "cell_uvp": 2.5, "charge_utp": 0.0, "charge_otp": 60.0,
        "discharge_otp": 65.0, "discharge_utp": -20.0}  # fmt: skip

LIVES = (
    Life("lfp, dumb charger at 14.2 V", charge=(60.0, 3.55), settings=_BMS, day=house),
    Life("lfp, dumb charger at 14.4 V", charge=(60.0, 3.60), day=house,
         settings={**_BMS, "pack_ovp": 14.5}),
    Life("lfp, dumb charger at 14.6 V", charge=(60.0, 3.65), day=house),
    Life("the same, BMS set to 3.75 V", charge=(60.0, 3.65), day=house,
         settings={**_BMS, "cell_ovp": 3.75}),
    Life("nmc to 4.20 V", kind="nmc", cells=7, capacity=50.0, charge=(12.0, 4.20), day=house,
         settings={"cell_ovp": 4.25, "pack_ovp": 29.6, "cell_uvp": 2.8}),
    Life("lto to 2.70 V", kind="lto", cells=5, capacity=100.0, charge=(40.0, 2.70), day=house),
    Life("kettles and an inverter", day=_kettles, settings=_BMS, balancer=1.0),
    Life("8.5 kW on 48 V", cells=16, use="solar", charge=(100.0, 3.50), day=_cooking,
         settings=_BMS),
    Life("a battery heater at -8 °C", day=_heated, ambient=_cycle(-8.0, -2.0), settings=_BMS,
         core=6.0),
    Life("sun on one probe", day=_sunny, settings=_BMS),
    Life("a radio that drops out", day=_kettles, lost=3.0, settings=_BMS),
    Life("the same, read every 2 s", day=_kettles, lost=3.0, poll=2.0, settings=_BMS),
    Life("a full pack behind a bad radio", day=_ups, lost=3.0, poll=2.0, soc=0.99,
         charge=(20.0, 3.45)),
    Life("top imbalance of 1.5 %", apart=(0.0, 0.015, 0.0, 0.004), obeys=True, balancer=2.0,
         charge=(60.0, 3.55), day=house, settings=_BMS),
    Life("two of five probes", unfitted=3, day=house, settings=_BMS),
    Life("a van, mornings at 2 °C", use="van", capacity=200.0, day=house,
         ambient=_cycle(2.0, 9.0), settings=_BMS, charge=(40.0, 3.55)),
    Life("a boat under way", use="boat", capacity=300.0, day=_underway, settings=_BMS,
         charge=(85.0, 3.60), ambient=_cycle(12.0, 27.0)),
    Life("a shed at 45 °C", day=house, ambient=_cycle(28.0, 45.0), settings=_BMS),
    Life("a ups, always full", use="ups", capacity=100.0, soc=0.99, day=_ups, settings=_BMS,
         charge=(20.0, 3.45)),
)  # fmt: skip


# -------------------------------------------------------------------------------------- time passes


def begin(life: Life, seed: int) -> World:
    """The first moment of a life."""
    draw = random.Random(seed)
    apart = life.apart or tuple(draw.uniform(0, 0.0005) for _ in range(life.cells))
    pack = SecondPack(
        life.kind,
        life.cells,
        life.capacity,
        [life.soc + each for each in apart],
        spread=[draw.uniform(-0.1, 0.1) for _ in range(life.cells)],
        ambient=life.ambient(0.0) if life.core is None else life.core,
        balancer=life.balancer,
        balance_from=_BALANCES_FROM[life.kind],
        ovp=(life.settings or {}).get("cell_ovp", math.inf),
    )
    amps, volts = life.charge
    return World(pack, Charger(amps, volts * life.cells, obeys=life.obeys), draw, draw.random())


def go_on(world: World, life: Life, seconds: float, day: Day) -> bool:
    """So many seconds of a day pass; gives back whether nothing new happens in them: the same load,
    charger, heater and sun as before, and a current that does not move."""
    world.now += seconds
    pack = world.pack
    pack.ambient = life.ambient(world.hour)
    before = pack.current
    load = day(world)
    pack.step(seconds, load, world.charger)
    scene = (load, world.charger.on, pack.heater, pack.sun, pack.balancing)
    calm = scene == world.scene and abs(pack.current - before) < 0.05
    world.scene = scene
    return calm


_ON: Mapping[str, Any] = {"charging_allowed": True, "discharging_allowed": True}


def reading(world: World, life: Life, switches: Mapping[str, Any] = _ON) -> Reading:
    """What a board tells, with the noise of its measurements; `switches`: what it tells of those,
    before its own protection."""
    pack, noise = world.pack, world.draw.gauss
    cells = tuple(round(v + noise(0, 0.0015), 3) for v in pack.volts)
    probes: dict[str, float | None] = {
        f"cell_{n + 1}": round(t + noise(0, 0.15), 1) for n, t in enumerate(pack.probes)
    }
    probes |= dict.fromkeys(f"cell_{3 + n}" for n in range(life.unfitted))
    high = pack.protected == "high"
    told: dict[str, Any] = {
        "cell_voltages": cells,
        "voltage": round(sum(pack.volts), 2),
        "current": round(pack.current + noise(0, 0.05), 2),
        "soc": round(100 * min(1.0, sum(pack.soc) / len(pack.soc)), 1),
        "temperatures": {**probes, "mosfet": round(pack.mosfet + noise(0, 0.2), 1)},
        **switches,
        "charging_allowed": not high and bool(switches["charging_allowed"]),
        "discharging_allowed": pack.protected != "low" and bool(switches["discharging_allowed"]),
        "protections": (Condition.CELL_OVERVOLTAGE,) if high else (),
        "heater": pack.heater > 0,
        "conditions_known": True,
        "uptime": world.now,
        "raw": {"current_sign": "reported"},
    }
    return Reading(**told)
