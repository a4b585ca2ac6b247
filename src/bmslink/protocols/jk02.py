"""JK (Jikong) JK02: the boards' own 300-byte records, for 24S and 32S boards.

`55 AA EB 90 | type | counter | 293 bytes | sum8` comes from the board, `AA 55 90 EB | register |
length | value, padded to 13 bytes | sum8` goes to it and, as register C8, comes back as its
acknowledgement. Over Bluetooth the records arrive cut into notifications and mixed with chatter
of the module; everything here takes a plain byte stream. Facts and their evidence:
`docs/protocols/jk.md`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from construct import Byte, Bytes, Const, Construct, Struct

from bmslink.errors import FrameError, LinkTimeout
from bmslink.link import Drop, Frame, Framer, Link, Timing
from bmslink.model import Identity, Reading
from bmslink.protocols.base import Codec, Driver, Options, Payload, Record, need
from bmslink.protocols.fields import build, parse, text
from bmslink.protocols.jk02_layouts import (
    CELL_INFO,
    DETAIL_LOG,
    DEVICE_INFO,
    LOGBOOK,
    PAYLOAD,
    cell_info_variant,
    device_variant,
    settings_variant,
)
from bmslink.protocols.jk02_reading import REMEMBERED, cell_count, chemistry, live_reading
from bmslink.protocols.jk_settings import REGISTERS, SETTINGS_24S, SETTINGS_32S, plain_settings

__all__ = ["JK02", "JK02Codec", "JK02Frame", "JK02Framer", "Variant", "command", "record"]

Variant = Literal["24s", "32s"]

SETTINGS, CELLS, INFO, LOG, DETAILS = 0x01, 0x02, 0x03, 0x05, 0x06
READ_SETTINGS, READ_INFO, ACK = 0x96, 0x97, 0xC8

# ---------------------------------------------------------------------------------- framing

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
_RECORD_SIZE, _COMMAND_SIZE, _VALUE_SIZE = 300, 20, 13
_TYPES = (SETTINGS, CELLS, INFO, LOG, DETAILS)
_HEADER = re.compile(rb"\x55\xaa\xeb\x90|\xaa\x55\x90\xeb")
_START = re.compile(_HEADER.pattern + rb"|(?:\x55(?:\xaa\xeb?)?|\xaa(?:\x55\x90?)?)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class JK02Frame(Frame):
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

    def cut(self, buffer: bytearray) -> JK02Frame | Drop | None:
        start = _START.search(buffer)
        lead = start.start() if start else len(buffer)
        if lead:
            return Drop(lead)
        if len(buffer) < 6:
            return None
        return self._cut_command(buffer) if buffer[0] == 0xAA else self._cut_record(buffer)

    def _cut_record(self, buffer: bytearray) -> JK02Frame | Drop | None:
        if buffer[4] not in _TYPES:
            return Drop(1)
        if len(buffer) < _RECORD_SIZE:
            return None
        raw = bytes(buffer[:_RECORD_SIZE])
        if sum8(raw[:-1]) != raw[-1]:
            following = _HEADER.search(raw, 1)
            return Drop(following.start(), "truncated") if following else Drop(1, "checksum")
        values = parse(_RECORD, raw, "JK02 record")
        return JK02Frame(
            raw=raw,
            offset=self.position,
            code=values["code"],
            counter=values["counter"],
            data=values["data"],
        )

    def _cut_command(self, buffer: bytearray) -> JK02Frame | Drop | None:
        if buffer[5] > _VALUE_SIZE:
            return Drop(1)
        if len(buffer) < _COMMAND_SIZE:
            return None
        raw = bytes(buffer[:_COMMAND_SIZE])
        if sum8(raw[:-1]) != raw[-1]:
            return Drop(1, "checksum")
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


# ---------------------------------------------------------------------------------- meaning

_KINDS = {SETTINGS: "settings", CELLS: "cells", INFO: "info", LOG: "logbook", DETAILS: "detail_log"}
_SETTINGS: dict[str, Construct] = {"24s": SETTINGS_24S, "32s": SETTINGS_32S}
_ACK_LAYOUT = Struct("status" / Byte)
# names, passwords and user data are set by these; which one sets what is not known
_PRIVATE_REGISTERS = frozenset({0x9B, 0x9C, 0x9E, 0x9F, 0xA0, 0xA2, 0xA4})
_INFO_TEXTS = {
    "vendor_id": "model",
    "hardware_version": "hardware",
    "software_version": "firmware",
    "serial_number": "serial_number",
    "name": "name",
    "first_power_on": "first_power_on",
}


class JK02Codec(Codec[JK02Frame]):
    """Meaning of JK02 frames.

    Remembers the variant, which only the device info (type 03) or a mask of connected cells
    proves, and the latest settings, which live values are completed with. `variant` is what is
    known beforehand; a frame that contradicts it is a `FrameError`.
    """

    def __init__(self, variant: Variant | None = None) -> None:
        self.variant: str | None = variant
        self._settings: dict[str, Any] = {}

    def _variant_of(self, frame: JK02Frame) -> str | None:
        """The variant after this frame; `FrameError` if it contradicts what is known."""
        if frame.code == SETTINGS:
            return settings_variant(frame.data, self.variant)
        if frame.code == CELLS:
            shown = cell_info_variant(frame.data)
        elif frame.code == INFO:
            shown = device_variant(frame.data[:15], frame.data[24:32])
        else:
            return self.variant
        need(
            None in (shown, self.variant) or shown == self.variant,
            f"This {_KINDS[frame.code]} record is of a {shown} board, known was {self.variant}.",
            frame.data,
        )
        return shown or self.variant

    def _layout(self, frame: JK02Frame, variant: str | None) -> Construct:
        if frame.code == INFO:
            return DEVICE_INFO
        if frame.code in (LOG, DETAILS):
            return LOGBOOK if frame.code == LOG else DETAIL_LOG
        need(
            variant is not None,
            "No cells are connected and no device info came before: 24S or 32S is not known.",
            frame.data,
        )
        return (_SETTINGS if frame.code == SETTINGS else CELL_INFO)[str(variant)]

    def payload(self, frame: JK02Frame, *, sent: bool = False) -> Payload | None:
        if not frame.command:
            need(
                len(frame.data) == PAYLOAD and frame.code in _KINDS,
                f"A record of type {frame.code:02X} with {len(frame.data)} bytes is not known.",
                frame.data,
            )
            return Payload(self._layout(frame, self._variant_of(frame)), frame.data)
        if frame.code == ACK and len(frame.data) == 1:
            return Payload(_ACK_LAYOUT, frame.data)
        layout = self._write_layout(frame)
        return None if layout is None else Payload(layout, frame.data)

    def _write_layout(self, frame: JK02Frame) -> Construct | None:
        """The value of a write; without a known variant only where both variants agree."""
        variants = REGISTERS.values() if self.variant is None else [REGISTERS[self.variant]]
        found = {table.get(frame.code) for table in variants}
        register = found.pop()
        if found or register is None or register.wire.sizeof() != len(frame.data):
            return None
        return Struct(register.key / register.wire) if frame.data else None

    def explain(self, frame: JK02Frame, *, sent: bool = False) -> Record:
        payload = self.payload(frame, sent=sent)
        if frame.command:
            return self._explain_command(frame, payload)
        assert payload is not None
        kind = _KINDS[frame.code]
        values = parse(payload.layout, payload.data, f"JK02 {kind} record")
        variant = self._variant_of(frame)
        if frame.code == SETTINGS:
            # an empty table makes 24S likely, not certain: later frames may still say 32S
            self.variant = self.variant or (variant if variant == "32s" else None)
            values = plain_settings(values, str(variant))
            self._settings = {key: values[key] for key in REMEMBERED}
            return Record(kind, "settings", values)
        self.variant = variant
        if frame.code == INFO:
            return Record(kind, "identity", _info(values) | {"variant": variant})
        if frame.code == CELLS:
            extra = {"variant": variant, "counter": frame.counter, "settings": self._settings}
            return Record(kind, "reading", values | extra, part="cells")
        return Record(kind, "log", _log(values))

    def _explain_command(self, frame: JK02Frame, payload: Payload | None) -> Record:
        values: dict[str, Any] = {"register": frame.code}
        if frame.code == ACK:
            # nothing but 01 was ever seen, so what a refusal looks like is not known
            done = frame.data == b"\x01"
            values["data"] = frame.data.hex()
            return Record("ack" if done else "answer", "ack" if done else "other", values)
        if payload is not None:
            values |= parse(payload.layout, payload.data, "JK02 write")
        elif frame.data and frame.code not in _PRIVATE_REGISTERS:
            values["data"] = frame.data.hex()
        return Record("write" if frame.data else "read", "request", values)

    def reading(self, records: Sequence[Record]) -> Reading:
        for live in reversed(records):
            if live.part == "cells":
                return live_reading(live.values)
        return Reading(protocol="jk02")

    def identity(self, records: Sequence[Record]) -> Identity:
        result = Identity(vendor="JK", protocol="jk02", variant=self.variant)
        for found in sorted(records, key=lambda r: r.kind == "settings"):  # they know best
            values = found.values
            if found.kind == "info":
                texts = {k: values[k] for k in ("model", "hardware", "firmware", "serial_number")}
                result = replace(result, variant=values["variant"] or result.variant, **texts)
            elif found.kind == "cells":
                result = replace(
                    result,
                    cell_count=cell_count(values) or result.cell_count,
                    chemistry=chemistry(values),
                    variant=values["variant"],
                )
            elif found.kind == "settings":
                result = replace(result, cell_count=values["cell_count"])
        return result

    def scrub(self, frame: JK02Frame) -> bytes | None:
        """Both passwords and the passcode behind the serial number are blanked in type 03, and
        the values of registers that may set them."""
        if frame.command:
            if frame.code not in _PRIVATE_REGISTERS:
                return None
            return JK02Framer().encode(replace(frame, data=bytes(len(frame.data)), padding=b""))
        if frame.code != INFO:
            return None
        values = parse(DEVICE_INFO, frame.data, "JK02 info record")
        serial = values["serial_number"].split(b"\0")[0]
        blank = {"password": bytes(16), "settings_password": bytes(16)}
        values |= blank | {"serial_number": serial.ljust(16, b"\0")}
        clean = replace(frame, data=build(DEVICE_INFO, values, "JK02 info record"))
        return JK02Framer().encode(clean)


def _info(values: Mapping[str, Any]) -> dict[str, Any]:
    """A type 03 without its passwords."""
    info: dict[str, Any] = {to: text(values[key]) or None for key, to in _INFO_TEXTS.items()}
    return info | {"run_time": values["run_time"], "power_on_count": values["power_on_count"]}


def _log(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are used; a counter beyond the slots is kept, but not believed."""
    entries = values["entries"][: values["count"]]
    return {k: v for k, v in values.items() if not k.startswith("reserved")} | {"entries": entries}


# ---------------------------------------------------------------------------------- driver

_STREAM_TIMEOUT = 5.0  # live records come every 0.43-0.54 s: ten missed ones mean it stopped
_ACK_TIMEOUT = 0.4  # the acknowledgement follows its record within 0.2 s


class JK02(Driver[JK02Frame]):
    """Starts a JK02 board's stream and takes what comes.

    The order matters: 97 (device info), then 96 (settings). Many firmwares answer a 96 alone,
    but never start to stream.
    """

    name: ClassVar[str] = "jk02"
    vendor: ClassVar[str] = "jk"
    # Answers come within 0.09-0.45 s, and a first 97 may be lost (docs/protocols/jk.md).
    # A record over Bluetooth is spread over up to 0.1 s.
    timing: ClassVar[Timing] = Timing(baudrate=115200, timeout=1.0, gap=0.0, retries=2, idle=0.3)

    def __init__(self, link: Link[JK02Frame], options: Options) -> None:
        super().__init__(link, options)
        self._known: dict[int, Record] = {}
        self._greeted = False

    @classmethod
    def make_framer(cls) -> JK02Framer:
        return JK02Framer()

    @classmethod
    def make_codec(cls, options: Options) -> JK02Codec:
        return JK02Codec()

    async def start(self) -> None:
        """Greet the board once; one that sleeps is greeted again by the first question."""
        self._greeted = False
        with suppress(LinkTimeout):
            await self._greet(retries=0)

    async def _greet(self, retries: int) -> None:
        await self._ask(READ_INFO, INFO, retries)
        await self._ask(READ_SETTINGS, SETTINGS, retries)
        self._greeted = True

    async def _ask(self, register: int, code: int, retries: int) -> None:
        """Send a command until its record comes; then let its acknowledgement pass."""
        while True:
            await self.link.send(command(register))
            try:
                await self._next(code, self.link.timing.timeout)
                break
            except LinkTimeout:
                if not retries:
                    raise
                retries -= 1
        with suppress(LinkTimeout):
            await self._next(ACK, _ACK_TIMEOUT)

    async def _next(self, code: int, timeout: float) -> JK02Frame:
        """The next frame of that code. Device info and settings are kept whenever they come."""

        def wanted(frame: JK02Frame) -> bool:
            if not frame.command and frame.code in (INFO, SETTINGS):
                self._known[frame.code] = self.codec.explain(frame)
            return frame.code == code and frame.command == (code == ACK)

        return await self.link.next_frame(wanted, timeout)

    async def identify(self) -> Identity:
        if not self._greeted:
            await self._greet(self.link.timing.retries)
        return self.codec.identity(list(self._known.values()))

    async def read(self) -> Reading:
        self.link.discard()
        if not self._greeted:
            try:
                await self._greet(self.link.timing.retries)
            except LinkTimeout as error:
                if error.heard != "other":  # else it streams without having been asked
                    raise
        try:
            live = await self._next(CELLS, _STREAM_TIMEOUT)
        except LinkTimeout:
            await self._greet(self.link.timing.retries)
            live = await self._next(CELLS, _STREAM_TIMEOUT)
        return self.codec.reading([self.codec.explain(live)])
