"""Changing JK04 boards: registers as on JK02, each where its number says."""

from __future__ import annotations

from bmslink.model import Identity
from bmslink.protocols.common.settings_map import SettingsMap, Slot
from bmslink.protocols.jk.jk02.writing import JKStreamSettings
from bmslink.protocols.jk.jk04.map import jk04_map

__all__ = ["JK04Settings"]


class JK04Settings(JKStreamSettings):
    """The settings of a balancer."""

    def likely_map(self, identity: Identity) -> SettingsMap:
        return jk04_map(identity.firmware)

    async def find_map(self, identity: Identity) -> SettingsMap:
        self.own_map = jk04_map(identity.firmware)
        return self.own_map

    async def find_switch_map(self, identity: Identity | None) -> SettingsMap:
        if self.own_map is not None:
            return self.own_map
        self.switch_map = jk04_map((await self._board.ask_info())["firmware"])
        return self.switch_map

    def _raw(self, slot: Slot, table: bytes) -> bytes | None:
        size = slot.layout.sizeof()
        return table[slot.address : slot.address + size]
