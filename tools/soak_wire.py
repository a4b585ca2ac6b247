"""A simulated pack behind a bad line, under policies: what the soak of the engine is made of."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from bmslink.control import Battery, Decision, Engine, Event, Mode
from bmslink.control.decide.catalogue import default_policies
from bmslink.errors import GateError
from bmslink.model import Condition, Reading
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.pack.protection import RULES

__all__ = ["BATTERY", "CELLS", "DROP_OUTS", "PROBES", "Bench", "Subject", "Wire", "failing_pack"]

CELLS, CAPACITY = 4, 100.0
BATTERY = Battery(
    chemistry="lfp", cells=CELLS, capacity=CAPACITY, charge_current=50.0, discharge_current=100.0
)
LOSS, CORRUPTION = 0.01, 0.001
CELL_NOISE, CURRENT_NOISE, PROBE_NOISE = 0.001, 0.05, 0.1  # V, A, K
PROBES = ("cell_1", "cell_2")
DROP_OUTS = 0.002
"""Of all beats: the radio is gone for 8 to 25 s."""
_BETWEEN = 20  # beats between two of them, or a violation is nowhere to be seen


class Subject(Protocol):
    """What is read: a simulated pack, or a bench that holds one value each."""

    def advance(self, seconds: float) -> None:
        """Time passes."""

    def truth(self) -> Reading:
        """What it measures, without noise."""


def failing_pack(seed: int, load: float | str = "idle") -> Pack:
    """A pack with physics, and a BMS that stops nothing by itself."""
    pack = Pack(cells=CELLS, capacity=CAPACITY, soc=60.0, seed=seed, load=load)
    for rule in RULES:
        del pack.settings[rule.limit]
    return pack


class Bench:
    """A healthy pack at rest in which single values are set, and nothing follows from them. It is
    what a step of one value needs, and ten times as quick as a pack with physics."""

    def __init__(self) -> None:
        self._cells: dict[int, float] = {}
        self._probes: dict[str, float] = {}
        self._current = 0.0
        self._protections: set[Condition] = set()
        self._now = 0.0

    def advance(self, seconds: float) -> None:
        """Only time passes."""
        self._now += seconds

    def truth(self) -> Reading:
        """What it measures, without noise."""
        cells = tuple(self._cells.get(n + 1, 3.30) for n in range(CELLS))
        healthy = {**dict.fromkeys(PROBES, 25.0), "mosfet": 30.0}
        return Reading(
            cell_voltages=cells,
            voltage=sum(cells),
            current=self._current,
            soc=60.0,
            temperatures={name: self._probes.get(name, t) for name, t in healthy.items()},
            charging_allowed=True,
            discharging_allowed=True,
            protections=tuple(self._protections),
            conditions_known=True,
            uptime=self._now,
        )

    def set_cell_voltage(self, cell: int, volts: float | None) -> None:
        """V; `None`: as all others."""
        _set(self._cells, cell, volts)

    def set_temperature(self, probe: str, celsius: float | None) -> None:
        """°C; `None`: as it was."""
        _set(self._probes, probe, celsius)

    def set_current(self, amps: float) -> None:
        """A, positive while charging."""
        self._current = amps

    def protect(self, condition: Condition, *, on: bool = True) -> None:
        """A protection of the BMS begins, or is over."""
        self._protections.add(condition) if on else self._protections.discard(condition)


_K = TypeVar("_K")


def _set(values: dict[_K, float], key: _K, value: float | None) -> None:
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value


_S = TypeVar("_S", bound=Subject)


class Wire(Generic[_S]):
    """A pack, read over a bad line by an engine in which everything acts."""

    def __init__(self, pack: _S, seed: int, period: float, *, drop_outs: float = DROP_OUTS) -> None:
        self.random = random.Random(seed)
        self.drop_outs = drop_outs
        self.period = period
        self.pack = pack
        self.engine = Engine(
            default_policies(BATTERY), acting=(Mode.SHADOW, Mode.ENFORCE), poll=period
        )
        self.now = 0.0
        self.samples = self.lost = self.corrupted = 0
        self.silent = False
        noise = random.Random(seed + 1)
        self._noise = [noise.gauss(0, 1) for _ in range(4093)]
        self._next = 0
        self.tripped: set[str] = set()
        self.events: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()
        self.decision: Decision | None = None
        self.reading: Reading | None = None
        """Of the last beat, as it came; `None`: none did."""
        self.when: dict[str, float] = {}
        self._gone_until = 0.0
        self._beats_since = 0

    def _unheard(self) -> bool:
        """Whether this frame is lost, or the radio is gone."""
        if self.now < self._gone_until or self.random.random() < LOSS:
            return True
        self._beats_since += 1
        if self._beats_since > _BETWEEN and self.random.random() < self.drop_outs:
            self._beats_since = 0
            self._gone_until = self.now + self.random.uniform(8.0, 25.0)
            return True
        return False

    def beat(self) -> Decision:
        """One period passes; the pack is read, as far as the line lets it."""
        self.now += self.period
        self.pack.advance(self.period)
        self.samples += 1
        if self.silent or self._unheard():
            self.lost += 1
            self.reading = None
            return self._take(self.engine.tick(self.now))
        reading = self._noisy(self.pack.truth())
        if self.random.random() < CORRUPTION:
            self.corrupted += 1
            reading = self._wild(reading)
        self.reading = reading
        return self._take(self.engine.step(reading, self.now))

    def run(self, seconds: float) -> Iterator[Decision]:
        """Beats for so long."""
        for _ in range(round(seconds / self.period)):
            yield self.beat()

    def _gauss(self) -> float:
        self._next = (self._next + 1) % len(self._noise)
        return self._noise[self._next]

    def _noisy(self, truth: Reading) -> Reading:
        cells = tuple(
            None if v is None else round(v + CELL_NOISE * self._gauss(), 3)
            for v in truth.cell_voltages
        )
        return dataclasses.replace(
            truth,
            cell_voltages=cells,
            voltage=round(sum(v or 0.0 for v in cells), 2),
            current=round((truth.current or 0.0) + CURRENT_NOISE * self._gauss(), 2),
            temperatures={
                name: None if t is None else round(t + PROBE_NOISE * self._gauss(), 1)
                for name, t in truth.temperatures.items()
            },
            raw={"current_sign": "reported"},
        )

    def _wild(self, reading: Reading) -> Reading:
        """A value that is wrong and passes the checksum."""
        draw = self.random
        cells = list(reading.cell_voltages)
        match draw.randrange(5):
            case 0:
                cells[draw.randrange(CELLS)] = draw.choice((0.0, 0.1, 6.5, 65.535))
                return dataclasses.replace(reading, cell_voltages=tuple(cells))
            case 1:
                return dataclasses.replace(reading, cell_voltages=(0.0,) * CELLS)
            case 2:
                hot = dict(reading.temperatures)
                hot[draw.choice(PROBES)] = draw.choice((-273.1, -40.0, 130.0, 200.0))
                return dataclasses.replace(reading, temperatures=hot)
            case 3:
                wild = draw.choice((-3276.8, 3276.7, 655.35, -655.35))
                return dataclasses.replace(reading, current=wild)
            case _:
                return dataclasses.replace(reading, soc=draw.choice((0.0, 255.0)))

    def _take(self, decision: Decision) -> Decision:
        for event in decision.events:
            self._happened(event)
        if self.decision is not None:
            for name in ("charge", "discharge", "balance"):
                before, after = getattr(self.decision, name), getattr(decision, name)
                self.changes[name] += before.allowed != after.allowed
        self.decision = decision
        return decision

    def _happened(self, event: Event) -> None:
        if event.what in ("trip", "latch"):
            self.tripped.add(event.policy)
            self.events[event.policy] += 1
            self.when[event.policy] = self.now
        elif event.what == "release":
            self.tripped.discard(event.policy)

    def reset(self) -> None:
        """A person resets what can be reset."""
        for name in tuple(self.tripped):
            try:
                self.engine.reset(name)
            except GateError:
                continue
