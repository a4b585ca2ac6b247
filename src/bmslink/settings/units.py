"""Numbers with units, as people write them: `3.60 V`, `30 mV`, `10 s`, `2 K/min`, `0.5 C`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from bmslink.arguments import decimal_comma
from bmslink.settings.setting import CONVERSIONS

__all__ = ["UNITS", "UnitError", "parse", "write"]

_WRITTEN = re.compile(r"\s*([+-]?\d{1,9}(?:\.\d{1,9})?)\s*(\S.*?)?\s*")


def _written(unit: str, **more: float) -> Mapping[str, float]:
    others = {name: size for name, (base, size) in CONVERSIONS.items() if base == unit}
    return {unit: 1.0, **others, **more}


UNITS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        **{unit: _written(unit) for unit in ("V", "C", "Ah", "°C", "K", "K/min", "%", "")},
        "A": _written("A", C=math.nan),
        "s": _written("s", d=86400.0),
    }
)
"""A quantity's unit -> the units it may be written in, and how many of the first each is.

A current in `C` is a multiple of the capacity.
"""


class UnitError(ValueError):
    """The text is no such number; the message ends a sentence."""


def parse(text: str | float, unit: str, *, capacity: float = math.nan) -> float:
    """The number in its quantity's own unit; `UnitError` if it is none."""
    known = UNITS[unit.removesuffix(" of capacity")]
    if not isinstance(text, str):
        if unit == "" and math.isfinite(text):
            return float(text)
        raise UnitError(f"write it with its unit, as {_example(unit)}")
    found = _WRITTEN.fullmatch(text)
    if found is None:
        comma = decimal_comma(text).rstrip(".")
        raise UnitError(f"this is no number; write it as {_example(unit)}{comma and f'.{comma}'}")
    number, written = float(found[1]), found[2] or ""
    if written not in known:
        raise UnitError(f"the unit is {' or '.join(known) or 'none'}; write it as {_example(unit)}")
    if unit == "A" and written == "C":
        return number * capacity
    # dividing keeps decimals exact
    factor = known[written]
    return number / round(1 / factor) if factor < 1 else number * factor


def write(value: float, unit: str) -> str:
    """A number as `parse` reads it, in the unit that is easiest to read."""
    if unit == "s":
        for name, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
            if value and value % size == 0:
                return f"{value / size:g} {name}"
    if unit == "V" and 0 < abs(value) < 0.5:
        return f"{round(value * 1000, 3):g} mV"
    if unit == "V":
        return f"{value:.3f} V" if round(value, 2) != value else f"{value:.2f} V"
    return f"{round(value, 6):g} {unit.removesuffix(' of capacity')}".strip()


def _example(unit: str) -> str:
    examples = {"V": "3.60 V", "A": "100 A", "Ah": "280 Ah", "°C": "45 °C", "s": "10 s"}
    return f'"{examples.get(unit, f"5 {unit}".strip())}"'
