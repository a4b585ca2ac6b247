"""One pack behind one link: connect, identify, read, stream.

```python
async with bmslink.connect("sim://jbd?cells=16&seed=1") as device:
    reading = await device.read()
```
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import IO, Any, Self, cast

from bmslink.capture import CaptureHeader, Recorder, Writer
from bmslink.errors import (
    FrameError,
    LinkClosed,
    LinkTimeout,
    SettingError,
    TransportError,
    VerifyError,
)
from bmslink.holding import Holding
from bmslink.journal import Transaction
from bmslink.link import Link
from bmslink.model import Adjustment, Capability, Command, Identity, Reading, Switch
from bmslink.packs import NamedPack, find_pack, find_pin
from bmslink.protocols import load_driver
from bmslink.protocols.base import Driver
from bmslink.protocols.settings import Image, SettingsMap, Slot, Table
from bmslink.resolving import options_of, resolve, settled, timing_of
from bmslink.sharing import shared
from bmslink.transport import Endpoint, Pin, Transport, make_transport

__all__ = ["Device", "connect", "resolve", "settled"]

_log = logging.getLogger(__name__)

_TRIES = 3
"""How often a value is read back before it counts as not stored, and how often two readings of
all settings may differ."""
_LATER = 1.0
"""How far apart a value is read back that did not show at once, s."""


class Device:
    """A pack. Use it as an async context manager.

    `target` is the endpoint as resolved. Where that leaves the protocol open, opening finds it by
    questions that only read; from then on `target` names it, and there are `link` and `driver`.
    """

    link: Link[Any]
    driver: Driver[Any]

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        record: IO[bytes] | None = None,
        pin: Pin | None = None,
        tell: Callable[[str], None] = _log.info,
        named: NamedPack | None = None,
    ) -> None:
        """`tell` gets sentences about the search for the protocol; `named` is what bmslink.toml
        says of the pack, where it was asked for by a name."""
        self.target = endpoint
        self.named = named
        self._tell = tell
        self._pin = pin or Pin()
        self._record = record
        self._writer: Writer | None = None
        self._built = False
        self._turn = asyncio.Lock()  # codecs remember the latest question: one poll at a time
        if settled(endpoint):
            self._build()

    def _build(self) -> None:
        """All that depends on the protocol."""
        endpoint, record = self.target, self._record
        driver = load_driver(cast(str, endpoint.protocol))
        timing = timing_of(driver.timing, endpoint)
        options = options_of(endpoint, self._pin)
        transport: Transport = shared(
            make_transport(
                endpoint.with_query(baudrate=timing.baudrate)
                if endpoint.scheme in ("serial", "rfc2217")
                else endpoint,
                driver.modules,
                self._pin,
            )
        )
        if record is not None:
            codec = driver.make_codec(options)
            self._writer = Writer(
                record,
                CaptureHeader.now(protocol=driver.name, target=str(endpoint)),
                framer=driver.make_framer,
                scrub=codec.scrub,
                scrub_noise=codec.scrub_noise,
            )
            transport = Recorder(transport, self._writer)
        self.link = Link(transport, driver.make_framer(), timing, name=str(endpoint))
        self.driver = driver(self.link, options)
        self._built = True

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()  # nobody else will: `async with` has not begun
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the link and let the driver greet the device; on failure nothing stays open."""
        if self._record is not None and self._record.closed:
            raise TransportError("The recording of this device is finished: connect anew.")
        if not self._built:
            from bmslink.discovery import detect  # it loads every protocol

            self.target = await detect(self.target, pin=self._pin, tell=self._tell)
            self._build()
        _log.info("%s is being opened.", self.target)
        try:
            await self.link.open()
            with self._waiting():
                await self.driver.start()
        except BaseException:
            await self.link.close()
            raise
        _log.info("%s is open.", self.target)

    async def reopen(self) -> None:
        """Close and open again, after the link was lost; a recording goes on."""
        if self._built:
            await self.link.close()
        await self.open()

    async def close(self) -> None:
        """Close the link and the recording."""
        if not self._built:
            if self._record is not None:
                self._record.close()
            return
        writer, self._writer = self._writer, None
        try:
            await self.link.close()
        finally:
            if writer is not None:
                writer.close()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Where answers are waited for: a recording needs no advice about wires and masters."""
        try:
            yield
        except LinkTimeout as error:
            if self.target.scheme != "replay":
                raise
            raise LinkTimeout(
                f"The recording {self.target.place} holds no further answer to what is asked; "
                f"`bmslink decode {self.target.place}` shows what it holds.",
                error.heard,
            ) from error

    def _need_driver(self) -> None:
        if not self._built:
            raise LinkClosed("The link is not open: use the device inside its `with` block.")

    async def identify(self) -> Identity:
        """Who the pack is, by reading only. Raises `LinkTimeout`, `Refused`, …"""
        self._need_driver()
        async with self._turn:
            with self._waiting():
                identity = await self.driver.identify()
        likely = None if self.driver.configurable else self.driver.likely_map(identity)
        told = {} if likely is None else {"name": likely.name, "evidence": likely.evidence}
        return replace(identity, capabilities=self._capabilities(likely), map=told)

    def _capabilities(self, likely: SettingsMap | None) -> dict[str, Capability]:
        why = self.driver.configurable
        if likely is None:
            settings = Capability(False, why or "this board does not tell its settings like this")
        elif likely.settings and not any(setting.writable for setting in likely.settings):
            settings = Capability(False, f"read-only: {likely.settings[0].reason}")
        else:
            needs = likely.untested and f"written with --untested only: {likely.untested}"
            settings = Capability(True, needs)
        return {
            "read": Capability(True),
            "settings": settings,
            **{f"switch_{switch}": self._can_switch(switch) for switch in Switch},
        }

    def _can_switch(self, switch: Switch) -> Capability:
        able = self.driver.can_switch(switch)
        if not able.supported and switch in self.driver.settable:
            return Capability(True, f"it is the setting {switch}_switch here")
        return able

    async def read(self) -> Reading:
        """One complete reading. Raises `LinkTimeout`, `LinkClosed`, `Refused`, `FrameError`."""
        self._need_driver()
        async with self._turn:
            with self._waiting():
                reading = await self.driver.read()
            return replace(reading, target=str(self.target), time=self.link.received_at)

    # -------------------------------------------------------------------------------- settings

    async def settings_map(self, identity: Identity) -> SettingsMap:
        """The settings that this board has; `SettingError` where none are known."""
        async with self._turn:
            return await self.driver.settings_map(identity)

    async def settings(self, settings_map: SettingsMap | None = None) -> Table:
        """All settings as the board holds them now.

        Where an answer does not name its question, all are read twice by questions that differ;
        `FrameError` if they do not agree.
        """
        found = settings_map or await self.settings_map(await self.identify())
        async with self._turn, self.driver.session(writing=False):
            image: Image = await self.driver.fetch(found.slots)
            if self.driver.timing.anonymous:
                image = await self._agreed(found, image)
            return Table(map=found, image=image)

    async def _agreed(self, settings_map: SettingsMap, first: Image) -> Image:
        """The image that two readings in a row give."""
        for attempt in range(_TRIES):
            again = await self.driver.fetch_again(settings_map.slots)
            if not settings_map.differing(first, again):
                return again
            await self.link.calm(2 * self.link.timing.timeout)
            if attempt < _TRIES - 1:
                first = await self.driver.fetch(settings_map.slots)
        raise FrameError(
            f"Two readings of the settings differed {_TRIES} times: the line gives answers to "
            "other questions, or somebody else changes settings. Check the wiring and other "
            "masters, and read again."
        )

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """What has to stand around `store`; nothing else may be asked of the device inside."""
        async with self._turn, self.driver.session(writing=True):
            yield

    async def fetch(self, slots: Sequence[Slot]) -> dict[int, bytes]:
        """Raw bytes of slots, inside `writing`."""
        return await self.driver.fetch(slots)

    async def store(
        self,
        settings_map: SettingsMap,
        slot: Slot,
        data: bytes,
        transaction: Transaction,
        patience: float = 0.0,
    ) -> float:
        """Write one slot, inside `writing`, and read it back until it shows.

        Gives back how long that took, s. It is looked for three times, and for `patience`
        seconds where that is longer: what a board shows may lag behind what it holds.
        The transaction knows of it before the device does. An acknowledgement proves nothing, and
        neither does a missing one. Raises `VerifyError` if something else is read afterwards
        (the error's `found` says what), `Refused`, `LinkTimeout`, …
        """
        transaction.note("write", slot=slot.address, new=data.hex())
        loop = asyncio.get_running_loop()
        lost: LinkTimeout | None = None
        step = self.driver.write_step(slot, data)
        try:
            heard = await self.driver.perform(step) or step.answer is None
        except LinkTimeout as error:
            heard, lost = False, error
        if not heard:  # the frame may be lost: whoever asked for it decides about another try
            patience = 0.0
        sent, looks, pause = loop.time(), 0, self.driver.settle
        found: bytes | None = None
        while looks < _TRIES or loop.time() - sent < patience:
            await asyncio.sleep(pause)
            found = (await self.driver.fetch([slot])).get(slot.address)
            if settings_map.same(slot.address, found, data):
                transaction.note("stored", slot=slot.address, found=data.hex())
                return loop.time() - sent
            looks += 1
            if looks >= _TRIES:
                pause = _LATER
        shown = None if found is None else found.hex()
        transaction.note("differs", slot=slot.address, new=data.hex(), found=shown)
        if not heard:
            raise lost or LinkTimeout(f"Nothing acknowledged setting {slot.address:02X}.")
        raise VerifyError(
            f"Setting {slot.address:02X} was written as {data.hex(' ')} and acknowledged, but "
            f"{'nothing' if found is None else found.hex(' ')} is read back.",
            found,
        )

    async def rehearse(
        self,
        writes: Sequence[tuple[Slot, bytes]],
        *,
        command: Command | None = None,
        adjustment: Adjustment | None = None,
    ) -> list[bytes]:
        """Every frame that writing these slots (or this command) would send, byte for byte.

        None of them is sent; what has to be read for them is.
        """
        async with self._turn:
            line = self.link.transport
            self.link.transport = valve = Holding(line)
            try:
                if command is not None:
                    await self.driver.perform(await self.driver.switch_step(command))
                elif adjustment is not None:
                    await self.driver.perform(await self.driver.adjust_step(adjustment))
                else:
                    async with self.driver.session(writing=True):
                        for slot, data in writes:
                            await self.driver.perform(self.driver.write_step(slot, data))
            finally:
                self.link.transport = line
        return valve.held

    async def send(self, command: Command, transaction: Transaction) -> None:
        """Set a switch. An acknowledgement proves nothing: read afterwards what it did.

        Raises `SettingError` where the protocol cannot, `Refused`, `LinkTimeout`, …
        """
        able = self.driver.can_switch(command.switch)
        if not able.supported:
            raise SettingError(f"{command.switch} cannot be switched: {able.reason}.")
        async with self._turn:
            step = await self.driver.switch_step(command)
            transaction.note("switch", switch=str(command.switch), on=command.on)
            await self.driver.perform(step)

    async def adjust(self, wish: Adjustment, transaction: Transaction) -> None:
        """Set the clock or the state of charge, once. Read afterwards what it did.

        Raises `SettingError` where the protocol cannot, `Refused`, `LinkTimeout`, …
        """
        for what in ("clock", "soc"):
            able = self.driver.can_adjust(what)
            if getattr(wish, what) is not None and not able.supported:
                raise SettingError(f"{what} cannot be set: {able.reason}.")
        async with self._turn:
            step = await self.driver.adjust_step(wish)
            transaction.note("adjust", clock=str(wish.clock or ""), soc=wish.soc)
            await self.driver.perform(step)

    async def clock(self) -> datetime | None:
        """What the board's clock shows; `None` where it does not say."""
        async with self._turn:
            return await self.driver.clock()

    async def stream(self, interval: float = 1.0) -> AsyncIterator[Reading]:
        """A reading every `interval` seconds, kept to the beat; errors end the stream."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            yield await self.read()
            due = max(due + interval, loop.time())
            await asyncio.sleep(due - loop.time())


def connect(
    target: str,
    *,
    protocol: str | None = None,
    address: int | None = None,
    baudrate: int | None = None,
    timeout: float | None = None,
    record: IO[bytes] | None = None,
    pin: str | Pin | None = None,
) -> Device:
    """The pack at a target, or by its name in bmslink.toml; opened by `async with`.

    The options override the target's own `?key=value`. `record` takes every byte both ways in
    the capture format, passwords blanked. `pin` is what a pack that asks who we are is told; else
    BMSLINK_PIN, else what stands beside the name in bmslink.toml. Raises `TargetError` at once,
    others on opening.
    """
    endpoint = resolve(
        target, protocol=protocol, address=address, baudrate=baudrate, timeout=timeout
    )
    return Device(
        endpoint,
        record=record,
        pin=pin if isinstance(pin, Pin) else find_pin(target, pin),
        named=find_pack(target),
    )
