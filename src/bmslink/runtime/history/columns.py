"""The columns of the store, and how a reading and a decision become one row of whole numbers.

A value that is not known is NULL. A column is made when a pack first has a value for it, so a file
holds as many cells and probes as its packs have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from bmslink.control.banks.decision import BankDecision, BankLimit
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.limits import LIMITS, PERMITS
from bmslink.model import Condition, Reading

__all__ = [
    "FIXED",
    "SHARE",
    "Row",
    "StoredColumn",
    "Value",
    "column_of",
    "decode",
    "encode",
    "encode_bank",
]

Row = dict[str, int]
"""StoredColumn -> whole number; a value that is not known is not there."""
Value = float | int | bool | list[str] | list[int] | None
T = TypeVar("T")
Kind = Literal["number", "flag", "conditions", "cells"]


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """One value of a row."""

    name: str
    """As in `Reading.to_row`."""
    kind: Kind = "number"
    scale: int = 1000
    """What a number is multiplied by to be whole."""
    merged: Literal["avg", "min", "max"] = "avg"
    """What a minute or an hour keeps of it."""
    extremes: bool = False
    """Whether a minute and an hour also keep the lowest and the highest value."""


_FLAGS = (
    "balancing_active",
    "charge_switch",
    "discharge_switch",
    "balance_switch",
    "charging_allowed",
    "discharging_allowed",
    "heater",
)
_LISTS = ("alarms", "protections", "faults")
FIXED = {
    each.name: each
    for each in (
        StoredColumn("voltage", extremes=True),
        StoredColumn("current", extremes=True),
        StoredColumn("power", extremes=True),
        StoredColumn("soc", extremes=True),
        StoredColumn("soh"),
        StoredColumn("remaining_capacity"),
        StoredColumn("full_capacity"),
        StoredColumn("nominal_capacity"),
        StoredColumn("cycles", scale=1, merged="max"),
        StoredColumn("cycle_capacity", merged="max"),
        StoredColumn("min_cell_voltage", extremes=True),
        StoredColumn("max_cell_voltage", extremes=True),
        StoredColumn("cell_delta", extremes=True),
        StoredColumn("balance_current"),
        *(StoredColumn(name, "flag", 1) for name in _FLAGS),
        StoredColumn("balancing_cells", "cells", 1, "max"),
        *(StoredColumn(name, "conditions", 1, "max") for name in _LISTS),
        *(StoredColumn(name, merged="max" if name == "dvl" else "min") for name in LIMITS),
        *(StoredColumn(f"{name}_permitted", "flag", 1) for name in PERMITS),
    )
}
"""The columns that every file has, in their order."""
_SINGLE = (
    *("voltage", "current", "power", "soc", "soh", "remaining_capacity", "full_capacity"),
    *("nominal_capacity", "cycles", "cycle_capacity", "min_cell_voltage", "max_cell_voltage"),
    *("cell_delta", "balance_current", *_FLAGS),
)
_MORE = re.compile(
    r"(cell_voltage_([1-9]|[1-4][0-9])|temperature_[a-z0-9_]{1,40})(?<!_m[axin]{2})\Z"
)
_CONDITIONS = tuple(Condition)
_BITS = {condition: 1 << bit for bit, condition in enumerate(_CONDITIONS)}
_LARGEST = 1 << 62
SHARE = 1000
"""What the share of time that a flag was on is multiplied by, in minutes and hours."""


def column_of(name: str) -> StoredColumn | None:
    """The column of a name; `None` for one that no row has."""
    if name in FIXED:
        return FIXED[name]
    if _MORE.match(name):
        return StoredColumn(name, extremes=name.startswith("temperature_"))
    return None


def encode(reading: Reading, decision: Decision | None) -> Row:
    """A reading, and what the policies say of it, as a row."""
    row: Row = {}
    for name in _SINGLE:
        _put(row, FIXED[name], getattr(reading, name))
    for number, volts in enumerate(reading.cell_voltages, 1):
        _put(row, _named(f"cell_voltage_{number}"), volts)
    for probe, degrees in reading.temperatures.items():
        _put(row, _named(f"temperature_{probe}"), degrees)
    if reading.balancing_cells is not None:
        row["balancing_cells"] = sum({1 << n - 1 for n in reading.balancing_cells if 0 < n < 62})
    for name in _LISTS:
        conditions = getattr(reading, name)
        if conditions or reading.conditions_known:
            row[name] = sum({_BITS[each] for each in conditions})
    if decision is not None:
        for name in LIMITS:
            _put(row, FIXED[name], getattr(decision.limits, name).value)
        for name in PERMITS:
            row[f"{name}_permitted"] = int(getattr(decision, name).allowed)
    return row


def encode_bank(decision: BankDecision) -> Row:
    """What a bank has as a whole, and its limits, as a row."""
    row: Row = {}
    for name in ("voltage", "current", "soc"):
        _put(row, FIXED[name], getattr(decision, name))
    for name in LIMITS:
        limit: BankLimit | None = getattr(decision, name)
        _put(row, FIXED[name], None if limit is None else limit.value)
    return row


_KNOWN: dict[str, StoredColumn | None] = {}


def _named(name: str) -> StoredColumn | None:
    """The same as `column_of`, remembered; a board has few names."""
    if name not in _KNOWN:
        if len(_KNOWN) > 1000:
            return None
        _KNOWN[name] = column_of(name)
    return _KNOWN[name]


def _put(row: Row, column: StoredColumn | None, value: float | bool | None) -> None:
    if value is None or column is None:
        return
    try:
        whole = round(value * column.scale)
    except (OverflowError, ValueError):  # infinite, or no number
        return
    if -_LARGEST < whole < _LARGEST:
        row[column.name] = whole


def decode(column: StoredColumn, stored: int | None, *, merged: bool) -> Value:
    """What a stored number means. Of a minute or an hour (`merged`), a flag is the share of time
    that it was on, 0 to 1."""
    if stored is None:
        return None
    if column.kind == "conditions":
        return [str(each) for each in _named_bits(stored, _CONDITIONS)]
    if column.kind == "cells":
        return [*_named_bits(stored, range(1, 62))]
    if column.kind == "flag" and not merged:
        return stored > 0
    if column.kind == "flag":
        return stored / SHARE
    return stored if column.scale == 1 else stored / column.scale


def _named_bits(stored: int, names: Sequence[T]) -> list[T]:
    found = []
    while stored > 0:
        lowest = stored & -stored
        bit = lowest.bit_length() - 1
        if bit < len(names):
            found.append(names[bit])
        stored ^= lowest
    return found
