"""A condition of a BMS in words: what it is, the value that was measured, and the limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bmslink.events import EventSeverity
from bmslink.model import Condition, Reading

__all__ = ["LISTS", "Settings", "condition_data", "severity_of", "words_of"]

Settings = Mapping[str, Any]
"""Settings of a board by their names, as far as they are known."""

LISTS = {
    "alarms": (EventSeverity.WARNING, "The BMS warns"),
    "protections": (EventSeverity.ALARM, "The BMS has tripped"),
    "faults": (EventSeverity.ALARM, "The BMS reports a fault"),
}
"""List of a reading -> how bad what is in it is, and how it is said."""
_HARMLESS = {Condition.FULLY_CHARGED, Condition.SOC_HIGH}
_WORST = {Condition.SHORT_CIRCUIT}


class _About(NamedTuple):
    """What a condition is about."""

    words: str
    value: Callable[[Reading], float | None]
    unit: str
    setting: str = ""
    """The setting that limits it; with `_warning` added for a warning."""


def _hottest(reading: Reading) -> float | None:
    return max((v for v in reading.temperatures.values() if v is not None), default=None)


def _coldest(reading: Reading) -> float | None:
    return min((v for v in reading.temperatures.values() if v is not None), default=None)


def _of_probe(name: str) -> Callable[[Reading], float | None]:
    return lambda reading: reading.temperatures.get(name)


_CELLS_HIGH, _CELLS_LOW = "the highest cell has", "the lowest cell has"
_HOT, _COLD = "the warmest probe has", "the coldest probe has"
_ABOUT: Mapping[str, _About] = {
    "cell_overvoltage": _About(_CELLS_HIGH, lambda r: r.max_cell_voltage, "V", "cell_ovp"),
    "cell_undervoltage": _About(_CELLS_LOW, lambda r: r.min_cell_voltage, "V", "cell_uvp"),
    "cell_delta": _About("the cells differ by", lambda r: r.cell_delta, "V", "cell_delta"),
    "pack_overvoltage": _About("the pack has", lambda r: r.voltage, "V", "pack_ovp"),
    "pack_undervoltage": _About("the pack has", lambda r: r.voltage, "V", "pack_uvp"),
    "fully_charged": _About("the pack has", lambda r: r.voltage, "V"),
    "charge_overcurrent": _About("the current is", lambda r: r.current, "A", "charge_ocp"),
    "discharge_overcurrent": _About("the current is", lambda r: r.current, "A", "discharge_ocp"),
    "charge_overtemperature": _About(_HOT, _hottest, "°C", "charge_otp"),
    "discharge_overtemperature": _About(_HOT, _hottest, "°C", "discharge_otp"),
    "charge_undertemperature": _About(_COLD, _coldest, "°C", "charge_utp"),
    "discharge_undertemperature": _About(_COLD, _coldest, "°C", "discharge_utp"),
    "mosfet_overtemperature": _About("the MOSFETs have", _of_probe("mosfet"), "°C", "mosfet_otp"),
    "soc_low": _About("the charge is", lambda r: r.soc, "%"),
    "soc_high": _About("the charge is", lambda r: r.soc, "%"),
}


def severity_of(condition: Condition, place: str) -> EventSeverity:
    """How bad a condition in this list is."""
    if condition in _HARMLESS:
        return EventSeverity.INFO
    return EventSeverity.CRITICAL if condition in _WORST else LISTS[place][0]


def words_of(condition: str) -> str:
    """Its name as people say it."""
    if condition == Condition.OTHER:
        return "something that bmslink has no name for"
    return condition.replace("_", " ")


def condition_data(
    condition: str, place: str, reading: Reading, settings: Callable[[], Settings]
) -> dict[str, Any]:
    """About a condition that begins, for programs and for the text: its `list` and `condition`,
    and where they are known `measured` (in words), `value`, `unit` and `threshold`."""
    found: dict[str, Any] = {"list": place, "condition": str(condition)}
    about = _ABOUT.get(str(condition))
    value = None if about is None else about.value(reading)
    if about is None or value is None:
        return found
    found |= {"measured": f"{about.words} {value:g} {about.unit}", "value": value}
    found["unit"] = about.unit
    if about.setting:
        name = about.setting if place == "protections" else f"{about.setting}_warning"
        threshold = settings().get(name)
        if isinstance(threshold, (int, float)) and not isinstance(threshold, bool):
            found["threshold"] = threshold
    return found
