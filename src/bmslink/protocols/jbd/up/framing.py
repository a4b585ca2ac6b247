"""The frames of JBD's UP boards, and how they are cut from a stream."""

from __future__ import annotations

import re
from functools import lru_cache

from construct import Byte, Bytes, Int16ub, Int16ul, Struct

from bmslink.link.link import Drop, Frame, Framer
from bmslink.protocols.common.fields import (
    Layout,
    build,
    parse,
)
from bmslink.protocols.common.rtu import crc16

__all__ = ["INDIVIDUAL", "READ", "WRITE", "UPFrame", "UPFramer", "read_request"]


READ, WRITE, INDIVIDUAL = 0x78, 0x79, 0x45


_FUNCTIONS = frozenset({READ, WRITE, INDIVIDUAL, 0x42, 0x46, 0x47, 0x50})


_START = re.compile(b"(?s:.)(?:[%b]|\\Z)" % b"".join(b"\\x%02x" % f for f in sorted(_FUNCTIONS)))


_HEAD, _LONGEST_DATA = 8, 0x100  # the longest answer seen has 208 bytes


class UPFrame(Frame, frozen=True, kw_only=True):
    """A request or an answer."""

    address: int = 1
    function: int = READ
    start: int = 0
    end: int = 0
    data: bytes = b""

    @property
    def is_answer(self) -> bool:
        """A read's answer has data, a write's has none; a request is the other way round."""
        return bool(self.data) != (self.function == WRITE)


def read_request(block: tuple[int, int], address: int = 1) -> UPFrame:
    """The frame that asks for a block (`STATUS`, `CAPACITY`, `PRODUCT`)."""
    return UPFrame(address=address, start=block[0], end=block[1])


@lru_cache(maxsize=256)
def frame_layout(length: int) -> Layout:
    """A whole frame with `length` bytes of data."""
    return Struct(
        "address" / Byte,
        "function" / Byte,
        "start" / Int16ub,
        "end" / Int16ub,
        "length" / Int16ub,
        "data" / Bytes(length),
        "crc" / Int16ul,
    )


class UPFramer(Framer[UPFrame]):
    """Finds frames by function, order of start and end, and CRC."""

    longest = _HEAD + _LONGEST_DATA + 2

    def cut(self, buffer: bytes) -> UPFrame | Drop | None:
        found = _START.search(buffer)
        if found is None or found.start():
            return Drop(found.start() if found else len(buffer))
        if len(buffer) < _HEAD:
            return None
        start, end, length = (int.from_bytes(buffer[i : i + 2], "big") for i in (2, 4, 6))
        if start > end or length > _LONGEST_DATA:
            return Drop(1)
        size = _HEAD + length + 2
        if len(buffer) < size:
            return None
        raw = buffer[:size]
        if crc16(raw[:-2]) != int.from_bytes(raw[-2:], "little"):
            return Drop(1, "checksum", size)
        values = parse(frame_layout(length), raw, "JBD UP frame")
        return UPFrame(
            raw=raw,
            offset=self.position,
            address=values["address"],
            function=values["function"],
            start=start,
            end=end,
            data=values["data"],
        )

    def encode(self, frame: UPFrame) -> bytes:
        values = {
            "address": frame.address,
            "function": frame.function,
            "start": frame.start,
            "end": frame.end,
            "length": len(frame.data),
            "data": frame.data,
            "crc": 0,
        }
        raw = build(frame_layout(len(frame.data)), values, "JBD UP frame")
        return raw[:-2] + crc16(raw[:-2]).to_bytes(2, "little")
