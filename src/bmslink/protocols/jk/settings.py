"""JK's settings: the 300-byte table (record type 01) and the registers that write it.

Names are the canonical setting keys where the concept is common to all vendors, else `jk_...`.
A register of the table stands at byte `6 + 4 * (register - 1)`, up to 20 on both variants; beyond
that the same code means different things on 24S and 32S boards. Sources: `docs/protocols/jk02.md`,
sections on type 01 and the write registers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from construct import (
    Array,
    Byte,
    Bytes,
    Int8sb,
    Int16ul,
    Int32sl,
    Int32ul,
    Pass,
    Struct,
)

from bmslink.protocols.common.fields import Layout, flag, is_set, scaled

__all__ = [
    "CLOCK",
    "REGISTERS",
    "SETTINGS_LAYOUTS",
    "SWITCH_WORD",
    "Register",
    "plain_settings",
    "write_layout",
]

_V = scaled(Int32ul, 1000)
_A = scaled(Int32ul, 1000)
_AH = scaled(Int32ul, 1000)
_CELSIUS = scaled(Int32sl, 10)
_S = Int32ul
_US = scaled(Int32ul, 1_000_000)
_U32 = Int32ul

_HEAD: tuple[tuple[str, Layout], ...] = (
    ("jk_smart_sleep_voltage", _V),  # 01, byte 6; boards without the function hold 0.6 V
    ("cell_uvp", _V),
    ("cell_uvp_release", _V),
    ("cell_ovp", _V),
    ("cell_ovp_release", _V),
    ("balance_delta", _V),
    ("full_charge_voltage", _V),  # 07: a cell that counts as 100 %; 0 before firmware 11.288
    ("empty_voltage", _V),
    ("jk_request_charge_voltage", _V),  # 09: what an inverter is asked for, per cell
    ("float_voltage", _V),
    ("jk_power_off_voltage", _V),
    ("charge_ocp", _A),  # 0C, byte 50
    ("charge_ocp_delay", _S),
    ("charge_ocp_release", _S),
    ("discharge_ocp", _A),
    ("discharge_ocp_delay", _S),
    ("discharge_ocp_release", _S),
    ("short_circuit_release", _S),
    ("balance_current", _A),  # 13, byte 78
    ("charge_otp", _CELSIUS),
    ("charge_otp_release", _CELSIUS),
    ("discharge_otp", _CELSIUS),
    ("discharge_otp_release", _CELSIUS),
    ("charge_utp", _CELSIUS),
    ("charge_utp_release", _CELSIUS),
    ("mosfet_otp", _CELSIUS),
    ("mosfet_otp_release", _CELSIUS),
    ("cell_count", _U32),  # 1C, byte 114
    ("charge_switch", _U32),  # 1D-1F: what the user wants, not what the FETs do
    ("discharge_switch", _U32),
    ("balance_switch", _U32),
    ("nominal_capacity", _AH),  # 20, byte 130
)

SWITCH_WORD = 0x27
"""Bit n of the word at byte 282 is register 27 + n."""
_SWITCHES = (
    "jk_heating",
    "jk_temperature_sensors_disabled",
    "jk_gps_heartbeat",
    "jk_port_rs485",
    "jk_display_always_on",
    "jk_special_charger",
    "jk_smart_sleep",
    "jk_parallel_limiter_disabled",
    "jk_timed_data",
    "jk_float_mode",
    "jk_button_emergency",
    "jk_dry_contact_intermittent",
    "jk_discharge_ocp_2",
    "jk_discharge_ocp_3",
    "jk_gps_lock_charge",
    "jk_gps_lock_discharge",
)

_SETTINGS_24S = Struct(
    *(name / wire for name, wire in _HEAD),
    "short_circuit_delay" / _US,  # byte 134
    "balance_start_voltage" / _V,
    "reserved_142" / Bytes(16),
    "jk_wire_resistances" / Array(24, Int32ul),  # 158: 0 in every capture, so the unit is open
    "reserved_254" / Bytes(45),
)
"""Type 01 of a 24S board, bytes 6-298; everything from 142 on was 0 on eight devices."""

_SETTINGS_32S = Struct(
    *(name / wire for name, wire in _HEAD),
    "short_circuit_delay" / _US,  # byte 134
    "balance_start_voltage" / _V,
    "jk_wire_resistances" / Array(32, Int32ul),  # 142: 0 in every capture, so the unit is open
    "jk_device_address" / _U32,  # 270
    "jk_precharge_time" / _S,
    "jk_current_range" / _U32,  # 278: sources disagree whether 0.001 or 0.0001 A
    "jk_switches" / Int16ul,  # 282
    "jk_heating_start" / Int8sb,  # 284, °C
    "jk_heating_stop" / Int8sb,
    "jk_smart_sleep_delay" / Byte,  # hours
    "enable_flags" / Bytes(9),  # 287: bit n = register n exists here
    "discharge_utp" / Int8sb,  # 296, °C
    "discharge_utp_release" / Int8sb,
    "reserved_298" / Bytes(1),
)
"""Type 01 of a 32S board, bytes 6-298."""


SETTINGS_LAYOUTS: dict[str, Layout] = {"24s": _SETTINGS_24S, "32s": _SETTINGS_32S}


class Register(NamedTuple):
    """A write register: its value's name and wire form (`wire.sizeof()` is the length it takes)."""

    key: str
    wire: Layout
    danger: bool = False
    """Calibrations, presets, power-off, erasing, the cell count, and what can cut the link that
    it is written over (protocols, address, port): nothing that is ever written in passing."""


_CUTTING = ("cell_count", "jk_port_rs485")
_COMMON = {
    code: Register(name, wire, danger=name in _CUTTING)
    for code, (name, wire) in enumerate(_HEAD, 1)
}

CLOCK = 0x6C
"""The register that sets the clock (`jk02-32s-...`)."""

REGISTERS: dict[str, dict[int, Register]] = {
    "24s": _COMMON
    | {
        0x21: Register("jk_voltage_calibration", _V, danger=True),
        0x24: Register("jk_current_calibration", _A, danger=True),
        0x25: Register("short_circuit_delay", _US),
        0x26: Register("balance_start_voltage", _V),
    },
    "32s": _COMMON
    | {
        0x21: Register("short_circuit_delay", _US),
        0x22: Register("balance_start_voltage", _V),
        0x24: Register("jk_device_address", _U32, danger=True),
        0x25: Register("jk_precharge_time", _S),
        **{
            SWITCH_WORD + bit: Register(name, _U32, danger=name in _CUTTING)
            for bit, name in enumerate(_SWITCHES)
        },
        0x37: Register("jk_heating_start", Int8sb),
        0x38: Register("jk_heating_stop", Int8sb),
        0x39: Register("jk_smart_sleep_delay", Byte),
        0x3A: Register("discharge_utp", Int8sb),
        0x3B: Register("discharge_utp_release", Int8sb),
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
        0xA5: Register("jk_uart1_protocol", Int16ul, danger=True),
        0xA6: Register("jk_can_protocol", Int16ul, danger=True),
        0xA8: Register("jk_uart2_protocol", Int16ul, danger=True),
        0xA9: Register("jk_buzzer_trigger", Int16ul),
        0xAA: Register("jk_dry1_trigger", Int16ul),
        0xAB: Register("jk_dry2_trigger", Int16ul),
        0xB3: Register("jk_request_charge_time", scaled(Byte, 10)),  # hours
        0xB4: Register("jk_float_time", scaled(Byte, 10)),
        0xB5: Register("jk_emergency_duration", Byte),  # minutes
        0xB6: Register("jk_uart3_protocol", Int16ul, danger=True),
        0xB7: Register("jk_rebulk_soc", Byte),
    },
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
    plain |= {name: is_set(word, at) for at, name in enumerate(_SWITCHES)}
    present = int.from_bytes(plain.pop("enable_flags"), "little")
    for code, register in REGISTERS[variant].items():
        if present and register.key in plain and not is_set(present, code):
            plain[register.key] = None
    return plain
