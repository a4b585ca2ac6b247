"""JK's parallel bus: its frames, and the registers that make a board push a record."""

from __future__ import annotations

import re
from typing import TypeAlias

from bmslink.errors import TargetError
from bmslink.link.link import Drop, Framer
from bmslink.protocols.common.rtu import MODBUS_SHAPES, WRITE, WRITE_MANY, RTUFrame, RTUFramer
from bmslink.protocols.jk.jk02.framing import CELLS, INFO, SETTINGS, JK02Frame, JK02Framer
from bmslink.protocols.jk.modbus.codec import check_address
from bmslink.protocols.jk.modbus.map import TRIGGERS

__all__ = ["COUNTERS", "REGISTERS", "BusFrame", "JKBusFramer", "trigger"]

BusFrame: TypeAlias = JK02Frame | RTUFrame
"""A native record, or the register frames before and behind it."""

_CODES = {"info": INFO, "settings": SETTINGS, "cells": CELLS}
REGISTERS = {_CODES[name]: register for register, name in TRIGGERS.items()}
"""Type of a record -> the register that asks for it, and that its acknowledgement names."""


COUNTERS = (0, 5)
"""What byte 5 of a record is on this bus, where it stands still; elsewhere it counts."""


def trigger(address: int, code: int) -> RTUFrame:
    """The frame that asks a board for a record of a type; the only one this protocol sends.

    `TargetError` for address 0, one above 15, or a type that no trigger asks for.
    """
    register = REGISTERS.get(code)
    if register is None:
        raise TargetError(f"No trigger asks for records of type {code:02X}.")
    return RTUFrame(
        unit=check_address(address),
        function=WRITE_MANY,
        shape="write_many",
        register=register,
        count=1,
        data=bytes(2),
    )


# ---------------------------------------------------------------------------------- frames

_HEADER = b"\x55\xaa\xeb\x90"
# Nothing was ever asked by function 03 at address 0; looking for that would make a padding zero
# in front of the acknowledgement of address 3 wait for the rest of such a frame.
_START = re.compile(rb"\x55|[\x00-\x0f](?:[\x10\x90]|\Z)|[\x01-\x0f][\x03\x83]")
_SHAPES = {
    function: shapes for function, shapes in MODBUS_SHAPES.items() if function & 0x7F != WRITE
}


class JKBusFramer(Framer[BusFrame]):
    """Finds records by header and sum, register frames by address, function and CRC."""

    longest = JK02Framer.longest

    def __init__(self) -> None:
        super().__init__()
        self._records = JK02Framer()
        self._registers = RTUFramer(_SHAPES)

    def cut(self, buffer: bytes) -> BusFrame | Drop | None:
        start = _START.search(buffer)
        lead = start.start() if start else len(buffer)
        if lead:
            return Drop(lead)
        if buffer[0] != 0x55:
            self._registers.position = self.position
            return self._registers.cut(buffer)
        if not _HEADER.startswith(buffer[: len(_HEADER)]):
            return Drop(1)
        self._records.position = self.position
        return self._records.cut(buffer)

    def encode(self, frame: BusFrame) -> bytes:
        if isinstance(frame, JK02Frame):
            return self._records.encode(frame)
        return self._registers.encode(frame)
