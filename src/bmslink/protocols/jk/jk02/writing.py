"""Changing JK02 boards: one register at a time.

The settings are one record (type 01), which comes after a 96; each register is written by a
command of its own. The acknowledgement is always the same and proves nothing.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime

from bmslink.errors import SettingError
from bmslink.model import Adjustment, Capability, Identity
from bmslink.protocols.common.fields import build, is_set, parse
from bmslink.protocols.common.settings_map import SettingsMap, Slot, WriteCommand
from bmslink.protocols.jk.jk02.framing import ACK, INFO, SETTINGS, JK02Frame, command
from bmslink.protocols.jk.jk02.layouts import DEVICE_INFO
from bmslink.protocols.jk.jk02.past import YEAR_2020, board_time
from bmslink.protocols.jk.jk02.reading import HAS_CLOCK, has
from bmslink.protocols.jk.jk02.stream import JKStream
from bmslink.protocols.jk.map import TABLE_BYTES, info_bytes, jk_map, slot_bytes
from bmslink.protocols.jk.settings import CLOCK, INFO_ROWS, write_layout
from bmslink.protocols.parts import ClockSoc, SettingsAccess

__all__ = ["NOT_TAKEN", "JK02Clock", "JK02Settings", "JKStreamSettings"]

_IN_INFO = frozenset(row.at for row in INFO_ROWS)
NOT_TAKEN: Mapping[str, str] = {
    "clock": "this board does not say that it takes one",
    "soc": "JK boards count it themselves, and no register for it was ever recorded",
}


def _is_ack(frame: JK02Frame) -> bool:
    return frame.command and frame.code == ACK


class JKStreamSettings(SettingsAccess[JK02Frame]):
    """The settings record of a board that streams, and its registers."""

    settle = 0.3

    def __init__(self, board: JKStream) -> None:
        super().__init__()
        self._board = board

    @abstractmethod
    def _raw(self, slot: Slot, table: bytes) -> bytes | None:
        """The value of a register, out of the settings record's 293 bytes."""

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        info = any(slot.address in _IN_INFO for slot in slots)
        table = await self._board.ask_settings(info=info)
        found = {slot.address: self._raw(slot, table) for slot in slots}
        known = {address: raw for address, raw in found.items() if raw is not None}
        self.seen.add(known)
        return known

    def shipped(self) -> SettingsMap:
        """Nothing before the board said who it is, on this very link: what is a delay on one
        variant calibrates the other."""
        found, info = super().shipped(), self._board.surely
        if info is None or not found.name.endswith(info.get("variant") or found.name):
            raise SettingError("The board has not said yet which kind it is.")
        return found

    def _make_write(self, slot: Slot, data: bytes) -> WriteCommand[JK02Frame]:
        return WriteCommand(
            frame=command(slot.address, data),
            answer=_is_ack,
            what=f"register {slot.address:02X}",
        )


class JK02Settings(JKStreamSettings):
    """Those of 24S and 32S boards, in which the same register means different things."""

    def likely_map(self, identity: Identity) -> SettingsMap | None:
        if identity.variant not in ("24s", "32s"):
            return None
        return jk_map(identity.variant, identity.firmware, b"\xff" * TABLE_BYTES, b"\xff" * 32)

    async def find_map(self, identity: Identity) -> SettingsMap:
        await self._board.meet()
        variant = identity.variant
        if variant not in ("24s", "32s"):
            raise SettingError(
                "Whether this is a 24S or a 32S board is not known yet, and the same register "
                "means different things on them."
            )
        self.own_map = self._map_of(variant, identity.firmware)
        return self.own_map

    async def find_switch_map(self, identity: Identity | None) -> SettingsMap:
        if self.own_map is not None and self._board.info is not None:
            return self.own_map
        values = await self._board.ask_info()  # also where it is being asked anew who it is
        if values.get("variant") not in ("24s", "32s"):
            raise SettingError("Whether this is a 24S or a 32S board is not known yet.")
        self.switch_map = self._map_of(values["variant"], values["firmware"])
        return self.switch_map

    def _map_of(self, variant: str, firmware: str | None) -> SettingsMap:
        """By its own records; while its settings were not read, all that its kind may have."""
        info = parse(DEVICE_INFO, self._board.heard(INFO) or b"", "JK02 info record")
        table = self._board.heard(SETTINGS) or b"\xff" * TABLE_BYTES
        return jk_map(variant, firmware, table, info["command_flags"])

    def _raw(self, slot: Slot, table: bytes) -> bytes | None:
        shown = info_bytes(slot.address, self._board.heard(INFO) or b"")
        if shown is not None:
            return shown
        info = self._board.info or {}
        return slot_bytes(str(info.get("variant")), slot.address, table)


class JK02Clock(ClockSoc[JK02Frame]):
    """The clock of 32S boards that name its register among those that may be written."""

    def __init__(self, board: JKStream) -> None:
        super().__init__(board.name, takes={}, missing=NOT_TAKEN)
        self._board = board

    def can(self, what: str) -> Capability:
        record, info = self._board.heard(INFO), self._board.info
        if what == "clock" and record and info and info.get("variant") == "32s":
            values = parse(DEVICE_INFO, record, "JK02 info record")
            if is_set(int.from_bytes(values["command_flags"], "little"), CLOCK):
                return Capability(True)
        return super().can(what)

    async def clock(self) -> datetime | None:
        values = await self._board.next_live()
        if values.get("variant") != "32s" or not has(values, HAS_CLOCK):
            return None
        return board_time(values["clock"]).astimezone()

    async def command(self, wish: Adjustment) -> WriteCommand[JK02Frame]:
        """Seconds since 2020 in the standard time of the place, without summer time."""
        if wish.clock is None:
            raise SettingError(self.can("soc").reason)
        seconds = round(wish.clock.timestamp()) - time.timezone - YEAR_2020
        layout = write_layout("32s", CLOCK, 4)
        if layout is None:
            raise SettingError(self.can("clock").reason)
        return WriteCommand(
            frame=command(CLOCK, build(layout, {"jk_clock": seconds}, "clock")),
            answer=_is_ack,
            what="the clock",
        )
