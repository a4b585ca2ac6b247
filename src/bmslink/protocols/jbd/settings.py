"""JBD's settings: EEPROM registers of two bytes each, big-endian, plus three strings.

One row a setting. Registers 10-3F were written by the vendor's desktop tool and read back in one
recorded session (`jbd-jakeler-dsview-bike2`, firmware 2.1), and read in full from firmware 8.0
(`jbd-syssi-sp04s034-btsnoop-config-read`). Limits: `docs/protocols/jbd.md`, settings. What
calibrates, what only the maker sets, and packed bytes whose meaning depends on the chip are shown
and never written. 42-47 are known from documents only.
"""

from __future__ import annotations

from dataclasses import replace

from construct import Byte, Bytes, GreedyBytes, Int16sb, Int16ub, Struct

from bmslink.protocols.common.fields import Layout, Scaled, kelvin, scaled
from bmslink.protocols.common.rows import Row, bare, layouts, record
from bmslink.settings.setting import Danger, Evidence

__all__ = [
    "NEWER",
    "REGISTERS",
    "ROWS",
    "STRINGS",
    "TENFOLD",
    "TENFOLD_BIT",
    "TENFOLD_REGISTERS",
    "register_layout",
]

_MV = scaled(Int16ub, 1000)
_10MV = scaled(Int16ub, 100)
_10MAH = scaled(Int16ub, 100)
_CHARGE_A = scaled(Int16sb, 100)
_DISCHARGE_A = scaled(Int16sb, -100)  # stored negative, shown positive
_CELSIUS = kelvin()
_RAW = Int16ub

_OVER, _OVER_RELEASE = (2.5, 4.5), (2.4, 4.5)
_UNDER, _UNDER_RELEASE = (1.5, 3.5), (1.5, 3.9)
_CELL = (1.5, 4.5)
_PACK = (4, 150)
_HOT, _COLD = (0, 120), (-40, 30)
_AMPS = (1, 327)
_AH = (1, 655.35)
_DELAY, _LONG_DELAY = (1, 120), (1, 255)

_CAPTURE, _APP, _DOCUMENT = Evidence.CAPTURE, Evidence.APP, Evidence.DOCUMENT
_CALIBRATES = "it calibrates the board: a wrong value falsifies every measurement"
_CHIP = (
    "what its bits mean depends on the measuring chip, and no board was seen answering which it has"
)
_HISTORY = "it is the battery's history"
_MAKER = "it is the maker's, and belongs to this one board"
_UNCLEAR = "sources disagree about what it means"
_BITS = "its bits are settings of their own"
_PROBES = "a probe left out protects nothing"
_COUNT = "a wrong count falsifies every protection"


def _shown(
    at: int, key: str, wire: Layout, reason: str, title: str = "", unit: str = "",
    own: bool = False, live: bool = False,
) -> Row:  # fmt: skip
    """Was seen, and is never written."""
    return Row(
        at, key, wire, None, _CAPTURE, reason=reason, title=title, unit=unit, own=own, live=live
    )


def _bit(
    bit: int, key: str, evidence: Evidence, title: str = "", danger: Danger = Danger.NONE
) -> Row:
    """Bits 0-5 of the function word mean the same in all sources; the others do not."""
    word = "jbd_function_bits"
    return Row(
        0x2D, key, _RAW, None, evidence, inside=word, bit=bit, kind="switch",
        title=title, danger=danger,
    )  # fmt: skip


def _point(at: int, percent: int, evidence: Evidence = _CAPTURE) -> Row:
    key, title = f"jbd_soc_{percent}_voltage", f"Cell voltage at {percent} %"
    return Row(at, key, _MV, _CELL, evidence, title=title, unit="V")


_ALL = Danger.COMMISSIONING

ROWS: tuple[Row, ...] = (
    Row(0x10, "nominal_capacity", _10MAH, _AH, _CAPTURE, danger=_ALL),
    Row(0x11, "cycle_capacity", _10MAH, _AH, _CAPTURE, danger=_ALL),
    Row(0x12, "full_charge_voltage", _MV, _OVER, _CAPTURE),
    Row(0x13, "empty_voltage", _MV, _UNDER, _CAPTURE),
    _shown(0x14, "jbd_self_discharge", _RAW, _UNCLEAR, "Self-discharge"),
    _shown(0x15, "jbd_production_date", _RAW, _MAKER, "Production date (packed)", own=True),
    _shown(0x16, "jbd_serial_number", _RAW, _MAKER, "Serial number", own=True),
    _shown(0x17, "jbd_cycle_count", _RAW, _HISTORY, "Cycles", own=True, live=True),
    Row(0x18, "charge_otp", _CELSIUS, _HOT, _CAPTURE),
    Row(0x19, "charge_otp_release", _CELSIUS, _HOT, _CAPTURE),
    Row(0x1A, "charge_utp", _CELSIUS, _COLD, _CAPTURE),
    Row(0x1B, "charge_utp_release", _CELSIUS, _COLD, _CAPTURE),
    Row(0x1C, "discharge_otp", _CELSIUS, _HOT, _CAPTURE),
    Row(0x1D, "discharge_otp_release", _CELSIUS, _HOT, _CAPTURE),
    Row(0x1E, "discharge_utp", _CELSIUS, _COLD, _CAPTURE),
    Row(0x1F, "discharge_utp_release", _CELSIUS, _COLD, _CAPTURE),
    Row(0x20, "pack_ovp", _10MV, _PACK, _CAPTURE),
    Row(0x21, "pack_ovp_release", _10MV, _PACK, _CAPTURE),
    Row(0x22, "pack_uvp", _10MV, _PACK, _CAPTURE),
    Row(0x23, "pack_uvp_release", _10MV, _PACK, _CAPTURE),
    Row(0x24, "cell_ovp", _MV, _OVER, _CAPTURE),
    Row(0x25, "cell_ovp_release", _MV, _OVER_RELEASE, _CAPTURE),
    Row(0x26, "cell_uvp", _MV, _UNDER, _CAPTURE),
    Row(0x27, "cell_uvp_release", _MV, _UNDER_RELEASE, _CAPTURE),
    Row(0x28, "charge_ocp", _CHARGE_A, _AMPS, _CAPTURE),
    Row(0x29, "discharge_ocp", _DISCHARGE_A, _AMPS, _CAPTURE),
    Row(0x2A, "balance_start_voltage", _MV, (2.0, 4.5), _CAPTURE),
    Row(0x2B, "balance_delta", _MV, (0.005, 0.5), _CAPTURE),
    _shown(0x2C, "jbd_shunt", _RAW, _CALIBRATES, "Shunt", own=True),
    _shown(0x2D, "jbd_function_bits", _RAW, _BITS, "Function word"),
    _bit(0, "jbd_external_switch", _APP, "External switch input", Danger.POWER),
    _bit(1, "jbd_load_detection", _APP, "Load must go before release", Danger.PROTECTION),
    _bit(2, "balance_switch", _CAPTURE),  # the app's own switch: …-btsnoop-balancer-2
    _bit(3, "balance_charging_only", _APP),
    _bit(4, "jbd_leds", _APP, "LEDs"),
    _bit(5, "jbd_led_count", _APP, "LED count mode"),
    _shown(0x2E, "jbd_ntc_bits", _RAW, _PROBES, "Temperature probes in use", own=True),
    _shown(0x2F, "cell_count", _RAW, _COUNT),
    _shown(0x30, "jbd_fet_control_time", _RAW, _UNCLEAR, "Switching delay", "s"),
    Row(0x31, "jbd_led_time", _RAW, (0, 600), _CAPTURE, title="LEDs stay on for", unit="s"),
    _point(0x32, 80),
    _point(0x33, 60),
    _point(0x34, 40),
    _point(0x35, 20),
    Row(0x36, "jbd_hardware_cell_ovp", _MV, (2.5, 4.8), _CAPTURE,
        title="Second cell over-voltage", unit="V", danger=_ALL),
    Row(0x37, "jbd_hardware_cell_uvp", _MV, (1.0, 3.5), _CAPTURE,
        title="Second cell under-voltage", unit="V", danger=_ALL),
    _shown(0x38, "jbd_short_circuit_level", Byte, _CHIP, "Short circuit (packed)"),
    _shown(0x38, "jbd_overcurrent_2_level", Byte, _CHIP, "Second over-current (packed)"),
    _shown(0x39, "jbd_hardware_delays", Byte, _CHIP, "Delays of the second limits (packed)"),
    _shown(0x39, "short_circuit_release", Byte, _CHIP),
    Row(0x3A, "charge_utp_delay", Byte, _DELAY, _CAPTURE),  # under before over, in all four
    Row(0x3A, "charge_otp_delay", Byte, _DELAY, _CAPTURE),
    Row(0x3B, "discharge_utp_delay", Byte, _DELAY, _CAPTURE),
    Row(0x3B, "discharge_otp_delay", Byte, _DELAY, _CAPTURE),
    Row(0x3C, "pack_uvp_delay", Byte, _DELAY, _CAPTURE),
    Row(0x3C, "pack_ovp_delay", Byte, _DELAY, _CAPTURE),
    Row(0x3D, "cell_uvp_delay", Byte, _DELAY, _CAPTURE),
    Row(0x3D, "cell_ovp_delay", Byte, _DELAY, _CAPTURE),
    Row(0x3E, "charge_ocp_delay", Byte, _LONG_DELAY, _CAPTURE),
    Row(0x3E, "charge_ocp_release", Byte, _LONG_DELAY, _CAPTURE),
    Row(0x3F, "discharge_ocp_delay", Byte, _LONG_DELAY, _CAPTURE),
    Row(0x3F, "discharge_ocp_release", Byte, _LONG_DELAY, _CAPTURE),
    bare(0x40, "jbd_gps_cutoff_voltage", _MV),
    bare(0x41, "jbd_gps_cutoff_delay", _RAW),
    _point(0x42, 90, _DOCUMENT),
    _point(0x43, 70, _DOCUMENT),
    _point(0x44, 50, _DOCUMENT),
    _point(0x45, 30, _DOCUMENT),
    _point(0x46, 10, _DOCUMENT),
    _point(0x47, 100, _DOCUMENT),
)  # fmt: skip

NEWER = range(0x42, 0x48)
"""Registers that only firmware from 2.0 on is said to have; no recorded board was asked."""

TENFOLD_BIT = 12
"""The bit of the function word 2D that makes capacities and currents count tenfold."""


def _tenfold(row: Row) -> Row:
    if not isinstance(row.wire, Scaled):
        raise TypeError(f"{row.key} has no scale")
    return replace(
        row,
        wire=scaled(row.wire.subcon, row.wire.per // 10),
        reason="this board counts it tenfold, which nobody has recorded",
    )


TENFOLD: dict[int, Row] = {
    row.at: _tenfold(row) for row in ROWS if row.at in (0x10, 0x11, 0x28, 0x29)
}
"""The registers that count tenfold then."""

STRINGS: dict[int, str] = {0xA0: "jbd_manufacturer", 0xA1: "jbd_model", 0xA2: "jbd_barcode"}
_STRING = Struct("length" / Byte, "text" / GreedyBytes)

REGISTERS: dict[int, Layout] = layouts(ROWS) | dict.fromkeys(STRINGS, _STRING)
TENFOLD_REGISTERS: dict[int, Layout] = {at: record([row]) for at, row in TENFOLD.items()}

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
