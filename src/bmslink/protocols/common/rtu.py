"""Modbus-shaped frames, as BMSes really send them.

Standard: `unit | function | … | CRC-16, low byte first`. Daly's dialects write several registers
without a byte count and answer 81 with another unit; JK's bus answers a write with a 300-byte
record. So a dialect names the shapes it uses, and the framer finds whichever has a right CRC.
Half-duplex buses show requests and answers alike, hence both are cut from one stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from construct import Byte, Bytes, Const, Int16ub, Int16ul, Struct

from bmslink.link.link import Drop, Frame, Framer
from bmslink.protocols.base import require
from bmslink.protocols.common.fields import Layout, build, parse

__all__ = [
    "DALY_SHAPES",
    "MODBUS_SHAPES",
    "READ",
    "WRITE",
    "WRITE_MANY",
    "RTUFrame",
    "RTUFramer",
    "Shape",
    "answers_read",
    "crc16",
]

READ, WRITE, WRITE_MANY = 0x03, 0x06, 0x10

Shape = Literal["read", "data", "write", "write_many", "write_bare", "written", "exception"]
"""What follows unit and function:

* `read`: register, count (a request)
* `data`: byte count, data (its answer)
* `write`: register, value (a request, and its echo)
* `write_many`: register, count, byte count, data
* `write_bare`: the same without the byte count (Daly)
* `written`: register, count (the answer to both)
* `exception`: a code; the function has its top bit set
"""

MODBUS_SHAPES: dict[int, tuple[Shape, ...]] = {
    READ: ("read", "data"),
    WRITE: ("write",),
    WRITE_MANY: ("written", "write_many"),
    READ | 0x80: ("exception",),
    WRITE | 0x80: ("exception",),
    WRITE_MANY | 0x80: ("exception",),
}
DALY_SHAPES: dict[int, tuple[Shape, ...]] = {
    READ: ("read", "data"),
    WRITE: ("write",),
    WRITE_MANY: ("written", "write_bare"),
}
"""No exception answers were ever seen: a Daly board that does not know is silent."""

_LONGEST_DATA = 252  # 126 registers, the most that any board was seen to send


def _table() -> tuple[int, ...]:
    values = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        values.append(crc)
    return tuple(values)


_TABLE = _table()


@lru_cache(maxsize=64)  # long junk mostly repeats itself, and then so do its sums
def crc16(data: bytes) -> int:
    """CRC-16/Modbus: polynomial A001, start FFFF."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


class RTUFrame(Frame, frozen=True, kw_only=True):
    """One frame; which fields count is said by `shape`."""

    unit: int = 1
    function: int = READ
    shape: Shape = "read"
    register: int = 0
    count: int = 0
    """Registers; in a `write` the value."""
    data: bytes = b""
    code: int = 0
    doubtful: bool = False
    """An answer that may be another master's: see `RTUFramer.expect`."""

    @property
    def words(self) -> list[int]:
        """The data as 16-bit numbers, high byte first."""
        return [int.from_bytes(self.data[i : i + 2], "big") for i in range(0, len(self.data), 2)]


def answers_read(asked: RTUFrame, frame: RTUFrame) -> bool:
    """Whether a frame is surely the answer to a read: of that unit, and of that length."""
    return (
        frame.shape == "data"
        and not frame.doubtful
        and frame.unit == asked.unit
        and len(frame.data) == 2 * asked.count
    )


_REGISTER = ("register" / Int16ub, "count" / Int16ub)
_BODIES: dict[str, Callable[[int], tuple[Layout, ...]]] = {
    "read": lambda n: _REGISTER,
    "data": lambda n: ("bytes" / Const(bytes([n])), "data" / Bytes(n)),
    "write": lambda n: _REGISTER,
    "write_many": lambda n: (*_REGISTER, "bytes" / Const(bytes([n])), "data" / Bytes(n)),
    "write_bare": lambda n: (*_REGISTER, "data" / Bytes(n)),
    "written": lambda n: _REGISTER,
    "exception": lambda n: ("code" / Byte,),
}


@lru_cache(maxsize=512)
def frame_layout(shape: Shape, length: int) -> Layout:
    """A frame of that shape with `length` bytes of data."""
    return Struct("unit" / Byte, "function" / Byte, *_BODIES[shape](length), "crc" / Int16ul)


@lru_cache(maxsize=512)
def _size(shape: Shape, length: int) -> int:
    """How many bytes such a frame has; construct takes long to add that up."""
    return frame_layout(shape, length).sizeof()


@lru_cache(maxsize=64)
def _starts(functions: tuple[int, ...], units: Callable[[int], bool]) -> re.Pattern[bytes]:
    """Where a frame may begin: one of the units, and behind it one of the functions."""
    unit = b"".join(b"\\x%02x" % u for u in range(256) if units(u))
    function = b"".join(b"\\x%02x" % f for f in functions)
    return re.compile(b"[%b](?:[%b]|\\Z)" % (unit, function))


def _data_length(shape: Shape, buffer: bytes) -> int | None:
    """How many data bytes a frame at the front would have; None: too short to tell."""
    if shape == "data":
        return buffer[2] if len(buffer) > 2 else None
    if shape == "write_many":
        return buffer[6] if len(buffer) > 6 else None
    if shape == "write_bare":
        return 2 * int.from_bytes(buffer[4:6], "big") if len(buffer) > 5 else None
    return 0


def _question(frame: RTUFrame) -> tuple[int, int, int]:
    return frame.unit, frame.register, frame.count


class RTUFramer(Framer[RTUFrame]):
    """Finds frames of the given shapes from the given units."""

    longest = 9 + 255

    def __init__(
        self,
        shapes: dict[int, tuple[Shape, ...]],
        units: Callable[[int], bool] = lambda unit: True,
    ) -> None:
        super().__init__()
        self._shapes = shapes
        self._start = _starts(tuple(shapes), units)
        self._asked: RTUFrame | None = None
        self._in_doubt = False
        self._others: list[tuple[int, RTUFrame]] = []
        self._turn = 0

    def shapes(self, head: bytes) -> tuple[Shape, ...]:
        """What a frame that begins so (unit, function, …) may be; a dialect may know better."""
        return self._shapes.get(head[1], ())

    def cut(self, buffer: bytes) -> RTUFrame | Drop | None:
        found = self._start.search(buffer)
        if found is None or found.start():
            return Drop(found.start() if found else len(buffer))
        if len(buffer) < 2:
            return None
        waiting, complete = False, 0
        for shape in self.shapes(buffer):
            length = _data_length(shape, buffer)
            if length is None:
                waiting = True
                continue
            if length > _LONGEST_DATA:
                continue
            size = _size(shape, length)
            if len(buffer) < size:
                waiting = True
            elif crc16(buffer[: size - 2]) == int.from_bytes(buffer[size - 2 : size], "little"):
                return self._frame(shape, buffer[:size], length)
            else:
                complete = max(complete, size)
        return None if waiting else Drop(1, "checksum" if complete else "noise", complete)

    def _frame(self, shape: Shape, raw: bytes, length: int) -> RTUFrame:
        values = parse(frame_layout(shape, length), raw, "register frame")
        for key in ("bytes", "crc"):
            values.pop(key, None)
        frame = RTUFrame(raw=raw, offset=self.position, shape=shape, **values)
        return self._watched(frame)

    def answerer(self, unit: int) -> int:
        """As which unit a board answers that is asked as `unit`."""
        return unit

    def expect(self, request: RTUFrame) -> list[RTUFrame]:
        """An answer does not say which registers it holds. So where another master was heard to
        ask the same unit for as many, and both wait for their answers, nobody can tell them
        apart: what comes is `doubtful` until we ask again. One of its requests that nobody answers
        is forgotten when we have asked twice."""
        self._asked = request if request.shape == "read" else None
        self._in_doubt = False
        self._others = [(turn, other) for turn, other in self._others if turn == self._turn]
        self._turn += 1
        return []

    def _watched(self, frame: RTUFrame) -> RTUFrame:
        asked = self._asked
        if frame.shape == "read":
            if asked is None or _question(frame) != _question(asked):
                self._others = [*self._others[-15:], (self._turn, frame)]
        elif frame.shape in ("data", "exception"):
            rivals = [entry for entry in self._others if self._fits(frame, entry[1])]
            if rivals:
                self._others.remove(rivals[0])
            if asked is not None and self._fits(frame, asked):
                self._in_doubt |= bool(rivals)
                if self._in_doubt:
                    return frame.replace(doubtful=True)
                self._asked = None
        return frame

    def _fits(self, answer: RTUFrame, request: RTUFrame) -> bool:
        right = answer.shape == "exception" or len(answer.data) == 2 * request.count
        return right and answer.unit == self.answerer(request.unit)

    def encode(self, frame: RTUFrame) -> bytes:
        require(len(frame.data) < 256, f"{len(frame.data)} bytes do not fit into one frame.")
        values = {
            "unit": frame.unit,
            "function": frame.function,
            "register": frame.register,
            "count": frame.count,
            "data": frame.data,
            "code": frame.code,
            "crc": 0,
        }
        raw = build(frame_layout(frame.shape, len(frame.data)), values, "register frame")
        return raw[:-2] + crc16(raw[:-2]).to_bytes(2, "little")
