"""JK's parallel bus: the RS485 line on which inverter boards (PB) talk among themselves.

A Modbus write of register 161C, 161E or 1620 makes a board push one native 300-byte record, and
only the acknowledgement behind it holds the board's address. A master (DIP address 0) asks all
others this way and pushes its own records too, so whoever else wants to know just listens; where
there is no master, bmslink may ask. Records: `jk02`. Facts: `docs/protocols/jk-bus.md`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from bmslink.errors import FrameError, LinkTimeout, Refused, TargetError
from bmslink.link.link import Link, Timing
from bmslink.model import Identity, Reading
from bmslink.protocols.base import Codec, Driver, Options, Payload, Record, Requester
from bmslink.protocols.common.rtu import WRITE_MANY, RTUFrame
from bmslink.protocols.jk.bus.framing import (
    COUNTERS,
    REGISTERS,
    BusFrame,
    JKBusFramer,
    trigger,
)
from bmslink.protocols.jk.jk02.driver import JK02Codec
from bmslink.protocols.jk.jk02.framing import CELLS, INFO, SETTINGS, JK02Frame, JK02Framer
from bmslink.protocols.jk.jk02.layouts import NAMES_OF_BOARD
from bmslink.protocols.jk.jk02.reading import REMEMBERED
from bmslink.protocols.jk.modbus.codec import EXCEPTIONS, JKModbusCodec, check_address
from bmslink.protocols.probe import Overheard, Probe, Turn

__all__ = ["JKBus", "JKBusCodec"]

# ---------------------------------------------------------------------------------- meaning


@dataclass(slots=True)
class _Heard:
    """The latest record, and the acknowledgement that told its address."""

    code: int
    values: dict[str, Any]
    ack: RTUFrame | None = None

    def is_signed_by(self, frame: RTUFrame) -> bool:
        """Whether that is its acknowledgement (one that comes twice is not)."""
        right = frame.shape == "written" and frame.register == REGISTERS.get(self.code)
        return right and self.ack in (None, frame)


class JKBusCodec(Codec[BusFrame]):
    """Meaning of what is heard on the bus.

    A record belongs to the address of the acknowledgement directly behind it, and to nobody if
    something else stands there. Settings are remembered per address.
    """

    names_of_board: ClassVar[frozenset[str]] = NAMES_OF_BOARD

    def __init__(self, variant: str | None = None, sign: str = "auto") -> None:
        if variant not in (None, "32s"):
            raise TargetError(f"Unknown variant {variant!r} of jk-bus; all its boards are 32s.")
        self._records = JK02Codec("32s", sign)
        self._registers = JKModbusCodec()
        self._heard: _Heard | None = None
        self._settings: dict[int, dict[str, Any]] = {}

    def payload(self, frame: BusFrame, *, sent: bool = False) -> Payload | None:
        if isinstance(frame, JK02Frame):
            return self._records.payload(frame, sent=sent)
        return self._registers.payload(frame, sent=sent)

    def decode(self, frame: BusFrame, *, sent: bool = False) -> Record:
        if isinstance(frame, JK02Frame):
            return self._explain_record(frame)
        record = self._registers.decode(frame, sent=sent)
        if record.role in ("reading", "identity", "settings"):  # another program reads registers
            return Record(record.kind, "other", {"address": frame.unit})
        heard = self._heard
        if heard and heard.is_signed_by(frame):
            heard.ack = frame
            return self._attribute(heard, record)
        self._heard = None
        return record

    def _explain_record(self, frame: JK02Frame) -> Record:
        self._heard = None
        record = self._records.decode(frame)
        values = dict(record.values)
        if frame.code == CELLS:
            values["settings"] = {}  # those of which pack is not known yet
        self._heard = _Heard(frame.code, values)
        return record.replace(values=values)

    def _attribute(self, heard: _Heard, ack: Record) -> Record:
        address = ack.values["address"]
        if heard.code == SETTINGS:
            self._settings[address] = {key: heard.values[key] for key in REMEMBERED}
        if heard.code != CELLS:
            return ack
        # it completes the reading that the record began
        values = {**ack.values, "settings": self._settings.get(address, {})}
        return ack.replace(values=values, part="address")

    def reading(self, records: Sequence[Record]) -> Reading:
        address: int | None = None
        settings: dict[str, Any] = {}
        for record in reversed(records):
            if record.part == "address":
                address, settings = record.values["address"], record.values["settings"]
            elif record.part == "cells":
                cells = record.replace(values={**record.values, "settings": settings})
                found = self._records.reading([cells])
                return replace(found, protocol="jk-bus", raw={"address": address, **found.raw})
        return Reading(protocol="jk-bus")

    def identity(self, records: Sequence[Record]) -> Identity:
        """Of one pack; of several, only what they agree on."""
        known: list[Record] = []
        for kind in ("info", "cells", "settings"):
            same = [r for r in records if r.kind == kind]
            told = [self._records.identity([r]) for r in same]
            if told and told.count(told[0]) == len(told):
                known.append(same[-1])
        return replace(self._records.identity(known), protocol="jk-bus")

    def scrub(self, frame: BusFrame) -> bytes | None:
        if isinstance(frame, JK02Frame):
            return self._records.scrub(frame)
        return self._registers.scrub(frame)


# ---------------------------------------------------------------------------------- driver

_LISTEN = 6.5  # s: a master's round takes 4.4 to 6 s, and it speaks in every one
_ROUND = 13.0  # s: two rounds, one of which may be damaged
_ACK_TIME = 0.3  # s: the acknowledgement follows its record at once


_SPEED = 115200


def _acknowledges(asked: RTUFrame, frame: BusFrame) -> bool:
    return (
        isinstance(frame, RTUFrame)
        and frame.shape == "written"
        and (frame.unit, frame.register) == (asked.unit, asked.register)
    )


def _rules_out(heard: Sequence[Overheard], data: bytes) -> str:
    """The bus carries the records of JK02: what is acknowledged is the bus. What no board on the
    bus sends is not: they are all 32S, and their counter does not advance. What is neither may be
    both."""
    if any(name == "jk-bus" and address is not None for name, address, _ in heard):
        return "jk02"
    alone = any(
        name == "jk04" or (name == "jk02" and identity.variant == "24s")
        for name, _, identity in heard
    )
    framer = JK02Framer()
    records = [f for f in [*framer.feed(data), *framer.flush()] if not f.command]
    return "jk-bus" if alone or any(r.counter not in COUNTERS for r in records) else ""


def _trigger(code: int, address: int | None) -> BusFrame:
    return trigger(1 if address is None else address, code)


PROBE = Probe(
    protocols=("jk-bus",),
    question="device info, trigger 161C",
    ask=lambda address: trigger(address or 1, INFO),
    fits=_acknowledges,
    within=0.09,  # boards take 38 ms
    turns=(Turn(_SPEED, range(1, 16), place=50),),
    rank=12,  # what is heard here without a name may be a plain JK02 stream as well
    speaker=lambda frame: (
        frame.unit if isinstance(frame, RTUFrame) and frame.shape == "written" else None
    ),
    rules_out=_rules_out,
    after="jk-modbus",
)


class JKBus(Driver[BusFrame]):
    """Listens first. Where somebody speaks, it stays silent as long as the link is open; else it
    asks the board at `address` (1 if none is given). Address 0, the master, is never asked.

    A listener without an address keeps to the first pack that it hears.
    """

    name: ClassVar[str] = "jk-bus"
    vendor: ClassVar[str] = "jk"
    requests: ClassVar[Mapping[str, Requester]] = {
        name: partial(_trigger, code)
        for name, code in (("settings", SETTINGS), ("cells", CELLS), ("device_info", INFO))
    }
    probes: ClassVar[tuple[Probe, ...]] = (PROBE,)
    past_missing: ClassVar[Mapping[str, str]] = {
        "events": "the board tells its logs over Bluetooth only (jk02)",
        "counters": "JK boards keep logs, no counters",
    }
    responder: ClassVar[str] = "bmslink.simulation.boards.jk_bus:JKBusResponder"
    yields: ClassVar[bool] = True
    # Answers begin after some 38 ms; between exchanges others found 100 to 120 ms necessary
    # (docs/protocols/jk-bus.md, timing).
    timing: ClassVar[Timing] = Timing(
        baudrate=_SPEED, timeout=0.5, gap=0.12, retries=3, wake_retries=3
    )

    addresses: ClassVar[range] = range(16)

    def __init__(self, link: Link[BusFrame], options: Options) -> None:
        super().__init__(link, options)
        self.address = options.address
        if self.address:
            check_address(self.address)
        self.listens = True
        """Somebody else speaks on the bus, so nothing is sent."""

    @classmethod
    def make_framer(cls) -> JKBusFramer:
        return JKBusFramer()

    @classmethod
    def make_codec(cls, options: Options) -> JKBusCodec:
        return JKBusCodec(options.variant, options.current_sign)

    async def start(self) -> None:
        """Listen for a master's round, until the first frame is heard."""
        self.codec = self.make_codec(self.options)
        self.listens = True
        if self.address != 0:
            try:
                self._explain(await self.link.next_frame(_any, _LISTEN))
            except LinkTimeout:
                self.listens = False

    async def read(self) -> Reading:
        if not self.listens:  # the codec completes live values with them
            await self._ask(SETTINGS)
        return self.codec.reading(await self._records(CELLS))

    async def identify(self) -> Identity:
        records: list[Record] = []
        if not self.listens:  # a master never asks for device info: it cannot be overheard
            records += await self._ask(INFO) or []
        records += await self._records(CELLS)
        records += await self._records(SETTINGS)
        return self.codec.identity(records)

    async def _records(self, code: int) -> list[Record]:
        """The next record of a type and its acknowledgement, asked for or overheard."""
        found = None if self.listens else await self._ask(code)
        return await self._listen(code) if found is None else found

    # ------------------------------------------------------------------------------ asking

    async def _ask(self, code: int) -> list[Record] | None:
        """Ask our board for a record; `None` when somebody else turned out to speak here."""
        request = trigger(1 if self.address is None else self.address, code)
        left = self.link.timing.retries
        while await self._quiet(request):
            try:
                frames = await self._exchange(request, code)
            except LinkTimeout:
                if not left and not self.listens:
                    raise
                left -= 1
                continue
            last = frames[-1]
            if self.listens or isinstance(last, JK02Frame):
                break
            if last.shape == "exception":
                meaning = EXCEPTIONS.get(last.code, "not documented")
                raise Refused(f"The board refuses: {meaning} (exception {last.code}).", last.code)
            return [self.codec.decode(frame) for frame in frames[-2:]]
        return None

    async def _exchange(self, request: RTUFrame, code: int) -> list[BusFrame]:
        echo = self.link.framer.encode(request)

        def matches(frame: BusFrame) -> bool:
            if isinstance(frame, JK02Frame):
                return frame.code == code
            if frame.raw == echo:  # some adapters hear themselves
                return False
            if _is_answer(frame, request):
                return frame.shape == "exception" or frame.register == request.register
            self.listens = True
            return True

        def complete(frames: list[BusFrame]) -> bool:
            last = frames[-1]
            if self.listens or isinstance(last, JK02Frame):
                return self.listens
            return last.shape == "exception" or isinstance(frames[-2:][0], JK02Frame)

        return await self.link.collect(request, matches, complete, retries=0)

    async def _quiet(self, request: RTUFrame) -> bool:
        """Look at what came since the last question, and wait for silence; False when somebody
        else spoke. A late answer of our own board is no sign of others."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + self.link.timing.gap + self.link.timing.timeout
        with suppress(LinkTimeout):
            while not self.listens:
                frame = await self.link.next_frame(_any, self.link.timing.gap)
                own = isinstance(frame, JK02Frame) or _is_answer(frame, request)
                self.listens = not own or loop.time() > latest
        return not self.listens

    # ------------------------------------------------------------------------------ listening

    async def _listen(self, code: int) -> list[Record]:
        """The next record of that type of our pack. What waits is too old to be shown, but may
        hold settings."""
        with suppress(LinkTimeout):
            while True:
                self._explain(await self.link.next_frame(_any, 0.0))
        heard: set[int] = set()
        counted = False
        record: Record | None = None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _ROUND
        while True:
            # a board that only pushes may leave the acknowledgement away
            unsigned = [] if record is None or self.address is not None else [record]
            try:
                wait = _ACK_TIME if unsigned else deadline - loop.time()
                frame = await self.link.next_frame(_any, wait)
            except LinkTimeout as error:
                if unsigned:
                    return unsigned
                if counted and not heard:
                    raise _other_protocol() from error
                raise self._not_heard(heard) if heard else error from error
            found = self._explain(frame)
            counted |= isinstance(frame, JK02Frame) and frame.counter not in COUNTERS
            if isinstance(frame, RTUFrame) and frame.shape == "written":
                heard.add(frame.unit)
                if record and found and frame.register == REGISTERS[code]:
                    self.address = frame.unit if self.address is None else self.address
                    if self.address == frame.unit:
                        return [record, found]
            elif unsigned:
                return unsigned
            record = found if isinstance(frame, JK02Frame) and frame.code == code else None

    def _explain(self, frame: BusFrame) -> Record | None:
        """What an overheard frame says; one that says nonsense is passed over."""
        try:
            return self.codec.decode(frame)
        except FrameError:
            return None

    def _not_heard(self, heard: set[int]) -> LinkTimeout:
        others = ", ".join(map(str, sorted(heard)))
        return LinkTimeout(
            f"Another master speaks on this bus, so bmslink only listens, and address "
            f"{self.address} was not heard in {_ROUND:g} s; heard were: {others}.",
            "other",
        )


def _other_protocol() -> LinkTimeout:
    return LinkTimeout(
        "Records come, but their counter runs, as on no board of this bus: it is a jk02 board. "
        "Write jk02+… as the target.",
        "other",
    )


def _any(_frame: BusFrame) -> bool:
    return True


def _is_answer(frame: RTUFrame, request: RTUFrame) -> bool:
    """Whether a register frame can come from the board that we ask."""
    return frame.unit == request.unit and (
        frame.shape == "written"
        or (frame.shape == "exception" and frame.function & 0x7F == WRITE_MANY)
    )
