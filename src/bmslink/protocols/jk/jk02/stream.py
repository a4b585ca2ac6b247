"""Asking JK boards while they stream: what JK02 and JK04 share.

They push a live record twice a second, and the answer to a question comes among those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from bmslink.errors import LinkTimeout
from bmslink.link.gatt import Gatt
from bmslink.link.link import Link, Timing
from bmslink.model import Identity, Reading
from bmslink.protocols.base import Driver, Options, Record, Requester
from bmslink.protocols.common.settings_map import WriteCommand
from bmslink.protocols.jk.jk02.framing import (
    ACK,
    CELLS,
    INFO,
    READ_INFO,
    READ_SETTINGS,
    SETTINGS,
    JK02Frame,
    JK02Framer,
    command,
)
from bmslink.protocols.jk.radio import JK_MODULES

__all__ = ["STREAM_TIMEOUT", "JKStream"]

_ACK_TIMEOUT = 0.5  # the acknowledgement follows its record within 0.3 s
_WRITE_TIMEOUT = 1.0  # acknowledgements of writes took 0.06-0.25 s
_WRITE_TRIES = 3  # the vendor's app repeats three times as well
STREAM_TIMEOUT = 5.0  # live records come every 0.43-0.54 s: ten missed ones mean it stopped
_SETTINGS_AGE = 30.0  # s between two readings of the settings, which nobody pushes
_FORGET = 3  # after so many ages without an answer they are unknown


class JKStream(Driver[JK02Frame]):
    """Starts a board's stream and takes what comes.

    The order matters: 97 (device info), then 96 (settings). Many firmwares answer a 96 alone,
    but never start to stream.
    """

    vendor: ClassVar[str] = "jk"
    vendor_name: ClassVar[str] = "JK (Jikong)"
    streams: ClassVar[bool] = True
    requests: ClassVar[Mapping[str, Requester]] = {
        "device_info": lambda address: command(READ_INFO),
        "settings": lambda address: command(READ_SETTINGS),
    }
    # Answers come within 0.09-0.45 s, and a first 97 may be lost (docs/protocols/jk02.md).
    # A record over Bluetooth is spread over up to 0.1 s.
    timing: ClassVar[Timing] = Timing(baudrate=115200, timeout=1.0, gap=0.0, retries=2, idle=0.3)
    modules: ClassVar[tuple[Gatt, ...]] = JK_MODULES
    counts_seconds: ClassVar[bool] = True

    def __init__(self, link: Link[JK02Frame], options: Options) -> None:
        super().__init__(link, options)
        self._known: dict[int, Record] = {}
        self._latest: dict[int, JK02Frame] = {}
        self._said: tuple[Record, int] | None = None  # the device info, and the link's breaks then
        self._streams = False
        self._settings_read = self._settings_asked = 0.0

    @classmethod
    def make_framer(cls) -> JK02Framer:
        return JK02Framer()

    async def start(self) -> None:
        """Greet the board once; one that sleeps is greeted again by the first question."""
        self.forget()
        self._said = None
        with suppress(LinkTimeout):
            await self._greet(retries=0)

    def forget(self) -> None:
        self.codec = self.make_codec(self.options)
        self._known.clear()
        self._latest.clear()
        self._streams = False

    async def identify(self) -> Identity:
        await self.meet()
        with suppress(LinkTimeout):  # only live values tell the chemistry
            live = await self._next(CELLS, self.link.timing.timeout)
            self._known[CELLS] = self.codec.decode(live)
        return self.codec.identity(list(self._known.values()))

    async def read(self) -> Reading:
        return self.codec.reading([await self.live()])

    async def live(self) -> Record:
        """The next live record, of a board that streams by now."""
        self.link.discard()
        if not self._streams:
            try:
                await self._greet(self.link.timing.retries)
            except LinkTimeout as error:
                if error.heard != "other":
                    raise
                self._streams = True  # another client asked, and this one only listens
        await self._refresh_settings()
        try:
            live = await self._next(CELLS, STREAM_TIMEOUT)
        except LinkTimeout:
            await self._greet(self.link.timing.retries)
            live = await self._next(CELLS, STREAM_TIMEOUT)
        return self.codec.decode(live)

    async def _refresh_settings(self) -> None:
        """The switches are in the settings, which somebody else may have changed since."""
        now = asyncio.get_running_loop().time()
        if now - self._settings_read > _FORGET * _SETTINGS_AGE:
            self.codec.forget_settings()
        if now - max(self._settings_read, self._settings_asked) > _SETTINGS_AGE:
            self._settings_asked = now
            await self.link.send(command(READ_SETTINGS))

    # ------------------------------------------------------------------------- what parts ask

    def heard(self, code: int) -> bytes | None:
        """The latest device info or settings record, as it came over this link."""
        frame = self._latest.get(code)
        return None if frame is None else frame.data

    @property
    def info(self) -> Mapping[str, Any] | None:
        """Who the board is, where it has said so over this link."""
        record = self._known.get(INFO)
        return None if record is None else record.values

    @property
    def surely(self) -> Mapping[str, Any] | None:
        """The same also while it is asked anew, as long as no other board can have taken its place:
        switching off does not wait for that answer."""
        if (known := self.info) is not None:
            return known
        if self._said is None or self._said[1] != self.link.breaks:
            return None
        return self._said[0].values

    async def meet(self) -> None:
        """Ask who it is and how it is set, unless it has said both."""
        if not {INFO, SETTINGS} <= self._known.keys():
            await self._greet(self.link.timing.retries)

    async def ask_info(self) -> Mapping[str, Any]:
        """Who it is: said when the link was opened, as a rule."""
        if INFO not in self._known:
            await self._ask(READ_INFO, INFO, self.link.timing.retries)
        return self._known[INFO].values

    async def ask_settings(self, *, info: bool = False) -> bytes:
        """The settings record, as it is now; with `info` the device info is as new."""
        self.link.discard()
        before = self._latest.get(INFO)
        await self._ask(READ_SETTINGS, SETTINGS, self.link.timing.retries)
        table = self._latest[SETTINGS].data
        if info and self._latest.get(INFO) is before:  # boards from 15 on send it along
            await self._ask(READ_INFO, INFO, self.link.timing.retries)
        return table

    async def next_live(self) -> Mapping[str, Any]:
        """The values of the next live record."""
        self.link.discard()
        return self.codec.decode(await self._next(CELLS, STREAM_TIMEOUT)).values

    async def exchange(self, step: WriteCommand[JK02Frame]) -> JK02Frame | None:
        """A stream must not be cut into, so the acknowledgement is taken out of it. What is urgent
        leaves the stream to whoever reads it."""
        if step.urgent and step.answer is not None:
            wait = _WRITE_TIMEOUT
            return await self.link.send_aside(step.frame, step.answer, wait, step.leaving)
        left = 1 if step.once else _WRITE_TRIES
        while True:
            self.link.discard()
            await self.link.send(step.frame)
            try:
                return await self._next(ACK, _WRITE_TIMEOUT)
            except LinkTimeout:
                left -= 1
                if not left:
                    raise

    # ---------------------------------------------------------------------------------- asking

    async def _greet(self, retries: int) -> None:
        await self._ask(READ_INFO, INFO, retries)
        await self._ask(READ_SETTINGS, SETTINGS, retries)
        self._streams = True

    async def _ask(self, register: int, code: int, retries: int) -> JK02Frame:
        """Send a command until its record comes; then let its acknowledgement pass."""
        while True:
            await self.link.send(command(register))
            try:
                found = await self._next(code, self.link.timing.timeout)
                break
            except LinkTimeout:
                if not retries:
                    raise
                retries -= 1
        with suppress(LinkTimeout):
            await self._next(ACK, _ACK_TIMEOUT)
        return found

    async def _next(self, code: int, within: float) -> JK02Frame:
        """The next frame of that code. Device info and settings are kept whenever they come."""

        def wanted(frame: JK02Frame) -> bool:
            if not frame.command and frame.code in (INFO, SETTINGS):
                self._known[frame.code] = self.codec.decode(frame)
                self._latest[frame.code] = frame
                if frame.code == INFO:
                    self._said = self._known[INFO], self.link.breaks
                if frame.code == SETTINGS:
                    self._settings_read = asyncio.get_running_loop().time()
            return frame.code == code and frame.command == (code == ACK)

        return await self.link.next_frame(wanted, within)
