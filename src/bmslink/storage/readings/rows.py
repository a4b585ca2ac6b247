"""A reading as a flat row of a table, and back.

The columns are those of `Reading.to_row`, and three more without which a row would not give the
same reading again: `cell_count`, `missing_probes` and `current_sign`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from bmslink.errors import TargetError, UsageError
from bmslink.model import Reading
from bmslink.moments import iso

__all__ = ["Kind", "Row", "Value", "from_row", "kind_of", "ordered", "require_ours", "to_row"]

Value = str | float | int | bool | None
Row = dict[str, Value]
Kind = Literal["text", "time", "real", "integer", "flag"]

_FIXED: dict[str, Kind] = {
    "target": "text", "name": "text", "protocol": "text", "time": "time",
    "voltage": "real", "current": "real", "power": "real", "soc": "real", "soh": "real",
    "remaining_capacity": "real", "full_capacity": "real", "nominal_capacity": "real",
    "cycles": "integer", "cycle_capacity": "real",
    "cell_count": "integer", "cell_voltage_": "real", "cell_resistance_": "real",
    "min_cell_voltage": "real", "max_cell_voltage": "real", "cell_delta": "real",
    "temperature_": "real", "missing_probes": "text",
    "balancing_active": "flag", "balancing_cells": "text", "balance_current": "real",
    "charge_switch": "flag", "discharge_switch": "flag", "balance_switch": "flag",
    "charging_allowed": "flag", "discharging_allowed": "flag", "heater": "flag",
    "alarms": "text", "protections": "text", "faults": "text",
    "uptime": "real", "current_sign": "text",
}  # fmt: skip
"""All columns in their order; one that ends in `_` is many."""
_PLACES = {name: place for place, name in enumerate(_FIXED)}
_MANY = re.compile(r"(cell_voltage_|cell_resistance_)([1-9]\d?)|(temperature_)([a-z0-9_]{1,40})")
_COMPUTED = ("power", "min_cell_voltage", "max_cell_voltage", "cell_delta")
_LISTS = ("alarms", "protections", "faults", "balancing_cells")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def kind_of(column: str) -> Kind | None:
    """What a column holds; `None` for one that is not ours."""
    found = _MANY.fullmatch(column)
    if found is not None:
        return _FIXED[found[1] or found[3]]
    return None if column.endswith("_") else _FIXED.get(column)


def ordered(columns: Iterable[str]) -> list[str]:
    """Columns as a new table has them: cells by their numbers, probes by their names."""

    def place(column: str) -> tuple[int, int, str]:
        found = _MANY.fullmatch(column)
        if found is None:
            return _PLACES[column], 0, ""
        return _PLACES[found[1] or found[3]], int(found[2] or 0), found[4] or ""

    return sorted(set(columns), key=place)


def require_ours(columns: Iterable[str], path: object) -> None:
    """Raises `TargetError` where a table that is there has other columns."""
    names = [*columns]
    strange = next((name for name in names if kind_of(name) is None), None)
    if strange is not None or len({*names}) != len(names):
        what = "a column twice" if strange is None else f"a column {strange[:40]!r}"
        raise TargetError(
            f"{path} has {what}, so it is no log of bmslink: name another file. "
            "Nothing was written."
        )
    if missing := [name for name in ("target", "protocol", "time") if name not in names]:
        raise TargetError(
            f"{path} has no column {missing[0]!r}, so it is no log of bmslink: name another file. "
            "Nothing was written."
        )


def to_row(reading: Reading) -> Row:
    """A reading as a row; times always with microseconds, so that text sorts and parses alike."""
    row: Row = {**reading.to_row()}
    if reading.time is not None:
        row["time"] = iso(reading.time.astimezone(UTC))
    row["cell_count"] = len(reading.cell_voltages)
    row["missing_probes"] = " ".join(n for n, v in reading.temperatures.items() if v is None)
    sign = reading.raw.get("current_sign")
    row["current_sign"] = sign if isinstance(sign, str) else None
    for name, value in row.items():
        if isinstance(value, str):
            plain = value.encode("utf-8", "replace").decode()
            row[name] = _CONTROL.sub("?", plain)  # a row is a line
    return {name: value for name, value in row.items() if kind_of(name) is not None}


def from_row(row: Mapping[str, Any]) -> Reading:
    """The reading of a row, whose values have their types. Raises `UsageError`."""
    values = {
        name: value
        for name, value in row.items()
        if name in _FIXED and name not in _COMPUTED and value is not None
    }
    values["conditions_known"] = True
    for name in _LISTS:
        if name in values:
            values[name] = [int(w) if w.isdecimal() else w for w in str(values[name]).split()]
    if isinstance(values.get("time"), datetime):
        values["time"] = iso(values["time"].astimezone(UTC))
    count = int(values.pop("cell_count", 0) or 0)
    if not 0 <= count <= _MOST_CELLS:
        raise UsageError(f"This is no reading: {count} cells.")
    values["cell_voltages"] = [row.get(f"cell_voltage_{n}") for n in range(1, count + 1)]
    wires = [row.get(f"cell_resistance_{n}") for n in range(1, count + 1)]
    values["cell_resistances"] = wires if any(w is not None for w in wires) else None
    missing = str(values.pop("missing_probes", "")).split()
    probes = {
        name.removeprefix("temperature_"): value
        for name, value in row.items()
        if name.startswith("temperature_") and (value is not None)
    }
    values["temperatures"] = probes | dict.fromkeys(missing)
    sign = values.pop("current_sign", None)
    values["raw"] = {} if sign is None else {"current_sign": sign}
    return Reading.from_dict(values)


_MOST_CELLS = 99
