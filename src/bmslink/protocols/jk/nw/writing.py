"""The settings of JK boards on their `4E 57` port: all shown, two of them writable.

Writes of AB and AC (the charge and discharge switches) were recorded (`nw-write-charge-on` and its
sisters); what boards answer to a write was not, and the other tags were never tried. So the
switches are written, and everything else is left to the other ports of these boards.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeVar

from bmslink.link.link import Frame
from bmslink.model import Capability, Identity, Switch
from bmslink.protocols.base import Driver
from bmslink.protocols.common.settings_map import SettingsMap, Slot, WriteCommand
from bmslink.protocols.jk.nw.map import nw_map
from bmslink.protocols.jk.nw.tags import TAGS, split

__all__ = ["JKNWWriting"]

F = TypeVar("F", bound=Frame)


class JKNWWriting(Driver[F]):
    """Settings out of the full list, and the two switches."""

    no_settings_reason: ClassVar[str] = ""
    not_adjustable: ClassVar[Mapping[str, str]] = {
        "clock": "nobody has recorded this port setting it",
        "soc": "nobody has recorded this port setting it",
    }
    settle: ClassVar[float] = 0.5

    @abstractmethod
    async def ask_all(self) -> bytes:
        """The full list."""

    @abstractmethod
    def make_write(self, tag: int, value: bytes) -> F:
        """The frame that writes a tag."""

    @classmethod
    def every_map(cls) -> tuple[SettingsMap, ...]:
        return (nw_map(),)

    def likely_map(self, identity: Identity) -> SettingsMap:
        return nw_map()

    async def settings_map(self, identity: Identity) -> SettingsMap:
        return nw_map()

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        data = await self.ask_all()
        found, at = {}, 0
        for tag in split(data):
            width = TAGS[tag].width(data[at + 1 :])
            found[tag] = data[at + 1 : at + 1 + width]
            at += 1 + width
        asked = {slot.address: found[slot.address] for slot in slots if slot.address in found}
        self.seen.add(asked)
        return asked

    async def off_map(self, identity: Identity | None) -> SettingsMap:
        return nw_map()

    def shipped(self) -> SettingsMap:
        return nw_map()

    def write_command(self, slot: Slot, data: bytes) -> WriteCommand[F]:
        self.check_slot(slot, data)
        return WriteCommand(
            frame=self.make_write(slot.address, data),
            answer=None,  # what comes back was never recorded: only reading tells
            what=TAGS[slot.address].name,
        )

    settable: ClassVar[frozenset[Switch]] = frozenset({Switch.CHARGE, Switch.DISCHARGE})

    def can_switch(self, switch: Switch) -> Capability:
        if switch == Switch.BALANCE:
            return Capability(False, "boards were seen ignoring it on this port")
        return super().can_switch(switch)
