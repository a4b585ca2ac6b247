"""JK's settings: the 300-byte record (type 01), and the registers that write what it shows.

One row a setting, in the order of the record, so that where a value lies follows from the rows
before it. Up to 20 a register means the same on both variants; beyond, the same number means
different things on 24S and 32S boards. Limits are the vendor's. Recorded writes with their
read-back: 25, 27, 2A, 37, 38; the vendor's app and other tools write the others. Sources:
`docs/protocols/jk02.md`, sections on type 01 and the write registers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from construct import Array, Byte, Bytes, Int8sb, Int16ul, Int32sl, Int32ul, Pass, Struct

from bmslink.protocols.common.fields import Layout, flag, is_set, scaled
from bmslink.protocols.common.rows import Row, bare, record
from bmslink.settings.setting import Danger, Evidence

__all__ = [
    "CLOCK",
    "INFO_ROWS",
    "REGISTERS",
    "ROWS",
    "SETTINGS_LAYOUTS",
    "SWITCH_WORD",
    "TABLE_BYTES",
    "UNUSED",
    "Register",
    "plain_settings",
    "write_layout",
]

TABLE_BYTES = 293
"""Bytes of the record that the rows describe: 6-298 of the 300."""

_V = scaled(Int32ul, 1000)
_A = scaled(Int32ul, 1000)
_AH = scaled(Int32ul, 1000)
_CELSIUS = scaled(Int32sl, 10)
_S = Int32ul
_US = scaled(Int32ul, 1_000_000)
_U32 = Int32ul

_CELL, _DELAY = (1.2, 4.4), (2, 600)
_HOT, _COLD, _FETS, _I8 = (30, 80), (-45, 20), (50, 110), (-40, 100)
_CAPTURE, _APP, _DOCUMENT = Evidence.CAPTURE, Evidence.APP, Evidence.DOCUMENT
_POWER, _PROTECTION, _LINK = Danger.POWER, Danger.PROTECTION, Danger.LINK
_ALL = Danger.COMMISSIONING

_HEAD: tuple[Row, ...] = (
    Row(0x01, "jk_smart_sleep_voltage", _V, _CELL, _APP, title="Smart sleep below", unit="V"),
    Row(0x02, "cell_uvp", _V, _CELL, _APP),
    Row(0x03, "cell_uvp_release", _V, _CELL, _APP),
    Row(0x04, "cell_ovp", _V, _CELL, _APP),
    Row(0x05, "cell_ovp_release", _V, _CELL, _APP),
    Row(0x06, "balance_delta", _V, (0.003, 1.0), _APP),
    Row(0x07, "full_charge_voltage", _V, _CELL, _APP),  # 0 before firmware 11.288
    Row(0x08, "empty_voltage", _V, _CELL, _APP),
    Row(0x09, "jk_request_charge_voltage", _V, _CELL, _APP,  # what an inverter is asked for
        title="Cell voltage asked of the charger", unit="V"),
    Row(0x0A, "float_voltage", _V, _CELL, _APP),
    Row(0x0B, "jk_power_off_voltage", _V, _CELL, _APP,
        title="The board switches itself off below", unit="V", danger=_POWER),
    Row(0x0C, "charge_ocp", _A, (1, 600), _APP),
    Row(0x0D, "charge_ocp_delay", _S, _DELAY, _APP),
    Row(0x0E, "charge_ocp_release", _S, _DELAY, _APP),
    Row(0x0F, "discharge_ocp", _A, (1, 1200), _APP),
    Row(0x10, "discharge_ocp_delay", _S, _DELAY, _APP),
    Row(0x11, "discharge_ocp_release", _S, _DELAY, _APP),
    Row(0x12, "short_circuit_release", _S, _DELAY, _APP),
    Row(0x13, "balance_current", _A, (0.3, 15), _APP),
    Row(0x14, "charge_otp", _CELSIUS, _HOT, _APP),
    Row(0x15, "charge_otp_release", _CELSIUS, _HOT, _APP),
    Row(0x16, "discharge_otp", _CELSIUS, _HOT, _APP),
    Row(0x17, "discharge_otp_release", _CELSIUS, _HOT, _APP),
    Row(0x18, "charge_utp", _CELSIUS, _COLD, _APP),
    Row(0x19, "charge_utp_release", _CELSIUS, _COLD, _APP),
    Row(0x1A, "mosfet_otp", _CELSIUS, _FETS, _APP),
    Row(0x1B, "mosfet_otp_release", _CELSIUS, _FETS, _APP),
    Row(0x1C, "cell_count", _U32, (2, 32), _APP, danger=_ALL),
    # 1D-1F: what the user wants, not what the FETs do
    Row(0x1D, "charge_switch", _U32, None, _APP, danger=_POWER),
    Row(0x1E, "discharge_switch", _U32, None, _APP, danger=_POWER),
    Row(0x1F, "balance_switch", _U32, None, _APP),
    Row(0x20, "nominal_capacity", _AH, (2, 20000), _APP, danger=_ALL),
)  # fmt: skip
"""Alike on both variants."""

SWITCH_WORD = 0x27
"""Bit n of the word `jk_switches` is register 27 + n."""


def _bit(
    bit: int, key: str, title: str, evidence: Evidence = _APP, danger: Danger = Danger.NONE
) -> Row:
    return Row(SWITCH_WORD + bit, key, _U32, None, evidence,
               title=title, kind="switch", danger=danger)  # fmt: skip


_SWITCHES: tuple[Row, ...] = (
    _bit(0, "jk_heating", "Heating", _CAPTURE),
    _bit(1, "jk_temperature_sensors_disabled", "Temperature sensors disabled", _APP, _PROTECTION),
    _bit(2, "jk_gps_heartbeat", "GPS heartbeat"),
    _bit(3, "jk_port_rs485", "Port is RS485 (off: CAN)", _CAPTURE, _LINK),
    _bit(4, "jk_display_always_on", "Display always on"),
    _bit(5, "jk_special_charger", "Special charger"),
    _bit(6, "jk_smart_sleep", "Smart sleep"),
    _bit(7, "jk_parallel_limiter_disabled", "Parallel limiter disabled", _APP, _PROTECTION),
    _bit(8, "jk_timed_data", "Timed stored data"),
    _bit(9, "jk_float_mode", "Float mode"),
    _bit(10, "jk_button_emergency", "Emergency by button", _CAPTURE, _PROTECTION),
    _bit(11, "jk_dry_contact_intermittent", "Dry contact intermittent", _CAPTURE),
    _bit(12, "jk_discharge_ocp_2", "Second discharge over-current", _CAPTURE, _PROTECTION),
    _bit(13, "jk_discharge_ocp_3", "Third discharge over-current", _APP, _PROTECTION),
    _bit(14, "jk_gps_lock_charge", "GPS locks charging", _CAPTURE, _POWER),
    _bit(15, "jk_gps_lock_discharge", "GPS locks discharging", _CAPTURE, _POWER),
)

UNUSED = {0x01: 0.6, **dict.fromkeys(range(0x07, 0x0B), 0.0)}
"""Register -> what 24S boards hold there, V, because they do not have it."""


def _older(row: Row) -> Row:
    """A row of the first part on a 24S board."""
    absent = (UNUSED[row.at],) if row.at in UNUSED else ()
    return replace(row, limits=(2, 24) if row.key == "cell_count" else row.limits, absent=absent)


_24S: tuple[Row, ...] = (
    *(_older(row) for row in _HEAD),
    Row(0x25, "short_circuit_delay", _US, (0, 1), _APP),  # byte 134
    Row(0x26, "balance_start_voltage", _V, (1.2, 4.25), _APP),
    bare(0, "reserved_142", Bytes(16)),
    bare(0, "jk_wire_resistances", Array(24, Int32ul)),  # 0 in every capture: the unit is open
)
"""Everything from 142 on was 0 on eight devices."""

_32S: tuple[Row, ...] = (
    *_HEAD,
    Row(0x21, "short_circuit_delay", _US, (0, 1), _APP),  # byte 134
    Row(0x22, "balance_start_voltage", _V, (1.2, 4.25), _APP),
    bare(0, "jk_wire_resistances", Array(32, Int32ul)),  # 0 in every capture: the unit is open
    Row(0x24, "jk_device_address", _U32, (0, 15), _APP,  # 270
        title="Address on the bus", danger=_LINK, own=True),
    Row(0x25, "jk_precharge_time", _S, (0, 300), _CAPTURE,
        title="Discharge pre-charge time", unit="s"),
    bare(0, "jk_current_range", _U32),  # 278: sources disagree whether 0.001 or 0.0001 A
    bare(0, "jk_switches", Int16ul),  # 282
    Row(0x37, "jk_heating_start", Int8sb, _I8, _CAPTURE, title="Heating starts below", unit="°C"),
    Row(0x38, "jk_heating_stop", Int8sb, _I8, _CAPTURE, title="Heating stops above", unit="°C"),
    Row(0x39, "jk_smart_sleep_delay", Byte, (1, 100), _CAPTURE,
        title="Smart sleep after", unit="h"),
    bare(0, "enable_flags", Bytes(9)),  # 287: bit n = register n exists here
    Row(0x3A, "discharge_utp", Int8sb, _I8, _APP),  # 296
    Row(0x3B, "discharge_utp_release", Int8sb, _I8, _APP),
)  # fmt: skip


_UART = {
    0: "4g_gps", 1: "jk_modbus_115200", 2: "niu", 3: "china_tower_1", 4: "pace_modbus",
    5: "pylon", 6: "growatt", 7: "voltronic", 8: "china_tower_2", 9: "srne", 10: "jk_lcd_2",
    13: "jk_modbus_9600", 14: "pylon_9600", 15: "pb_lcd_1", 16: "lin",
}  # fmt: skip
_CAN = {
    0: "jk_250k", 1: "deye", 2: "pylon", 3: "growatt", 4: "victron", 5: "megarevo",
    6: "jk_500k", 7: "invt", 8: "goodwe", 9: "sma", 10: "must", 11: "luxpower",
}  # fmt: skip
_TRIGGERS = {
    0: "off", 1: "soc_low", 2: "pack_ovp", 3: "pack_uvp", 4: "cell_ovp", 5: "cell_uvp",
    6: "charge_ocp", 7: "discharge_ocp", 8: "battery_hot", 9: "mosfet_hot", 10: "any_alarm",
    11: "battery_cold", 12: "remote", 13: "soc_high", 14: "mosfet_fault",
}  # fmt: skip
_PORT = "it decides what a port speaks: nobody was recorded writing it, and it may cut this link"


def _port(at: int, key: str, title: str, choices: Mapping[int, str]) -> Row:
    return Row(at, key, Int16ul, None, _DOCUMENT, title=title, kind="choice",
               choices=choices, reason=_PORT)  # fmt: skip


def _trigger(at: int, key: str, title: str) -> Row:
    return Row(at, key, Int16ul, None, _DOCUMENT, title=title, kind="choice", choices=_TRIGGERS)


INFO_ROWS: tuple[Row, ...] = (
    _port(0xA5, "jk_uart1_protocol", "Protocol of UART 1", _UART),
    _port(0xA6, "jk_can_protocol", "Protocol of the CAN bus", _CAN),
    _port(0xA8, "jk_uart2_protocol", "Protocol of UART 2", _UART),
    _trigger(0xA9, "jk_buzzer_trigger", "Buzzer sounds on"),
    _trigger(0xAA, "jk_dry1_trigger", "Dry contact 1 closes on"),
    _trigger(0xAB, "jk_dry2_trigger", "Dry contact 2 closes on"),
    Row(0xB3, "jk_request_charge_time", scaled(Byte, 10), (0, 25.5), _DOCUMENT,
        title="Time at the requested charge voltage", unit="h"),
    Row(0xB4, "jk_float_time", scaled(Byte, 10), (0, 25.5), _DOCUMENT,
        title="Time at the float voltage", unit="h"),
    _port(0xB6, "jk_uart3_protocol", "Protocol of UART 3", _UART),
    Row(0xB7, "jk_rebulk_soc", Byte, (0, 50), _DOCUMENT, title="Charges anew below", unit="%"),
)  # fmt: skip
"""Settings of 32S boards that are in their device info (type 03), in the field of the same name
without `jk_`. What writes them is known from other tools only: no write was recorded."""

SETTINGS_LAYOUTS: dict[str, Layout] = {
    "24s": record(_24S, TABLE_BYTES),
    "32s": record(_32S, TABLE_BYTES),
}
"""Type 01, bytes 6-298."""

ROWS: dict[str, tuple[Row, ...]] = {
    variant: tuple(sorted((row for row in rows if row.offered), key=lambda row: row.at))
    for variant, rows in (("24s", _24S), ("32s", (*_32S, *_SWITCHES)))
}
"""The settings of each variant, by register."""


class Register(NamedTuple):
    """A write register: its value's name and wire form (`wire.sizeof()` is the length it takes)."""

    key: str
    wire: Layout
    danger: bool = False
    """Calibrations, presets, power-off, erasing, the cell count, and what can cut the link that
    it is written over (protocols, address, port): nothing that is ever written in passing."""


CLOCK = 0x6C
"""The register that sets the clock (`jk02-32s-...`)."""

_CUTTING = ("cell_count", "jk_port_rs485", "jk_device_address")
_ACTIONS: dict[str, dict[int, Register]] = {
    "24s": {
        0x21: Register("jk_voltage_calibration", _V, danger=True),
        0x24: Register("jk_current_calibration", _A, danger=True),
    },
    "32s": {
        0x64: Register("jk_voltage_calibration", _V, danger=True),
        0x65: Register("jk_shutdown", Pass, danger=True),
        0x66: Register("jk_restart", Pass, danger=True),
        0x67: Register("jk_current_calibration", _A, danger=True),
        0x68: Register("jk_preset_li_ion", Pass, danger=True),
        0x69: Register("jk_preset_lfp", Pass, danger=True),
        0x6A: Register("jk_preset_lto", Pass, danger=True),
        0x6B: Register("jk_emergency", _U32, danger=True),
        CLOCK: Register("jk_clock", _U32),  # seconds since 2020-01-01, local standard time
        0x9D: Register("jk_factory_reset", Pass, danger=True),
        0xB5: Register("jk_emergency_duration", Byte),  # minutes
        **{row.at: Register(row.key, row.wire, danger=bool(row.reason)) for row in INFO_ROWS},
    },
}
REGISTERS: dict[str, dict[int, Register]] = {
    variant: {row.at: Register(row.name, row.wire, danger=row.key in _CUTTING) for row in rows}
    | _ACTIONS[variant]
    for variant, rows in ROWS.items()
}
"""Write registers by variant. The vendor app writes all of 01-36 with four bytes."""


@lru_cache(maxsize=512)
def write_layout(variant: str | None, code: int, length: int) -> Layout | None:
    """The value of a write; without a known variant only where both variants agree."""
    found = {table.get(code) for name, table in REGISTERS.items() if variant in (None, name)}
    register = found.pop()
    if found or register is None or not length or register.wire.sizeof() != length:
        return None
    return Struct(register.key / register.wire)


def plain_settings(values: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """A parsed type 01 as settings: switches as booleans, `None` where the board has no such
    setting (its enable flag is clear: such bytes hold left-overs, e.g. 60/50 °C for heating)."""
    plain = {k: v for k, v in values.items() if not k.startswith("reserved")}
    for name in ("charge_switch", "discharge_switch", "balance_switch"):
        plain[name] = flag(plain[name])
    if variant == "24s":
        return plain
    word = plain.pop("jk_switches")
    plain |= {row.key: is_set(word, row.at - SWITCH_WORD) for row in _SWITCHES}
    present = int.from_bytes(plain.pop("enable_flags"), "little")
    for code, register in REGISTERS[variant].items():
        if present and register.key in plain and not is_set(present, code):
            plain[register.key] = None
    return plain
