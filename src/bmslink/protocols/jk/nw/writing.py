"""The settings of JK boards on their `4E 57` port: all shown, two of them writable.

Writes of AB and AC (the charge and discharge switches) were recorded (`nw-write-charge-on` and its
sisters); what boards answer to a write was not, and the other tags were never tried. So the
switches are written, and everything else is left to the other ports of these boards.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from bmslink.model import Identity
from bmslink.protocols.common.settings_map import SettingsMap, Slot, WriteCommand
from bmslink.protocols.jk.nw.framing import JKNWFrame, write_request
from bmslink.protocols.jk.nw.map import nw_map
from bmslink.protocols.jk.nw.tags import TAGS, split
from bmslink.protocols.parts import SettingsAccess

__all__ = ["JKNWSettings"]


class JKNWSettings(SettingsAccess[JKNWFrame]):
    """Settings out of the full list, of which the two switches are written."""

    settle = 0.5

    def __init__(self, ask_all: Callable[[], Awaitable[bytes]]) -> None:
        """`ask_all` gives the full list."""
        super().__init__()
        self._ask_all = ask_all

    def likely_map(self, identity: Identity) -> SettingsMap:
        return nw_map()

    async def find_map(self, identity: Identity) -> SettingsMap:
        return nw_map()

    async def find_switch_map(self, identity: Identity | None) -> SettingsMap:
        return nw_map()

    def shipped(self) -> SettingsMap:
        return nw_map()

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        data = await self._ask_all()
        found, at = {}, 0
        for tag in split(data):
            width = TAGS[tag].width(data[at + 1 :])
            found[tag] = data[at + 1 : at + 1 + width]
            at += 1 + width
        asked = {slot.address: found[slot.address] for slot in slots if slot.address in found}
        self.seen.add(asked)
        return asked

    def _make_write(self, slot: Slot, data: bytes) -> WriteCommand[JKNWFrame]:
        return WriteCommand(
            frame=write_request(slot.address, data),
            answer=None,  # what comes back was never recorded: only reading tells
            what=TAGS[slot.address].name,
        )
