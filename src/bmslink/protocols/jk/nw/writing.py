"""The settings of JK boards on their `4E 57` port: all shown, two of them writable.

Writes of AB and AC (the charge and discharge switches) were recorded (`nw-write-charge-on` and its
sisters); what boards answer to a write was not, and the other tags were never tried. So the
switches are written, and everything else is left to the other ports of these boards.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar, TypeVar

from construct import Struct

from bmslink.link.link import Frame
from bmslink.model import Capability, Identity, Switch
from bmslink.protocols.base import Driver
from bmslink.protocols.common.settings_map import SettingsMap, Slot, WriteCommand
from bmslink.protocols.jk.nw.tags import PASSWORD, TAGS, split
from bmslink.settings.setting import Danger, Evidence, Kind, Setting, title_of

__all__ = ["JKNWWriting", "nw_map"]

F = TypeVar("F", bound=Frame)

_WRITABLE = {0xAB: "charge_switch", 0xAC: "discharge_switch"}
_UNTRIED = "nobody has recorded this tag being written; the board's Bluetooth port takes it"
_OWN = ("jk_address", "jk_current_calibration", "jk_calibrating")
_UNITS = {
    "calibration": "A",
    "low": "%",
    "ovp": "V",
    "uvp": "V",
    "release": "V",
    "delta": "V",
    "voltage": "V",
    "ocp": "A",
    "delay": "s",
    "capacity": "Ah",
}


def _unit(key: str) -> str:
    """By the last word of its name."""
    if "otp" in key or "utp" in key:
        return "°C"
    if key == "temperature_delta":
        return "K"
    return _UNITS.get(key.rpartition("_")[2], "")


def _row(tag: int, key: str) -> Setting:
    kind: Kind = "switch" if key.endswith("_switch") else "number"
    writable = tag in _WRITABLE
    return Setting(
        key=key,
        title=title_of(key.removeprefix("jk_")),
        slot=tag,
        kind=kind,
        unit=_unit(key),
        danger=Danger.POWER if writable else Danger.NONE,
        evidence=Evidence.CAPTURE if writable else Evidence.UNVERIFIED,
        reason="" if writable else _UNTRIED,
        live=key == "jk_calibrating",
        own=key in _OWN,
    )


@cache
def nw_map() -> SettingsMap:
    """The map of all `4E 57` boards: the tags explain themselves."""
    tags = {n: tag for n, tag in TAGS.items() if tag.role == "settings" and n != PASSWORD}
    return SettingsMap(
        name="jk-nw",
        evidence="Ten boards were recorded with this list of tags (docs/protocols/jk-nw.md).",
        slots=tuple(Slot(address=n, layout=Struct(t.name / t.layout)) for n, t in tags.items()),
        settings=tuple(_row(number, tag.name) for number, tag in tags.items()),
    )


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
            what=_WRITABLE[slot.address],
        )

    settable: ClassVar[frozenset[Switch]] = frozenset({Switch.CHARGE, Switch.DISCHARGE})

    def can_switch(self, switch: Switch) -> Capability:
        if switch == Switch.BALANCE:
            return Capability(False, "boards were seen ignoring it on this port")
        return super().can_switch(switch)
