"""JK's Modbus RTU, as the inverter boards (PB) and newer B boards speak it on RS485.

Standard frames, register addresses that are byte offsets, and a board that is deaf for a moment
after each answer. This module asks (function 03); what is written is in `writing`. Map:
`jk_modbus_map`; facts and their evidence: `docs/protocols/jk-modbus.md`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar, NamedTuple

from bmslink.errors import LinkTimeout, Refused
from bmslink.link.link import Link, Timing
from bmslink.model import Identity, Reading, Switch
from bmslink.protocols.base import Driver, Options, Record, Requester
from bmslink.protocols.common.register_runs import alike
from bmslink.protocols.common.rtu import MODBUS_SHAPES, RTUFrame, RTUFramer, answers_read
from bmslink.protocols.common.settings_map import SettingsMap, WriteCommand
from bmslink.protocols.jk.map import TABLE_BYTES
from bmslink.protocols.jk.modbus.codec import (
    JKModbusCodec,
    check_address,
    is_answer,
    read_request,
)
from bmslink.protocols.jk.modbus.map import (
    INFO,
    LIVE,
    SETTINGS,
    RegisterTable,
)
from bmslink.protocols.jk.modbus.settings import modbus_map
from bmslink.protocols.jk.modbus.writing import JKModbusSettings
from bmslink.protocols.parts import Switches
from bmslink.protocols.probe import Probe, Turn

__all__ = ["JKModbus"]


class Read(NamedTuple):
    """A run of registers: byte offset in its table, and how many."""

    offset: int
    registers: int


# One field is never split over two of them, or it would be of two moments; and no two in a row
# are of one length, so that a late answer cannot be taken for the next one's.
LIVE_READS = (Read(0, 32), Read(64, 31), Read(126, 30), Read(186, 29), Read(244, 24))
SWITCHES_READ = Read(108, 10)  # cell count, the three switches, nominal capacity
FLAGS_READ = Read(276, 7)
IDENTITY_READS = (Read(0, 28), Read(72, 12))  # passwords follow each of them: not asked for
_BETWEEN, _OTHERWISE = (SETTINGS, SWITCHES_READ), (INFO, IDENTITY_READS[1])
"""What is asked between two questions for as many registers."""
_SLOWEST = 0.48


def _ask_info(address: int | None) -> RTUFrame:
    offset, count = IDENTITY_READS[0]
    return read_request(address or 1, INFO.base + offset, count)


def _is_jk(identity: Identity) -> bool:
    """Any Modbus device may answer a read; only a JK board has a model and a version there."""
    model, firmware = identity.model or "", identity.firmware or ""
    return model.isprintable() and len(model) > 1 and bool(re.match(r"V?\d+\.\d", firmware))


def _request(table: RegisterTable, read: Read, address: int | None) -> RTUFrame:
    return read_request(1 if address is None else address, table.base + read.offset, read.registers)


PROBE = Probe(
    protocols=("jk-modbus",),
    question="model and versions, function 03",
    ask=_ask_info,
    fits=answers_read,
    within=0.09,  # as on the bus
    turns=(
        Turn(115200, (1,), place=20),
        Turn(115200, range(2, 16), place=40),
        Turn(9600, (1,), place=50),  # UART protocol 013
        Turn(9600, range(2, 16), place=140),
    ),
    rank=11,
    speaker=lambda frame: frame.unit,
    proves=_is_jk,
)


class JKModbus(Driver[RTUFrame]):
    """Reads the tables in small pieces and learns how long the board is deaf after an answer."""

    name: ClassVar[str] = "jk-modbus"
    vendor: ClassVar[str] = "jk"
    requests: ClassVar[Mapping[str, Requester]] = {
        "switches": partial(_request, SETTINGS, SWITCHES_READ),
        **{f"live_{n}": partial(_request, LIVE, read) for n, read in enumerate(LIVE_READS, 1)},
        **{f"info_{n}": partial(_request, INFO, read) for n, read in enumerate(IDENTITY_READS, 1)},
    }
    probes: ClassVar[tuple[Probe, ...]] = (PROBE,)
    past_missing: ClassVar[Mapping[str, str]] = {
        "events": "the board tells its logs over Bluetooth only (jk02)",
        "counters": "JK boards keep logs, no counters",
    }
    responder: ClassVar[str] = "bmslink.simulation.boards.jk_modbus:JKModbusResponder"
    # A request 2 ms after an answer is not heard, one after 380 ms is; between them nothing was
    # tried, so the gap starts at 30 ms and doubles (docs/protocols/jk-modbus.md, timing).
    timing: ClassVar[Timing] = Timing(
        baudrate=115200, timeout=0.5, gap=0.03, retries=3, wake_retries=3, anonymous=True
    )

    addresses: ClassVar[range] = range(16)
    counts_seconds: ClassVar[bool] = True
    no_clock_soc_reasons: ClassVar[Mapping[str, str]] = {
        "clock": (
            "two editions of the vendor's document name different "
            "registers, and the wrong one loads a preset"
        ),
        "soc": "the board counts it, and no register for it was ever recorded",
    }

    def __init__(self, link: Link[RTUFrame], options: Options) -> None:
        super().__init__(link, options)
        self.address = check_address(1 if options.address is None else options.address)
        self._answered_at = float("-inf")
        self._ends_early = False
        self._latest = b""
        self._asked: tuple[int, int] | None = None
        self.settings = JKModbusSettings(self)
        self.switches = Switches(self.name, settable=Switch)

    @classmethod
    def make_framer(cls) -> RTUFramer:
        return RTUFramer(MODBUS_SHAPES)

    @classmethod
    def make_codec(cls, options: Options) -> JKModbusCodec:
        return JKModbusCodec(options.variant, options.current_sign)

    @classmethod
    def every_map(cls) -> tuple[SettingsMap, ...]:
        return (modbus_map(None, b"\xff" * TABLE_BYTES, b"\xff" * 32),)

    async def start(self) -> None:
        """Another board may be behind the link now; how patient to be is remembered."""
        self.codec = self.make_codec(self.options)
        self._answered_at = float("-inf")
        self._ends_early = False

    async def ask(self, table: RegisterTable, read: Read) -> Record:
        """Read registers; `Refused` when the board says no."""
        request = read_request(self.address, table.base + read.offset, read.registers)
        if alike(request.register, request.count, self._asked):
            await self.ask(*(_BETWEEN if request.count != _BETWEEN[1].registers else _OTHERWISE))
        self._asked = request.register, request.count
        self.codec.decode(request, sent=True)
        answer = await self._patient(request)
        record = self.codec.decode(answer)
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
        """Its firmware, in one question."""
        codec = self.make_codec(self.options)  # a reading may be under way
        read = IDENTITY_READS[0]
        request = read_request(self.address, INFO.base + read.offset, read.registers)
        codec.decode(request, sent=True)
        return codec.identity([codec.decode(await self._patient(request))]).firmware

    async def ask_bytes(self, table: RegisterTable, offset: int, registers: int) -> bytes:
        """The raw bytes of registers; `Refused` when the board says no."""
        await self.ask(table, Read(offset, registers))
        return self._latest

    async def exchange(self, step: WriteCommand[RTUFrame]) -> RTUFrame | None:
        return await self._patient(step.frame, step)

    async def _patient(
        self, request: RTUFrame, step: WriteCommand[RTUFrame] | None = None
    ) -> RTUFrame:
        """Send a request (that of a step, where it changes something) when the board can hear it,
        and give back its answer."""
        loop = asyncio.get_running_loop()
        soon = loop.time() - self._answered_at <= _SLOWEST
        left = 0 if step is not None and step.once else self.link.timing.retries
        while True:
            try:
                (frame,) = await self.link.collect(
                    request,
                    partial(is_answer, request=request),
                    lambda got: True,
                    retries=0,
                    urgent=step is not None and step.urgent,
                    leaving=None if step is None else step.leaving,
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

    async def _ask_tail(self, table: RegisterTable, read: Read) -> list[Record]:
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
