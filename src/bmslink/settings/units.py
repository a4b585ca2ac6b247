"""Numbers with units, as people write them: `3.60 V`, `30 mV`, `10 s`, `2 K/min`, `0.5 C`.

One grammar for profiles, policy files and the command line. A profile reads the number first and
meets the setting's unit later (`read`, `NumberWithUnit.to`); a policy file knows the quantity at
once (`parse`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bmslink.arguments import decimal_comma
from bmslink.errors import UsageError
from bmslink.settings.setting import CONVERSIONS, UNITS

__all__ = ["NumberWithUnit", "UnitError", "parse", "read", "write"]

_NUMBER = re.compile(r"\s*([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*")
_BEYOND, _LONGEST = 1e12, 40
_SIZES: Mapping[str, tuple[str, float]] = {
    **CONVERSIONS,
    "d": ("s", 86400.0),
    "C": ("°C", 1.0),  # of a current: a multiple of the capacity
}
_KNOWN = frozenset((*UNITS, *_SIZES, "K/min"))


class UnitError(UsageError):
    """The text is no such number."""


@dataclass(frozen=True, slots=True)
class NumberWithUnit:
    """A number with the unit it was written with; none is a unit too."""

    value: float
    unit: str

    def to(self, unit: str, *, capacity: float | None = None) -> float:
        """The number in another unit; `UnitError` where they do not go together.

        With a `capacity`, Ah, a current may be written as a multiple of it (`0.5 C`).
        """
        if self.unit == unit:
            return self.value
        if capacity is not None and unit == "A" and self.unit == "C":
            return self.value * capacity
        base, size = _SIZES.get(self.unit, (self.unit, 1.0))
        wanted, per = _SIZES.get(unit, (unit, 1.0))
        if base != wanted:
            raise UnitError(f"{self.value:g} {self.unit} is no value in {unit or 'steps'}.")
        return round(_times(_times(self.value, size), 1 / per), 9)

    def plain(self) -> tuple[str, float]:
        """Its base unit, and the number in it (3600 mV are 3.6 V)."""
        base = _SIZES.get(self.unit, (self.unit, 1.0))[0]
        return base, self.to(base)


def _times(value: float, factor: float) -> float:
    """Dividing keeps decimals exact."""
    return value / round(1 / factor) if factor < 1 else value * factor


def read(text: str) -> NumberWithUnit | None:
    """The number at the beginning of a text with the word behind it; `None` where there is none.

    `UnitError` where the number is beyond all sense, or the word is no unit.
    """
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        return None
    number, unit = float(match[1]), match[2]
    if not abs(number) < _BEYOND:
        raise UnitError(f"A number cannot be {text.strip()}.")
    if unit not in _KNOWN:
        raise UnitError(f"{unit!r} is no unit; known: {', '.join(u for u in UNITS if u)}.")
    return NumberWithUnit(number, unit)


def parse(text: str | float, unit: str, *, capacity: float = math.nan) -> float:
    """The number in its quantity's own unit; `UnitError`, whose message ends a sentence, if it is
    none. Only a quantity without a unit may be a bare number."""
    unit = unit.removesuffix(" of capacity")
    if not isinstance(text, str):
        if unit == "" and math.isfinite(text):
            return float(text)
        raise UnitError(f"write it with its unit, as {_example(unit)}")
    try:
        found = read(text)
    except UnitError:
        raise UnitError(_other(unit)) from None
    if found is None:
        comma = decimal_comma(text).rstrip(".")
        raise UnitError(f"this is no number; write it as {_example(unit)}{comma and f'.{comma}'}")
    try:
        return found.to(unit, capacity=capacity)
    except UnitError:
        raise UnitError(_other(unit)) from None


def _other(unit: str) -> str:
    known = [unit, *(name for name, (base, _) in _SIZES.items() if base == unit)]
    known += ["C"] * (unit == "A")
    return f"the unit is {' or '.join(filter(None, known)) or 'none'}; write it as {_example(unit)}"


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
