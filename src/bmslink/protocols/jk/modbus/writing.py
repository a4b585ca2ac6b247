"""Changing JK boards by Modbus: registers of the settings table, function 10.

Only the settings table is ever written, and of it only whole fields. The registers from 1600 on
(presets, calibration, clock, boot loader) are no settings: nothing here can name them. A board
refuses a value that crosses its neighbours, so the order of several writes matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Protocol

from construct import Struct

from bmslink.errors import FrameError, SettingError
from bmslink.model import Identity
from bmslink.protocols.common.register_runs import question, runs, slot_bytes, span
from bmslink.protocols.common.rtu import WRITE_MANY, RTUFrame
from bmslink.protocols.common.settings_map import SettingsMap, Slot, WriteCommand
from bmslink.protocols.jk.map import TABLE_BYTES, jk_map
from bmslink.protocols.jk.modbus.codec import is_answer
from bmslink.protocols.jk.modbus.map import INFO, SETTINGS, RegisterTable
from bmslink.protocols.jk.settings import SWITCH_WORD
from bmslink.protocols.parts import SettingsAccess
from bmslink.settings.setting import SWITCHES, Evidence, Setting

__all__ = ["JKModbusBoard", "JKModbusSettings", "modbus_map"]

_FLAGS_AT, _COMMANDS_AT = 281, 144
_MOST, _MOST_AGAIN = 31, 23
"""Registers of one question, and of one when all are asked for a second time: split elsewhere,
no answer is as long as the one that it is compared with."""
_WORD = "jk_switches"
_PAIRS = (("jk_heating_start", "jk_heating_stop"), ("discharge_utp", "discharge_utp_release"))
_LONE_BYTE = "it shares its register with a byte that nobody may write"
_RECORDED = "balance_switch"  # jk-modbus-fc16-broadcast-switch
_FIELDS = {field.name: field for field in SETTINGS.fields}


@cache
def _slot_of(key: str, code: int) -> Slot:
    """The registers that hold a setting: every one of the native map has some.

    Made once: a layout's fast reader is compiled for the object.
    """
    if SWITCH_WORD <= code < SWITCH_WORD + 16:
        key = _WORD
    for pair in _PAIRS:
        if key in pair:
            names = [_FIELDS[name] for name in pair]
            layout = Struct(*(field.name / field.wire for field in names))
            return Slot(address=SETTINGS.base + names[0].start, layout=layout)
    field = _FIELDS[key]
    return Slot(address=SETTINGS.base + field.start, layout=Struct(field.name / field.wire))


def _row(row: Setting, slot: Slot) -> Setting:
    """A row of the native map, at its Modbus register."""
    bit = row.slot - SWITCH_WORD
    switch = SWITCH_WORD <= row.slot < SWITCH_WORD + 16
    lone = slot.layout.sizeof() % 2 == 1
    return replace(
        row,
        slot=slot.address,
        name=_WORD if switch else "",
        bit=bit if switch else None,
        evidence=Evidence.CAPTURE if row.key == _RECORDED else Evidence.APP,
        reason=_LONE_BYTE if lone else row.reason,
    )


def modbus_map(firmware: str | None, table: bytes, command_flags: bytes) -> SettingsMap:
    """The map of a board: what its flags offer, as in the native protocol."""
    native = jk_map("32s", firmware, table, command_flags)
    slots: dict[int, Slot] = {}
    rows = []
    for row in native.settings:
        slot = _slot_of(row.key, row.slot)
        slots[slot.address] = slot
        rows.append(_row(row, slot))
    return replace(
        native,
        name="jk-modbus",
        slots=tuple(slots[at] for at in sorted(slots)),
        settings=tuple(rows),
    )


class JKModbusBoard(Protocol):
    """What the settings ask of the driver."""

    @property
    def address(self) -> int: ...

    async def ask_bytes(self, table: RegisterTable, offset: int, registers: int) -> bytes:
        """The raw bytes of registers; `Refused` when the board says no."""

    async def ask_firmware(self) -> str | None:
        """Its firmware, in one question."""


class JKModbusSettings(SettingsAccess[RTUFrame]):
    """The settings table of a board."""

    settle = 0.3

    def __init__(self, board: JKModbusBoard) -> None:
        super().__init__()
        self._board = board

    def likely_map(self, identity: Identity) -> SettingsMap:
        return modbus_map(identity.firmware, b"\xff" * TABLE_BYTES, b"\xff" * 32)

    async def find_map(self, identity: Identity) -> SettingsMap:
        table = bytearray(TABLE_BYTES)
        flags = (await self._board.ask_bytes(SETTINGS, _FLAGS_AT - 1, 5))[1:10]
        commands = await self._board.ask_bytes(INFO, _COMMANDS_AT, 16)
        # once more with their neighbours: the answer has another length then, and may be no
        # other question's
        again = await self._board.ask_bytes(SETTINGS, _FLAGS_AT - 5, 7)
        more = await self._board.ask_bytes(INFO, _COMMANDS_AT, 17)
        if flags != again[5:] or commands != more[:-2]:
            raise FrameError("Twice asked for its settings, the board named different ones.")
        table[_FLAGS_AT : _FLAGS_AT + 9] = flags
        if not any(flags):
            raise SettingError("The board does not say which settings it has.")
        self.own_map = modbus_map(identity.firmware, bytes(table), commands)
        return self.own_map

    async def find_switch_map(self, identity: Identity | None) -> SettingsMap:
        """Which registers it takes is not asked: every board has the switches, and one that does
        not take them refuses."""
        if self.own_map is not None:
            return self.own_map
        firmware = identity.firmware if identity else await self._board.ask_firmware()
        self.switch_map = self.likely_map(Identity(firmware=firmware)).only(SWITCHES)
        return self.switch_map

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        return await self._fetch(slots, _MOST)

    async def fetch_again(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        return await self._fetch(slots, _MOST_AGAIN)

    async def _fetch(self, slots: Sequence[Slot], most: int) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for run in runs([span(slot, slot.address - SETTINGS.base) for slot in slots], most):
            first, count = question(run)
            data = await self._board.ask_bytes(SETTINGS, 2 * first, count)
            found.update((slot.address, raw) for slot, raw in slot_bytes(run, data))
        self.seen.add(found)
        return found

    def _make_write(self, slot: Slot, data: bytes) -> WriteCommand[RTUFrame]:
        frame = RTUFrame(
            unit=self._board.address,
            function=WRITE_MANY,
            shape="write_many",
            register=slot.address,
            count=len(data) // 2,
            data=data,
        )
        return WriteCommand(
            frame=frame,
            answer=partial(is_answer, request=frame),
            what=f"register {slot.address:04X}",
            once=True,
        )
