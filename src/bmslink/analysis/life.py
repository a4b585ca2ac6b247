"""The life of one battery, from its readings and the one counter of charge and energy.

```python
life = BatteryLife("lfp")
life.hear(clock, reading, counted)     # each reading, with what was counted up to it
life.facts()                           # what is known now, and how sure it is
kept = life.save()                     # plain values; BatteryLife.restore(kept) goes on from there
```

Durations are of the clock that the caller gives, which is never set; the calendar is only shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from bmslink.analysis.capacity import CapacityFinder, CapacityState
from bmslink.analysis.facts import FullFacts, LifeFacts, Throughput
from bmslink.analysis.imbalance import ImbalanceFinder, ImbalanceState
from bmslink.analysis.resistance import ResistanceFinder, ResistanceState
from bmslink.analysis.sample import Counted, number, sample_of
from bmslink.analysis.usage import Usage, UsageState
from bmslink.errors import UsageError
from bmslink.model import Reading
from bmslink.settings.chemistry import CHEMISTRIES

__all__ = ["PARTS", "VERSION", "BatteryLife", "NewerRecord"]

VERSION = 1
"""Of what `save` gives."""
_HOUR, _DAY = 3600.0, 86400.0
_LONGEST_AWAY = 366 * _DAY
"""s that a program may have been gone: a calendar that says more was set."""


class NewerRecord(UsageError):
    """A later version of bmslink wrote this record: it is not read, and must not be overwritten."""


class _Begun(msgspec.Struct):
    """What every reading moves."""

    version: int
    since: datetime
    until: datetime
    age: float = 0.0
    """s from `since` to `until`, by a clock that is never set."""
    counted: Counted = Counted()
    """Since this record began."""
    seen: Counted | None = None
    """What the counter said last."""
    chemistry: str | None = None
    capacity: float | None = None
    """Nominal, Ah."""
    cycles: int | None = None
    first_cycles: int | None = None
    cycle_capacity: float | None = None


PARTS: Mapping[str, type[Any]] = {
    "begun": _Begun,
    "usage": UsageState,
    "capacity": CapacityState,
    "resistance": ResistanceState,
    "imbalance": ImbalanceState,
}
"""What `save` gives, by name: each part changes at its own pace, and is kept by itself."""


class BatteryLife:
    """Of one battery; memory does not grow with time."""

    def __init__(self, chemistry: str | None = None, capacity: float | None = None) -> None:
        """`chemistry`: `lfp`, `nmc`, `lto` or `na-ion`; without it nothing is proven full.
        `capacity`: nominal, Ah, where the readings do not say it."""
        self._begun: _Begun | None = None
        self._usage = Usage()
        self._capacity = CapacityFinder()
        self._resistance = ResistanceFinder()
        self._imbalance = ImbalanceFinder()
        self._clock: float | None = None
        self._away = False
        """The time until the next reading is unknown, and no counter says so."""
        self.chemistry, self.capacity = chemistry, capacity

    # -- readings --------------------------------------------------------------------------------

    def hear(self, clock: float, reading: Reading, counted: Counted) -> None:
        """A reading. `clock`: s of a clock that is never set; `counted`: what the one counter says
        up to this reading. The time is the reading's own; one without a time is passed over."""
        time = reading.time
        if time is None or time.tzinfo is None or not math.isfinite(clock):
            return
        time = time.astimezone(UTC)
        begun, age = self._begin(time, clock)
        again = clock == self._clock
        step = 0.0 if self._clock is None else max(0.0, clock - self._clock)
        begun.age += step
        passed = self._passed(begun, counted, begun.age - age)
        self._clock = clock
        begun.until = time
        self._look(begun, reading)
        if again and passed.known <= 0 and passed.unknown <= 0:
            return  # the same reading once more: it breaks off nothing that was steady until now
        known = step if passed.unknown <= 0 and passed.known > 0 else 0.0
        sample = sample_of(
            reading, time=time, age=begun.age, step=known, counted=begun.counted,
            capacity=begun.capacity,
        )  # fmt: skip
        self._usage.hear(sample, passed, begun.capacity)
        kind = CHEMISTRIES.get(begun.chemistry or "")
        self._capacity.hear(sample, kind, begun.capacity)
        self._resistance.hear(sample, begun.capacity, kind)
        self._imbalance.hear(sample, begun.capacity, full=self._capacity.is_full)

    def _begin(self, time: datetime, clock: float) -> tuple[_Begun, float]:
        """The record, and its age (s) at the reading before this one."""
        begun = self._begun
        if begun is None:
            begun = self._begun = _Begun(VERSION, time, time)
        age = begun.age
        if self._clock is None:  # the program was gone; only the calendar says for how long
            away = (time - begun.until).total_seconds()
            away = min(max(0.0, away), _LONGEST_AWAY)
            begun.age += away
            if self._away:
                begun.counted = begun.counted.plus(Counted(unknown=away))
            self._away = False
        return begun, age

    def _passed(self, begun: _Begun, counted: Counted, seconds: float) -> Counted:
        """What was counted in the seconds since the reading before, added to this record."""
        if not counted.sound:
            self._resistance.clear()
            return Counted()
        before, begun.seen = begun.seen, counted
        passed = None if before is None else counted.since(before)
        if passed is None:  # the first look at this counter: what it counted is of somebody else
            self._resistance.clear()
            passed = Counted(unknown=seconds)
        begun.counted = begun.counted.plus(passed)
        return passed

    def _look(self, begun: _Begun, reading: Reading) -> None:
        """What the board says of itself."""
        kind = self.chemistry or begun.chemistry
        if begun.chemistry not in (None, kind):  # full and empty were judged by the wrong curve
            self._capacity = CapacityFinder()
            self._imbalance.forget_full()
        begun.chemistry = kind
        told = number(reading.nominal_capacity, 0.5, 20000.0)
        if told is None:
            told = number(self.capacity, 0.5, 20000.0)
        if told is None and begun.capacity is None:
            told = number(reading.full_capacity, 0.5, 20000.0)
        begun.capacity = told or begun.capacity
        cycles = number(reading.cycles, 0, 1e6)
        if cycles is not None:
            begun.cycles = int(cycles)
            if begun.first_cycles is None or cycles < begun.first_cycles:
                begun.first_cycles = int(cycles)
        moved = number(reading.cycle_capacity, 0.0, 1e9)
        begun.cycle_capacity = begun.cycle_capacity if moved is None else moved

    def leave_counter(self) -> None:
        """From now on another counter counts for this battery; what it says first is its zero."""
        if self._begun is not None:
            self._begun.seen, self._away = None, False
        self._resistance.clear()

    def new_counter(self) -> None:
        """The counter began again at zero while nobody counted: all it says is new, and the time
        until then is unknown."""
        if self._begun is not None:
            self._begun.seen, self._away = Counted(), True

    # -- what is kept ----------------------------------------------------------------------------

    def save(self) -> dict[str, str]:
        """All that is remembered: JSON by part; empty before the first reading."""
        if self._begun is None:
            return {}
        states = {
            "begun": self._begun,
            "usage": self._usage.state,
            "capacity": self._capacity.state,
            "resistance": self._resistance.state,
            "imbalance": self._imbalance.state,
        }
        return {name: msgspec.json.encode(state).decode() for name, state in states.items()}

    @classmethod
    def restore(cls, saved: Mapping[str, str], chemistry: str | None = None) -> BatteryLife:
        """Go on from what `save` gave. Raises `UsageError` for anything else, `NewerRecord` for
        what a later version saved; a part that is missing begins anew."""
        life = cls(chemistry)
        begun = _part("begun", saved["begun"]) if "begun" in saved else None
        if begun is None:
            raise UsageError("The record of the battery's life is damaged: it has no beginning.")
        if begun.version > VERSION:
            raise NewerRecord(
                "The record of the battery's life was written by a later version of bmslink "
                f"(format {begun.version}, this one knows {VERSION})."
            )
        states = {name: _part(name, saved[name]) for name in PARTS if name in saved}
        life._begun = begun
        life._usage = Usage(states.get("usage"))
        life._capacity = CapacityFinder(states.get("capacity"))
        life._resistance = ResistanceFinder(states.get("resistance"))
        life._imbalance = ImbalanceFinder(states.get("imbalance"))
        return life

    # -- what is known ---------------------------------------------------------------------------

    def facts(self, counted: Counted | None = None) -> LifeFacts | None:
        """What is known now; `None` before the first reading. `counted`: what the counter says now,
        where time has passed since the latest reading."""
        begun = self._begun
        if begun is None:
            return None
        kind = CHEMISTRIES.get(begun.chemistry or "")
        total = begun.counted
        if counted is not None and begun.seen is not None:
            total = total.plus(counted.since(begun.seen) or Counted())
        return LifeFacts(
            since=begun.since,
            until=begun.until,
            chemistry=begun.chemistry,
            throughput=_throughput(begun, total, self._usage, self._capacity),
            soc_hours=self._usage.soc_hours(),
            temperature_hours=self._usage.temperature_hours(),
            rates=self._usage.rates(),
            capacity=self._capacity.facts(kind, begun.capacity, begun.age),
            resistance=self._resistance.facts(),
            imbalance=self._imbalance.facts(),
            full=self._full(begun),
        )

    def _full(self, begun: _Begun) -> FullFacts:
        state, watched = self._capacity.state, begun.age / _DAY
        known = bool(begun.chemistry) and bool(begun.capacity)
        why = "" if known else "The chemistry of the cells, or their capacity, is not known."
        if known and state.full_age is None:
            why = "It was not seen full in this record."
        days = None if state.full_age is None else max(0.0, begun.age - state.full_age) / _DAY
        return FullFacts(
            last=state.last_full, days=days, watched_days=watched, count=state.fulls, why=why
        )


def _throughput(begun: _Begun, total: Counted, usage: Usage, found: CapacityFinder) -> Throughput:
    first, size = begun.first_cycles, begun.capacity
    into, out = total.charge_in / _HOUR, total.charge_out / _HOUR
    hours_in, hours_out = usage.hours_by_direction()
    sure_in, sure_out = found.charge_doubt(into, hours_in), found.charge_doubt(out, hours_out)
    energy_in, energy_out = total.energy_in / _HOUR, total.energy_out / _HOUR
    return Throughput(
        charged_capacity=into,
        charged_capacity_uncertainty=sure_in,
        discharged_capacity=out,
        discharged_capacity_uncertainty=sure_out,
        charged_energy=energy_in,
        charged_energy_uncertainty=energy_in * sure_in / into if into else 0.0,
        discharged_energy=energy_out,
        discharged_energy_uncertainty=energy_out * sure_out / out if out else 0.0,
        known_seconds=total.known,
        unknown_seconds=total.unknown,
        equivalent_cycles=out / size if size else None,
        equivalent_cycles_uncertainty=sure_out / size if size else None,
        capacity=size,
        board_cycles=begun.cycles,
        board_cycle_capacity=begun.cycle_capacity,
        board_cycles_since=None if first is None or begun.cycles is None else begun.cycles - first,
    )


def _part(name: str, text: str) -> Any:
    try:
        found = msgspec.json.decode(text, type=PARTS[name])
        if isinstance(found, UsageState):
            found.require_whole()
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UsageError(
            f"The record of the battery's life is damaged: {name}: {error}."
        ) from error
    return found
