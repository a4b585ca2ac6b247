"""The settings of JBD's rack batteries: read, and never written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from bmslink.errors import SettingError
from bmslink.model import Identity
from bmslink.protocols.common.settings_map import (
    SettingsMap,
    Slot,
    WriteCommand,
    silence_means_absent,
    some_of,
)
from bmslink.protocols.jbd.up.framing import UPFrame
from bmslink.protocols.jbd.up.map import SETTINGS_BLOCKS, up_map
from bmslink.protocols.parts import SettingsAccess

__all__ = ["UPSettings"]


class UPSettings(SettingsAccess[UPFrame]):
    """Two blocks of registers, which a pack answers on its own line only."""

    def __init__(self, ask: Callable[[tuple[int, int]], Awaitable[bytes]]) -> None:
        """`ask` gives the raw bytes of a block."""
        super().__init__()
        self._ask = ask

    def likely_map(self, identity: Identity) -> SettingsMap | None:
        return None if identity.variant == "relayed" else up_map()

    async def find_map(self, identity: Identity) -> SettingsMap:
        if identity.variant == "relayed":
            raise SettingError(
                "Behind a master a pack tells its live values only: ask it on its own line."
            )
        return up_map()

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        found = {}
        for slot in slots:
            self.on_asked(1)
            with silence_means_absent():
                data = await self._ask((slot.address, SETTINGS_BLOCKS[slot.address]))
                if len(data) == slot.layout.sizeof():
                    found[slot.address] = data
        return some_of(slots, found)

    def shipped(self) -> SettingsMap:
        return up_map()

    def _make_write(self, slot: Slot, data: bytes) -> WriteCommand[UPFrame]:
        raise SettingError(f"Nothing proves how setting {slot.address:02X} is written.")
