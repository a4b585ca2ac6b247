"""Beginnings and ends of what readings say: conditions, switched-off FETs, balancing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

from bmslink.events import EventSeverity
from bmslink.model import Condition, Reading
from bmslink.reports.pictures.picture import Lane, TimeBand
from bmslink.runtime.watching.energy import longest_step
from bmslink.runtime.watching.wording import severity_of, words_of

__all__ = ["LaneKeeper", "states_of"]

_MOST = 1500
"""Bands of one lane; those next to each other become one where there are more."""
_LISTS = ("protections", "faults", "alarms")
_FLAGS = (
    ("charging_allowed", False, "Charging off"),
    ("discharging_allowed", False, "Discharging off"),
    ("heater", True, "Heater on"),
    ("balancing_active", True, "Balancing"),
)
"""Field of a reading, the value that is told, and what it is called."""

States = Mapping[str, EventSeverity]


def states_of(reading: Reading) -> dict[str, EventSeverity]:
    """What a reading says that is worth a band: its title -> how bad it is."""
    found: dict[str, EventSeverity] = {}
    for place in _LISTS:
        for condition in getattr(reading, place):
            found.setdefault(*_condition(condition, place))
    for name, told, title in _FLAGS:
        if getattr(reading, name) is told:
            found[title] = EventSeverity.INFO
    return found


def _condition(condition: Condition, place: str) -> tuple[str, EventSeverity]:
    ending = " (warning)" if place == "alarms" else ""
    return f"{words_of(condition).capitalize()}{ending}", severity_of(condition, place)


@dataclass(slots=True)
class _OpenLane:
    """One lane while it is made."""

    severity: EventSeverity
    bands: list[list[float]] = field(default_factory=list)  # start, end
    open: bool = False
    tolerance: float = 0.0


class LaneKeeper:
    """The lanes of one pack, from its readings in their order."""

    def __init__(self, step: float | None = None) -> None:
        """`step`: the time between two readings, s, where it is known."""
        self._step = step
        self._kept: dict[str, _OpenLane] = {}
        self._steps: deque[float] = deque(maxlen=11)
        self._last: float | None = None

    def hear(self, time: float, states: States) -> None:
        """One reading. What it does not say is over, at its time; what was not read for longer than
        usual was over when it was read last, as far as anybody knows."""
        last, self._last = self._last, time
        missing = last is None or self._missing(last, time)
        for title, kept in self._kept.items():
            if kept.open:
                kept.bands[-1][1] = kept.bands[-1][1] if missing else time
                kept.open = not missing and title in states
        for title, severity in states.items():
            kept = self._kept.setdefault(title, _OpenLane(severity))
            if not kept.open:
                kept.bands.append([time, time])
                kept.open = True
                if len(kept.bands) > _MOST:
                    _join(kept)

    def _missing(self, last: float, time: float) -> bool:
        step = time - last
        if self._step is not None:
            return step > 1.5 * self._step
        self._steps.append(step)
        return step > longest_step(median(self._steps))

    def lanes(self, pack: str) -> Iterator[Lane]:
        """What was found."""
        for title, kept in self._kept.items():
            bands = [
                TimeBand(start, end, title, lasting=kept.open and n == len(kept.bands))
                for n, (start, end) in enumerate(kept.bands, 1)
            ]
            yield Lane(title, kept.severity, bands, pack)


def _join(kept: _OpenLane) -> None:
    """Fewer bands: those that are closest to each other become one."""
    gaps = sorted(b[0] - a[1] for a, b in zip(kept.bands, kept.bands[1:], strict=False))
    kept.tolerance = max(kept.tolerance, gaps[len(gaps) // 2])
    found: list[list[float]] = []
    for band in kept.bands:
        if found and band[0] - found[-1][1] <= kept.tolerance:
            found[-1][1] = band[1]
        else:
            found.append(band)
    kept.bands = found
