"""JK's Modbus RTU, as the inverter boards (PB) and newer B boards speak it on RS485.

Standard frames, register addresses that are byte offsets, and a board that is deaf for a moment
after each answer. bmslink only reads (function 03). Map: `jk_modbus_map`; facts and their
evidence: `docs/protocols/jk-modbus.md`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

from bmslink.errors import FrameError, LinkTimeout, Refused, TargetError
from bmslink.link import Link, Timing
from bmslink.model import Identity, Reading
from bmslink.protocols.base import Codec, Options, Payload, Record, need
from bmslink.protocols.fields import parse, text
from bmslink.protocols.jk02_layouts import PAYLOAD
from bmslink.protocols.jk02_reading import REMEMBERED, cell_count, chemistry, live_reading
from bmslink.protocols.jk_modbus_map import (
    ACTIONS,
    ARMING,
    INFO,
    LIVE,
    SETTINGS,
    TRIGGERS,
    VARIANTS,
    Chunk,
    Table,
    assemble,
    blanked,
    chunk_layout,
    only_known,
    place,
    variant_of,
)
from bmslink.protocols.jk_modbus_writing import JKModbusWriting
from bmslink.protocols.jk_settings import plain_settings
from bmslink.protocols.register_runs import alike
from bmslink.protocols.rtu import MODBUS_SHAPES, RTUFrame, RTUFramer

__all__ = [
    "EXCEPTIONS",
    "MOST_REGISTERS",
    "JKModbus",
    "JKModbusCodec",
    "check_address",
    "read_request",
]

MOST_REGISTERS = 32
"""Per read. 122 were answered and 124 refused by one board, 40 answered and 128 lost by another."""
EXCEPTIONS = {
    1: "no such function",
    2: "no such register, or a value that it does not take",
    3: "a wrong count or length",
    4: "the request was damaged on its way (CRC)",
}
_HEATING = ("jk_heating_start", "jk_heating_stop")


def check_address(address: int) -> int:
    """An address that may be asked; `TargetError` for any other."""
    if address == 0:
        raise TargetError(
            "Address 0 is the master of a JK bus: it asks the others and must not be asked. "
            "Set its DIP switches to another address, or listen to it with jk-bus."
        )
    if not 1 <= address <= 15:
        raise TargetError(f"JK boards have addresses from 1 to 15, not {address}.")
    return address


def read_request(address: int, register: int, count: int) -> RTUFrame:
    """The frame that asks for `count` registers; the only request this protocol sends."""
    where = place(register)
    if where is None or register % 2 or not 1 <= count <= MOST_REGISTERS:
        raise TargetError(f"{count} registers from {register:04X} on cannot be read.")
    return RTUFrame(unit=check_address(address), register=register, count=count)


# ---------------------------------------------------------------------------------- meaning


class JKModbusCodec(Codec[RTUFrame]):
    """Meaning of register frames.

    An answer does not say what it answers, so the codec remembers the latest request; and per
    address what live values are completed with. `variant` is what is known beforehand about the
    map; a board that contradicts it is a `FrameError`.
    """

    def __init__(self, variant: str | None = None, sign: str = "auto") -> None:
        if variant not in (None, *VARIANTS):
            known = ", ".join(VARIANTS)
            raise TargetError(f"Unknown variant {variant!r} of jk-modbus; known: {known}.")
        self._told, self._sign = variant, sign
        self._asked: RTUFrame | None = None
        self._asked_scrubbed: RTUFrame | None = None
        self._flags: dict[int, bytes] = {}
        self._settings: dict[int, dict[str, Any]] = {}

    def _answered(self, frame: RTUFrame) -> tuple[Table, int] | None:
        """Where the bytes of an answer belong; `FrameError` if it answers no known request."""
        asked = self._asked
        if asked is None:
            raise FrameError("An answer without its request: of which registers is not known.")
        need(
            _fits(frame, asked),
            f"{len(frame.data)} bytes from address {frame.unit}; asked were {2 * asked.count} "
            f"from address {asked.unit}.",
            frame.data,
        )
        return place(asked.register)

    def payload(self, frame: RTUFrame, *, sent: bool = False) -> Payload | None:
        if not frame.data:
            return None
        answer = frame.shape == "data"
        where = self._answered(frame) if answer else place(frame.register)
        if where is None:
            return None
        return Payload(chunk_layout(*where, len(frame.data)), frame.data)

    def explain(self, frame: RTUFrame, *, sent: bool = False) -> Record:
        values: dict[str, Any] = {"address": frame.unit, "register": frame.register}
        if frame.shape == "read":
            self._asked = frame
            return Record("read", "request", values | {"count": frame.count})
        if frame.shape == "data":
            return self._explain_answer(frame)
        if frame.shape == "exception":
            values = {"address": frame.unit, "function": frame.function & 0x7F}
            meaning = EXCEPTIONS.get(frame.code, "not documented")
            values |= {"status": frame.code, "meaning": meaning}
            return Record("refusal", "refusal", values)
        if frame.shape == "written":
            return Record("written", "ack", values | {"count": frame.count})
        return self._explain_write(frame, values)

    def _explain_write(self, frame: RTUFrame, values: dict[str, Any]) -> Record:
        if frame.register == ARMING:
            danger = "starts the boot loader: the board is lost without its programmer"
            return Record("firmware_arming", "request", values | {"danger": danger})
        if frame.register in TRIGGERS:
            return Record("trigger", "request", values | {"record": TRIGGERS[frame.register]})
        if frame.register in ACTIONS:
            both = dict(zip(VARIANTS, ACTIONS[frame.register], strict=True))
            return Record("action", "request", values | both)
        payload = self.payload(frame)
        if payload is None or _is_secret(frame.register, len(frame.data)):
            return Record("write", "request", values)
        return Record("write", "request", values | _named(payload, "JK Modbus write"))

    def _explain_answer(self, frame: RTUFrame) -> Record:
        where = self._answered(frame)
        register = self._asked.register if self._asked else 0
        values: dict[str, Any] = {"address": frame.unit, "register": register}
        if where is None:
            return Record("other", "other", values | {"data": frame.data.hex()})
        table, offset = where
        if table is LIVE:
            values |= {"data": frame.data, "settings": self._settings.get(frame.unit, {})}
            part = f"{frame.unit}:{register:04X}"
            return Record("live", "reading", values, part=part, pack=frame.unit)
        layout = chunk_layout(table, offset, len(frame.data))
        found = _named(Payload(layout, frame.data), f"JK {table.name} registers")
        if table is SETTINGS:
            return Record("settings", "settings", self._plain(frame.unit, found))
        return Record("info", "identity", _info(found))

    def _plain(self, unit: int, found: dict[str, Any]) -> dict[str, Any]:
        """Settings as they were read; remembers what later frames need."""
        self._flags[unit] = flags = found.get("enable_flags", self._flags.get(unit, bytes(9)))
        variant = variant_of(flags)
        need(
            None in (variant, self._told) or variant == self._told,
            f"This board has the {variant} map, known was {self._told}.",
        )
        zeros = parse(SETTINGS.layout, bytes(PAYLOAD), "JK settings")
        plain = plain_settings(zeros | found | {"enable_flags": flags}, "32s")
        names = set(found)
        if "jk_switches" in found:  # one word becomes 16 names
            names |= plain.keys() - zeros.keys()
        settings = {key: value for key, value in plain.items() if key in names}
        if (variant or self._told) != "v1.1":
            settings |= dict.fromkeys((k for k in _HEATING if k in names), None)
        fresh = {key: settings[key] for key in REMEMBERED if key in settings}
        self._settings[unit] = self._settings.get(unit, {}) | fresh
        return settings | {"variant": variant or self._told}

    def reading(self, records: Sequence[Record]) -> Reading:
        live = [r.values for r in records if r.part is not None]
        if not live:
            return Reading(protocol="jk-modbus")
        unit = live[-1]["address"]
        same = [v for v in live if v["address"] == unit]
        values, known = assemble(LIVE, _chunks(same))
        settings = same[-1]["settings"]
        if not {"cell_voltages", "cell_mask"} <= known:
            values["cell_mask"] = 0
            settings = {key: value for key, value in settings.items() if key != "cell_count"}
        variant = variant_of(self._flags.get(unit, b"")) or self._told
        reading = live_reading(values | {"settings": settings, "variant": variant}, self._sign)
        reading = only_known(reading, known)
        return replace(reading, protocol="jk-modbus", raw={"address": unit, **reading.raw})

    def identity(self, records: Sequence[Record]) -> Identity:
        result = Identity(vendor="JK", protocol="jk-modbus", variant=self._told)
        for found in records:
            if found.kind == "info":
                result = replace(result, **found.values)
        live = [r.values for r in records if r.kind == "live"]
        if live:
            values, known = assemble(LIVE, _chunks(live))
            values["settings"] = live[-1]["settings"]
            if {"chemistry", "enable_flags"} <= known:
                result = replace(result, chemistry=chemistry(values))
            if "cell_mask" in known:
                result = replace(result, cell_count=cell_count(values) or None)
        for found in records:
            if found.kind == "settings":  # they know best
                count = found.values.get("cell_count") or result.cell_count
                variant = found.values["variant"] or result.variant
                result = replace(result, cell_count=count, variant=variant)
        return result

    def scrub(self, frame: RTUFrame) -> bytes | None:
        """Both passwords and the passcode behind the serial number are blanked, in answers and
        in writes; an answer whose request was not recorded says nothing, and is blanked whole."""
        if frame.shape == "read":
            self._asked_scrubbed = frame
        if not frame.data:
            return None
        asked = self._asked_scrubbed if frame.shape == "data" else frame
        if asked is None or (asked is not frame and not _fits(frame, asked)):
            clean = bytes(len(frame.data))
        else:
            where = place(asked.register)
            if where is None or where[0] is not INFO:
                return None
            clean = blanked(where[1], frame.data)
        return RTUFramer(MODBUS_SHAPES).encode(frame.replace(data=clean))


def _fits(answer: RTUFrame, asked: RTUFrame) -> bool:
    return answer.unit == asked.unit and len(answer.data) == 2 * asked.count


def _named(payload: Payload, what: str) -> dict[str, Any]:
    values = parse(payload.layout, payload.data, what)
    return {k: v for k, v in values.items() if not k.startswith(("part_", "reserved_"))}


def _chunks(records: Iterable[Mapping[str, Any]]) -> list[Chunk]:
    return [Chunk(v["register"] - LIVE.base, v["data"]) for v in records]


_TEXTS = {
    "vendor_id": "model",
    "hardware_version": "hardware",
    "software_version": "firmware",
    "serial_number": "serial_number",
}


def _info(found: Mapping[str, Any]) -> dict[str, Any]:
    return {to: text(found[name]) or None for name, to in _TEXTS.items() if name in found}


def _is_secret(register: int, length: int) -> bool:
    where = place(register)
    filled = b"\1" * length
    return where is not None and where[0] is INFO and blanked(where[1], filled) != filled


# ---------------------------------------------------------------------------------- driver


class Read(NamedTuple):
    """A run of registers: byte offset in its table, and how many."""

    offset: int
    registers: int


# One field is never split over two of them, or it would be of two moments; and no two in a row
# are of one length, so that a late answer cannot be taken for the next one's.
LIVE_READS = (Read(0, 32), Read(64, 31), Read(126, 30), Read(186, 29), Read(244, 24))
SWITCHES_READ = Read(108, 10)  # cell count, the three switches, nominal capacity
FLAGS_READ = Read(276, 7)
IDENTITY_READS = (Read(0, 28), Read(72, 12))  # passwords stand behind each of them: not asked for
_BETWEEN, _OTHERWISE = (SETTINGS, SWITCHES_READ), (INFO, IDENTITY_READS[1])
"""What is asked between two questions for as many registers."""
_SLOWEST = 0.48


class JKModbus(JKModbusWriting):
    """Reads the tables in small pieces and learns how long the board is deaf after an answer."""

    name: ClassVar[str] = "jk-modbus"
    vendor: ClassVar[str] = "jk"
    # A request 2 ms after an answer is not heard, one after 380 ms is; between them nothing was
    # tried, so the gap starts at 30 ms and doubles (docs/protocols/jk-modbus.md, timing).
    timing: ClassVar[Timing] = Timing(
        baudrate=115200, timeout=0.5, gap=0.03, retries=3, wake_retries=3, anonymous=True
    )

    addresses: ClassVar[range] = range(16)
    counts_seconds: ClassVar[bool] = True

    def __init__(self, link: Link[RTUFrame], options: Options) -> None:
        super().__init__(link, options)
        self.address = check_address(1 if options.address is None else options.address)
        self._answered_at = float("-inf")
        self._ends_early = False
        self._latest = b""
        self._asked: tuple[int, int] | None = None

    @classmethod
    def make_framer(cls) -> RTUFramer:
        return RTUFramer(MODBUS_SHAPES)

    @classmethod
    def make_codec(cls, options: Options) -> JKModbusCodec:
        return JKModbusCodec(options.variant, options.current_sign)

    async def start(self) -> None:
        """Another board may be behind the link now; how patient to be is remembered."""
        self.codec = self.make_codec(self.options)
        self._answered_at = float("-inf")
        self._ends_early = False

    async def ask(self, table: Table, read: Read) -> Record:
        """Read registers; `Refused` when the board says no."""
        request = read_request(self.address, table.base + read.offset, read.registers)
        if alike(request.register, request.count, self._asked):
            await self.ask(*(_BETWEEN if request.count != _BETWEEN[1].registers else _OTHERWISE))
        self._asked = request.register, request.count
        self.codec.explain(request, sent=True)
        answer = await self.patient(request)
        record = self.codec.explain(answer)
        if record.role == "refusal":
            status, meaning = record.values["status"], record.values["meaning"]
            raise Refused(
                f"The board refuses {read.registers} registers from {request.register:04X} on: "
                f"{meaning} (exception {status}).",
                status,
            )
        self._latest = answer.data
        return record

    async def ask_firmware(self) -> str | None:
        codec = self.make_codec(self.options)  # a reading may be under way
        read = IDENTITY_READS[0]
        request = read_request(self.address, INFO.base + read.offset, read.registers)
        codec.explain(request, sent=True)
        return codec.identity([codec.explain(await self.patient(request))]).firmware

    async def ask_bytes(self, table: Table, offset: int, registers: int) -> bytes:
        await self.ask(table, Read(offset, registers))
        return self._latest

    async def patient(self, request: RTUFrame, *, once: bool = False) -> RTUFrame:
        loop = asyncio.get_running_loop()
        soon = loop.time() - self._answered_at <= _SLOWEST
        left = 0 if once else self.link.timing.retries
        while True:
            try:
                (frame,) = await self.link.collect(
                    request, lambda f: _answers(f, request), lambda got: True, retries=0
                )
                if frame.code != 4 or not left:  # 4: the line spoiled the question, not the board
                    break
            except LinkTimeout as error:
                if not left:
                    raise
                if soon and error.heard == "silence":  # spoken to too soon, it seems
                    gap = max(self.link.timing.gap, 0.001)
                    self.link.timing = replace(
                        self.link.timing, gap=min(2 * gap, max(gap, _SLOWEST))
                    )
            left -= 1
            soon = False
        self._answered_at = loop.time()
        return frame

    async def _ask_tail(self, table: Table, read: Read) -> list[Record]:
        """The end of a table, which some boards do not have."""
        try:
            return [await self.ask(table, read)]
        except Refused as error:
            if error.status != 2:
                raise
            return []

    async def identify(self) -> Identity:
        records = [await self.ask(INFO, read) for read in IDENTITY_READS]
        records.append(await self.ask(SETTINGS, SWITCHES_READ))
        records += await self._ask_tail(SETTINGS, FLAGS_READ)
        records += await self._ask_tail(LIVE, LIVE_READS[-1])
        return self.codec.identity(records)

    async def read(self) -> Reading:
        await self.ask(SETTINGS, SWITCHES_READ)
        records = [await self.ask(LIVE, read) for read in LIVE_READS[:-1]]
        if not self._ends_early:
            tail = await self._ask_tail(LIVE, LIVE_READS[-1])
            self._ends_early = not tail
            records += tail
        return self.codec.reading(records)


def _answers(frame: RTUFrame, request: RTUFrame) -> bool:
    """Whether a frame answers the request: the bytes asked for, or a refusal."""
    if frame.doubtful:
        return False
    if frame.shape == "exception":
        return frame.unit == request.unit and frame.function & 0x7F == request.function
    if request.shape == "write_many":
        same = frame.unit == request.unit and frame.register == request.register
        return frame.shape == "written" and same
    return frame.shape == "data" and _fits(frame, request)
