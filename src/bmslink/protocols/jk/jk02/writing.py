"""Asking JK02 boards while they stream, and changing them: one register at a time.

The settings are one record (type 01), which comes after a 96; each register is written by a
command of its own. The acknowledgement is always the same and proves nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

from bmslink.errors import LinkTimeout, SettingError
from bmslink.link.link import Link
from bmslink.model import Adjustment, Capability, Identity, Switch
from bmslink.protocols.base import Driver, Options, Record
from bmslink.protocols.common.fields import build, is_set, parse
from bmslink.protocols.common.settings_map import SettingsMap, Slot, WriteCommand
from bmslink.protocols.jk.jk02.framing import (
    ACK,
    CELLS,
    INFO,
    READ_INFO,
    READ_SETTINGS,
    SETTINGS,
    JK02Frame,
    command,
)
from bmslink.protocols.jk.jk02.layouts import DEVICE_INFO
from bmslink.protocols.jk.jk02.reading import HAS_CLOCK, has
from bmslink.protocols.jk.map import TABLE_BYTES, info_bytes, jk_map, slot_bytes
from bmslink.protocols.jk.settings import CLOCK, INFO_ROWS, write_layout

__all__ = ["JK02Writing"]

_ACK_TIMEOUT = 0.5  # the acknowledgement follows its record within 0.3 s
_WRITE_TIMEOUT = 1.0  # acknowledgements of writes took 0.06-0.25 s
_STREAM_TIMEOUT = 5.0  # live records come every 0.43-0.54 s
_YEAR_2020 = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
_WRITE_TRIES = 3  # the vendor's app repeats three times as well


class JK02Writing(Driver[JK02Frame]):
    """Questions and changes in the middle of a stream."""

    no_settings_reason: ClassVar[str] = ""
    counts_seconds: ClassVar[bool] = True
    settle: ClassVar[float] = 0.3

    def __init__(self, link: Link[JK02Frame], options: Options) -> None:
        super().__init__(link, options)
        self._known: dict[int, Record] = {}
        self._latest: dict[int, JK02Frame] = {}
        self._streams = False
        self._settings_read = self._settings_asked = 0.0

    async def _greet(self, retries: int) -> None:
        await self._ask(READ_INFO, INFO, retries)
        await self._ask(READ_SETTINGS, SETTINGS, retries)
        self._streams = True

    async def _ask(self, register: int, code: int, retries: int) -> None:
        """Send a command until its record comes; then let its acknowledgement pass."""
        while True:
            await self.link.send(command(register))
            try:
                await self._next(code, self.link.timing.timeout)
                break
            except LinkTimeout:
                if not retries:
                    raise
                retries -= 1
        with suppress(LinkTimeout):
            await self._next(ACK, _ACK_TIMEOUT)

    async def _next(self, code: int, within: float) -> JK02Frame:
        """The next frame of that code. Device info and settings are kept whenever they come."""

        def wanted(frame: JK02Frame) -> bool:
            if not frame.command and frame.code in (INFO, SETTINGS):
                self._known[frame.code] = self.codec.decode(frame)
                self._latest[frame.code] = frame
                if frame.code == SETTINGS:
                    self._settings_read = asyncio.get_running_loop().time()
            return frame.code == code and frame.command == (code == ACK)

        return await self.link.next_frame(wanted, within)

    # -------------------------------------------------------------------------------- settings

    @classmethod
    def every_map(cls) -> tuple[SettingsMap, ...]:
        return tuple(
            jk_map(each, None, b"\xff" * TABLE_BYTES, b"\xff" * 32) for each in ("24s", "32s")
        )

    def likely_map(self, identity: Identity) -> SettingsMap | None:
        if identity.variant not in ("24s", "32s"):
            return None
        return jk_map(identity.variant, identity.firmware, b"\xff" * TABLE_BYTES, b"\xff" * 32)

    async def settings_map(self, identity: Identity) -> SettingsMap:
        if not {INFO, SETTINGS} <= self._latest.keys():
            await self._greet(self.link.timing.retries)
        variant = identity.variant
        if variant not in ("24s", "32s"):
            raise SettingError(
                "Whether this is a 24S or a 32S board is not known yet, and the same register "
                "means different things on them."
            )
        self.own_map = self._map_of(variant, identity.firmware)
        return self.own_map

    def _map_of(self, variant: str, firmware: str | None) -> SettingsMap:
        """By its own records; while its settings were not read, all that its kind may have."""
        info = parse(DEVICE_INFO, self._latest[INFO].data, "JK02 info record")
        held = self._latest.get(SETTINGS)
        table = b"\xff" * TABLE_BYTES if held is None else held.data
        return jk_map(variant, firmware, table, info["command_flags"])

    async def off_map(self, identity: Identity | None) -> SettingsMap:
        if self.own_map is not None:
            return self.own_map
        values = await self._info()
        if values.get("variant") not in ("24s", "32s"):
            raise SettingError("Whether this is a 24S or a 32S board is not known yet.")
        self.switch_map = self._map_of(values["variant"], values["firmware"])
        return self.switch_map

    async def _info(self) -> Mapping[str, Any]:
        """Who it is: said when the link was opened, as a rule."""
        if INFO not in self._known:
            await self._ask(READ_INFO, INFO, self.link.timing.retries)
        return self._known[INFO].values

    def slot_bytes(self, slot: Slot, table: bytes) -> bytes | None:
        """The value of a register, out of the settings record's 293 bytes or the device info."""
        info = info_bytes(slot.address, self._latest[INFO].data)
        if info is not None:
            return info
        return slot_bytes(str(self._known[INFO].values["variant"]), slot.address, table)

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        self.link.discard()
        before = self._latest.get(INFO)
        await self._ask(READ_SETTINGS, SETTINGS, self.link.timing.retries)
        table = self._latest[SETTINGS].data
        # boards from 15 on send their device info with it
        if _in_info(slots) and self._latest.get(INFO) is before:
            await self._ask(READ_INFO, INFO, self.link.timing.retries)
        found = {slot.address: self.slot_bytes(slot, table) for slot in slots}
        known = {address: raw for address, raw in found.items() if raw is not None}
        self.seen.add(known)
        return known

    def shipped(self) -> SettingsMap:
        """Nothing before the board said who it is, on this very link: what is a delay on one
        variant calibrates the other."""
        found, info = super().shipped(), self._known.get(INFO)
        if info is None or not found.name.endswith(info.values.get("variant") or found.name):
            raise SettingError("The board has not said yet which kind it is.")
        return found

    def write_command(self, slot: Slot, data: bytes) -> WriteCommand[JK02Frame]:
        self.check_slot(slot, data)
        return WriteCommand(
            frame=command(slot.address, data),
            answer=lambda frame: frame.command and frame.code == ACK,
            what=f"register {slot.address:02X}",
        )

    async def exchange(self, step: WriteCommand[JK02Frame]) -> JK02Frame | None:
        """A stream must not be cut into, so the acknowledgement is taken out of it."""
        left = _WRITE_TRIES
        while True:
            self.link.discard()
            await self.link.send(step.frame)
            try:
                return await self._next(ACK, _WRITE_TIMEOUT)
            except LinkTimeout:
                left -= 1
                if not left:
                    raise

    settable: ClassVar[frozenset[Switch]] = frozenset(Switch)

    # ----------------------------------------------------------------------------------- clock

    not_adjustable: ClassVar[Mapping[str, str]] = {
        "clock": "this board does not say that it takes one",
        "soc": "JK boards count it themselves, and no register for it was ever recorded",
    }

    def can_adjust(self, what: str) -> Capability:
        """The clock of 32S boards that name its register among those that may be written."""
        info = self._latest.get(INFO)
        if what == "clock" and info and self._known[INFO].values.get("variant") == "32s":
            values = parse(DEVICE_INFO, info.data, "JK02 info record")
            if is_set(int.from_bytes(values["command_flags"], "little"), CLOCK):
                return Capability(True)
        return super().can_adjust(what)

    async def clock(self) -> datetime | None:
        self.link.discard()
        values = self.codec.decode(await self._next(CELLS, _STREAM_TIMEOUT)).values
        if values.get("variant") != "32s" or not has(values, HAS_CLOCK):
            return None
        return datetime.fromtimestamp(
            values["clock"] + _YEAR_2020 + time.timezone, UTC
        ).astimezone()

    async def adjust_command(self, wish: Adjustment) -> WriteCommand[JK02Frame]:
        """Seconds since 2020 in the standard time of the place, without summer time."""
        if wish.clock is None:
            raise SettingError(self.can_adjust("soc").reason)
        seconds = round(wish.clock.timestamp()) - time.timezone - _YEAR_2020
        layout = write_layout("32s", CLOCK, 4)
        if layout is None:
            raise SettingError(self.can_adjust("clock").reason)
        return WriteCommand(
            frame=command(CLOCK, build(layout, {"jk_clock": seconds}, "clock")),
            answer=lambda frame: frame.command and frame.code == ACK,
            what="the clock",
        )


def _in_info(slots: Sequence[Slot]) -> bool:
    """Whether some of them are in the device info."""
    return any(row.at == slot.address for slot in slots for row in INFO_ROWS)
