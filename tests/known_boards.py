"""Every settings map that some board has, with all that it can offer, and drivers that have met
such a board and can be asked for frames."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import bmslink
from bmslink.model import Identity
from bmslink.protocols.abilities import settings_of
from bmslink.protocols.base import Driver
from bmslink.protocols.common.settings_map import SeenSettings, SettingsMap, Slot
from bmslink.protocols.daly.a5.map import a5_map
from bmslink.protocols.daly.registers.d2 import DalyD2
from bmslink.protocols.daly.registers.map import register_map
from bmslink.protocols.daly.registers.p81 import DalyP81
from bmslink.protocols.jbd.map import jbd_map
from bmslink.protocols.jbd.up.map import up_map
from bmslink.protocols.jk.jk04.map import jk04_map
from bmslink.protocols.jk.map import TABLE_BYTES, jk_map
from bmslink.protocols.jk.modbus.settings import modbus_map
from bmslink.protocols.jk.nw.map import nw_map
from bmslink.settings.setting import Setting
from support import virtual_run

_FULL = bytes(281) + b"\xff" * (TABLE_BYTES - 281)
"""A settings record of JK that says that every register exists."""
_ALL = b"\xff" * 32
_PLAUSIBLE = {
    "discharge_utp": -20.0, "discharge_utp_warning": -15.0, "cell_delta": 0.5,
    "cell_delta_warning": 0.3, "temperature_delta": 20.0, "temperature_delta_warning": 15.0,
}  # fmt: skip


class Board(NamedTuple):
    """A map, and a simulated board that speaks its protocol."""

    map: SettingsMap
    target: str

    @property
    def protocol(self) -> str:
        """The protocol that these boards speak."""
        return self.target.partition("://")[2].partition("?")[0]

    def rows(self, slot: Slot) -> list[Setting]:
        """What can be written in a slot."""
        here = [s for s in self.map.settings if s.slot == slot.address and s.writable]
        return [] if self.map.read_only_reason else here

    def slots(self) -> list[Slot]:
        """What can be written at all."""
        return [slot for slot in self.map.slots if self.rows(slot)]


def _jbd(function: str) -> SettingsMap:
    identity = Identity(vendor="JBD", protocol="jbd", firmware="2.1")
    words = {0x2D: bytes.fromhex(function), 0x2F: b"\0\x10", 0x42: b"\x0d\x48"}
    return jbd_map(identity, words)


def _registers(driver: type[DalyD2 | DalyP81], values: Mapping[str, float | None]) -> SettingsMap:
    return register_map(driver.name, "70_260316_01T6", values)


BOARDS: Mapping[str, Board] = {
    "jbd": Board(_jbd("0006"), "sim://jbd?firmware=2.1"),
    "jbd-tenfold": Board(_jbd("1006"), "sim://jbd?firmware=8.0"),
    "jbd-up": Board(up_map(), "sim://jbd-up"),
    "jk02-24s": Board(
        jk_map("24s", "10.07", b"\1" * TABLE_BYTES, bytes(32)), "sim://jk02?firmware=10.07"
    ),
    "jk02-32s": Board(jk_map("32s", "15.41", _FULL, _ALL), "sim://jk02?firmware=15.41"),
    "jk04": Board(jk04_map("3.3.0"), "sim://jk04"),
    "jk-modbus": Board(modbus_map("15.41", _FULL, _ALL), "sim://jk-modbus"),
    "jk-nw": Board(nw_map(), "sim://jk-nw"),
    "daly-a5": Board(a5_map("20220810"), "sim://daly-a5"),
    "daly-d2": Board(_registers(DalyD2, _PLAUSIBLE), "sim://daly-d2"),
    "daly-d2-other": Board(_registers(DalyD2, {}), "sim://daly-d2"),
    "daly-p81": Board(_registers(DalyP81, {}), "sim://daly-p81"),
}
SILENT = ("jk-bus", "daly-sinowealth")
"""Protocols over which nothing is ever changed."""


@cache
def met(target: str, address: int | None = None) -> Driver[Any]:
    """A driver that has met the board at a target, and has let it go again."""

    async def main() -> Driver[Any]:
        async with bmslink.connect(target, address=address).board as device:
            await device.settings_map(await device.identify())
            return device.driver

    driver: Driver[Any] = virtual_run(main())
    return driver


def frame_of(name: str, slot: Slot, data: bytes, held: bytes | None = None) -> bytes:
    """What writing a slot of a board sends where it holds `held`; `None`: it was never read."""
    return frame_by(met(BOARDS[name].target), BOARDS[name].map, slot, data, held)


def frame_by(
    driver: Driver[Any], found: SettingsMap, slot: Slot, data: bytes, held: bytes | None = None
) -> bytes:
    """The same by a driver that found this map."""
    settings = settings_of(driver)
    settings.own_map, settings.seen = found, SeenSettings()
    if held is not None:
        settings.seen.add({slot.address: held})
    return bytes(driver.make_framer().encode(settings.write_command(slot, data).frame))
