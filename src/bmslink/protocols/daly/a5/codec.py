"""Daly's A5 frames: cut out of the stream, and explained.

`A5 | address | id | 08 | 8 data bytes | sum`. In a request the address says who asks (40 a PC,
80 the phone), in an answer which board speaks (1 to 24). Facts and their evidence:
`docs/protocols/daly-a5.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar
from zlib import adler32

from construct import Byte, Bytes, Computed, Const, Struct

from bmslink.errors import FrameError
from bmslink.link.link import Drop, Frame, Framer
from bmslink.model import Identity, Reading
from bmslink.protocols.base import Codec, Options, Payload, Record, require
from bmslink.protocols.common.derive import Reader, fixed
from bmslink.protocols.common.fields import Layout, build, fields_of, parse, text
from bmslink.protocols.daly.a5.layouts import (
    ACK,
    CONTROLS,
    MAX_FRAME_NUMBER,
    STATUS,
    SWITCH,
    believed_count,
)
from bmslink.protocols.daly.a5.reading import Memory, merge
from bmslink.protocols.daly.settings import CHEMISTRIES, CLOCK_WRITE, PARAMETERS, TEXTS, WRITES

__all__ = [
    "FIRST_HOST",
    "HOST_APP",
    "HOST_OF_BOARD",
    "HOST_PC",
    "MAX_BOARD",
    "SERIES",
    "DalyA5Codec",
    "DalyA5Framer",
    "DalyFrame",
    "can_frame",
    "read_request",
]

HOST_PC, HOST_APP = 0x40, 0x80
FIRST_HOST = 0x20
"""Addresses from here on belong to those who ask."""
MAX_BOARD = 24
HOST_OF_BOARD = 0x3F
"""On a shared RS485 pair board n listens to 3F + n."""
SERIES = (0x95, 0x96)
"""The ids that are answered by several frames with a number in front."""

# ---------------------------------------------------------------------------------- framing

_FRAME = Struct(
    "start" / Const(b"\xa5"),
    "address" / Byte,
    "id" / Byte,
    "length" / Const(b"\x08"),
    "data" / Bytes(8),
    "checksum" / Byte,
)
_SIZE = 13


class DalyFrame(Frame, frozen=True, kw_only=True):
    """One A5 frame, or the same 8 bytes from CAN (then without `raw`)."""

    address: int = 1
    id: int = 0
    data: bytes = bytes(8)

    @property
    def is_answer(self) -> bool:
        """Whether a board said it; a request that comes back as an echo has a host's address."""
        return self.address < FIRST_HOST


def checksum(covered: bytes) -> int:
    """Sum of the bytes, 8 bits."""
    return sum(covered) & 0xFF


class DalyA5Framer(Framer[DalyFrame]):
    """Cuts 13-byte frames. `A5 01` also occurs inside data, so only the sum proves a frame."""

    longest = _SIZE

    def cut(self, buffer: bytes) -> DalyFrame | Drop | None:
        if buffer[0] != 0xA5:
            start = buffer.find(0xA5)
            return Drop(start if start > 0 else len(buffer))
        if len(buffer) < _SIZE:
            return Drop(1) if len(buffer) > 3 and buffer[3] != 8 else None
        raw = buffer[:_SIZE]
        if raw[3] != 8:
            return Drop(1)
        # so few bytes leave their plain sum in Adler-32, which takes half the time of `sum`
        if (adler32(raw, 0) - 2 * raw[12]) & 0xFF:
            return Drop(1, "checksum", _SIZE)
        return DalyFrame(raw=raw, offset=self.position, address=raw[1], id=raw[2], data=raw[4:12])

    def encode(self, frame: DalyFrame) -> bytes:
        return _encoded(frame.address, frame.id, frame.data)


@lru_cache(maxsize=64)
def _encoded(address: int, data_id: int, data: bytes) -> bytes:
    """The whole frame; kept, because every poll asks the same."""
    values = {"address": address, "id": data_id, "data": data, "checksum": 0}
    covered = build(_FRAME, values, "Daly frame")[:-1]
    return covered + bytes([checksum(covered)])


def read_request(data_id: int, host: int = HOST_PC, data: bytes = bytes(8)) -> DalyFrame:
    """The frame that asks for an id (or, with data, writes one)."""
    return DalyFrame(address=host, id=data_id, data=data)


def can_frame(can_id: int, data: bytes) -> DalyFrame:
    """The A5 frame that a CAN frame of 29-bit id `18 | id | to | from` means.

    Raises `FrameError` for other CAN ids and for data that is not 8 bytes long.
    """
    require(can_id >> 24 == 0x18, f"CAN id {can_id:08X} is no Daly frame.", data)
    require(len(data) == 8, f"A Daly CAN frame has 8 data bytes, not {len(data)}.", data)
    return DalyFrame(address=can_id & 0xFF, id=can_id >> 16 & 0xFF, data=data)


# ---------------------------------------------------------------------------------- meaning


_Learn = Callable[[Memory, Mapping[str, Any]], None]
_LEARN: dict[int, _Learn] = {
    0x90: Memory.learn_soc,
    0x91: Memory.look_at_tail,
    0x94: Memory.learn_counts,
}
_PARTS = {data_id: f"{data_id:x}" for data_id in range(0x90, 0x99)}
_SERIES_PARTS = {
    data_id: tuple(f"{data_id:x}.{number}" for number in range(MAX_FRAME_NUMBER + 1))
    for data_id in SERIES
}


def _live(data_id: int) -> tuple[str, Reader, _Learn | None, tuple[str, ...] | None, str]:
    """Kind, reader, what is learnt, parts by frame number (of a series), part (of others)."""
    kind, layout = STATUS[data_id]
    named = (name / field for name, field in fields_of(layout))
    read = fixed(Struct(*named, "id" / Computed(data_id)))
    return kind, read, _LEARN.get(data_id), _SERIES_PARTS.get(data_id), _PARTS[data_id]


_LIVE = {data_id: _live(data_id) for data_id in _PARTS}


class DalyA5Codec(Codec[DalyFrame]):
    """Meaning of A5 frames. Remembers how many cells and sensors 94 announced, from where the
    board counts its frames, and whether it leaves residue in bytes it does not use."""

    names_of_board: ClassVar[frozenset[str]] = frozenset(
        {"daly_serial_number", "daly_battery_code"}
    )

    def __init__(self, options: Options | None = None) -> None:
        self.memory = Memory()
        self._sign = (options or Options()).current_sign

    def payload(self, frame: DalyFrame, *, sent: bool = False) -> Payload | None:
        layout = self._layout(frame, asked=sent or not frame.is_answer)
        return None if layout is None else Payload(layout, frame.data)

    def _layout(self, frame: DalyFrame, *, asked: bool) -> Layout | None:
        if frame.id in CONTROLS:
            return SWITCH
        if frame.id in WRITES:
            if not asked:
                return ACK
            return CLOCK_WRITE if frame.id == 0x21 else PARAMETERS[WRITES[frame.id]].layout
        if asked:  # the data of a read request is filler
            return None
        if frame.id in STATUS:
            return STATUS[frame.id][1]
        return PARAMETERS[frame.id].layout if frame.id in PARAMETERS else None

    def decode(self, frame: DalyFrame, *, sent: bool = False) -> Record:
        data = frame.data
        if len(data) != 8:
            raise FrameError(f"{len(data)} data bytes instead of 8.", data)
        live = None if sent or frame.address >= FIRST_HOST else _LIVE.get(frame.id)
        if live is None:
            return self._explain_other(frame, asked=sent or not frame.is_answer)
        kind, read, learn, series, part = live
        values = read(data)
        if learn is not None:
            learn(self.memory, values)
        if series is None:
            return Record(kind, "reading", values, part)
        number = values["number"]
        if number > MAX_FRAME_NUMBER:
            raise FrameError(f"{frame.id:02X} has frame number {number}.")
        return Record(kind, "reading", values, series[number])

    def _explain_other(self, frame: DalyFrame, *, asked: bool) -> Record:
        values: dict[str, Any] = {"id": frame.id}
        layout = self._layout(frame, asked=asked)
        if layout is None:
            if asked and (frame.id in STATUS or frame.id in PARAMETERS):
                return Record("read", "request", values)
            values["data"] = frame.data.hex()
            return Record("other", "request" if asked else "other", values)
        values |= parse(layout, frame.data, f"Daly id {frame.id:02X}")
        if frame.id in CONTROLS:
            on = bool(values["on"])
            return Record(CONTROLS[frame.id], "request" if asked else "ack", {"on": on})
        values = _without_filler(values)
        if frame.id in STATUS:
            return Record(STATUS[frame.id][0], "other", values)
        if frame.id in WRITES:
            kind, role = ("write", "request") if asked else ("ack", "ack")
            return Record(kind, "request" if role == "request" else "ack", values)
        return _explain_parameter(frame.id, values)

    def reading(self, records: Sequence[Record]) -> Reading:
        return merge(records, self.memory, self._sign)

    def identity(self, records: Sequence[Record]) -> Identity:
        strings: dict[str, dict[int, str]] = {}
        cells: int | None = None
        boards = 0
        chemistry: str | None = None
        for record in records:
            values = record.values
            if record.role == "identity":
                name = TEXTS[values["id"]]
                strings.setdefault(name, {})[values.get("number", 0)] = values[name]
            elif record.part == "94":
                cells = believed_count(values["cell_count"]) or cells
            elif "daly_board_1_cells" in values:
                boards = sum(values[f"daly_board_{n}_cells"] for n in (1, 2, 3))
            elif record.role == "settings" and "chemistry" in values:
                chemistry = CHEMISTRIES.get(values["chemistry"])
        # 62 goes on with the versions of further processors in frames 3 and 4
        software = _joined(strings.get("daly_software_version", {}), 2)
        return Identity(
            vendor="Daly",
            hardware=_joined(strings.get("daly_hardware_version", {}), 2),
            firmware=software or _joined(strings.get("daly_firmware_index", {}), 0),
            serial_number=_joined(strings.get("daly_serial_number", {}), 5)
            or _joined(strings.get("daly_battery_code", {}), 5),
            cell_count=cells or believed_count(boards),
            chemistry=chemistry,
            protocol="daly-a5",
        )


def _without_filler(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if k not in ("residue", "reserved")}


def _explain_parameter(data_id: int, values: dict[str, Any]) -> Record:
    name = TEXTS.get(data_id)
    if name is None:
        return Record("setting", "settings", {k: v for k, v in values.items() if k != "id"})
    values[name] = values[name].decode("latin-1")
    kind = name.removeprefix("daly_")
    return Record(kind, "settings" if name == "daly_server" else "identity", values)


def _joined(frames: Mapping[int, str], last: int) -> str | None:
    """The string in frames up to number `last`; boards pad it with 00, FF or 20."""
    whole = "".join(frames[n] for n in sorted(frames) if n <= last)
    return text(whole.encode("latin-1")) or None
