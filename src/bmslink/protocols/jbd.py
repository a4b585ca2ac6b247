"""JBD (Jiabaida, Xiaoxiang, Overkill Solar, LLT Power, …): the `DD … 77` protocol.

`DD | A5 read, 5A write | register | n | data | checksum | 77`, answered by
`DD | register | status | n | data | checksum | 77`. Boards on a shared RS485 pair may put an
address after `DD`; the Bluetooth module mixes its own `FF AA` frames in. Facts and their
evidence: `docs/protocols/jbd.md`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

from construct import Array, Byte, Bytes, Const, Construct, GreedyBytes, Int16sb, Int16ub, Struct

from bmslink.errors import FrameError, Refused
from bmslink.link import Drop, Frame, Framer, Timing
from bmslink.model import Condition, Identity, Reading
from bmslink.protocols.base import Codec, Driver, Options, Payload, Record, need
from bmslink.protocols.fields import bits, build, kelvin, parse, scaled, sort_conditions, text
from bmslink.protocols.jbd_settings import STRINGS, register_layout

__all__ = ["JBD", "JBDCodec", "JBDFrame", "JBDFramer", "read_request", "write_request"]

READ, WRITE = 0xA5, 0x5A
STATUS = {
    0x00: "done",
    0x80: "no such command",
    0x81: "not in factory mode, or password mismatch",
    0x82: "checksum error",
    0x83: "password error",
}

# ---------------------------------------------------------------------------------- framing

_FRAME = Struct(
    "start" / Const(b"\xdd"),
    "mark" / Byte,
    "code" / Byte,
    "length" / Byte,
    "data" / Bytes(lambda this: this.length),
    "checksum" / Int16ub,
    "end" / Const(b"\x77"),
)
_ADDRESSED = Struct(
    "start" / Const(b"\xdd"),
    "address" / Byte,
    "mark" / Byte,
    "code" / Byte,
    "length" / Byte,
    "data" / Bytes(lambda this: this.length),
    "checksum" / Int16ub,
    "end" / Const(b"\x77"),
)
_MODULE = Struct(
    "start" / Const(b"\xff\xaa"),
    "code" / Byte,
    "length" / Byte,
    "data" / Bytes(lambda this: this.length),
    "checksum" / Byte,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JBDFrame(Frame):
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

    def cut(self, buffer: bytearray) -> JBDFrame | Drop | None:
        lead = min((i for i in (buffer.find(0xDD), buffer.find(0xFF)) if i >= 0), default=-1)
        if lead:
            return Drop(lead if lead > 0 else len(buffer))
        if buffer[0] == 0xFF:
            return self._cut_module(buffer)
        plain = self._cut_dd(buffer, addressed=False)
        if isinstance(plain, JBDFrame) or not _may_be_addressed(buffer):
            return plain
        addressed = self._cut_dd(buffer, addressed=True)
        if isinstance(addressed, JBDFrame):
            return addressed
        return None if plain is None or addressed is None else plain

    def _cut_dd(self, buffer: bytearray, *, addressed: bool) -> JBDFrame | Drop | None:
        head = 5 if addressed else 4
        if len(buffer) < head:
            return None
        end = head + buffer[head - 1] + 3
        if len(buffer) < end:
            return None
        raw = bytes(buffer[:end])
        if raw[-1] != 0x77:
            return Drop(1)
        if checksum(raw[1 if addressed else 2 : -3]) != int.from_bytes(raw[-3:-1], "big"):
            return Drop(1, "checksum")
        values = parse(_ADDRESSED if addressed else _FRAME, raw, "JBD frame")
        return JBDFrame(
            raw=raw,
            offset=self.position,
            mark=values["mark"],
            code=values["code"],
            data=values["data"],
            address=values.get("address"),
        )

    def _cut_module(self, buffer: bytearray) -> JBDFrame | Drop | None:
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
        raw = bytes(buffer[:end])
        if sum(raw[2:-1]) & 0xFF != raw[-1]:
            return Drop(1, "checksum")
        return JBDFrame(
            raw=raw, offset=self.position, code=raw[2], data=raw[4:-1], module=True
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
            return build(_MODULE, values, "JBD module frame")
        covered = bytes([frame.code]) + length + frame.data
        if frame.address is None:
            values["checksum"] = checksum(covered)
            return build(_FRAME, values, "JBD frame")
        values["checksum"] = checksum(bytes([frame.address, frame.mark]) + covered)
        return build(_ADDRESSED, values, "JBD frame")


def _may_be_addressed(buffer: bytearray) -> bool:
    """Only 03 and 04 are known behind an address (`jbd-stefan064-up16s010-addressed`)."""
    return len(buffer) > 2 and buffer[1] <= 0x20 and buffer[2] in (READ, WRITE, 0x03, 0x04)


def read_request(register: int, address: int | None = None, data: bytes = b"") -> JBDFrame:
    """The frame that asks for a register."""
    return JBDFrame(mark=READ, code=register, data=data, address=address)


def write_request(register: int, data: bytes, address: int | None = None) -> JBDFrame:
    """The frame that writes a register."""
    return JBDFrame(mark=WRITE, code=register, data=data, address=address)


# ---------------------------------------------------------------------------------- layouts

_HEAD = (
    "voltage" / scaled(Int16ub, 100),  # 0
    "current" / Int16sb,  # 2: 10 mA, + = charging; 100 mA when state bit 7 is set
    "remaining_capacity" / Int16ub,  # 4: 10 mAh, likewise
    "nominal_capacity" / Int16ub,  # 6
    "cycles" / Int16ub,  # 8
    "production_date" / Int16ub,  # 10: year-2000 in bits 15:9, month 8:5, day 4:0
    "balance_low" / Int16ub,  # 12: cells 1-16, bit 0 = cell 1
    "balance_high" / Int16ub,  # 14: cells 17-32
    "protection" / Int16ub,  # 16
    "version" / Byte,  # 18: two nibbles
    "soc" / Byte,  # 19
    "state" / Byte,  # 20: bit 0 charge FET, bit 1 discharge FET, bit 7 tenfold units
    "cell_count" / Byte,  # 21
)
_TAIL: tuple[tuple[int, Construct], ...] = (
    (1, "humidity" / Byte),
    (2, "alarm" / Int16ub),
    (2, "full_capacity" / Int16ub),
    (2, "remaining_capacity_2" / Int16ub),
    (2, "balance_current" / scaled(Int16ub, 1000)),
    (2, "active_balance" / Int16ub),
    (1, "protocol_version" / Byte),
    (2, "reserved" / Bytes(2)),
    (2, "bms_status" / Int16ub),
)
_BASIC_MINIMUM = 23


@lru_cache(maxsize=64)
def basic_layout(length: int, probes: int) -> Construct:
    """Register 03 of `length` bytes with `probes` NTCs; firmwares cut the tail anywhere."""
    fields = [*_HEAD, "probe_count" / Byte, "temperatures" / Array(probes, kelvin())]
    left = length - _BASIC_MINIMUM - 2 * probes
    for size, layout in _TAIL:
        if left < size:
            break
        fields.append(layout)
        left -= size
    return Struct(*fields, "surplus" / Bytes(left))


@lru_cache(maxsize=64)
def addressed_basic_layout(length: int, probes: int) -> Construct:
    """Register 03 as the addressed boards answer it: alarms and two probes before the NTCs."""
    return Struct(
        *_HEAD,
        "alarm" / Int16ub,
        "ambient_temperature" / kelvin(),
        "mosfet_temperature" / kelvin(),
        "probe_count" / Byte,
        "temperatures" / Array(probes, kelvin()),
        "surplus" / Bytes(length - 29 - 2 * probes),
    )


def cells_layout(length: int) -> Construct:
    """Register 04: one millivolt word a cell."""
    return Struct("cell_voltages" / Array(length // 2, scaled(Int16ub, 1000)))


_NAME = Struct("name" / GreedyBytes)

COUNTERS = (
    Condition.SHORT_CIRCUIT,
    Condition.CHARGE_OVERCURRENT,
    Condition.DISCHARGE_OVERCURRENT,
    Condition.CELL_OVERVOLTAGE,
    Condition.CELL_UNDERVOLTAGE,
    Condition.CHARGE_OVERTEMPERATURE,
    Condition.CHARGE_UNDERTEMPERATURE,
    Condition.DISCHARGE_OVERTEMPERATURE,
    Condition.DISCHARGE_UNDERTEMPERATURE,
    Condition.PACK_OVERVOLTAGE,
    Condition.PACK_UNDERVOLTAGE,
)
_COUNTER_FIELDS = (*(str(c) / Int16ub for c in COUNTERS), "restarts" / Int16ub)
COUNTERS_LAYOUT = {22: Struct(*_COUNTER_FIELDS[:11]), 24: Struct(*_COUNTER_FIELDS)}

# ---------------------------------------------------------------------------------- meaning

_PROTECTIONS: dict[int, tuple[str, Condition]] = {
    0: ("protection", Condition.CELL_OVERVOLTAGE),
    1: ("protection", Condition.CELL_UNDERVOLTAGE),
    2: ("protection", Condition.PACK_OVERVOLTAGE),
    3: ("protection", Condition.PACK_UNDERVOLTAGE),
    4: ("protection", Condition.CHARGE_OVERTEMPERATURE),
    5: ("protection", Condition.CHARGE_UNDERTEMPERATURE),
    6: ("protection", Condition.DISCHARGE_OVERTEMPERATURE),
    7: ("protection", Condition.DISCHARGE_UNDERTEMPERATURE),
    8: ("protection", Condition.CHARGE_OVERCURRENT),
    9: ("protection", Condition.DISCHARGE_OVERCURRENT),
    10: ("protection", Condition.SHORT_CIRCUIT),
    11: ("fault", Condition.AFE),
    12: ("alarm", Condition.SOFTWARE_LOCK),  # a FET was switched off by command: no fault
}  # 13-15: sources contradict each other, so they stay in raw
_ADDRESSED_PROTECTIONS = _PROTECTIONS | {15: ("protection", Condition.MOSFET_OVERTEMPERATURE)}
_ALARMS = dict(
    enumerate(
        (
            Condition.CELL_OVERVOLTAGE,
            Condition.CELL_UNDERVOLTAGE,
            Condition.PACK_OVERVOLTAGE,
            Condition.PACK_UNDERVOLTAGE,
            Condition.CHARGE_OVERTEMPERATURE,
            Condition.CHARGE_UNDERTEMPERATURE,
            Condition.DISCHARGE_OVERTEMPERATURE,
            Condition.DISCHARGE_UNDERTEMPERATURE,
            Condition.CHARGE_OVERCURRENT,
            Condition.DISCHARGE_OVERCURRENT,
            Condition.CELL_DELTA,
            Condition.SOC_LOW,
        )
    )
)
_ADDRESSED_ALARMS = {
    0: Condition.CELL_UNDERVOLTAGE,
    1: Condition.CELL_OVERVOLTAGE,
    2: Condition.PACK_UNDERVOLTAGE,
    3: Condition.PACK_OVERVOLTAGE,
    4: Condition.CHARGE_OVERCURRENT,
    5: Condition.DISCHARGE_OVERCURRENT,
    6: Condition.CHARGE_OVERTEMPERATURE,
    7: Condition.CHARGE_UNDERTEMPERATURE,
    8: Condition.DISCHARGE_OVERTEMPERATURE,
    9: Condition.DISCHARGE_UNDERTEMPERATURE,
    12: Condition.BOARD_OVERTEMPERATURE,
    13: Condition.CELL_DELTA,
    14: Condition.SOC_LOW,
}
_MISSING_PROBE = (-30.0, 150.0)  # 097F and 1087: the NTC table's ends, open or short


class JBDCodec(Codec[JBDFrame]):
    """Meaning of JBD frames. Remembers the last request, because the oldest boards answer with
    A5 instead of the register (`jbd-simat-issue12-a5-echo`)."""

    def __init__(self) -> None:
        self._asked: int | None = None

    def _register(self, frame: JBDFrame) -> int:
        if frame.mark != READ:
            return frame.mark
        if self._asked is None:
            raise FrameError("An answer that does not repeat its register, to no known request.")
        return self._asked

    def payload(self, frame: JBDFrame, *, sent: bool = False) -> Payload | None:
        if frame.module or not frame.data:
            return None
        if sent or not frame.is_answer:
            layout = register_layout(frame.code, len(frame.data))
        else:
            layout = self._layout(self._register(frame), frame)
        return None if layout is None else Payload(layout, frame.data)

    def _layout(self, register: int, frame: JBDFrame) -> Construct | None:
        data = frame.data
        if register == 0x03:
            at = 22 if frame.address is None else 28
            need(len(data) > at, f"Basic information of {len(data)} bytes is too short.", data)
            probes = data[at]
            need(
                len(data) >= at + 1 + 2 * probes,
                f"Basic information announces {probes} NTCs but has only {len(data)} bytes.",
                data,
            )
            layout = basic_layout if frame.address is None else addressed_basic_layout
            return layout(len(data), probes)
        if register == 0x04:
            need(len(data) % 2 == 0, f"Cell voltages of odd length {len(data)}.", data)
            return cells_layout(len(data))
        if register == 0x05:
            return _NAME
        if register == 0xAA:
            need(len(data) in COUNTERS_LAYOUT, f"Counters of {len(data)} bytes.", data)
            return COUNTERS_LAYOUT[len(data)]
        return register_layout(register, len(data))

    def explain(self, frame: JBDFrame, *, sent: bool = False) -> Record:
        if frame.module:
            values = {"command": frame.code, "length": len(frame.data)}
            return Record("module", "request" if sent else "other", values)
        if sent or not frame.is_answer:
            return self._explain_request(frame)
        register = self._register(frame)
        if frame.code:
            values = {
                "register": register,
                "status": frame.code,
                "meaning": STATUS[frame.code],
            }
            return Record("refusal", "refusal", values)
        if register in (0x03, 0x04) or frame.data:
            return self._explain_answer(register, frame)
        if register == 0x05:
            return Record("name", "identity", {"model": None})
        return Record("ack", "ack", {"register": register})

    def _explain_request(self, frame: JBDFrame) -> Record:
        self._asked = frame.code
        values: dict[str, Any] = {"register": frame.code}
        if frame.mark != WRITE:
            return Record("read", "request", values)
        payload = self.payload(frame, sent=True)
        if payload is not None:
            values |= parse(payload.layout, payload.data, "JBD write")
            values.pop("secret", None)
        elif frame.data:
            values["data"] = frame.data.hex()
        return Record("write", "request", _plain_strings(frame.code, values))

    def _explain_answer(self, register: int, frame: JBDFrame) -> Record:
        layout = self._layout(register, frame)
        if layout is None:
            return Record("other", "other", {"register": register, "data": frame.data.hex()})
        values = parse(layout, frame.data, f"JBD register {register:02X}")
        if register == 0x03:
            values["addressed"] = frame.address is not None
            return Record("basic_info", "reading", values, part="basic")
        if register == 0x04:
            return Record("cells", "reading", values, part="cells")
        if register == 0x05:
            return Record("name", "identity", {"model": text(values["name"]) or None})
        if register == 0xAA:
            return Record("error_counts", "log", values)
        return Record("setting", "settings", _plain_strings(register, values))

    def reading(self, records: Sequence[Record]) -> Reading:
        result = Reading(protocol="jbd")
        cells: tuple[float, ...] = ()
        count: int | None = None
        for record in records:
            if record.part == "basic":
                result = _basic_reading(record.values)
                count = record.values["cell_count"] or None
            elif record.part == "cells":
                cells = tuple(record.values["cell_voltages"])
        cells = cells[:count]  # slots beyond the announced count are padding
        if any(v == 0 for v in cells):  # an input that measures nothing: open wire or no cell
            result = replace(result, faults=(*result.faults, Condition.VOLTAGE_SENSE))
        return replace(result, cell_voltages=cells)

    def identity(self, records: Sequence[Record]) -> Identity:
        result = Identity(vendor="JBD", protocol="jbd")
        for record in records:
            if record.kind == "name":
                result = replace(result, model=record.values["model"])
            elif record.part == "basic":
                version = record.values["version"]
                result = replace(
                    result,
                    firmware=f"{version >> 4}.{version & 15}",
                    cell_count=record.values["cell_count"],
                    variant="addressed" if record.values["addressed"] else "classic",
                )
        return result

    def scrub(self, frame: JBDFrame) -> bytes | None:
        """PINs travel in the writes 06, 07 and 09, and in the module's 16, 18 and 1D."""
        if frame.module and frame.code in (0x16, 0x18, 0x1D):
            clean = replace(frame, data=bytes(len(frame.data)))
        elif not frame.module and frame.mark == WRITE and frame.code in (0x06, 0x07, 0x09):
            clean = replace(frame, data=frame.data[:1] + bytes(max(0, len(frame.data) - 1)))
        else:
            return None
        return JBDFramer().encode(clean)


def _plain_strings(register: int, values: dict[str, Any]) -> dict[str, Any]:
    """The three string registers: `[length][text]`, with garbage behind the length."""
    if register in STRINGS and "text" in values:
        return {STRINGS[register]: text(values["text"][: values["length"]])}
    return values


def _basic_reading(values: Mapping[str, Any]) -> Reading:
    per = 10 if values["state"] & 0x80 else 100
    balance = values["balance_low"] | values["balance_high"] << 16
    cells = values["cell_count"]
    raw: dict[str, Any] = {"current_sign": "reported", "version": values["version"]}
    addressed = values["addressed"]
    protections = _ADDRESSED_PROTECTIONS if addressed else _PROTECTIONS
    found = [protections[b] for b in bits(values["protection"]) if b in protections]
    _keep_bits(raw, "protection_bits", values["protection"], protections)
    alarms = _ADDRESSED_ALARMS if addressed else _ALARMS
    alarm = values.get("alarm", 0)
    found += [("alarm", alarms[b]) for b in bits(alarm) if b in alarms]
    _keep_bits(raw, "alarm_bits", alarm, alarms)
    _keep_bits(raw, "state_bits", values["state"], (0, 1, 7))
    raw["production_date"] = _date(values["production_date"])
    for key in ("humidity", "active_balance", "protocol_version", "bms_status"):
        if key in values:
            raw[key] = values[key]
    if values["surplus"]:
        raw["surplus"] = values["surplus"].hex()
    balancing = tuple(b + 1 for b in bits(balance) if b < cells or not cells)
    _keep_bits(raw, "balance_bits", balance, range(cells or 32))
    full = values.get("full_capacity")
    return Reading(
        protocol="jbd",
        voltage=values["voltage"],
        current=values["current"] / per,
        soc=float(values["soc"]),
        remaining_capacity=values["remaining_capacity"] / per,
        full_capacity=None if full is None else full / per,
        nominal_capacity=values["nominal_capacity"] / per,
        cycles=values["cycles"],
        temperatures=_temperatures(values),
        balancing_active=bool(balance),
        balancing_cells=balancing,
        balance_current=values.get("balance_current"),
        charging_allowed=bool(values["state"] & 1),
        discharging_allowed=bool(values["state"] & 2),
        raw=raw,
        **sort_conditions(found),
    )


def _temperatures(values: Mapping[str, Any]) -> dict[str, float | None]:
    named = {f"sensor_{i}": t for i, t in enumerate(values["temperatures"], 1)}
    for name in ("ambient", "mosfet"):
        if f"{name}_temperature" in values:
            named[name] = values[f"{name}_temperature"]
    return {name: None if t in _MISSING_PROBE else t for name, t in named.items()}


def _keep_bits(raw: dict[str, Any], name: str, word: int, known: Any) -> None:
    left = [b for b in bits(word) if b not in known]
    if left:
        raw[name] = left


def _date(word: int) -> str | None:
    """ISO date, or `None` when the word is no date (boards leave it 0)."""
    year, month, day = 2000 + (word >> 9), word >> 5 & 15, word & 31
    return f"{year}-{month:02}-{day:02}" if 1 <= month <= 12 and 1 <= day else None


# ---------------------------------------------------------------------------------- driver


class JBD(Driver[JBDFrame]):
    """Asks a JBD board: 03 and 04 are one poll, 05 is its name."""

    name: ClassVar[str] = "jbd"
    vendor: ClassVar[str] = "jbd"
    # Answers start within 0-71 ms; the first requests after sleep are lost; pauses of 50 ms
    # inside a frame were seen (docs/protocols/jbd.md, timing).
    timing: ClassVar[Timing] = Timing(
        baudrate=9600, timeout=0.5, gap=0.06, retries=3, wake_retries=5, idle=0.15
    )

    @classmethod
    def make_framer(cls) -> JBDFramer:
        return JBDFramer()

    @classmethod
    def make_codec(cls, options: Options) -> JBDCodec:
        return JBDCodec()

    async def ask(self, register: int, fits: Callable[[JBDFrame], bool] = lambda frame: True) -> Record:
        """Read one register; `Refused` when the board says no."""
        request = read_request(register, self.options.address)
        self.codec.explain(request, sent=True)

        def matches(frame: JBDFrame) -> bool:
            return (
                frame.is_answer
                and frame.address == self.options.address
                and frame.mark in (register, READ)
                and (frame.code != 0 or fits(frame))
            )

        record = self.codec.explain(await self.link.request(request, matches))
        if record.role == "refusal":
            raise Refused(
                f"The board refuses register {register:02X}: {record.values['meaning']} "
                f"(status {record.values['status']:02X}).",
                record.values["status"],
            )
        return record

    async def identify(self) -> Identity:
        return self.codec.identity([await self._basic(), await self.ask(0x05)])

    async def _basic(self) -> Record:
        """Register 03; a board that just woke up may announce no cells yet."""
        for _ in range(3):
            record = await self.ask(0x03, lambda frame: len(frame.data) >= _BASIC_MINIMUM)
            if record.values["cell_count"]:
                break
            await asyncio.sleep(0.3)
        return record

    async def read(self) -> Reading:
        basic = await self._basic()
        count = basic.values["cell_count"]

        def fits(frame: JBDFrame) -> bool:
            # where the answer does not name its register, its length must tell it from an 03
            return frame.mark != READ or len(frame.data) == 2 * count

        cells = await self.ask(0x04, fits)
        return self.codec.reading([basic, cells])
