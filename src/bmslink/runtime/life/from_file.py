"""The life of a battery from a file: a log, a capture, or the history of a service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bmslink.analysis import BatteryLife, LifeFacts
from bmslink.control.backtest.logs import Entry, Log
from bmslink.errors import FrameError, UsageError
from bmslink.runtime.history.file import find_lives
from bmslink.runtime.history.schema import is_history, looked_at
from bmslink.runtime.life.keeper import counted_of
from bmslink.runtime.watching.energy import EnergyMeter, longest_step

__all__ = ["FoundLife", "lives_in"]

_LOOKED = 200
"""Readings of which the usual time between two is taken."""


class FoundLife(NamedTuple):
    """One battery of a file."""

    pack: str
    """Its name, or where it was read from."""
    board: str
    facts: LifeFacts


def lives_in(
    path: Path,
    *,
    chemistry: str | None = None,
    capacity: float | None = None,
    protocol: str | None = None,
) -> list[FoundLife]:
    """Every battery of a file. Of a history, what the service found; of anything else, what its
    readings show: time between readings that are further apart than usual is unknown.

    `chemistry` and `capacity` (nominal, Ah) are of cells of which the file does not say it. Raises
    `TransportError` for a file that cannot be read, `CaptureError`, `FrameError` where there is
    nothing in it, and `UsageError` for a chemistry or a capacity with a history: what a service
    found rests on what it knew then.
    """
    if is_history(path):
        if chemistry is not None or capacity is not None:
            raise UsageError(
                f"{path} is the history of a service: what it found rests on the chemistry and the "
                "capacity that it knew then, and neither can be given now."
            )
        return _of_history(path)
    interval = _usual(path, protocol)
    found: dict[str, tuple[BatteryLife, EnergyMeter]] = {}
    names: dict[str, str] = {}
    for entry in Log(path, protocol=protocol):
        if entry.target not in found:
            meter = EnergyMeter(longest_step(interval))
            found[entry.target] = BatteryLife(chemistry, capacity), meter
        names[entry.target] = entry.reading.name or entry.target
        _hear(*found[entry.target], entry)
    return [
        FoundLife(names[target], target, facts)
        for target, (life, _) in found.items()
        if (facts := life.facts()) is not None
    ]


def _hear(life: BatteryLife, meter: EnergyMeter, entry: Entry) -> None:
    reading = entry.reading
    time = datetime.fromtimestamp(entry.time, UTC)
    meter.hear(entry.time, time, reading.voltage, reading.current)
    meter.marks.clear()
    totals = meter.totals(entry.time, time)
    if totals is not None:
        life.hear(entry.time, replace(reading, time=time), counted_of(totals))


def _usual(path: Path, protocol: str | None) -> float:
    """The usual time between two readings of one pack, s."""
    last: dict[str, float] = {}
    steps: list[float] = []
    for entry in _first(path, protocol):
        if entry.target in last and entry.time > last[entry.target]:
            steps.append(entry.time - last[entry.target])
        last[entry.target] = entry.time
    return median(steps) if steps else 0.0


def _first(path: Path, protocol: str | None) -> Iterator[Entry]:
    for number, entry in enumerate(Log(path, protocol=protocol)):
        if number >= _LOOKED:
            return
        yield entry


def _of_history(path: Path) -> list[FoundLife]:
    with looked_at(path) as connection:
        stored = find_lives(connection)
    found = []
    for board, parts in stored.items():
        facts = BatteryLife.restore(parts).facts()
        pack = json.loads(parts.get("about", "{}")).get("pack") or board
        if facts is not None:
            found.append(FoundLife(str(pack), board, facts))
    if not found:
        raise FrameError(
            f"{path} is a history without the life of any battery: a service of this version adds "
            "it as it reads."
        )
    return found
