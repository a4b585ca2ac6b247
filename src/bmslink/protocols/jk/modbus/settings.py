"""JK's settings at their Modbus registers: the rows of the native table (`jk.settings`), no others.

A register's address follows from where the native record has the value. Two neighbouring bytes
share a register, so they are one slot; a lone byte beside one that nobody may write is shown only.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from construct import Struct

from bmslink.protocols.common.settings_map import SettingsMap, Slot
from bmslink.protocols.jk.map import jk_map
from bmslink.protocols.jk.modbus.map import SETTINGS, Field
from bmslink.protocols.jk.settings import INFO_ROWS, ROWS, SWITCH_WORD
from bmslink.settings.setting import Evidence, Setting

__all__ = ["modbus_map"]

_WORD = "jk_switches"
_LONE_BYTE = "it shares its register with a byte that nobody may write"
_REFUSED = ("discharge_utp", "discharge_utp_release")
"""Only a document has them at 1122; the one board on which it was tried (15.41) refused."""
_RECORDED = "balance_switch"  # jk-modbus-fc16-broadcast-switch
_ELSEWHERE = frozenset(row.at for row in INFO_ROWS)
"""What the native device info holds is in another table, of which nobody was recorded writing."""
_NAMES = frozenset(row.name for row in ROWS["32s"])


@cache
def _slot(first: int, fields: tuple[Field, ...]) -> Slot:
    """The slot of these fields, made once: a layout's fast reader is compiled for the object."""
    return Slot(address=first, layout=Struct(*(field.name / field.wire for field in fields)))


@cache
def _slot_of(field_name: str) -> Slot:
    """The registers that hold a setting: every one of the native map has some."""
    name = field_name if field_name in SETTINGS.starts else _WORD
    own = next(field for field in SETTINGS.fields if field.name == name)
    fields = [own]
    if own.end - own.start == 1:
        register = own.start - own.start % 2
        both = [f for f in SETTINGS.fields if register <= f.start and f.end <= register + 2]
        if len(both) == 2 and all(field.name in _NAMES for field in both):
            fields = both
    return _slot(SETTINGS.base + fields[0].start, tuple(fields))


def _row(row: Setting, slot: Slot) -> Setting:
    """A row of the native map, at its Modbus register."""
    bit = row.slot - SWITCH_WORD
    switch = row.field not in SETTINGS.starts
    lone = slot.layout.sizeof() % 2 == 1
    known = Evidence.APP if row.evidence == Evidence.CAPTURE else row.evidence
    if row.key in _REFUSED:
        known = Evidence.DOCUMENT
    return replace(
        row,
        slot=slot.address,
        name=_WORD if switch else row.name,
        bit=bit if switch else None,
        evidence=Evidence.CAPTURE if row.key == _RECORDED else known,
        reason=_LONE_BYTE if lone else row.reason,
    )


def modbus_map(firmware: str | None, table: bytes, command_flags: bytes) -> SettingsMap:
    """The map of a board: what its flags offer, as in the native protocol."""
    native = jk_map("32s", firmware, table, command_flags)
    slots: dict[int, Slot] = {}
    rows = []
    for row in (row for row in native.settings if row.slot not in _ELSEWHERE):
        slot = _slot_of(row.field)
        slots[slot.address] = slot
        rows.append(_row(row, slot))
    return replace(
        native,
        name="jk-modbus",
        slots=tuple(slots[at] for at in sorted(slots)),
        settings=tuple(rows),
    )
