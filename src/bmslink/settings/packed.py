"""Stored numbers that mean more than one thing, in words."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping
from types import MappingProxyType

from bmslink.settings.setting import Value

__all__ = ["words_of"]

_FUNCTIONS = (
    *("external switch", "load detection", "balancing"),
    *("balancing only while charging", "LEDs", "LED count"),
)
"""The bits of JBD's function word that mean the same in all sources, from the lowest."""


def _bits(number: int, names: tuple[str, ...]) -> str:
    """The bits that are set; one without a name is said by its number."""
    found = [
        names[bit] if bit < len(names) else f"bit {bit} (meaning unknown)"
        for bit in range(number.bit_length())
        if number >> bit & 1
    ]
    return ", ".join(found) or "none"


def _functions(number: int) -> str:
    return _bits(number, _FUNCTIONS)


def _probes(number: int) -> str:
    """JBD's probes: bit 0 is NTC 1."""
    return _bits(number, tuple(f"NTC {n}" for n in range(1, 17)))


def _date(number: int) -> str:
    """JBD's date: the year from 2000 in bits 15 to 9, the month in 8 to 5, the day in 4 to 0."""
    year, month, day = 2000 + (number >> 9), number >> 5 & 0xF, number & 0x1F
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return "no date"
    return f"{year}-{month:02}-{day:02}"


def _one_of(**words: str) -> Callable[[int], str]:
    known = {int(number[1:]): word for number, word in words.items()}
    return lambda number: known.get(number, "meaning unknown")


def _chip_code(number: int) -> str:
    return f"code {number:02X} of the measuring chip"


_WORDS: Mapping[str, Callable[[int], str]] = MappingProxyType(
    {
        "jbd_function_bits": _functions,
        "jbd_ntc_bits": _probes,
        "jbd_production_date": _date,
        "jbd_short_circuit_level": _chip_code,
        "jbd_overcurrent_2_level": _chip_code,
        "jbd_hardware_delays": _chip_code,
        "daly_operating_mode": _one_of(_1="wakes by a long press", _2="wakes by a short press"),
        "jk_battery_type": _one_of(_0="LFP", _1="NMC", _2="LTO"),
        "jk_dedicated_charger": _one_of(_0="off", _1="on"),
        "jk_calibrating": _one_of(_0="off", _1="on"),
    }
)


def words_of(key: str, value: Value | None) -> str:
    """What a packed number says; empty for a setting that is no such number, or not known."""
    decode = _WORDS.get(key)
    if decode is None or value is None or isinstance(value, str | bool):
        return ""
    number = int(value)
    return decode(number) if number >= 0 and number == value else ""
