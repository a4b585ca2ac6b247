"""Which of JK's settings a board has, and which of them it takes.

A 32S board says itself which registers it has (flags at byte 287 of its settings) and which of
them may be written (flags in its device info): a row is offered where both agree. 24S boards say
neither and have the registers that all of them share. The device info of a 32S board holds a few
settings more, offered where it says that they may be written. All are rows of `jk.settings`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from bmslink.protocols.common.fields import build, fields_of, is_set, parse
from bmslink.protocols.common.rows import Row, layouts, places, settings, slots
from bmslink.protocols.common.settings_map import SettingsMap, proof
from bmslink.protocols.jk.jk02.layouts import DEVICE_INFO
from bmslink.protocols.jk.jk02.reading import CHEMISTRIES
from bmslink.protocols.jk.settings import (
    INFO_ROWS,
    REGISTERS,
    ROWS,
    SETTINGS_LAYOUTS,
    SWITCH_WORD,
    TABLE_BYTES,
)

__all__ = ["TABLE_BYTES", "info_bytes", "jk_map", "slot_bytes", "writable"]

_SEEN = {
    "24s": ("4.1.7", "7.1.0H", "8.0.6G", "10.02", "10.07"),
    "32s": ("11.17", "11.26", "11.288H", "11.50", "14.20", "15.10", "15.41", "19.04", "19.10"),
}
"""Firmwares whose settings were recorded."""

_SLOTS = {
    variant: {slot.address: slot for slot in slots(rows, layouts(rows))}
    for variant, rows in ROWS.items()
}
_INFO_SLOTS = {slot.address: slot for slot in slots(INFO_ROWS, layouts(INFO_ROWS))}
_PLACES = {variant: places(layout) for variant, layout in SETTINGS_LAYOUTS.items()}


def slot_bytes(variant: str, register: int, table: bytes) -> bytes | None:
    """The value of a register, as it would be written, out of the settings record's 293 bytes."""
    where = _PLACES[variant]
    entry = REGISTERS[variant].get(register)
    if entry is not None and entry.key in where:
        start, end = where[entry.key]
        return table[start:end]
    if "jk_switches" in where and SWITCH_WORD <= register < SWITCH_WORD + 16:
        start, end = where["jk_switches"]
        word = int.from_bytes(table[start:end], "little")
        return bytes((word >> (register - SWITCH_WORD) & 1, 0, 0, 0))
    return None


def info_bytes(register: int, info: bytes) -> bytes | None:
    """The same out of the device info's 293 bytes, of the registers that it shows."""
    slot = _INFO_SLOTS.get(register)
    if slot is None:
        return None
    held = parse(DEVICE_INFO, info, "JK02 info record")
    values = {name: held[name.removeprefix("jk_")] for name, _ in fields_of(slot.layout)}
    return build(slot.layout, values, f"register {register:02X}")


def writable(variant: str) -> dict[int, int]:
    """Register -> bytes, of all that is ever written to boards of a variant."""
    return {at: slot.layout.sizeof() for at, slot in _SLOTS[variant].items()}


def _flags(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _rows(variant: str, table: bytes, taken: int) -> Iterator[Row]:
    """What this board has; the reason says why it does not take it, if so."""
    if variant == "24s":
        held = parse(SETTINGS_LAYOUTS[variant], table, "settings")
        for row in ROWS[variant]:
            has = held[row.name] not in row.absent
            yield row if has else replace(row, reason="this board does not have it")
        return
    start, end = _PLACES[variant]["enable_flags"]
    present = _flags(table[start:end])
    for row in ROWS[variant]:
        if is_set(present, row.at):
            takes = is_set(taken, row.at)
            reason = row.reason if takes else "the board says that it does not take it"
            yield replace(row, reason=reason)
    yield from (row for row in INFO_ROWS if is_set(taken, row.at))


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
    return SettingsMap(
        name=f"jk02-{variant}",
        evidence=known.evidence,
        slots=tuple((_INFO_SLOTS | _SLOTS[variant])[row.at] for row in rows),
        settings=settings(rows),
        read_only_reason=read_only_reason,
        untested_reason=known.untested_reason,
        chemistries=frozenset(CHEMISTRIES.values()),
    )
