"""The settings of JK boards on their `4E 57` port: all shown, two of them writable.

Writes of AB and AC (the charge and discharge switches) were recorded (`nw-write-charge-on` and its
sisters); what boards answer to a write was not, and the other tags were never tried. So the
switches are written, and everything else is left to the other ports of these boards.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import cache

from construct import Struct

from bmslink.model import Identity
from bmslink.protocols.common.settings_map import SettingsMap, Slot, WriteCommand
from bmslink.protocols.jk.nw.framing import JKNWFrame, write_request
from bmslink.protocols.jk.nw.tags import PASSWORD, TAGS, split
from bmslink.protocols.parts import SettingsAccess
from bmslink.settings.setting import Danger, Evidence, Kind, Setting, title_of

__all__ = ["JKNWSettings", "nw_map"]

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
            what=_WRITABLE[slot.address],
        )
