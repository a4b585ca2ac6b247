"""Is a state of charge that somebody wants to set the one that the pack has?

A board counts from it: told 100 % at half, it discharges the cells far below what it shows.
"""

from __future__ import annotations

from collections.abc import Iterator

from bmslink.config.checks.check import Check
from bmslink.model import Reading
from bmslink.settings.chemistry import CHEMISTRIES

__all__ = ["check_soc"]

_JUMP = 10.0
"""%. Counting drifts by less between two full charges."""
_FULL, _EMPTY = 99.0, 1.0
_FLOWS = 0.5
"""A current that counts as charging or discharging, A."""
_REST, _LOADED = 0.02, 0.1
"""How far a cell's voltage may be from its rest voltage: at rest, and while current flows, V."""
_ROOM = 10.0
"""By how much the curves of two makers' cells differ, %."""


def check_soc(wanted: float, reading: Reading, chemistry: str | None) -> Check:
    """The check of a state of charge in %; `chemistry` as somebody stated it."""
    against = [
        *_count(wanted, reading),
        *_flow(wanted, reading),
        *_cells(wanted, reading, chemistry),
    ]
    sentence = (
        f"soc = {wanted:g} %: {' '.join(against)}"
        if against
        else (f"soc = {wanted:g} % goes with the pack as it is.")
    )
    return Check(name="soc", passed=not against, sentence=sentence, waiver="soc")


def _count(wanted: float, reading: Reading) -> Iterator[str]:
    if reading.soc is None:
        yield "the board does not say what it counts now."
    elif abs(wanted - reading.soc) > _JUMP:
        yield f"the board counts {reading.soc:g} % now, and that is a jump."


def _flow(wanted: float, reading: Reading) -> Iterator[str]:
    current = reading.current
    if current is None:
        yield "the current is unknown."
    elif wanted >= _FULL and current < -_FLOWS:
        yield f"a pack is not set to full while it is discharged with {-current:g} A."
    elif wanted <= _EMPTY and current > _FLOWS:
        yield f"a pack is not set to empty while it is charged with {current:g} A."


def _cells(wanted: float, reading: Reading, chemistry: str | None) -> Iterator[str]:
    """What the cells' voltages allow. On the flat part of a curve that is a wide range."""
    low, high = reading.min_cell_voltage, reading.max_cell_voltage
    if low is None or high is None:
        yield "the cells' voltages are unknown."
        return
    if chemistry is None:
        return
    kind = CHEMISTRIES[chemistry]
    apart = _REST if reading.current is not None and abs(reading.current) <= _FLOWS else _LOADED
    least, most = kind.soc_at(low - apart) - _ROOM, kind.soc_at(high + apart) + _ROOM
    if not least <= wanted <= most:
        yield (
            f"{chemistry} cells of {low:g} to {high:g} V have {max(least, 0):.0f} to "
            f"{min(most, 100):.0f} %."
        )
