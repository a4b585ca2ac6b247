"""Frames of Acme's toy protocol: `AC | code | length | data | sum`.

01 asks for all, and 81 answers; 02 sets a FET, and 82 answers.
"""

from __future__ import annotations

from construct import Array, Byte, Int16sb, Int16ub, Struct

from bmslink.link.link import Drop, Frame, Framer
from bmslink.protocols.common.fields import Layout, scaled

__all__ = ["ALL", "ANSWER", "DONE", "SET", "ToyFrame", "ToyFramer", "values_layout"]

START, ALL, SET, ANSWER, DONE = 0xAC, 0x01, 0x02, 0x81, 0x82


class ToyFrame(Frame, frozen=True, kw_only=True):
    """A question or an answer."""

    code: int = ALL
    data: bytes = b""


def values_layout(length: int) -> Layout:
    """An answer of that many bytes."""
    return Struct(
        "voltage" / scaled(Int16ub, 100),
        "current" / scaled(Int16sb, 100),
        "soc" / Byte,
        "fets" / Byte,
        "cell_voltages" / Array((length - 6) // 2, scaled(Int16ub, 1000)),
    )


class ToyFramer(Framer[ToyFrame]):
    """Finds frames by their first byte and their sum."""

    def cut(self, buffer: bytes) -> ToyFrame | Drop | None:
        start = buffer.find(START)
        if start:
            return Drop(start if start > 0 else len(buffer))
        if len(buffer) < 3 or len(buffer) < 4 + buffer[2]:
            return None
        raw = buffer[: 4 + buffer[2]]
        if sum(raw[:-1]) & 0xFF != raw[-1]:
            return Drop(1, "checksum", len(raw))
        return ToyFrame(raw=raw, offset=self.position, code=raw[1], data=raw[3:-1])

    def encode(self, frame: ToyFrame) -> bytes:
        head = bytes([START, frame.code, len(frame.data)]) + frame.data
        return head + bytes([sum(head) & 0xFF])
