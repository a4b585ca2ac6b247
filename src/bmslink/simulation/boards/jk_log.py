"""What a simulated JK board remembers: its logbook and its detail log, as 19.10 keeps them.

A cell that is too full is logged with its number, and its release without
(`jk02-32s-logbook-28`); every hour the detail log gets what is measured
(`jk02-32s-detaillog-burst70`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmslink.model import Condition, Reading, Switch
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.jk.jk02.layouts import (
    DETAIL_ENTRIES,
    DETAIL_ENTRY,
    DETAIL_LOG,
    LOG_ENTRY,
    LOGBOOK,
    PAYLOAD,
    fitted,
)
from bmslink.protocols.jk.jk02.past import CODES
from bmslink.simulation.pack.pack import Pack

__all__ = ["JKLog"]

_BOOT, _PERIODIC = 1, 0
_SLOTS = 50
_RING = 836
_PERIOD = 3600.0
_CELL_CODES = {Condition.CELL_OVERVOLTAGE: 100, Condition.CELL_UNDERVOLTAGE: 200}
_SWITCH_CODES = {Switch.CHARGE: (3, 4), Switch.DISCHARGE: (5, 6)}
"""By the app: off and on."""


def _first(ended: bool) -> dict[Condition, int]:
    """The first code of each condition."""
    found: dict[Condition, int] = {}
    for code, meaning in sorted(CODES.items()):
        if meaning.condition is not None and meaning.ended is ended:
            found.setdefault(meaning.condition, code)
    return found


_BEGINS, _ENDS = _first(False), _first(True)


class JKLog:
    """The memory of one board, shared by all lines that lead to it."""

    def __init__(self) -> None:
        self._book: list[dict[str, int]] = [{"seconds": 0, "code": _BOOT}]
        self._details: list[dict[str, Any]] = []
        self._tripped: frozenset[Condition] = frozenset()
        self._due = 0.0

    def look(self, pack: Pack, clock: int) -> None:
        """Log what began and ended since the last look; `clock` is that of the board, s."""
        now = frozenset(pack.protections())
        if now != self._tripped:
            truth = pack.truth()
            for condition in sorted(now - self._tripped):
                self._note(pack, clock, _begins(condition, truth))
            for condition in sorted(self._tripped - now):
                self._note(pack, clock, _ENDS.get(condition))
            self._tripped = now
        if pack.uptime >= self._due:
            self._due = pack.uptime + _PERIOD
            self._measure(pack, clock, _PERIODIC)

    def switched(self, pack: Pack, clock: int, switch: Switch, on: bool) -> None:
        """Somebody switched by wire."""
        codes = _SWITCH_CODES.get(switch)
        self._note(pack, clock, None if codes is None else codes[on])

    def _note(self, pack: Pack, clock: int, code: int | None) -> None:
        if code is None:
            return
        self._book = [*self._book, {"seconds": int(pack.uptime), "code": code}][-_SLOTS:]
        self._measure(pack, clock, code)

    def _measure(self, pack: Pack, clock: int, code: int) -> None:
        entry = fitted(DETAIL_ENTRY, _measured(pack.truth(), clock, code))
        self._details = [*self._details, entry][-_RING:]

    @property
    def count(self) -> int:
        """Entries of the detail log."""
        return len(self._details)

    def logbook(self) -> bytes:
        """The payload of a type 05."""
        blank = parse(LOG_ENTRY, bytes(LOG_ENTRY.sizeof()), "entry")
        values = {
            **parse(LOGBOOK, bytes(PAYLOAD), "logbook"),
            "count": len(self._book),
            "last": len(self._book) - 1,
            "entries": self._book + [blank] * (_SLOTS - len(self._book)),
        }
        return build(LOGBOOK, values, "logbook")

    def details(self) -> Iterator[bytes]:
        """The payloads of the type 06 that answer one question."""
        blank = parse(DETAIL_ENTRY, bytes(DETAIL_ENTRY.sizeof()), "entry")
        for first in range(0, len(self._details), DETAIL_ENTRIES):
            some = self._details[first : first + DETAIL_ENTRIES]
            values = {
                **parse(DETAIL_LOG, bytes(PAYLOAD), "detail log"),
                "first": first,
                "count": len(some),
                "entries": some + [blank] * (DETAIL_ENTRIES - len(some)),
            }
            yield build(DETAIL_LOG, values, "detail log")


def _begins(condition: Condition, truth: Reading) -> int | None:
    """A cell that tripped is named; where a trip is only forced, the extreme one is."""
    first = _CELL_CODES.get(condition)
    if first is None:
        return _BEGINS.get(condition)
    cells = [v or 0.0 for v in truth.cell_voltages]
    worst = max(cells) if condition is Condition.CELL_OVERVOLTAGE else min(cells)
    return first + cells.index(worst)


def _measured(truth: Reading, clock: int, code: int) -> Mapping[str, Any]:
    cells = [v or 0.0 for v in truth.cell_voltages]
    probes = {name: t for name, t in truth.temperatures.items() if t is not None}
    mosfet = probes.pop("mosfet", 0.0)
    states = truth.charging_allowed, truth.discharging_allowed, truth.balancing_active, truth.heater
    return {
        "clock": clock,
        "code": code,
        "states": sum(1 << bit for bit, on in enumerate(states) if on),
        "highest_cell": cells.index(max(cells)),
        "lowest_cell": cells.index(min(cells)),
        "max_cell_voltage": max(cells),
        "min_cell_voltage": min(cells),
        "voltage": truth.voltage,
        "current": truth.current,
        "remaining_capacity": truth.remaining_capacity,
        "full_capacity": truth.full_capacity,
        "max_temperature": max(probes.values(), default=0.0),
        "min_temperature": min(probes.values(), default=0.0),
        "mosfet_temperature": mosfet,
        "heating_current": 0.0,
    }
