"""JBD frames: `DD … 77`, plain or addressed, and the Bluetooth module's own `FF AA`.

`docs/protocols/jbd.md` has the byte tables and their evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from construct import Byte, Bytes, Const, Int16ub, Struct

from bmslink.link.link import Drop, Frame, Framer
from bmslink.protocols.common.fields import Layout, build, parse

__all__ = [
    "ADDRESSES",
    "READ",
    "STATUS",
    "WRITE",
    "JBDFrame",
    "JBDFramer",
    "acknowledges",
    "answers",
    "read_request",
    "write_request",
]

READ, WRITE = 0xA5, 0x5A
ADDRESSES = range(0x21)
"""Below every register and mark, so that an addressed frame differs from a plain one."""
STATUS = {
    0x00: "done",
    0x80: "no such command",
    0x81: "not in factory mode, or password mismatch",
    0x82: "checksum error",
    0x83: "password error",
}


@lru_cache(maxsize=512)
def frame_layout(length: int, *, addressed: bool = False) -> Layout:
    """A whole frame with `length` bytes of data."""
    return Struct(
        "start" / Const(b"\xdd"),
        *(("address" / Byte,) if addressed else ()),
        "mark" / Byte,
        "code" / Byte,
        "length" / Byte,
        "data" / Bytes(length),
        "checksum" / Int16ub,
        "end" / Const(b"\x77"),
    )


@lru_cache(maxsize=64)
def module_layout(length: int) -> Layout:
    """A frame of the Bluetooth module itself."""
    return Struct(
        "start" / Const(b"\xff\xaa"),
        "code" / Byte,
        "length" / Byte,
        "data" / Bytes(length),
        "checksum" / Byte,
    )


class JBDFrame(Frame, frozen=True, kw_only=True):
    """A `DD` frame, or one of the Bluetooth module's own `FF AA` frames (`module`)."""

    mark: int = 0
    """A5 or 5A in a request, the register in an answer (A5 again on the oldest boards)."""
    code: int = 0
    """The register in a request, the status in an answer, the command of a module frame."""
    data: bytes = b""
    address: int | None = None
    module: bool = False

    @property
    def is_answer(self) -> bool:
        """Whether it can be an answer; a request of ours that came back as an echo cannot."""
        if self.module or self.code not in STATUS:
            return False
        if self.mark == WRITE:
            return False
        return self.mark != READ or (self.code == 0 and len(self.data) > 3)


def checksum(covered: bytes) -> int:
    """Two's complement of the byte sum, 16 bits."""
    return -sum(covered) & 0xFFFF


class JBDFramer(Framer[JBDFrame]):
    """Cuts `DD` and `FF AA` frames by their length byte; `77` also occurs inside data."""

    longest = 263

    def cut(self, buffer: bytes) -> JBDFrame | Drop | None:
        if buffer[0] not in (0xDD, 0xFF):
            starts = [i for i in (buffer.find(0xDD), buffer.find(0xFF)) if i >= 0]
            return Drop(min(starts, default=len(buffer)))
        if buffer[0] == 0xFF:
            return self._cut_module(buffer)
        plain = self._cut_dd(buffer, addressed=False)
        if isinstance(plain, JBDFrame) or not _may_be_addressed(buffer):
            return plain
        addressed = self._cut_dd(buffer, addressed=True)
        if isinstance(addressed, JBDFrame):
            return addressed
        return None if plain is None or addressed is None else plain

    def _cut_dd(self, buffer: bytes, *, addressed: bool) -> JBDFrame | Drop | None:
        head = 5 if addressed else 4
        if len(buffer) < head:
            return None
        end = head + buffer[head - 1] + 3
        if len(buffer) < end:
            return None
        raw = buffer[:end]
        if raw[-1] != 0x77:
            return Drop(1)
        if checksum(raw[1 if addressed else 2 : -3]) != int.from_bytes(raw[-3:-1], "big"):
            return Drop(1, "checksum", end)
        values = parse(frame_layout(raw[head - 1], addressed=addressed), raw, "JBD frame")
        return JBDFrame(
            raw=raw,
            offset=self.position,
            mark=values["mark"],
            code=values["code"],
            data=values["data"],
            address=values.get("address"),
        )

    def _cut_module(self, buffer: bytes) -> JBDFrame | Drop | None:
        if len(buffer) < 2:
            return None
        if buffer[1] != 0xAA:
            return Drop(1)
        if len(buffer) < 4:
            return None
        end = 4 + buffer[3] + 1
        if buffer[3] > 32:  # the longest module command is a 15-byte key
            return Drop(1)
        if len(buffer) < end:
            return None
        raw = buffer[:end]
        if sum(raw[2:-1]) & 0xFF != raw[-1]:
            return Drop(1, "checksum", end)
        values = parse(module_layout(raw[3]), raw, "JBD module frame")
        return JBDFrame(
            raw=raw,
            offset=self.position,
            code=values["code"],
            data=values["data"],
            module=True,
        )

    def encode(self, frame: JBDFrame) -> bytes:
        values = {
            "address": frame.address,
            "mark": frame.mark,
            "code": frame.code,
            "length": len(frame.data),
            "data": frame.data,
        }
        length = bytes([len(frame.data)])
        if frame.module:
            values["checksum"] = sum(bytes([frame.code]) + length + frame.data) & 0xFF
            return build(module_layout(len(frame.data)), values, "JBD module frame")
        covered = bytes([frame.code]) + length + frame.data
        if frame.address is None:
            values["checksum"] = checksum(covered)
            return build(frame_layout(len(frame.data)), values, "JBD frame")
        values["checksum"] = checksum(bytes([frame.address, frame.mark]) + covered)
        return build(frame_layout(len(frame.data), addressed=True), values, "JBD frame")


def _may_be_addressed(buffer: bytes) -> bool:
    """Only 03 and 04 are known behind an address (`jbd-stefan064-up16s010-addressed`)."""
    return len(buffer) > 2 and buffer[1] in ADDRESSES and buffer[2] in (READ, WRITE, 0x03, 0x04)


def read_request(register: int, address: int | None = None, data: bytes = b"") -> JBDFrame:
    """The frame that asks for a register."""
    return JBDFrame(mark=READ, code=register, data=data, address=address)


def write_request(register: int, data: bytes, address: int | None = None) -> JBDFrame:
    """The frame that writes a register."""
    return JBDFrame(mark=WRITE, code=register, data=data, address=address)


def answers(
    marks: tuple[int, ...],
    address: int | None,
    fits: Callable[[JBDFrame], bool] = lambda frame: True,
) -> Callable[[JBDFrame], bool]:
    """What answers a question: a frame of that address with one of these marks that says no, or
    whose data fit."""

    def matches(frame: JBDFrame) -> bool:
        return (
            frame.is_answer
            and frame.address == address
            and frame.mark in marks
            and (frame.code != 0 or fits(frame))
        )

    return matches


def acknowledges(register: int, address: int | None) -> Callable[[JBDFrame], bool]:
    """What answers a write: yes without data, or no."""
    return answers((register,), address, lambda frame: not frame.data)
