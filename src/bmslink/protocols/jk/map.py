"""The settings of JK boards: one row each, with the vendor's own limits and the evidence.

A 32S board says itself which registers it has (flags at byte 287 of its settings) and which of
them may be written (flags in its device info): a row is offered where both agree. 24S boards say
neither and have the registers that all of them share. Recorded writes with their read-back:
25, 27, 2A, 37, 38 (`docs/protocols/jk02.md`); the vendor's app and other tools write the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from construct import Struct

from bmslink.protocols.common.fields import is_set
from bmslink.protocols.common.settings_map import SettingsMap, Slot, proof
from bmslink.protocols.jk.jk02.reading import CHEMISTRIES
from bmslink.protocols.jk.settings import REGISTERS, SWITCH_WORD
from bmslink.settings.setting import Danger, Evidence, Setting

__all__ = ["TABLE_BYTES", "jk_map", "slot_bytes", "writable"]

_CELL = ("V", 1.2, 4.4, 0.001)
_DELAY = ("s", 2, 600, 1)
_HOT = ("°C", 30, 80, 0.1)
_COLD = ("°C", -45, 20, 0.1)
_FETS = ("°C", 50, 110, 0.1)
_SMALL = ("°C", -40, 100, 1)

_Limits = tuple[str, float, float, float]

_NUMBERS: dict[str, tuple[str, _Limits]] = {
    "jk_smart_sleep_voltage": ("Smart sleep below", _CELL),
    "cell_uvp": ("Cell under-voltage", _CELL),
    "cell_uvp_release": ("Cell under-voltage release", _CELL),
    "cell_ovp": ("Cell over-voltage", _CELL),
    "cell_ovp_release": ("Cell over-voltage release", _CELL),
    "balance_delta": ("Balancing begins at a difference of", ("V", 0.003, 1.0, 0.001)),
    "full_charge_voltage": ("Cell voltage that counts as full", _CELL),
    "empty_voltage": ("Cell voltage that counts as empty", _CELL),
    "jk_request_charge_voltage": ("Cell voltage asked of the charger", _CELL),
    "float_voltage": ("Cell voltage asked of the charger afterwards", _CELL),
    "jk_power_off_voltage": ("The board switches itself off below", _CELL),
    "charge_ocp": ("Charge over-current", ("A", 1, 600, 0.001)),
    "charge_ocp_delay": ("Charge over-current delay", _DELAY),
    "charge_ocp_release": ("Charge over-current release after", _DELAY),
    "discharge_ocp": ("Discharge over-current", ("A", 1, 1200, 0.001)),
    "discharge_ocp_delay": ("Discharge over-current delay", _DELAY),
    "discharge_ocp_release": ("Discharge over-current release after", _DELAY),
    "short_circuit_release": ("Short circuit release after", _DELAY),
    "balance_current": ("Highest balancing current", ("A", 0.3, 15, 0.001)),
    "charge_otp": ("Charge over-temperature", _HOT),
    "charge_otp_release": ("Charge over-temperature release", _HOT),
    "discharge_otp": ("Discharge over-temperature", _HOT),
    "discharge_otp_release": ("Discharge over-temperature release", _HOT),
    "charge_utp": ("Charge under-temperature", _COLD),
    "charge_utp_release": ("Charge under-temperature release", _COLD),
    "discharge_utp": ("Discharge under-temperature", _SMALL),
    "discharge_utp_release": ("Discharge under-temperature release", _SMALL),
    "mosfet_otp": ("MOSFET over-temperature", _FETS),
    "mosfet_otp_release": ("MOSFET over-temperature release", _FETS),
    "cell_count": ("Cells", ("", 2, 32, 1)),
    "nominal_capacity": ("Capacity", ("Ah", 2, 20000, 0.001)),
    "short_circuit_delay": ("Short circuit delay", ("s", 0, 1, 0.000001)),
    "balance_start_voltage": ("Balancing begins above", ("V", 1.2, 4.25, 0.001)),
    "jk_device_address": ("Address on the bus", ("", 0, 15, 1)),
    "jk_precharge_time": ("Discharge pre-charge time", ("s", 0, 300, 1)),
    "jk_heating_start": ("Heating starts below", _SMALL),
    "jk_heating_stop": ("Heating stops above", _SMALL),
    "jk_smart_sleep_delay": ("Smart sleep after", ("h", 1, 100, 1)),
}

_SWITCHES: dict[str, str] = {
    "charge_switch": "Charging",
    "discharge_switch": "Discharging",
    "balance_switch": "Balancing",
    "jk_heating": "Heating",
    "jk_temperature_sensors_disabled": "Temperature sensors disabled",
    "jk_gps_heartbeat": "GPS heartbeat",
    "jk_port_rs485": "Port is RS485 (off: CAN)",
    "jk_display_always_on": "Display always on",
    "jk_special_charger": "Special charger",
    "jk_smart_sleep": "Smart sleep",
    "jk_parallel_limiter_disabled": "Parallel limiter disabled",
    "jk_timed_data": "Timed stored data",
    "jk_float_mode": "Float mode",
    "jk_button_emergency": "Emergency by button",
    "jk_dry_contact_intermittent": "Dry contact intermittent",
    "jk_discharge_ocp_2": "Second discharge over-current",
    "jk_discharge_ocp_3": "Third discharge over-current",
    "jk_gps_lock_charge": "GPS locks charging",
    "jk_gps_lock_discharge": "GPS locks discharging",
}

_DANGER = {
    "cell_count": Danger.COMMISSIONING,
    "nominal_capacity": Danger.COMMISSIONING,
    "jk_temperature_sensors_disabled": Danger.PROTECTION,
    "jk_parallel_limiter_disabled": Danger.PROTECTION,
    "jk_discharge_ocp_2": Danger.PROTECTION,
    "jk_discharge_ocp_3": Danger.PROTECTION,
    "jk_button_emergency": Danger.PROTECTION,
    "charge_switch": Danger.POWER,
    "discharge_switch": Danger.POWER,
    "jk_power_off_voltage": Danger.POWER,
    "jk_port_rs485": Danger.LINK,
    "jk_device_address": Danger.LINK,
    "jk_gps_lock_charge": Danger.POWER,
    "jk_gps_lock_discharge": Danger.POWER,
}
_CAPTURED = {
    "24s": (),
    "32s": (0x25, 0x27, 0x2A, 0x31, 0x32, 0x33, 0x35, 0x36, 0x37, 0x38, 0x39),
}
_UNUSED = {0x01: 600, **dict.fromkeys(range(0x07, 0x0B), 0)}
"""Register -> what 24S boards hold there, mV, because they do not have it."""
_OWN = ("jk_device_address",)
_MOST_CELLS = {"24s": 24, "32s": 32}

_SEEN = {
    "24s": ("4.1.7", "7.1.0H", "8.0.6G", "10.02", "10.07"),
    "32s": ("11.17", "11.26", "11.288H", "11.50", "14.20", "15.10", "15.41", "19.04", "19.10"),
}
"""Firmwares whose settings were recorded."""

# register -> where its value is in the 293 bytes, and how long it is there
_TAIL = {
    "24s": {0x25: (128, 4), 0x26: (132, 4)},
    "32s": {
        0x21: (128, 4),
        0x22: (132, 4),
        0x24: (264, 4),
        0x25: (268, 4),
        0x37: (278, 1),
        0x38: (279, 1),
        0x39: (280, 1),
        0x3A: (290, 1),
        0x3B: (291, 1),
    },
}
_HEAD_LAST = 0x20
_WORD_AT = 276
_ENABLED_AT = 281
TABLE_BYTES = 293


def slot_bytes(variant: str, register: int, table: bytes) -> bytes | None:
    """The value of a register, as it would be written, out of the settings record's 293 bytes."""
    if register <= _HEAD_LAST:
        at = 4 * (register - 1)
        return table[at : at + 4]
    if variant == "32s" and SWITCH_WORD <= register < SWITCH_WORD + 16:
        word = int.from_bytes(table[_WORD_AT : _WORD_AT + 2], "little")
        return bytes((word >> (register - SWITCH_WORD) & 1, 0, 0, 0))
    place = _TAIL[variant].get(register)
    return None if place is None else table[place[0] : place[0] + place[1]]


def writable(variant: str) -> dict[int, int]:
    """Register -> bytes, of all that is ever written to boards of a variant."""
    return {
        register: entry.wire.sizeof()
        for register, entry in REGISTERS[variant].items()
        if slot_bytes(variant, register, bytes(TABLE_BYTES)) is not None
    }


def _flags(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _rows(variant: str, table: bytes, taken: int) -> Iterator[Setting]:
    present = _flags(table[_ENABLED_AT : _ENABLED_AT + 9])
    for register in writable(variant):
        if variant == "24s":
            raw = int.from_bytes(slot_bytes(variant, register, table) or b"", "little")
            reason = "this board does not have it" if raw == _UNUSED.get(register) else ""
            yield _row(variant, register, reason)
        elif is_set(present, register):
            reason = "" if is_set(taken, register) else "the board says that it does not take it"
            yield _row(variant, register, reason)


def _row(variant: str, register: int, reason: str) -> Setting:
    key = REGISTERS[variant][register].key
    evidence = Evidence.CAPTURE if register in _CAPTURED[variant] else Evidence.APP
    danger = _DANGER.get(key, Danger.NONE)
    if key in _SWITCHES:
        return Setting(
            key=key,
            title=_SWITCHES[key],
            slot=register,
            kind="switch",
            danger=danger,
            evidence=evidence,
            reason=reason,
        )
    title, (unit, low, high, step) = _NUMBERS[key]
    return Setting(
        key=key,
        title=title,
        slot=register,
        unit=unit,
        minimum=low,
        maximum=_MOST_CELLS[variant] if key == "cell_count" else high,
        step=step,
        absent=(_UNUSED[register] / 1000,) if variant == "24s" and register in _UNUSED else (),
        danger=danger,
        evidence=evidence,
        reason=reason,
        own=key in _OWN,
    )


@cache
def _slot(variant: str, register: int) -> Slot:
    """Made once: a layout's fast reader is compiled for the object."""
    entry = REGISTERS[variant][register]
    return Slot(address=register, layout=Struct(entry.key / entry.wire))


def jk_map(variant: str, firmware: str | None, table: bytes, command_flags: bytes) -> SettingsMap:
    """The map of a board. `table` is its settings record, `command_flags` what its device info
    says of the registers that may be written."""
    rows = tuple(_rows(variant, table, _flags(command_flags)))
    seen = (firmware or "").strip().upper() in _SEEN[variant]
    known = proof(firmware, "its settings were recorded" if seen else "", "jk02")
    read_only_reason = ""
    if variant == "32s" and not any(command_flags):
        read_only_reason = "the board does not say which registers may be written"
    if not re.match(r"\d+\.", firmware or ""):
        read_only_reason = "the board does not say which firmware it has"
    registers = sorted({row.slot for row in rows})
    return SettingsMap(
        name=f"jk02-{variant}",
        evidence=known.evidence,
        slots=tuple(_slot(variant, r) for r in registers),
        settings=rows,
        read_only_reason=read_only_reason,
        untested_reason=known.untested_reason,
        chemistries=frozenset(CHEMISTRIES.values()),
    )
