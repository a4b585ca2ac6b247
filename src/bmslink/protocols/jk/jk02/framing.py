"""How JK boards frame what they say: 300-byte records one way, 20-byte commands the other.

`55 AA EB 90 | type | counter | 293 bytes | sum8` comes from the board, `AA 55 90 EB | register |
length | value, padded to 13 bytes | sum8` goes to it and, as register C8, comes back as its
acknowledgement. Over Bluetooth the records arrive cut into notifications and mixed with chatter
of the module (`AT`); everything here takes a plain byte stream. `docs/protocols/jk02.md`.
"""

from __future__ import annotations

import re
from typing import Any

from construct import Byte, Bytes, Const, Struct

from bmslink.link.link import Drop, Frame, Framer
from bmslink.protocols.common.fields import build, parse
from bmslink.protocols.jk.jk02.layouts import PAYLOAD

__all__ = [
    "ACK",
    "CELLS",
    "DETAILS",
    "INFO",
    "LOG",
    "READ_DETAILS",
    "READ_INFO",
    "READ_LOG",
    "READ_SETTINGS",
    "SETTINGS",
    "JK02Frame",
    "JK02Framer",
    "command",
    "record",
]

SETTINGS, CELLS, INFO, LOG, DETAILS = 0x01, 0x02, 0x03, 0x05, 0x06
READ_SETTINGS, READ_INFO, READ_LOG, READ_DETAILS, ACK = 0x96, 0x97, 0xA1, 0xA7, 0xC8


_RECORD = Struct(
    "start" / Const(b"\x55\xaa\xeb\x90"),
    "code" / Byte,
    "counter" / Byte,
    "data" / Bytes(PAYLOAD),
    "checksum" / Byte,
)
_COMMAND = Struct(
    "start" / Const(b"\xaa\x55\x90\xeb"),
    "code" / Byte,
    "length" / Byte,
    "value" / Bytes(13),
    "checksum" / Byte,
)
_COMMAND_SIZE, _RECORD_SIZE, _VALUE_SIZE = 20, 300, 13
_TYPES = (SETTINGS, CELLS, INFO, LOG, DETAILS)
_HEADERS = (b"\x55\xaa\xeb\x90", b"\xaa\x55\x90\xeb")
_HEADER = re.compile(b"|".join(_HEADERS))
_START = re.compile(_HEADER.pattern + rb"|(?:\x55(?:\xaa\xeb?)?|\xaa(?:\x55\x90?)?)\Z")


class JK02Frame(Frame, frozen=True, kw_only=True):
    """A 300-byte record of the board, or a 20-byte `command` (an acknowledgement is one too)."""

    code: int = 0
    """The type of a record, the register of a command."""
    data: bytes = b""
    """The 293 bytes of a record, the value of a command."""
    counter: int = 0
    """Of a record: counts up over Bluetooth, constant on RS485."""
    command: bool = False
    padding: bytes = b""
    """Behind a command's value, without trailing zeros: the vendor's app leaves old bytes there."""


def command(register: int, value: bytes = b"") -> JK02Frame:
    """The frame that writes a value to a register; without one it asks for something."""
    return JK02Frame(command=True, code=register, data=value)


def record(code: int, data: bytes, counter: int = 0) -> JK02Frame:
    """A record of the board."""
    return JK02Frame(code=code, data=data, counter=counter)


def sum8(covered: bytes) -> int:
    """The byte sum, 8 bits."""
    return sum(covered) & 0xFF


class JK02Framer(Framer[JK02Frame]):
    """Finds records and commands by their headers; a record that breaks off is given up as soon
    as its 300 bytes turn out to hold the header of the next one."""

    longest = _RECORD_SIZE

    def cut(self, buffer: bytes) -> JK02Frame | Drop | None:
        if not buffer.startswith(_HEADERS):
            start = _START.search(buffer)
            lead = start.start() if start else len(buffer)
            return Drop(lead) if lead else None
        if len(buffer) < 6:
            return None
        return self._cut_command(buffer) if buffer[0] == 0xAA else self._cut_record(buffer)

    def _cut_record(self, buffer: bytes) -> JK02Frame | Drop | None:
        if buffer[4] not in _TYPES:
            return Drop(1)
        if len(buffer) < _RECORD_SIZE:
            return None
        raw = buffer[:_RECORD_SIZE]
        if sum8(raw[:-1]) != raw[-1]:
            following = _HEADER.search(raw, 1)
            return (
                Drop(following.start(), "truncated")
                if following
                else Drop(1, "checksum", _RECORD_SIZE)
            )
        values = parse(_RECORD, raw, "JK02 record")
        return JK02Frame(
            raw=raw,
            offset=self.position,
            code=values["code"],
            counter=values["counter"],
            data=values["data"],
        )

    def _cut_command(self, buffer: bytes) -> JK02Frame | Drop | None:
        if buffer[5] > _VALUE_SIZE:
            return Drop(1)
        if len(buffer) < _COMMAND_SIZE:
            return None
        raw = buffer[:_COMMAND_SIZE]
        if sum8(raw[:-1]) != raw[-1]:
            return Drop(1, "checksum", _COMMAND_SIZE)
        values = parse(_COMMAND, raw, "JK02 command")
        length = values["length"]
        return JK02Frame(
            raw=raw,
            offset=self.position,
            command=True,
            code=values["code"],
            data=values["value"][:length],
            padding=values["value"][length:].rstrip(b"\0"),
        )

    def encode(self, frame: JK02Frame) -> bytes:
        values: dict[str, Any] = {"code": frame.code, "counter": frame.counter, "data": frame.data}
        layout = _RECORD
        if frame.command:
            value = (frame.data + frame.padding).ljust(_VALUE_SIZE, b"\0")
            values = {"code": frame.code, "length": len(frame.data), "value": value}
            layout = _COMMAND
        draft = build(layout, values | {"checksum": 0}, "JK02 frame")
        return build(layout, values | {"checksum": sum8(draft)}, "JK02 frame")
