"""Charge and energy that went in and out of a pack, counted from its readings.

Between two readings that are close enough, current and power are taken to change evenly
(trapezoids); where the sign changes, each side of zero counts for its own direction. Time between
readings that are further apart, or with a lost link between them, is counted as unknown, and
nothing is made up for it. Time is that of a clock that is never set.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bmslink.jsonable import plain

__all__ = ["EnergyMeter", "EnergyTotals", "longest_step"]

_HOUR = 3600.0
_INTERVALS = 3
_LEAST = 10.0
_MARKS = 256


def longest_step(interval: float) -> float:
    """How far apart two readings may be to be counted, s, for a pack that is read at this
    interval (s): three intervals, and never less than what a slow board takes for one reading."""
    return max(_INTERVALS * interval, _LEAST)


@dataclass(frozen=True, slots=True)
class EnergyTotals:
    """What was counted since `since`; never less than before."""

    since: datetime
    """When counting began, UTC."""
    until: datetime
    """Up to when all is counted, UTC."""
    charge_in: float = 0.0
    """As (coulombs) that were charged."""
    charge_out: float = 0.0
    """As that were discharged."""
    energy_in: float = 0.0
    """J that were charged."""
    energy_out: float = 0.0
    """J that were discharged."""
    known: float = 0.0
    """s of which current and voltage are known."""
    unknown: float = 0.0
    """s of which they are not: what flowed then is in none of the others."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON, in the units of the field: Ah, Wh, s."""
        return {
            "since": plain(self.since),
            "charged_capacity": round(self.charge_in / _HOUR, 6),
            "discharged_capacity": round(self.charge_out / _HOUR, 6),
            "charged_energy": round(self.energy_in / _HOUR, 6),
            "discharged_energy": round(self.energy_out / _HOUR, 6),
            "known_seconds": round(self.known, 3),
            "unknown_seconds": round(self.unknown, 3),
        }


class EnergyMeter:
    """Of one pack."""

    def __init__(self, longest: float = _LEAST) -> None:
        self.longest = longest
        """s between two readings that are counted."""
        self._totals: EnergyTotals | None = None
        self._last: tuple[float, float, float] | None = None
        """Clock, A, W of the latest reading."""
        self._blind = False
        self._before_restart = False
        self._marked: datetime | None = None
        self.marks: deque[EnergyTotals] = deque(maxlen=_MARKS)
        """What was counted at the end of each minute, for who takes them from here."""

    def resume(self, totals: EnergyTotals) -> None:
        """Go on from what was counted before a restart; what was counted since is added. All
        between is unknown."""
        now = self._totals
        if now is None:
            self._totals, self._before_restart = totals, True
            return
        away = max(0.0, (now.since - totals.until).total_seconds())
        self._totals = EnergyTotals(
            totals.since,
            now.until,
            totals.charge_in + now.charge_in,
            totals.charge_out + now.charge_out,
            totals.energy_in + now.energy_in,
            totals.energy_out + now.energy_out,
            totals.known + now.known,
            totals.unknown + now.unknown + away,
        )

    def hear(
        self, clock: float, time: datetime, voltage: float | None, current: float | None
    ) -> None:
        """A reading: when, by the loop's clock (s) and by the calendar, V and A."""
        if voltage is None or current is None:
            return
        found = self._totals or EnergyTotals(time, time)
        if self._last is not None:
            self._mark(found, time)
        if self._last is None:
            if self._before_restart:
                away = max(0.0, (time - found.until).total_seconds())
                found = replace(found, unknown=found.unknown + away)
        else:
            found = self._counted(found, clock, current, voltage * current)
        self._before_restart = False
        self._totals = replace(found, until=time)
        self._last, self._blind = (clock, current, voltage * current), False

    def _counted(
        self, found: EnergyTotals, clock: float, amps: float, watts: float
    ) -> EnergyTotals:
        then, before, power = self._last or (clock, amps, watts)
        step = max(0.0, clock - then)
        if self._blind or step > self.longest:
            return replace(found, unknown=found.unknown + step)
        charged, discharged = _areas(before, amps, step)
        into, out_of = _areas(power, watts, step)
        return replace(
            found,
            charge_in=found.charge_in + charged,
            charge_out=found.charge_out + discharged,
            energy_in=found.energy_in + into,
            energy_out=found.energy_out + out_of,
            known=found.known + step,
        )

    def blind(self) -> None:
        """The link is lost, or somebody else has it: until the next reading nothing is known."""
        self._blind = True

    def totals(self, clock: float, time: datetime) -> EnergyTotals | None:
        """What is counted now; time that is surely unknown by now is in it. `None`: nothing was
        ever read."""
        found = self._totals
        if found is None or self._last is None:
            return found
        step = max(0.0, clock - self._last[0])
        if not self._blind and step <= self.longest:
            return found
        self._mark(found, time)  # the minute of the last reading has an end too
        return replace(found, until=max(time, found.until), unknown=found.unknown + step)

    def _mark(self, found: EnergyTotals, time: datetime) -> None:
        """Where a minute is over, what was counted at its end."""
        if _minute(time) != _minute(found.until) and self._marked != found.until:
            self._marked = found.until
            self.marks.append(found)


def _minute(moment: datetime) -> int:
    return int(moment.timestamp() // 60)


def _areas(first: float, last: float, step: float) -> tuple[float, float]:
    """What lies above zero and what below, of a line from one value to another over so long."""
    if first >= 0 and last >= 0:
        return (first + last) / 2 * step, 0.0
    if first <= 0 and last <= 0:
        return 0.0, -(first + last) / 2 * step
    crossing = step * first / (first - last)
    before, after = abs(first) / 2 * crossing, abs(last) / 2 * (step - crossing)
    return (before, after) if first > 0 else (after, before)
