"""Changing JK boards by Modbus: registers of the settings table, function 10.

Only the settings table is ever written, and of it only whole fields. The registers from 1600 on
(presets, calibration, clock, boot loader) are no settings: nothing here can name them. A board
refuses a value that crosses its neighbours, so the order of several writes matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from bmslink.errors import FrameError, SettingError
from bmslink.model import Identity
from bmslink.protocols.common.register_runs import question, runs, slot_bytes, span
from bmslink.protocols.common.rtu import WRITE_MANY, RTUFrame
from bmslink.protocols.common.settings_map import SettingsMap, Slot, WriteCommand
from bmslink.protocols.jk.modbus.codec import is_answer
from bmslink.protocols.jk.modbus.map import INFO, SETTINGS, RegisterTable
from bmslink.protocols.jk.modbus.settings import modbus_map
from bmslink.protocols.jk.settings import TABLE_BYTES
from bmslink.protocols.parts import SettingsAccess
from bmslink.settings.setting import SWITCHES

__all__ = ["JKModbusBoard", "JKModbusSettings"]

_FLAGS_AT = SETTINGS.starts["enable_flags"]
_COMMANDS_AT = INFO.starts["command_flags"]
_MOST, _MOST_AGAIN = 31, 23
"""Registers of one question, and of one when all are asked for a second time: split elsewhere,
no answer is as long as the one that it is compared with."""


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
            self.on_asked(len(run))
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
