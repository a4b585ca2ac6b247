"""What stands where in the registers of JK's Modbus boards.

A register's address is a byte offset: three tables begin at 1000, 1200 and 1400 (hex), and byte n
of a native 300-byte record is n - 6 behind that. So the layouts are those of the native
records (`jk02.layouts`, `jk.settings`) with their numbers turned big-endian; bytes, texts and flag
arrays keep their order (and so does here the one float, which is not interpreted).

Sources: `docs/protocols/jk-modbus.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from construct import (
    Array,
    Bytes,
    FormatField,
    Int16sb,
    Int16ub,
    Int32sb,
    Int32ub,
    Renamed,
    Struct,
)

from bmslink.model import Reading
from bmslink.protocols.common.fields import Layout, Scaled, parse
from bmslink.protocols.jk.jk02.layouts import CELL_INFO, DEVICE_INFO, PAYLOAD
from bmslink.protocols.jk.settings import SETTINGS_LAYOUTS

__all__ = [
    "ACTIONS",
    "ARMING",
    "INFO",
    "LIVE",
    "SETTINGS",
    "TRIGGERS",
    "VARIANTS",
    "Chunk",
    "RegisterTable",
    "assemble",
    "blanked",
    "chunk_layout",
    "only_known",
    "place",
    "variant_of",
]

_BIG: dict[str, Layout] = {"<H": Int16ub, "<h": Int16sb, "<L": Int32ub, "<l": Int32sb}
# declared as numbers, but in the vendor's field list arrays of bytes
_BYTE_ARRAYS = frozenset({"uart1_protocols", "uart2_protocols", "uart4_protocols", "can_protocols"})


def big_endian(layout: Layout) -> Layout:
    """The same layout with its numbers big-endian; single bytes and byte strings stay."""
    if isinstance(layout, Struct):
        return Struct(*(big_endian(field) for field in layout.subcons))
    if isinstance(layout, Renamed):
        keep = layout.name in _BYTE_ARRAYS
        return str(layout.name) / (layout.subcon if keep else big_endian(layout.subcon))
    if isinstance(layout, Array) and isinstance(layout.count, int):
        return Array(layout.count, big_endian(layout.subcon))
    if isinstance(layout, Scaled):
        return Scaled(big_endian(layout.subcon), layout.per, layout.offset)
    if isinstance(layout, FormatField):
        return _BIG.get(layout.fmtstr, layout)
    return layout


class Field(NamedTuple):
    """One field of a table: `start` and `end` in bytes from the table's first register."""

    name: str
    start: int
    end: int
    wire: Layout


@dataclass(frozen=True, slots=True, eq=False)
class RegisterTable:
    """One of the three tables."""

    name: str
    base: int
    layout: Layout
    fields: tuple[Field, ...]

    @property
    def starts(self) -> dict[str, int]:
        """Where its fields begin, by their names."""
        return {field.name: field.start for field in self.fields}


def _table(name: str, base: int, native: Layout) -> RegisterTable:
    layout = big_endian(native)
    fields: list[Field] = []
    at = 0
    for field in layout.subcons if isinstance(layout, Struct) else ():
        size = field.sizeof()
        wire = field.subcon if isinstance(field, Renamed) else field
        fields.append(Field(str(field.name), at, at + size, wire))
        at += size
    return RegisterTable(name, base, layout, tuple(fields))


SETTINGS = _table("settings", 0x1000, SETTINGS_LAYOUTS["32s"])
LIVE = _table("live", 0x1200, CELL_INFO["32s"])
INFO = _table("info", 0x1400, DEVICE_INFO)
_TABLES = {table.base: table for table in (SETTINGS, LIVE, INFO)}
_SPAN = 0x200

VARIANTS = ("v1.0", "v1.1")
"""The vendor's documents: V1.1 has heating thresholds at 1116, where V1.0 has an alarm."""
_HEATING_FLAGS = 1 << 0x37 | 1 << 0x38


def variant_of(flags: bytes) -> str | None:
    """The settings map that a board's flags prove (bit n = register n exists)."""
    present = int.from_bytes(flags, "little")
    if not present:
        return None
    return "v1.1" if present & _HEATING_FLAGS == _HEATING_FLAGS else "v1.0"


def place(register: int) -> tuple[RegisterTable, int] | None:
    """The table of a register and its byte offset there; `None` outside the tables."""
    table = _TABLES.get(register - register % _SPAN)
    return None if table is None else (table, register % _SPAN)


# ---------------------------------------------------------------------------------- chunks


_HALF = PAYLOAD - 1


class Chunk(NamedTuple):
    """Bytes of a table, as one read gave them."""

    offset: int
    data: bytes


@lru_cache(maxsize=512)
def chunk_layout(table: RegisterTable, offset: int, length: int) -> Layout:
    """The layout of `length` bytes from an offset of a table on.

    Whole fields have their names, the whole elements of an array that is cut too (with the
    number of the first behind it, unless that is 1); what is cut is `part_OFFSET`.
    """
    end = offset + length
    found: list[Layout] = []
    at = offset
    for name, start, stop, wire in _named(table, offset, end):
        if start > at:
            found.append(f"part_{at}" / Bytes(start - at))
        found.append(name / wire)
        at = stop
    if at < end:
        found.append(f"part_{at}" / Bytes(end - at))
    return Struct(*found)


def _named(table: RegisterTable, offset: int, end: int) -> Iterator[Field]:
    for field in table.fields:
        if offset <= field.start and field.end <= end:
            yield field
        elif isinstance(field.wire, Array) and field.start < end and offset < field.end:
            size = field.wire.subcon.sizeof()
            first = max(0, -((field.start - offset) // size))
            last = min(field.end - field.start, end - field.start) // size
            if first < last:
                name = field.name if first == 0 else f"{field.name}_{first + 1}"
                start, stop = field.start + first * size, field.start + last * size
                yield Field(name, start, stop, Array(last - first, field.wire.subcon))


def assemble(
    table: RegisterTable, chunks: Iterable[Chunk]
) -> tuple[dict[str, Any], frozenset[str]]:
    """All fields of a table out of several reads, and the names of those that were read whole.

    The others are parsed from zeros: they must not be believed. The very last byte shares its
    register with nothing, so it is never asked for, and not missed: it holds flags of no field.
    """
    data, known = bytearray(PAYLOAD), bytearray(PAYLOAD)
    for offset, piece in chunks:
        count = max(0, min(len(piece), PAYLOAD - offset))
        data[offset : offset + count] = piece[:count]
        known[offset : offset + count] = b"\1" * count
    names = frozenset(f.name for f in table.fields if all(known[f.start : min(f.end, _HALF)]))
    return parse(table.layout, bytes(data), f"JK {table.name} table"), names


# ------------------------------------------------------------------------------- partial reads

_SOURCES: dict[str, tuple[str, ...]] = {
    "voltage": ("voltage",),
    "current": ("current",),
    "soc": ("soc",),
    "soh": ("soh",),
    "remaining_capacity": ("remaining_capacity",),
    "full_capacity": ("full_capacity",),
    "cycles": ("cycles",),
    "cycle_capacity": ("cycle_capacity",),
    "cell_resistances": ("cell_resistances", "cell_voltages", "cell_mask"),
    "balancing_active": ("balance_action",),
    "balance_current": ("balance_current",),
    "charging_allowed": ("charge_mosfet",),
    "discharging_allowed": ("discharge_mosfet",),
    "heater": ("heating", "enable_flags"),
    "uptime": ("uptime",),
}
"""Fields of a Reading, and the fields of the live table without which they are unknown."""
_TEMPERATURES = {"mosfet": "mosfet_temperature"} | {
    f"cell_{n}": f"temperature_{n}" for n in range(1, 6)
}
_RAW = {
    "alarm_bits": "alarms",
    "current_sign": "current",
    "wire_resistance_cells": "wire_warning",
}


def only_known(reading: Reading, known: frozenset[str]) -> Reading:
    """The reading without what was made of registers that were not read."""
    unknown: dict[str, Any] = {k: None for k, names in _SOURCES.items() if not known >= {*names}}
    temperatures = {k: v for k, v in reading.temperatures.items() if _TEMPERATURES[k] in known}
    raw = {k: v for k, v in reading.raw.items() if _RAW.get(k, k) in known}
    unknown["conditions_known"] = "alarms" in known
    return replace(reading, temperatures=temperatures, raw=raw, **unknown)


# ---------------------------------------------------------------------------------- secrets

_PASSWORDS = tuple((f.start, f.end) for f in INFO.fields if "password" in f.name)
_SERIAL = next((f.start, f.end) for f in INFO.fields if f.name == "serial_number")


def blanked(offset: int, data: bytes) -> bytes:
    """Bytes of the info table without passwords, and without the passcode that may follow the
    serial number's NUL (where its beginning was not read, all of it goes)."""
    serial, serial_end = _SERIAL
    tail = max(offset, serial)
    if offset <= serial:
        nul = data.find(0, serial - offset)
        tail = serial_end if nul < 0 else offset + nul
    clean = bytearray(data)
    for start, stop in (*_PASSWORDS, (tail, serial_end)):
        first, last = max(start, offset), min(stop, offset + len(data))
        if first < last:
            clean[first - offset : last - offset] = bytes(last - first)
    return bytes(clean)


# ---------------------------------------------------------------------------------- actions

TRIGGERS = {0x161C: "info", 0x161E: "settings", 0x1620: "cells"}
"""Writing 0 makes a board push a native record (`jk_bus`)."""

ARMING = 0x1626
"""Starts the boot loader, from which nothing leads back over RS485: never sent."""

ACTIONS: dict[int, tuple[str, str]] = {
    0x1600: ("voltage calibration in 0.1 V", "voltage calibration in mV"),
    0x1602: ("shutdown", "voltage calibration, second half"),
    0x1604: ("current calibration in 0.1 A", "shutdown"),
    0x1606: ("Li-ion preset", "current calibration in mA"),
    0x1608: ("LFP preset", "current calibration, second half"),
    0x160A: ("LTO preset", "Li-ion preset"),
    0x160C: ("emergency", "LFP preset"),
    0x160E: ("set the clock", "LTO preset"),
    0x1610: ("set the clock, second half", "emergency"),
    0x1612: ("", "set the clock"),
    0x1616: ("", "restart"),
    0x1618: ("", "factory reset"),
    0x161A: ("", "erase data"),
}
"""What a write does by the vendor's documents V1.0 and V1.1: where one sets the clock, the other
overwrites every limit. No board says which map it has, so none of these is ever sent."""
