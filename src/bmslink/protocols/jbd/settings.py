"""JBD's EEPROM registers: two bytes each, big-endian, plus three strings.

Names are the canonical setting keys where the concept is common to all vendors. Sources:
`docs/protocols/jbd.md`; every numeric register was seen in a full read-out
(`jbd-syssi-sp04s034-btsnoop-config-read`, `jbd-jakeler-dsview-bike`).
"""

from __future__ import annotations

from construct import Byte, Bytes, GreedyBytes, Int16sb, Int16ub, Struct

from bmslink.protocols.common.fields import Layout, kelvin, scaled

__all__ = ["REGISTERS", "STRINGS", "TENFOLD", "TENFOLD_BIT", "register_layout"]

_MV = scaled(Int16ub, 1000)
_10MV = scaled(Int16ub, 100)
_RAW = Int16ub


def _one(name: str, layout: Layout) -> Layout:
    return Struct(name / layout)


def _pair(first: str, second: str) -> Layout:
    return Struct(first / Byte, second / Byte)


_STRING = Struct("length" / Byte, "text" / GreedyBytes)

REGISTERS: dict[int, Layout] = {
    0x10: _one("nominal_capacity", _10MV),  # 10 mAh; tenfold when function bit 12 is set
    0x11: _one("cycle_capacity", _10MV),
    0x12: _one("full_charge_voltage", _MV),
    0x13: _one("empty_voltage", _MV),
    0x14: _one("jbd_self_discharge", _RAW),
    0x15: _one("jbd_production_date", _RAW),
    0x16: _one("jbd_serial_number", _RAW),
    0x17: _one("jbd_cycle_count", _RAW),
    0x18: _one("charge_otp", kelvin()),
    0x19: _one("charge_otp_release", kelvin()),
    0x1A: _one("charge_utp", kelvin()),
    0x1B: _one("charge_utp_release", kelvin()),
    0x1C: _one("discharge_otp", kelvin()),
    0x1D: _one("discharge_otp_release", kelvin()),
    0x1E: _one("discharge_utp", kelvin()),
    0x1F: _one("discharge_utp_release", kelvin()),
    0x20: _one("pack_ovp", _10MV),
    0x21: _one("pack_ovp_release", _10MV),
    0x22: _one("pack_uvp", _10MV),
    0x23: _one("pack_uvp_release", _10MV),
    0x24: _one("cell_ovp", _MV),
    0x25: _one("cell_ovp_release", _MV),
    0x26: _one("cell_uvp", _MV),
    0x27: _one("cell_uvp_release", _MV),
    0x28: _one("charge_ocp", scaled(Int16sb, 100)),
    0x29: _one("discharge_ocp", scaled(Int16sb, -100)),  # stored negative, shown positive
    0x2A: _one("balance_start_voltage", _MV),
    0x2B: _one("balance_delta", _MV),
    0x2C: _one("jbd_shunt", _RAW),
    0x2D: _one("jbd_function_bits", _RAW),
    0x2E: _one("jbd_ntc_bits", _RAW),
    0x2F: _one("cell_count", _RAW),
    0x30: _one("jbd_fet_control_time", _RAW),
    0x31: _one("jbd_led_time", _RAW),
    0x32: _one("jbd_soc_80_voltage", _MV),
    0x33: _one("jbd_soc_60_voltage", _MV),
    0x34: _one("jbd_soc_40_voltage", _MV),
    0x35: _one("jbd_soc_20_voltage", _MV),
    0x36: _one("jbd_hardware_cell_ovp", _MV),
    0x37: _one("jbd_hardware_cell_uvp", _MV),
    0x38: _pair("jbd_short_circuit_level", "jbd_overcurrent_2_level"),  # chip-specific codes
    0x39: _pair("jbd_hardware_delays", "short_circuit_release"),
    0x3A: _pair("charge_utp_delay", "charge_otp_delay"),  # under before over, in all four
    0x3B: _pair("discharge_utp_delay", "discharge_otp_delay"),
    0x3C: _pair("pack_uvp_delay", "pack_ovp_delay"),
    0x3D: _pair("cell_uvp_delay", "cell_ovp_delay"),
    0x3E: _pair("charge_ocp_delay", "charge_ocp_release"),
    0x3F: _pair("discharge_ocp_delay", "discharge_ocp_release"),
    0x40: _one("jbd_gps_cutoff_voltage", _MV),
    0x41: _one("jbd_gps_cutoff_delay", _RAW),
    0x42: _one("jbd_soc_90_voltage", _MV),
    0x43: _one("jbd_soc_70_voltage", _MV),
    0x44: _one("jbd_soc_50_voltage", _MV),
    0x45: _one("jbd_soc_30_voltage", _MV),
    0x46: _one("jbd_soc_10_voltage", _MV),
    0x47: _one("jbd_soc_100_voltage", _MV),
    0xA0: _STRING,
    0xA1: _STRING,
    0xA2: _STRING,
}

TENFOLD_BIT = 12
"""The bit of the function word 2D that makes capacities and currents count tenfold."""
TENFOLD: dict[int, Layout] = {
    0x10: _one("nominal_capacity", scaled(Int16ub, 10)),
    0x11: _one("cycle_capacity", scaled(Int16ub, 10)),
    0x28: _one("charge_ocp", scaled(Int16sb, 10)),
    0x29: _one("discharge_ocp", scaled(Int16sb, -10)),
}
"""The registers that count tenfold then."""

STRINGS: dict[int, str] = {0xA0: "jbd_manufacturer", 0xA1: "jbd_model", 0xA2: "jbd_barcode"}

_COMMANDS: dict[int, Layout] = {
    0x00: Struct("jbd_factory_key" / Int16ub),
    0x01: Struct("jbd_factory_exit" / Int16ub),
    0x06: Struct("length" / Byte, "secret" / GreedyBytes),
    0x07: Struct("length" / Byte, "secret" / GreedyBytes),
    0x09: Struct("length" / Byte, "secret" / GreedyBytes),
    0x0A: Struct("jbd_control" / Int16ub),
    0xE1: Struct(
        "reserved" / Bytes(1), "jbd_fet_lock" / Byte
    ),  # 1 = off; bit 0 charge, 1 discharge
    0xE3: Struct("jbd_reset" / Int16ub),
}


def register_layout(register: int, length: int) -> Layout | None:
    """The layout of a settings register or command of that payload length, if one is known."""
    layout = REGISTERS.get(register) or _COMMANDS.get(register)
    if layout is None or (layout is not _STRING and register not in (6, 7, 9) and length != 2):
        return None
    return layout
