"""The tags and codes of the JK `4E 57` protocol, both ways.

Setting names are the canonical keys where the concept is common to all vendors, `jk_…` where it
is not. Widths are fixed; `docs/protocols/jk-nw.md` says which captures prove them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from construct import (
    Array,
    Byte,
    Bytes,
    Const,
    GreedyRange,
    Int16sb,
    Int16ub,
    Int32ub,
    Prefixed,
    Struct,
)

from bmslink.errors import FrameError
from bmslink.model import Condition
from bmslink.protocols.base import Role
from bmslink.protocols.common.fields import Layout, scaled, text
from bmslink.protocols.common.rows import Row
from bmslink.settings.setting import Danger, Evidence

__all__ = [
    "ALARMS",
    "CHEMISTRIES",
    "ROWS",
    "TAGS",
    "WRITE_ONLY",
    "Tag",
    "body_layout",
    "cell_voltages",
    "current",
    "current_word",
    "name_halves",
    "split",
    "temperature",
    "temperature_word",
    "without_password",
]

CELLS, PASSWORD = 0x79, 0xB2


class Tag(NamedTuple):
    """What a tag is called, how its value is laid out, and what it belongs to."""

    name: str
    layout: Layout
    role: Role = "settings"

    def width(self, following: bytes) -> int:
        """Bytes of the value; the cell list begins with their number."""
        if self.name == "cells":
            return 1 + (following[0] if following else 0)
        return _size(self.layout)


@lru_cache(maxsize=256)
def _size(layout: Layout) -> int:
    return int(layout.sizeof())


_MV = scaled(Int16ub, 1000)
_10MV = scaled(Int16ub, 100)
_CELL = Struct("number" / Byte, "voltage" / _MV)
_CELL_LIST = Prefixed(Byte, GreedyRange(_CELL))

_UNTRIED = "nobody has recorded this tag being written; the board's Bluetooth port takes it"


def _shown(
    at: int,
    key: str,
    wire: Layout,
    title: str = "",
    unit: str = "",
    *,
    own: bool = False,
    live: bool = False,
) -> Row:
    """Was never tried, so it is never written."""
    return Row(at, key, wire, reason=_UNTRIED, title=title, unit=unit, own=own, live=live)


ROWS: tuple[Row, ...] = (
    _shown(0x8E, "pack_ovp", _10MV),
    _shown(0x8F, "pack_uvp", _10MV),
    _shown(0x90, "cell_ovp", _MV),
    _shown(0x91, "cell_ovp_release", _MV),
    _shown(0x92, "cell_ovp_delay", Int16ub),
    _shown(0x93, "cell_uvp", _MV),
    _shown(0x94, "cell_uvp_release", _MV),
    _shown(0x95, "cell_uvp_delay", Int16ub),
    _shown(0x96, "cell_delta", _MV),
    _shown(0x97, "discharge_ocp", Int16ub),
    _shown(0x98, "discharge_ocp_delay", Int16ub),
    _shown(0x99, "charge_ocp", Int16ub),
    _shown(0x9A, "charge_ocp_delay", Int16ub),
    _shown(0x9B, "balance_start_voltage", _MV),
    _shown(0x9C, "balance_delta", _MV),
    _shown(0x9D, "balance_switch", Byte),
    _shown(0x9E, "mosfet_otp", Int16ub),
    _shown(0x9F, "mosfet_otp_release", Int16ub),
    _shown(0xA0, "jk_box_otp", Int16ub, "Box over-temperature", "°C"),
    _shown(0xA1, "jk_box_otp_release", Int16ub, "Box over-temperature release", "°C"),
    _shown(0xA2, "temperature_delta", Int16ub),
    _shown(0xA3, "charge_otp", Int16ub),
    _shown(0xA4, "discharge_otp", Int16ub),
    _shown(0xA5, "charge_utp", Int16sb),
    _shown(0xA6, "charge_utp_release", Int16sb),
    _shown(0xA7, "discharge_utp", Int16sb),
    _shown(0xA8, "discharge_utp_release", Int16sb),
    _shown(0xA9, "cell_count", Byte),
    _shown(0xAA, "nominal_capacity", scaled(Int32ub, 1)),
    Row(0xAB, "charge_switch", Byte, None, Evidence.CAPTURE, danger=Danger.POWER),
    Row(0xAC, "discharge_switch", Byte, None, Evidence.CAPTURE, danger=Danger.POWER),
    _shown(0xAD, "jk_current_calibration", _MV, "Current calibration", "A", own=True),  # mA, as A
    _shown(0xAE, "jk_address", Byte, "Address", own=True),
    _shown(0xAF, "jk_battery_type", Byte, "Battery type"),
    _shown(0xB0, "sleep_delay", Int16ub),
    _shown(0xB1, "jk_soc_low", Byte, "SOC low", "%"),
    _shown(0xB3, "jk_dedicated_charger", Byte, "Dedicated charger"),
    _shown(0xB8, "jk_calibrating", Byte, "Calibrating", own=True, live=True),
)
"""The settings. Two were recorded being written (`nw-write-charge-on` and its sisters)."""

_TAGS: dict[int, Tag] = {
    CELLS: Tag("cells", _CELL_LIST, "reading"),
    0x80: Tag("mosfet_temperature", Int16ub, "reading"),
    0x81: Tag("box_temperature", Int16ub, "reading"),
    0x82: Tag("battery_temperature", Int16ub, "reading"),
    0x83: Tag("voltage", _10MV, "reading"),
    0x84: Tag("current_word", Int16ub, "reading"),  # its meaning depends on C0
    0x85: Tag("soc", Byte, "reading"),
    0x86: Tag("temperature_sensors", Byte, "reading"),
    0x87: Tag("cycles", Int16ub, "reading"),
    0x89: Tag("cycle_capacity", scaled(Int32ub, 1), "reading"),
    0x8A: Tag("string_count", Int16ub, "reading"),
    0x8B: Tag("alarm_word", Int16ub, "reading"),
    0x8C: Tag("status_word", Int16ub, "reading"),
    **{row.at: Tag(row.key, row.wire) for row in ROWS},
    PASSWORD: Tag("password", Bytes(10)),
    0xB4: Tag("device_id", Bytes(8), "identity"),
    0xB5: Tag("manufacturing_date", Bytes(4), "identity"),  # YYMM
    0xB6: Tag("runtime_minutes", Int32ub, "reading"),
    0xB7: Tag("software_version", Bytes(15), "identity"),
    0xB9: Tag("full_capacity", scaled(Int32ub, 1), "reading"),
    0xBA: Tag("manufacturer_id", Bytes(24), "identity"),
    0xC0: Tag("protocol_version", Byte, "identity"),
}
TAGS: dict[int, Tag] = dict(sorted(_TAGS.items()))
"""In the order of the boards."""

WRITE_ONLY: dict[bytes, str] = {
    b"\xbb": "jk_restart",
    b"\xbc": "jk_factory_reset",
    b"\xbd": "jk_upgrade",
    b"\xbe": "jk_gps_off_voltage",
    b"\xbf": "jk_gps_on_voltage",
}
"""Named by the vendor's document, never captured: their widths are not known."""


def split(data: bytes) -> bytes:
    """The tags of a payload, in order; `FrameError` names the first that cannot be there."""
    tags, at = bytearray(), 0
    while at < len(data):
        number = data[at]
        row = TAGS.get(number)
        if row is None:
            raise FrameError(f"Tag {number:02X} at byte {at} of the data is unknown.", data)
        if number in tags:
            raise FrameError(f"Tag {number:02X} comes twice, again at byte {at}.", data)
        width = row.width(data[at + 1 :])
        if at + 1 + width > len(data):
            raise FrameError(f"Tag {number:02X} at byte {at} of the data is cut off.", data)
        if number == CELLS and (width - 1) % 3:
            raise FrameError(f"A cell list of {width - 1} bytes holds no whole cells.", data)
        tags.append(number)
        at += 1 + width
    return bytes(tags)


@lru_cache(maxsize=64)
def body_layout(tags: bytes, length: int | None = None) -> Layout:
    """The layout of a payload with these tags in this order; values are keyed by tag name.

    With the `length` of a payload that `split` into these tags, every field has a fixed size, as
    the fast reader needs it: the cell list is what the other tags leave.
    """
    rows = [(number, TAGS[number]) for number in tags]
    fixed = sum(1 + _size(row.layout) for number, row in rows if number != CELLS)
    fields: list[Layout] = []
    for number, row in rows:
        fields.append(Const(bytes([number])))
        if number == CELLS and length is not None:
            size = length - fixed - 2
            fields += [Const(bytes([size])), row.name / Array(size // _CELL.sizeof(), _CELL)]
        else:
            fields.append(row.name / row.layout)
    return Struct(*fields)


def without_password(data: bytes) -> bytes:
    """The data with the password zeroed; from the first surprise on, after every B2."""
    clean, at, lost = bytearray(data), 0, False
    while at < len(data):
        row = TAGS.get(data[at])
        step = row.width(data[at + 1 :]) if row else 0
        if data[at] == PASSWORD:
            end = min(at + 1 + step, len(data))
            clean[at + 1 : end] = bytes(end - at - 1)
        lost = lost or row is None or at + 1 + step > len(data)
        at += 1 if lost else 1 + step
    return bytes(clean)


# ---------------------------------------------------------------------------------- codes

ALARMS: dict[int, tuple[tuple[str, Condition], ...]] = {
    0: (("alarm", Condition.SOC_LOW),),
    1: (("protection", Condition.MOSFET_OVERTEMPERATURE),),
    # the vendor's "charging over-voltage", beside a cell bit of its own; seen on a full pack
    # with the charge FET off (`nw-8s-15a-15.29-alarm`)
    2: (("protection", Condition.PACK_OVERVOLTAGE),),
    3: (("protection", Condition.PACK_UNDERVOLTAGE),),
    # one bit for both directions, though their limits are set apart
    4: (
        ("protection", Condition.CHARGE_OVERTEMPERATURE),
        ("protection", Condition.DISCHARGE_OVERTEMPERATURE),
    ),
    5: (("protection", Condition.CHARGE_OVERCURRENT),),
    6: (("protection", Condition.DISCHARGE_OVERCURRENT),),
    7: (("protection", Condition.CELL_DELTA),),
    8: (("protection", Condition.BOARD_OVERTEMPERATURE),),  # "battery box" or "balance board"
    9: (
        ("protection", Condition.CHARGE_UNDERTEMPERATURE),
        ("protection", Condition.DISCHARGE_UNDERTEMPERATURE),
    ),
    10: (("protection", Condition.CELL_OVERVOLTAGE),),
    11: (("protection", Condition.CELL_UNDERVOLTAGE),),
}  # 12, 13 "309 protection": nobody says what trips it, so they stay in raw
CHEMISTRIES = {0: "lfp", 1: "nmc", 2: "lto"}


def cell_voltages(items: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Each voltage of the cell list at the place its number says; gaps are `None`.

    `FrameError` if a number comes twice or is 0.
    """
    found = {item["number"]: item["voltage"] for item in items}
    if len(found) != len(items) or 0 in found:
        raise FrameError(f"The cell list numbers its cells {[i['number'] for i in items]}.")
    return [found.get(number) for number in range(1, max(found, default=0) + 1)]


def name_halves(data: bytes) -> dict[str, str]:
    """Tag BA: 12 bytes of user data, 12 of device name (one number on the oldest boards)."""
    user, name = text(data[:12]), text(data[12:])
    return {"manufacturer_id": user + name, "device_name": name}


def current(word: int, version: int) -> float | None:
    """Tag 84 as A, positive while charging; `None` for a protocol version nobody has seen.

    Version 1: bit 15 says charging, the rest is the magnitude (no two's complement). Version 0
    counts down from 10000 (`nw-20s-vendor-example-v0`).
    """
    if version == 1:
        return (word & 0x7FFF if word & 0x8000 else -(word & 0x7FFF)) / 100
    return (10000 - word) / 100 if version == 0 else None


def current_word(amps: float, version: int) -> int:
    """The inverse of `current`, as far as the word reaches."""
    steps = round(amps * 100)
    if version == 1:
        return min(abs(steps), 0x7FFF) | (0x8000 if steps > 0 else 0)
    return min(max(10000 - steps, 0), 0xFFFF)


def temperature(word: int) -> float | None:
    """Tags 80 to 82 as °C: 0 to 100 as they are, 101 is -1, 140 is -40; beyond is undefined."""
    return float(word if word <= 100 else 100 - word) if word <= 140 else None


def temperature_word(celsius: float) -> int:
    """The inverse of `temperature`; what lies outside -40 to 100 °C is sent as the limit."""
    value = min(max(round(celsius), -40), 100)
    return value if value >= 0 else 100 - value
