"""The frames of JK's \"GPS\" port, and how they are cut from a stream."""

from __future__ import annotations

from functools import lru_cache

from construct import Byte, Bytes, Const, Int16ub, Int32ub, Struct

from bmslink.link.link import Drop, Frame, Framer
from bmslink.protocols.common.fields import (
    Layout,
    build,
    parse,
)

__all__ = [
    "COMMANDS",
    "LOGIN",
    "READ",
    "READ_ALL",
    "REPLY",
    "REQUEST",
    "UPLOAD",
    "WRITE",
    "JKNWFrame",
    "JKNWFramer",
    "read_all_request",
    "write_request",
]


ACTIVATE, WRITE, READ, LOGIN, READ_ALL = 0x01, 0x02, 0x03, 0x05, 0x06


REQUEST, REPLY, UPLOAD = 0, 1, 2


BMS, PC = 0, 3


COMMANDS = {
    ACTIVATE: "activate",
    WRITE: "write",
    READ: "read",
    LOGIN: "password",
    READ_ALL: "read_all",
}


_AROUND = 18  # what the length counts beside the tags and values


@lru_cache(maxsize=512)
def _frame_layout(length: int) -> Layout:
    """A whole frame with `length` bytes of data."""
    return Struct(
        "start" / Const(b"NW"),
        "length" / Int16ub,
        "terminal" / Int32ub,
        "command" / Byte,
        "source" / Byte,
        "kind" / Byte,
        "data" / Bytes(length),
        "record" / Int32ub,
        "end" / Const(b"\x68\0\0"),  # the zeros are reserved for a CRC that no board sends
        "checksum" / Int16ub,
    )


class JKNWFrame(Frame, frozen=True, kw_only=True):
    """A `4E 57` frame."""

    command: int = READ_ALL
    """01 activate, 02 write, 03 read, 05 password, 06 read all; an answer repeats it."""
    source: int = PC
    """0 BMS, 1 Bluetooth, 2 GPS, 3 PC."""
    kind: int = REQUEST
    """0 request, 1 reply, 2 sent by the BMS on its own."""
    data: bytes = b""
    terminal: int = 0
    record: int = 0


class JKNWFramer(Framer[JKNWFrame]):
    """Cuts frames by their length; `4E 57` also occurs inside text (`NW_1_0_0_200428`)."""

    longest = 512
    """All tags with the longest cell list that fits its count byte make 499 bytes."""

    def cut(self, buffer: bytes) -> JKNWFrame | Drop | None:
        start = buffer.find(b"NW")
        if start < 0:
            keep = buffer.endswith(b"N")
            return Drop(len(buffer) - keep) if len(buffer) > keep else None
        if start:
            return Drop(start)
        if len(buffer) < 4:
            return None
        length = int.from_bytes(buffer[2:4], "big")
        end = length + 2
        if length < _AROUND or end > self.longest:
            return Drop(1)
        if len(buffer) < end:
            return None
        raw = buffer[:end]
        if sum(raw[:-4]) & 0xFFFF != int.from_bytes(raw[-4:], "big"):
            return Drop(1, "checksum", end)
        if raw[-5] != 0x68:
            return Drop(1)
        values = parse(_frame_layout(length - _AROUND), raw, "JK 4E57 frame")
        return JKNWFrame(
            raw=raw,
            offset=self.position,
            command=values["command"],
            source=values["source"],
            kind=values["kind"],
            data=values["data"],
            terminal=values["terminal"],
            record=values["record"],
        )

    def encode(self, frame: JKNWFrame) -> bytes:
        values = {
            "length": _AROUND + len(frame.data),
            "terminal": frame.terminal,
            "command": frame.command,
            "source": frame.source,
            "kind": frame.kind,
            "data": frame.data,
            "record": frame.record,
            "checksum": 0,
        }
        unsummed = build(_frame_layout(len(frame.data)), values, "JK 4E57 frame")
        return unsummed[:-2] + (sum(unsummed) & 0xFFFF).to_bytes(2, "big")


def read_all_request() -> JKNWFrame:
    """The frame that asks for everything; its one data byte is 0 in every capture."""
    return JKNWFrame(command=READ_ALL, data=b"\0")


def read_request(tag: int) -> JKNWFrame:
    """The frame that asks for one tag; some boards answer it with the whole list."""
    return JKNWFrame(command=READ, data=bytes([tag]))


def write_request(tag: int, value: bytes) -> JKNWFrame:
    """The frame that writes one tag (`nw-write-charge-on` and its sisters)."""
    return JKNWFrame(command=WRITE, data=bytes([tag]) + value)
