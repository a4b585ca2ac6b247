"""Daly's small old boards with a Sinowealth chip (3 to 10 cells): one value a question.

`0A | command | length` is answered by `length` bytes of data and a CRC-8 over the question and
the data, so an answer means nothing without its question. Nothing can be written. Facts and their
evidence: `docs/protocols/daly-sinowealth.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from construct import Byte, Bytes, Const, Int16ub, Int32sb, Int32ub, Struct

from bmslink.errors import FrameError
from bmslink.link.link import Drop, Frame, Framer, Timing
from bmslink.model import Condition, Identity, Reading
from bmslink.protocols.base import Codec, Driver, Options, Payload, Record, Requester
from bmslink.protocols.common.crc8 import crc8
from bmslink.protocols.common.fields import (
    Layout,
    build,
    fields_of,
    is_set,
    kelvin,
    last_connected,
    named_bits,
    open_wires,
    parse,
    scaled,
    signed,
    sort_conditions,
    unnamed_bits,
)
from bmslink.protocols.probe import Probe, Relatives, Turn

__all__ = [
    "BATTERY_STATUS",
    "FIELDS",
    "PACK_CONFIG",
    "PACK_STATUS",
    "DalySinowealth",
    "SinowealthCodec",
    "SinowealthFrame",
    "SinowealthFramer",
    "request",
]

START = 0x0A
MOST_CELLS = 10
VOLTAGE, SENSOR_1, SENSOR_2, IC = 0x0B, 0x0C, 0x0D, 0x0E
CURRENT, FULL, REMAINING, SOC = 0x10, 0x11, 0x12, 0x13
PACK_STATUS_WORD, BATTERY_STATUS_WORD, PACK_CONFIG = 0x15, 0x16, 0x17

_MV = scaled(Int16ub, 1000)
FIELDS: dict[int, Layout] = {
    **{n: Struct(f"cell_voltage_{n}" / _MV) for n in range(1, MOST_CELLS + 1)},
    VOLTAGE: Struct("voltage" / _MV),
    SENSOR_1: Struct("temperature_1" / kelvin()),
    SENSOR_2: Struct("temperature_2" / kelvin()),
    IC: Struct("ic_temperature" / kelvin()),
    0x0F: Struct("ic_temperature_2" / kelvin()),  # a constant 71 on every board
    CURRENT: Struct("current" / scaled(Int32sb, 1000)),  # + = charging
    FULL: Struct("full_capacity" / scaled(Int32ub, 1000)),
    REMAINING: Struct("remaining_capacity" / scaled(Int32ub, 1000)),
    SOC: Struct("reserved" / Bytes(1), "soc" / Byte),
    0x14: Struct("cycles" / Int16ub),  # not what the vendor's app shows, so only in raw
    PACK_STATUS_WORD: Struct("pack_status" / Int16ub),
    BATTERY_STATUS_WORD: Struct("battery_status" / Int16ub),
    PACK_CONFIG: Struct("pack_config" / Int16ub),
    0x18: Struct("manufacture_access" / Int16ub),
}
"""What each command reads; the length of the layout is the length in the question."""
_LENGTHS = {command: layout.sizeof() for command, layout in FIELDS.items()}

PACK_STATUS: dict[int, tuple[str, Condition]] = {
    8: ("alarm", Condition.FULLY_CHARGED),
    9: ("alarm", Condition.SOC_LOW),  # fully discharged
}
_CHARGE_MOS, _DISCHARGE_MOS = 0, 1
"""Bits of the pack status; 2 to 6 say which way and how fast, 10 that the discharge is valid."""
BATTERY_STATUS: dict[int, tuple[str, Condition]] = {
    0: ("protection", Condition.CELL_OVERVOLTAGE),
    1: ("protection", Condition.CELL_UNDERVOLTAGE),
    2: ("protection", Condition.CHARGE_OVERCURRENT),
    3: ("protection", Condition.DISCHARGE_OVERCURRENT),
    8: ("protection", Condition.CHARGE_OVERTEMPERATURE),
    9: ("protection", Condition.DISCHARGE_OVERTEMPERATURE),
    10: ("protection", Condition.CHARGE_UNDERTEMPERATURE),
    11: ("protection", Condition.DISCHARGE_UNDERTEMPERATURE),
    12: ("protection", Condition.CELL_OVERVOLTAGE),  # by the front-end chip itself
    13: ("protection", Condition.SHORT_CIRCUIT),
    14: ("fault", Condition.VOLTAGE_SENSE),  # a cell's wire is off
}
_TWO_SENSORS = 1 << 6
_FULL = 100  # %; more is not believed
_ABSENT = -273.1  # a probe that reads 0 kelvin was not read

_REQUEST = Struct("start" / Const(bytes([START])), "command" / Byte, "length" / Byte)
_ANSWERS = {n: Struct("data" / Bytes(n), "check" / Byte) for n in (2, 4)}


class SinowealthFrame(Frame, frozen=True, kw_only=True):
    """A question (`request`) or the answer to it."""

    command: int = 0
    data: bytes = b""
    request: bool = False


def request(command: int, _address: int | None = None) -> SinowealthFrame:
    """The question for one value of `FIELDS`."""
    return SinowealthFrame(command=command, request=True)


class SinowealthFramer(Framer[SinowealthFrame]):
    """Cuts questions, and the answer that ends where the line falls silent or is asked again.

    The question comes from the stream itself (a tap sees both directions) or from `expect`. An
    8-bit check is no proof of where an answer is: among junk every 256th place would do, and
    make up a value. So only the one place in front of the end is tried, and without a question
    nothing is an answer.
    """

    longest = 64

    def __init__(self) -> None:
        super().__init__()
        self._asked: int | None = None
        self._silent = False

    def expect(self, request: SinowealthFrame) -> list[SinowealthFrame]:
        frames = self.flush()
        self._asked = request.command if request.command in FIELDS else None
        return frames

    def flush(self) -> list[SinowealthFrame]:
        self._silent = True
        try:
            return super().flush()
        finally:
            self._silent = False

    def cut(self, buffer: bytes) -> SinowealthFrame | Drop | None:
        asked = self._asked
        if asked is None:
            return self._cut_question(buffer)
        size = _LENGTHS[asked] + 1
        # Behind the question 09 an answer of 2.575 V looks like the question 0F.
        if _is_question(buffer, 0) and not _checks(asked, buffer[:size]):
            return self._cut_question(buffer)
        end = self._end(buffer, size)
        if end is None:
            surplus = len(buffer) - self.longest
            return Drop(surplus) if surplus > 0 else None
        if end > size:
            places = range(1, end - size + 1)
            return Drop(next((i for i in places if _is_question(buffer, i)), end - size))
        self._asked = None
        if end < size or not _checks(asked, buffer[:size]):
            return Drop(end, "truncated" if end < size else "checksum")
        raw = buffer[:size]
        return SinowealthFrame(raw=raw, offset=self.position, command=asked, data=raw[:-1])

    def _cut_question(self, buffer: bytes) -> SinowealthFrame | Drop | None:
        start = buffer.find(START)
        if start:
            return Drop(start if start > 0 else len(buffer))
        if len(buffer) < 3:
            return None
        if not _is_question(buffer, 0):
            return Drop(1)
        self._asked = buffer[1]
        raw = buffer[:3]
        return SinowealthFrame(raw=raw, offset=self.position, command=raw[1], request=True)

    def _end(self, buffer: bytes, size: int) -> int | None:
        """Where the next question or the silence begins."""
        for place in range(size, len(buffer) - 2):
            if _is_question(buffer, place):
                return place
        return len(buffer) if self._silent else None

    def encode(self, frame: SinowealthFrame) -> bytes:
        if frame.request:
            layout = FIELDS.get(frame.command)
            if layout is None:
                raise FrameError(
                    f"Command {frame.command:02X} is not known, so neither its length."
                )
            values = {"command": frame.command, "length": layout.sizeof()}
            return build(_REQUEST, values, "question")
        length = len(frame.data)
        if length not in _ANSWERS:
            raise FrameError(f"An answer has 2 or 4 bytes, not {length}.", frame.data)
        check = crc8(bytes((START, frame.command, length)) + frame.data)
        return build(_ANSWERS[length], {"data": frame.data, "check": check}, "answer")


def _is_question(buffer: bytes, place: int) -> bool:
    if len(buffer) < place + 3 or buffer[place] != START:
        return False
    return _LENGTHS.get(buffer[place + 1]) == buffer[place + 2]


def _checks(command: int, answer: bytes) -> bool:
    """Whether this is a whole answer to the command."""
    length = _LENGTHS[command]
    if len(answer) != length + 1:
        return False
    return crc8(bytes((START, command, length)) + answer[:-1]) == answer[-1]


class SinowealthCodec(Codec[SinowealthFrame]):
    """Meaning of the answers. Remembers nothing: a frame knows which question it answers."""

    def __init__(self, sign: str = "auto") -> None:
        self._sign = sign

    def payload(self, frame: SinowealthFrame, *, sent: bool = False) -> Payload | None:
        if frame.request or sent:
            return None
        layout = FIELDS.get(frame.command)
        if layout is None or layout.sizeof() != len(frame.data):
            raise FrameError(
                f"Command {frame.command:02X} with {len(frame.data)} bytes is not known.",
                frame.data,
            )
        return Payload(layout, frame.data)

    def decode(self, frame: SinowealthFrame, *, sent: bool = False) -> Record:
        if frame.request:
            return Record("read", "request", {"command": frame.command})
        payload = self.payload(frame, sent=sent)
        if payload is None:
            raise FrameError("An answer that went to the board.", frame.raw)
        values = parse(payload.layout, payload.data, f"Command {frame.command:02X}")
        kind = next(name for name in values if name != "reserved")
        if frame.command in (0x0F, 0x18):
            return Record(kind, "other", values)
        return Record(kind, "reading", values, part=kind)

    def reading(self, records: Sequence[Record]) -> Reading:
        values: dict[str, Any] = {}
        for record in records:
            values |= record.values
        cells, raw = _cells(values), _raw(values)
        current = values.get("current")
        if current is not None:
            current = signed(current, self._sign, raw)
        soc, pack = values.get("soc", _FULL + 1), values.get("pack_status")
        return Reading(
            protocol="daly-sinowealth",
            voltage=values.get("voltage"),
            current=current,
            soc=float(soc) if soc <= _FULL else None,
            remaining_capacity=values.get("remaining_capacity"),
            full_capacity=values.get("full_capacity"),
            cell_voltages=cells,
            temperatures=_temperatures(values),
            charging_allowed=is_set(pack, _CHARGE_MOS),
            discharging_allowed=is_set(pack, _DISCHARGE_MOS),
            raw=raw,
            **sort_conditions(
                _conditions(values, cells), known={"pack_status", "battery_status"} <= values.keys()
            ),
        )

    def identity(self, records: Sequence[Record]) -> Identity:
        result = Identity(vendor="Daly", protocol="daly-sinowealth")
        for record in records:
            if "pack_config" in record.values:
                result = replace(result, cell_count=_count(record.values))
        return result


def _count(values: Mapping[str, Any]) -> int | None:
    config = values.get("pack_config")
    return None if config is None else (config & 7) + 3


def _cells(values: Mapping[str, Any]) -> tuple[float | None, ...]:
    """As many as the configuration says; without it, up to the first that reads 0."""
    found = {n: values.get(f"cell_voltage_{n}") for n in range(1, MOST_CELLS + 1)}
    count = _count(values)
    if count is None:
        ends = [n for n, v in found.items() if v == 0]
        count = ends[0] - 1 if ends else last_connected(found.values())
    elif not any(v is not None for v in found.values()):
        count = 0
    return tuple(found[n] for n in range(1, count + 1))


def _temperatures(values: Mapping[str, Any]) -> dict[str, float | None]:
    names = {"temperature_1": "sensor_1", "temperature_2": "sensor_2", "ic_temperature": "ic"}
    if not values.get("pack_config", _TWO_SENSORS) & _TWO_SENSORS:
        del names["temperature_2"]
    told = {name: values[key] for key, name in names.items() if key in values}
    return {name: None if t == _ABSENT else t for name, t in told.items()}


def _conditions(
    values: Mapping[str, Any], cells: Sequence[float | None]
) -> list[tuple[str, Condition]]:
    found = named_bits(values.get("pack_status", 0), PACK_STATUS)
    found += named_bits(values.get("battery_status", 0), BATTERY_STATUS)
    found += open_wires(cells)
    if "pack_config" in values and too_many_cells(values.get("voltage"), cells):
        found.append(("fault", Condition.CELL_COUNT_MISMATCH))
    return found


def too_many_cells(voltage: float | None, cells: Sequence[float | None]) -> bool:
    """Whether the pack has at least one cell more than the board reports."""
    known = [v for v in cells if v]
    if voltage is None or not known or len(known) < len(cells):
        return False
    return voltage - sum(known) > 0.5 * sum(known) / len(known)


def _raw(values: Mapping[str, Any]) -> dict[str, Any]:
    raw = {key: values[key] for key in ("cycles", "pack_config", "pack_status") if key in values}
    if values.get("soc", 0) > _FULL:
        raw["soc"] = values["soc"]
    left = unnamed_bits(values.get("battery_status", 0), BATTERY_STATUS)
    if left:
        raw["battery_status_bits"] = left
    return raw


PROBE = Probe(
    protocols=("daly-sinowealth",),
    question="commands 0B and 17",
    ask=lambda address: request(VOLTAGE),
    fits=lambda asked, frame: not frame.request and frame.command == asked.command,
    within=0.3,
    turns=(Turn(9600, place=100),),
    rank=80,
    confirm=request(PACK_CONFIG),
    overhears=False,  # its answers say nothing of what they are
)


class DalySinowealth(Driver[SinowealthFrame]):
    """Asks for the configuration first, then for each cell that is there and each other value."""

    name: ClassVar[str] = "daly-sinowealth"
    vendor: ClassVar[str] = "daly"
    requests: ClassVar[Mapping[str, Requester]] = {
        fields_of(FIELDS[number])[-1][0]: partial(request, number)
        for number in (PACK_CONFIG, *sorted(FIELDS.keys() - {PACK_CONFIG}))
    }
    probes: ClassVar[tuple[Probe, ...]] = (PROBE,)
    relatives: ClassVar[Relatives] = "always"
    responder: ClassVar[str] = "bmslink.simulation.boards.daly_sinowealth:SinowealthResponder"
    # The vendor's tool allows 0.5 s and sends every question twice (docs/protocols/
    # daly-sinowealth.md); the board's own delay was never measured.
    timing: ClassVar[Timing] = Timing(baudrate=9600, timeout=0.5, gap=0.03, retries=3, idle=0.04)

    @classmethod
    def make_framer(cls) -> SinowealthFramer:
        return SinowealthFramer()

    @classmethod
    def make_codec(cls, options: Options) -> SinowealthCodec:
        return SinowealthCodec(options.current_sign)

    async def ask(self, command: int) -> Record:
        """One value of `FIELDS`."""

        def matches(frame: SinowealthFrame) -> bool:
            return not frame.request and frame.command == command

        return self.codec.decode(await self.link.request(request(command), matches))

    async def identify(self) -> Identity:
        return self.codec.identity([await self.ask(PACK_CONFIG)])

    async def read(self) -> Reading:
        reading = await self._poll()
        if too_many_cells(reading.voltage, reading.cell_voltages):
            reading = await self._poll()  # a load that just went off looks like one more cell
        if too_many_cells(reading.voltage, reading.cell_voltages):
            raise FrameError(
                f"The pack has {reading.voltage:g} V, more than the {len(reading.cell_voltages)} "
                f"cells this board reports: it has more than {MOST_CELLS}, and such boards send "
                "wrong values."
            )
        return reading

    async def _poll(self) -> Reading:
        config = await self.ask(PACK_CONFIG)
        commands = [*range(1, (_count(config.values) or 0) + 1), VOLTAGE, SENSOR_1]
        if config.values["pack_config"] & _TWO_SENSORS:
            commands.append(SENSOR_2)
        commands += [IC, CURRENT, FULL, REMAINING, SOC, PACK_STATUS_WORD, BATTERY_STATUS_WORD]
        return self.codec.reading([config, *[await self.ask(command) for command in commands]])
