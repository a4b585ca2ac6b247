"""A reading with what its values are worth at the moment they are judged.

Values are not thrown away for being implausible: a cell that really died at 0 V must reach the
policies. They are marked instead, and the next reading confirms or refutes them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from operator import sub
from typing import Any, NamedTuple

import msgspec

from bmslink.control.decide.policy import Battery
from bmslink.model import Reading

__all__ = ["FIELDS", "HIGHEST_CELL", "HIGHEST_RATE", "OPEN", "Qualifier", "Quality", "Sample"]
__all__ += ["NO_SIGN"]


class Quality(IntEnum):
    """What a value is worth; the higher, the less."""

    GOOD = 0
    SUSPECT = 1
    """Outside the physical range, a jump, or a current whose sign is only assumed: it can
    neither trip nor release alone."""
    MISSING = 2
    """Not measured, or not all of it: a value is then a bound at best."""
    STALE = 3
    """Older than it may be."""
    FROZEN = 4
    """The link answers, but nothing moves that must move."""


FIELDS = ("cells", "voltage", "current", "soc", "temperatures", "state", "conditions")
"""The groups of values that have a quality each."""

_LOWEST, HIGHEST_CELL = 0.5, 5.0  # V of a cell
_TEMPERATURE_RANGE = (-45.0, 125.0)  # °C
_CELL_SLEW, _TEMPERATURE_SLEW, _SOC_SLEW = 0.5, 2.0, 5.0  # V/s, K/s, %/s
_SHORTEST = 1.0  # s: quantisation makes a jump out of any step in less
_FROZEN_AFTER = 60.0  # s
_FROZEN_IDLE = 150.0  # s, with a running time that must move; some boards count whole minutes
_FROZEN_CURRENT = 1.0  # A
HIGHEST_RATE = 20.0  # C
OPEN = -39.5
"""°C. A probe that reads this or less has a broken wire, or was never fitted: boards show -40."""
_MOST_PROBES = 128
_ABSURD = 1e6  # in any unit: no measurement, and neither is nan
_NEAR_ZERO = 0.02  # C: a current this small needs no sign
NO_SIGN = frozenset({"assumed", "disputed", "unknown"})
"""What `raw["current_sign"]` of a reading says where only the size of its current is measured."""


GOOD, SUSPECT, MISSING = Quality.GOOD, Quality.SUSPECT, Quality.MISSING


class _Cells(NamedTuple):
    """What they say: V."""

    known: tuple[float, ...]
    low: float | None
    high: float | None
    total: float
    quality: Quality


class _Probes(NamedTuple):
    """What the probes say; the names as in `Sample`."""

    clean: Mapping[str, float | None]
    probes: tuple[str, ...]
    known: tuple[float, ...]
    whole: bool
    broken: tuple[str, ...]
    quality: Quality


class Sample(msgspec.Struct, kw_only=True):
    """One reading, cleaned: no value is nan, infinite or absurd; `None` is not measured."""

    time: float
    """Monotonic seconds at which it was received."""
    reading: Reading
    """As it came."""
    cells: tuple[float, ...]
    """The cells that were measured, V."""
    cell_sum: float
    """V."""
    max_cell: float | None
    """V."""
    min_cell: float | None
    """V."""
    voltage: float | None
    """Of the pack, V."""
    current: float | None
    """A, positive while charging; its sign counts only while its quality is good."""
    soc: float | None
    """%."""
    temperatures: Mapping[str, float | None]
    """°C by probe name."""
    probes: tuple[str, ...]
    """The names of the probes that count as cell probes."""
    known: tuple[float, ...] = ()
    """What those say that say something, °C."""
    whole: bool = False
    """There are such probes, and all of them say something."""
    broken: tuple[str, ...] = ()
    """Those of them whose wire is broken: they read -40 °C, the end of their range."""
    quality: dict[str, Quality]
    """One for each of FIELDS."""

    def has(self, probes: tuple[str, ...]) -> bool:
        """Whether all these probes (none: all that count as cell probes) say something."""
        return None not in map(self.temperatures.get, probes) if probes else self.whole

    def open_probes(self, probes: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Those of these probes (none: of all cell probes) whose wire is broken."""
        return _broken(self.temperatures, probes) if probes else self.broken

    def told_by(self, probes: tuple[str, ...] = ()) -> Sequence[float]:
        """What these probes (none: all cell probes) say, °C."""
        if not probes:
            return self.known
        return [t for t in map(self.temperatures.get, probes) if t is not None]

    @property
    def good(self) -> bool:
        """Nothing of it is suspect or missing."""
        return not any(self.quality.values())


class Qualifier:
    """Makes samples of the readings of one pack; remembers what it needs to see a jump."""

    def __init__(self, battery: Battery, asked: Collection[str] = ()) -> None:
        """`asked`: the probes that policies name."""
        self._battery = battery
        self._pack_range = battery.cells * _LOWEST, battery.cells * HIGHEST_CELL
        self._asked = frozenset((*battery.sensors, *asked))
        self._last: Sample | None = None
        self._good: dict[str, Sample] = {}
        """The last sample in which a field was good."""
        self._content: tuple[object, ...] | None = None
        self._changed = 0.0
        self._before = ""
        """What it said before a restart, as a digest."""
        self.again = False
        """Whether the last reading measured exactly what the one before it did."""
        self._told: Mapping[str, float | None] | None = None
        """What the probes said last, as it came; and as it was understood."""
        self._said = _Probes({}, (), (), False, (), MISSING)
        self._names: tuple[str, ...] = ()
        self._left_out: frozenset[str] = frozenset()
        self._probes: tuple[str, ...] = ()

    def remember(self, now: float) -> dict[str, Any]:
        """What must survive a restart: the probes that ever spoke, and since when nothing moves."""
        told = self._content is not None
        return {
            "probes": list(self._probes),
            "content": _digest(self._content) if self._content is not None else self._before,
            "changed": now - self._changed if told or self._before else None,
        }

    def restore(self, probes: list[str], content: str, changed: float | None, now: float) -> None:
        """The same back."""
        if not self._battery.sensors:
            self._probes = tuple(sorted(probes[:_MOST_PROBES]))
            self._told = None
        if content and changed is not None:
            self._before, self._changed = content, now - changed

    def nothing(self, now: float) -> Sample:
        """The sample before the first: nothing was measured."""
        return Sample(
            time=now,
            reading=Reading(),
            cells=(),
            cell_sum=0.0,
            max_cell=None,
            min_cell=None,
            voltage=None,
            current=None,
            soc=None,
            temperatures={},
            probes=(),
            quality=dict.fromkeys(FIELDS, MISSING),
        )

    def sample(self, reading: Reading, now: float) -> Sample:
        """The sample of a reading received at `now`, monotonic seconds."""
        cells, low, high, cell_sum, cells_quality = self._cells(reading.cell_voltages)
        told = self._temperatures(reading.temperatures)
        voltage, soc = _number(reading.voltage), _number(reading.soc)
        current, current_quality = self._current(reading)
        sample = Sample(
            time=now,
            reading=reading,
            cells=cells,
            cell_sum=cell_sum,
            max_cell=high,
            min_cell=low,
            voltage=voltage,
            current=current,
            soc=soc,
            temperatures=told.clean,
            probes=told.probes,
            known=told.known,
            whole=told.whole,
            broken=told.broken,
            quality={
                "cells": cells_quality,
                "voltage": _within(voltage, *self._pack_range),
                "current": current_quality,
                "soc": _within(soc, 0.0, 100.0),
                "temperatures": told.quality,
                "state": GOOD,
                "conditions": GOOD if reading.conditions_known else MISSING,
            },
        )
        self._look_for_jumps(sample)
        found = sample.quality
        if found["cells"] is SUSPECT:
            for field in ("voltage", "state", "conditions"):  # bits beside such prove nothing
                found[field] = max(found[field], SUSPECT)
        self._look_for_frost(sample)
        self._last = sample
        for field in _NEAR:
            if not found[field]:
                self._good[field] = sample
        return sample

    # -- one by one ------------------------------------------------------------------------------

    def _cells(self, voltages: tuple[float | None, ...]) -> _Cells:
        known = tuple([v for v in voltages if v is not None and -_ABSURD < v < _ABSURD])
        if not known:
            return _Cells((), None, None, 0.0, MISSING)
        low, high, count = min(known), max(known), self._battery.cells
        quality = GOOD if low >= _LOWEST and high <= HIGHEST_CELL else SUSPECT
        if len(known) != count or len(voltages) != count:
            quality = MISSING
        return _Cells(known, low, high, math.fsum(known), quality)

    def _temperatures(self, told: Mapping[str, float | None]) -> _Probes:
        """What the probes say; mostly it is what they said before."""
        if told == self._told and tuple(told) == self._names:
            return self._said
        names = tuple(told)
        if names != self._names:
            self._names = names
            self._choose_probes({n for n in names if n.startswith(("cell_", "sensor_"))})
        quality = GOOD
        low, high = _TEMPERATURE_RANGE
        clean = {n: _number(value) for n, value in told.items() if n not in self._left_out}
        for value in clean.values():
            if value is not None and not low <= value <= high:
                quality = SUSPECT
        probes = self._probes
        known = tuple([t for t in map(clean.get, probes) if t is not None])
        whole = bool(probes) and len(known) == len(probes)
        self._told = dict(told)
        self._said = _Probes(clean, probes, known, whole, _broken(clean, probes), quality)
        return self._said

    def _choose_probes(self, told: set[str]) -> None:
        """Which probes count as cell probes: those of the battery, or all that ever had one. One
        that has none any more is silent, not gone."""
        if self._battery.sensors:
            self._probes = self._battery.sensors
            self._left_out = frozenset(told - self._asked)
            return
        told |= {*self._probes} if len(told) + len(self._probes) <= _MOST_PROBES else set()
        self._probes = tuple(sorted(told))

    def _current(self, reading: Reading) -> tuple[float | None, Quality]:
        current = _number(reading.current)
        if current is None:
            return None, MISSING
        size, capacity = abs(current), self._battery.capacity
        if size > HIGHEST_RATE * capacity:
            return current, SUSPECT
        sign = reading.raw.get("current_sign")
        if size > _NEAR_ZERO * capacity and isinstance(sign, str) and sign in NO_SIGN:
            return current, SUSPECT
        return current, GOOD

    # -- against what came before ----------------------------------------------------------------

    def _look_for_jumps(self, sample: Sample) -> None:
        """Good values become suspect if they are far from both the last and the last good ones:
        a wild value is suspect, its return is not, and neither is its repetition."""
        last = self._last
        if last is None:
            return
        for field, near in _NEAR.items():
            if sample.quality[field] or near(sample, last):
                continue
            good = self._good.get(field)
            if good is None or good is last or not near(sample, good):
                sample.quality[field] = SUSPECT

    def _look_for_frost(self, sample: Sample) -> None:
        reading, now = sample.reading, sample.time
        content = (
            reading.cell_voltages,
            reading.uptime,
            reading.current,
            reading.voltage,
            reading.soc,
            reading.remaining_capacity,
            reading.temperatures,
            reading.cell_resistances,
            reading.charging_allowed,
            reading.discharging_allowed,
            reading.alarms,
            reading.protections,
            reading.faults,
        )
        if self._content is None and self._before == _digest(content):
            self._content = content  # the same as before the restart
        self.again = content == self._content
        if not self.again:
            self._content, self._changed = content, now
            return
        flowing = sample.current is not None and abs(sample.current) > _FROZEN_CURRENT
        still = _FROZEN_AFTER if flowing else _FROZEN_IDLE
        if now - self._changed > still and (flowing or reading.uptime is not None):
            sample.quality = dict.fromkeys(FIELDS, Quality.FROZEN)

    @property
    def changed(self) -> float:
        """When the pack last said something new, monotonic seconds."""
        return self._changed


def _digest(content: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _cells_near(new: Sample, old: Sample) -> bool:
    if new.cells == old.cells or len(new.cells) != len(old.cells):
        return True
    room = _room(_CELL_SLEW, new, old)
    ends = (new.min_cell, new.max_cell, old.min_cell, old.max_cell)
    known = [v for v in ends if v is not None]
    if known and max(known) - min(known) <= room:
        return True  # no two of them are further apart
    steps: list[float] = list(map(sub, new.cells, old.cells))
    return max(steps) <= room and min(steps) >= -room


def _probes_near(new: Sample, old: Sample) -> bool:
    before = old.temperatures
    if new.temperatures == before:
        return True
    room = _room(_TEMPERATURE_SLEW, new, old)
    for name, value in new.temperatures.items():
        last = before.get(name)
        if value is not None and last is not None and abs(value - last) > room:
            return False
    return True


def _soc_near(new: Sample, old: Sample) -> bool:
    if new.soc is None or old.soc is None:
        return True
    return abs(new.soc - old.soc) <= _room(_SOC_SLEW, new, old)


def _room(rate: float, new: Sample, old: Sample) -> float:
    return rate * max(_SHORTEST, new.time - old.time)


_NEAR: dict[str, Callable[[Sample, Sample], bool]] = {
    "cells": _cells_near,
    "temperatures": _probes_near,
    "soc": _soc_near,
}
"""Whether a field of two samples is as near as the time between them allows."""


def _broken(told: Mapping[str, float | None], probes: Iterable[str]) -> tuple[str, ...]:
    return tuple([n for n in probes if (t := told.get(n)) is not None and t <= OPEN])


def _number(value: float | None) -> float | None:
    return value if value is not None and -_ABSURD < value < _ABSURD else None


def _within(value: float | None, low: float, high: float) -> Quality:
    if value is None:
        return MISSING
    return GOOD if low <= value <= high else SUSPECT
