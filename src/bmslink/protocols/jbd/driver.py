"""JBD (Jiabaida, Xiaoxiang, Overkill Solar, LLT Power, …): the `DD … 77` protocol.

`DD | A5 read, 5A write | register | n | data | checksum | 77`, answered by
`DD | register | status | n | data | checksum | 77`. Boards on a shared RS485 pair may put an
address after `DD`; the Bluetooth module mixes its own `FF AA` frames in. Facts and their
evidence: `docs/protocols/jbd.md`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import ClassVar, TypeVar

from bmslink.errors import LinkTimeout, Refused
from bmslink.link.gatt import Advert, Gatt
from bmslink.link.link import Link, Timing
from bmslink.model import Identity, Reading
from bmslink.past import BoardCounter, BoardPast, in_words
from bmslink.protocols.base import Driver, Options, Record, Requester
from bmslink.protocols.common.settings_map import SettingsMap, WriteCommand
from bmslink.protocols.jbd.auth import authenticate
from bmslink.protocols.jbd.codec import JBDCodec
from bmslink.protocols.jbd.framing import (
    ADDRESSES,
    READ,
    JBDFrame,
    JBDFramer,
    answers,
    read_request,
    write_request,
)
from bmslink.protocols.jbd.layouts import BASIC_MINIMUM, COUNTERS, COUNTERS_LAYOUT
from bmslink.protocols.jbd.map import FUNCTION_BITS, NEWER, jbd_map
from bmslink.protocols.jbd.radio import JBD_ADVERTS, JBD_MODULES
from bmslink.protocols.jbd.reading import DAREN
from bmslink.protocols.jbd.settings import TENFOLD_BIT
from bmslink.protocols.jbd.switches import JBDSwitches
from bmslink.protocols.jbd.writing import JBDSettings
from bmslink.protocols.probe import Probe, Relatives, Turn

__all__ = ["JBD", "JBDCodec", "JBDFrame", "JBDFramer", "read_request", "write_request"]

T = TypeVar("T")


def _is_basic(frame: JBDFrame) -> bool:
    return len(frame.data) >= BASIC_MINIMUM


PROBE = Probe(
    protocols=("jbd",),
    question="register 03",
    ask=lambda address: read_request(0x03, address),
    fits=lambda asked, frame: answers((asked.code, READ), asked.address, _is_basic)(frame),
    within=0.14,  # boards take up to 71 ms
    turns=(
        Turn(9600, place=30),
        Turn(9600, (1,), place=70),
        Turn(9600, place=90),
        Turn(9600, (0, 2, 3, 4), place=130),
    ),
    rank=30,
    speaker=lambda frame: frame.address,
)


class JBD(Driver[JBDFrame]):
    """Asks a JBD board: 03 and 04 are one poll, 05 is its name."""

    name: ClassVar[str] = "jbd"
    vendor: ClassVar[str] = "jbd"
    vendor_name: ClassVar[str] = "JBD (Jiabaida)"
    radio_rank: ClassVar[int] = 20
    requests: ClassVar[Mapping[str, Requester]] = {
        "basic_info": partial(read_request, 0x03),
        "cells": partial(read_request, 0x04),
        "version": partial(read_request, 0x05),
        "error_counts": partial(read_request, 0xAA),
    }
    probes: ClassVar[tuple[Probe, ...]] = (PROBE,)
    relatives: ClassVar[Relatives] = "thorough"
    responder: ClassVar[str] = "bmslink.simulation.boards.jbd:JBDResponder"
    # Answers start within 0-71 ms; the first requests after sleep are lost; pauses of 50 ms
    # inside a frame were seen (docs/protocols/jbd.md, timing).
    timing: ClassVar[Timing] = Timing(
        baudrate=9600, timeout=0.5, gap=0.06, retries=3, wake_retries=5, idle=0.15
    )

    addresses: ClassVar[range] = ADDRESSES
    modules: ClassVar[tuple[Gatt, ...]] = JBD_MODULES
    adverts: ClassVar[tuple[Advert, ...]] = JBD_ADVERTS
    no_clock_soc_reasons: ClassVar[Mapping[str, str]] = {
        "clock": "classic JBD boards tell no clock that could be set",
        "soc": "the board counts it; the factory mode that sets it was never recorded",
    }

    past_missing: ClassVar[Mapping[str, str]] = {
        "events": "classic JBD boards count what happened and keep no log that is documented"
    }

    def __init__(self, link: Link[JBDFrame], options: Options) -> None:
        super().__init__(link, options)
        self.address = options.address
        self._knocked = True  # whether the Bluetooth module was asked; there may be none
        self._daren = False  # the last 03 was that of a Daren pack
        self.settings = JBDSettings(self)
        self.switches: JBDSwitches = JBDSwitches(self)

    @classmethod
    def make_framer(cls) -> JBDFramer:
        return JBDFramer()

    @classmethod
    def make_codec(cls, options: Options) -> JBDCodec:
        return JBDCodec(options)

    @classmethod
    def every_map(cls) -> tuple[SettingsMap, ...]:
        own, tenfold = Identity(protocol=cls.name), (1 << TENFOLD_BIT).to_bytes(2, "big")
        words = {NEWER[0]: b""}
        return jbd_map(own, words), jbd_map(own, words | {FUNCTION_BITS: tenfold})

    async def start(self) -> None:
        """Show the Bluetooth module the pin, where there is one to show."""
        self.switches.forget()
        self._knocked = self.link.transport.peer() is None
        if self.options.pin.given:
            await self._knock()

    async def _knock(self) -> bool:
        """Ask the Bluetooth module to let us in, once per connection; `False`: nothing changed."""
        if self._knocked:
            return False
        self._knocked = True
        return await authenticate(self.link, self.options.pin)

    async def _let_in(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer; modules that want their password are silent until they have got it."""
        try:
            return await ask()
        except LinkTimeout:
            if not await self._knock():
                raise
            return await ask()

    # ---------------------------------------------------------------------------------- asking

    async def ask(
        self, register: int, fits: Callable[[JBDFrame], bool] = lambda frame: True
    ) -> Record:
        """Read one register; `Refused` when the board says no."""
        return self._told(register, await self._answer(register, fits))

    async def ask_word(self, register: int) -> bytes:
        """The two bytes of a register; `Refused` when the board says no."""
        frame = await self._answer(register, lambda frame: len(frame.data) == 2)
        self._told(register, frame)
        return frame.data

    async def ask_basic_apart(self) -> Record:
        """Register 03, in the middle of somebody else's questions: a codec of its own is asked
        what it says."""
        codec = self.make_codec(self.options)
        request = read_request(0x03, self.address)
        codec.decode(request, sent=True)
        fits = answers((0x03, READ), self.address, _is_basic)
        told = codec.decode(
            await self._let_in(lambda: self.link.request(request, fits, urgent=True))
        )
        self._saw(told)
        return told

    def _saw(self, basic: Record) -> None:
        """An answer to 03."""
        self._daren = basic.values.get("variant") == DAREN
        if basic.role == "reading":
            self.switches.saw(basic.values)

    def sending(self, step: WriteCommand[JBDFrame]) -> None:
        self.switches.sent(step.frame)

    async def _answer(
        self, register: int, fits: Callable[[JBDFrame], bool] = lambda frame: True
    ) -> JBDFrame:
        request = read_request(register, self.address)
        self.codec.decode(request, sent=True)
        matches = answers((register, READ), self.address, fits)
        return await self.link.request(request, matches)

    def _told(self, register: int, frame: JBDFrame) -> Record:
        record = self.codec.decode(frame)
        if record.kind == "basic_info":
            self._saw(record)
        if record.role == "refusal":
            raise Refused(
                f"The board refuses register {register:02X}: {record.values['meaning']} "
                f"(status {record.values['status']:02X}).",
                record.values["status"],
            )
        return record

    def only_reads(self, identity: Identity | None = None) -> str:
        """Why nothing but reads is ever sent to this board; empty where more is known."""
        if self.address is not None:
            return "behind an address JBD boards tell live values only"
        if self._daren or (identity is not None and identity.variant == DAREN):
            return "of Daren and Docan packs only the live values are known"
        return ""

    # ---------------------------------------------------------------------------------- reading

    async def identify(self) -> Identity:
        basic = await self._basic()
        if self.address is not None:  # only 03 and 04 are known behind an address
            return self.codec.identity([basic])
        try:
            return self.codec.identity([basic, await self.ask(0x05)])
        except (LinkTimeout, Refused):  # it has answered 03: a board without a name is a board
            return self.codec.identity([basic])

    async def _basic(self) -> Record:
        """Register 03; a board that just woke up may announce no cells yet."""
        for _ in range(3):
            record = await self._let_in(self._ask_basic)
            if record.values["cell_count"]:
                break
            await asyncio.sleep(0.3)
        return record

    async def _ask_basic(self) -> Record:
        return await self.ask(0x03, _is_basic)

    async def read(self) -> Reading:
        basic = await self._basic()
        count = basic.values["cell_count"]

        def fits(frame: JBDFrame) -> bool:
            # where the answer does not name its register, its length must tell it from an 03;
            # no cells at all is what a board that just woke up would say
            return len(frame.data) == 2 * count if frame.mark == READ else bool(frame.data)

        cells = await self.ask(0x04, fits)
        return self.codec.reading([basic, cells])

    async def past(self, limit: int, *, brief: bool = False) -> BoardPast:
        """Its counters (AA). The factory mode is not entered for them."""
        reading = await self.read()
        if why := self.only_reads():
            return self.past_of(reading, missing={"counters": why})
        try:
            found = await self.ask(0xAA, lambda frame: len(frame.data) in COUNTERS_LAYOUT)
        except (LinkTimeout, Refused) as error:
            why = _NO_COUNTERS if isinstance(error, LinkTimeout) else str(error).rstrip(".")
            return self.past_of(reading, missing={"counters": why})
        return self.past_of(reading, counters=_counters(found.values))


_NO_COUNTERS = "the board does not answer when it is asked for its counters (AA)"


def _counters(values: Mapping[str, int]) -> tuple[BoardCounter, ...]:
    """In the order of the register; the last one is no condition."""
    counted = {str(each): (in_words(each), each) for each in COUNTERS}
    found: list[BoardCounter] = []
    for name, count in values.items():
        text, condition = counted.get(name, ("restarts of the board", None))
        found.append(BoardCounter(name=name, text=text, count=count, condition=condition))
    return tuple(found)
