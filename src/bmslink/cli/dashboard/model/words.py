"""Conditions in plain words: what it is, and what it means for who stands before the battery."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bmslink.model import Condition

__all__ = ["meaning", "short"]

_C = Condition

_MEANINGS: Mapping[Condition, str] = MappingProxyType(
    {
        _C.CELL_OVERVOLTAGE: "a cell is above its upper voltage limit; charging has to stop",
        _C.CELL_UNDERVOLTAGE: "a cell is below its lower voltage limit; the load has to go",
        _C.PACK_OVERVOLTAGE: "the pack is above its upper voltage limit; charging has to stop",
        _C.PACK_UNDERVOLTAGE: "the pack is below its lower voltage limit; the load has to go",
        _C.CHARGE_OVERCURRENT: "more current is charged than the board allows",
        _C.DISCHARGE_OVERCURRENT: "the load takes more current than the board allows",
        _C.SHORT_CIRCUIT: "the board saw a short circuit: find it before switching on again",
        _C.CHARGE_OVERTEMPERATURE: "the cells are too warm to be charged",
        _C.CHARGE_UNDERTEMPERATURE: "the cells are too cold to be charged: it would harm them",
        _C.DISCHARGE_OVERTEMPERATURE: "the cells are too warm to be discharged",
        _C.DISCHARGE_UNDERTEMPERATURE: "the cells are too cold to be discharged",
        _C.MOSFET_OVERTEMPERATURE: "the board's power transistors are too warm",
        _C.BOARD_OVERTEMPERATURE: "the board is too warm",
        _C.CELL_DELTA: "the cells differ more than the board allows",
        _C.TEMPERATURE_DELTA: "the temperatures differ more than the board allows",
        _C.SOC_LOW: "little charge is left",
        _C.SOC_HIGH: "it is charged to a high level",
        _C.SOH_LOW: "the cells hold much less than when they were new",
        _C.FULLY_CHARGED: "it is full; nothing is wrong",
        _C.CELL_COUNT_MISMATCH: "the board finds another number of cells than it is set to",
        _C.WIRE_RESISTANCE: "a balance wire has a high resistance: look at its contact",
        _C.VOLTAGE_SENSE: "a cell voltage is not measured as it should be: look at the wires",
        _C.CURRENT_SENSE: "the current is not measured as it should be",
        _C.TEMPERATURE_SENSE: "a temperature probe is missing or broken",
        _C.AFE: "the measuring chip of the board does not work as it should",
        _C.CHARGE_MOSFET: "the charge transistor does not do what it is told",
        _C.DISCHARGE_MOSFET: "the discharge transistor does not do what it is told",
        _C.PRECHARGE: "precharging did not succeed",
        _C.EEPROM: "the memory for the settings does not work as it should",
        _C.CLOCK: "the clock of the board does not work as it should",
        _C.COMMUNICATION: "the board lost contact with one of its parts",
        _C.PARALLEL_COMMUNICATION: "the boards in parallel do not hear each other",
        _C.SETTINGS_INVALID: "the settings contradict each other",
        _C.DEFAULT_PASSWORD: "the password is still the one of the factory",
        _C.SOFTWARE_LOCK: "it was switched off by a command; a command switches it on again",
        _C.HEATER: "the heater does not work as it should",
        _C.OTHER: "something without a common name; the tab link shows the raw values",
    }
)
_SPELLED = {
    "afe": "measuring chip (AFE)",
    "eeprom": "EEPROM",
    "soc_low": "low SOC",
    "soc_high": "high SOC",
    "soh_low": "low SOH",
    "cell_delta": "cell delta",
}


def short(condition: str) -> str:
    """A few words: `cell over-voltage`."""
    known = _SPELLED.get(condition)
    if known is not None:
        return known
    text = condition.replace("_", " ")
    for kind in ("voltage", "current", "temperature"):
        text = text.replace(f"over{kind}", f"over-{kind}").replace(f"under{kind}", f"under-{kind}")
    return text


def meaning(condition: str) -> str:
    """A sentence without its stop; empty for what has none."""
    return _MEANINGS[Condition(condition)] if condition in _ALL else ""


_ALL = frozenset(Condition)
