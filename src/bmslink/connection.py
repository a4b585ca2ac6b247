"""Opening and closing: the transport, the link and the driver of one pack."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self, cast

from bmslink.arguments import checked
from bmslink.errors import (
    BmsError,
    LinkClosed,
    LinkTimeout,
    TargetError,
    TransportError,
)
from bmslink.link.capture import CaptureHeader, Writer
from bmslink.link.gatt import Gatt, SeenDevice
from bmslink.link.link import Link
from bmslink.link.recorder import Recorder
from bmslink.link.shared_line import shared
from bmslink.link.tap import Tap
from bmslink.link.transport import Endpoint, Pin, Transport, make_transport
from bmslink.link.turns import Turns
from bmslink.model import Identity
from bmslink.packs import NamedPack
from bmslink.places import look_up_soon
from bmslink.protocols import load_driver
from bmslink.protocols.base import Driver
from bmslink.protocols.common.settings_map import SettingsMap
from bmslink.switched_off import SwitchedOff
from bmslink.target import options_of, settled, timing_of

__all__ = ["Connection", "MakeTransport", "OnProgress"]

OnProgress = Callable[[str, int, int], None]
"""Takes what is done, how much of it, and of how much."""

_log = logging.getLogger(__name__)

MakeTransport = Callable[[Sequence[Gatt], Pin], Transport]
"""Gets the radio modules of the protocol, and what a pack is told that asks for a pin."""
_NOT_OPEN = "The link is not open: use the device inside its `with` block."


@dataclass(slots=True)
class _Stage:
    """Questions for settings, and how many of them were asked."""

    doing: str
    total: int
    done: int = 0


class Connection:
    """A link to a pack, opened and closed. Use it as an async context manager.

    `target` is the endpoint as resolved. Where that leaves the protocol open, opening finds it by
    questions that only read; from then on `target` names it, and there are `link` and `driver`.
    """

    _link: Link[Any] | None = None
    _driver: Driver[Any] | None = None

    @checked(TargetError)
    def __init__(
        self,
        endpoint: Endpoint,
        *,
        record: IO[bytes] | None = None,
        pin: Pin | None = None,
        tell: Callable[[str], None] = _log.info,
        named: NamedPack | None = None,
        transport: MakeTransport | None = None,
        tapped: bool = False,
    ) -> None:
        """`tell` gets sentences about the search for the protocol; `named` is what bmslink.toml
        says of the pack, where it was asked for by a name. `transport` makes one that the
        endpoint alone does not. `tapped`: there is a `tap`, for who serves the pack."""
        self.target: Endpoint = endpoint
        self.named = named
        self._tell = tell
        self._make = transport
        self._pin = pin or Pin()
        self._record = record
        self._writer: Writer | None = None
        self._tally: Writer | None = None  # the same, also after it was closed
        self._tapped = tapped
        self.tap: Tap | None = None
        """Where others listen to the line, or have it for a while; once the protocol is known."""
        self._built = False
        self._map: SettingsMap | None = None
        self._no_map = ""
        self._turn = Turns()  # codecs remember the latest question: one poll at a time
        self.known: Identity | None = None
        """Who it said it is since the link was opened last."""
        self.opened: bool = False
        """Whether it was opened and not closed since; the link may be lost all the same."""
        self.openings: int = 0
        """How often the link was opened: each time another board may answer."""
        self.offs: SwitchedOff = SwitchedOff()
        """What is switched off while something else is under way."""
        self.on_progress: OnProgress | None = None
        """Is told how far a long piece of work is: what is done (`reading`, `writing`, `checking`,
        `waiting`), how much of it, and of how much: settings, or seconds of waiting. It is called
        in the middle of that work: it has to return at once, and what it raises is dropped."""
        self._stage: _Stage | None = None
        if settled(endpoint):
            self._build()

    def _build(self) -> None:
        """All that depends on the protocol."""
        endpoint, record = self.target, self._record
        driver = load_driver(cast(str, endpoint.protocol))
        timing = timing_of(driver.timing, endpoint)
        options = options_of(endpoint, self._pin)
        if self._make is not None:
            made = self._make(driver.modules, self._pin)
        elif endpoint.scheme in ("serial", "rfc2217"):
            made = make_transport(endpoint.with_query(baudrate=timing.baudrate))
        else:
            made = make_transport(endpoint, driver.modules, self._pin)
        transport: Transport = shared(made)
        if self._tapped:
            transport = self.tap = Tap(transport)
        if record is not None:
            self._writer = self._tally = self.make_writer(record)
            transport = Recorder(transport, self._writer)
        self._link = Link(
            transport,
            driver.make_framer(),
            timing,
            name=str(endpoint),
            address=options.address,
            addressed=bool(driver.addresses),
        )
        self._driver = driver(self._link, options)
        if self._driver.settings is not None:
            self._driver.settings.on_asked = self._asked
        self._built = True

    def make_writer(self, file: IO[bytes]) -> Writer:
        """A recording of this pack's line in a file, passwords blanked; for a known protocol."""
        driver = load_driver(cast(str, self.target.protocol))
        codec = driver.make_codec(options_of(self.target, self._pin))
        return Writer(
            file,
            CaptureHeader.now(protocol=driver.name, target=str(self.target)),
            framer=driver.make_framer,
            scrub=codec.scrub,
            scrub_noise=codec.scrub_noise,
        )

    @property
    def link(self) -> Link[Any]:
        """The link; `LinkClosed` before the protocol is known."""
        if self._link is None:
            raise LinkClosed(_NOT_OPEN)
        return self._link

    @property
    def driver(self) -> Driver[Any]:
        """What speaks the protocol; `LinkClosed` before it is known."""
        if self._driver is None:
            raise LinkClosed(_NOT_OPEN)
        return self._driver

    def peer(self) -> SeenDevice | None:
        """The radio module at the other side, while a Bluetooth connection is open."""
        return None if self._link is None else self._link.transport.peer()

    def elsewhere(self, name: str) -> Callable[..., Any] | None:
        """What does a function of `config` (by its name) with this board in another process, where
        that owns its line. `None`: it is done here."""
        return None

    def progress(self, doing: str, done: int, total: int) -> None:
        """Tell `on_progress`."""
        if self.on_progress is not None:
            with suppress(Exception):  # whatever it does, the work goes on
                self.on_progress(doing, min(done, total), total)

    @contextmanager
    def stage(self, doing: str, total: int) -> Iterator[None]:
        """Around questions for so many settings, which are told as they are asked; inside of
        another stage they count there."""
        before = self._stage
        self._stage = before or _Stage(doing, total)
        try:
            yield
        finally:
            self._stage = before

    def _asked(self, count: int) -> None:
        if self._stage is not None:
            self._stage.done += count
            self.progress(self._stage.doing, self._stage.done, self._stage.total)

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
            from bmslink.discovery.scan import detect  # it loads every protocol

            self.target = await detect(self.target, pin=self._pin, tell=self._tell)
            self._build()
        self.known = None
        self.openings += 1
        self._map, self._no_map = None, ""  # another board may answer now
        look_up_soon(self.target)
        _log.info("%s is being opened.", self.target)
        try:
            await self.link.open()
            with self.guarding():
                if self.driver.settings is not None:
                    await self.driver.settings.new_line()
                await self.driver.start()
        except BaseException:
            await self.link.close()
            raise
        self.opened = True
        _log.info("%s is open.", self.target)

    @property
    def recorded(self) -> tuple[int, int]:
        """Pieces and bytes in the recording; 0 where there is none."""
        return (0, 0) if self._tally is None else (self._tally.pieces, self._tally.bytes)

    async def reopen(self) -> None:
        """Close and open again, after the link was lost; a recording goes on."""
        if self._built:
            await self.link.close()
        await self.open()

    async def close(self) -> None:
        """Close the link and the recording."""
        self.opened = False
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

    def _speaks(self, error: LinkTimeout) -> str:
        """The other protocol that the bytes are of which came instead of an answer, if any."""
        if error.heard != "garbage":
            return ""
        from bmslink.protocols.recognition import recognise  # it loads every protocol

        heard = self.link.recent
        found = recognise(heard)
        return found.name if found.explained * 2 > len(heard) else ""

    def _other_protocol(self, error: LinkTimeout) -> str:
        """How to find out what a board speaks that never answered in this protocol."""
        scheme, place = self.target.scheme, self.target.place
        if error.heard == "other" or self.link.received_at is not None:
            return ""
        if scheme not in ("serial", "tcp", "rfc2217"):
            return ""
        port = place if scheme == "serial" else f"{scheme}://{place}"
        return f"`bmslink scan --port {shlex.quote(port)}` finds out which protocol it speaks."

    @contextmanager
    def guarding(self, *, advising: bool = True) -> Iterator[None]:
        """Around all that drivers do. A recording needs no advice about wires and masters, and
        what a mistake of ours raises (a `KeyError`, …) leaves as one of our own errors: then a
        change that is under way is set back, and its transaction closed. `advising`: what came
        instead of an answer is looked at, which takes a moment."""
        try:
            yield
        except LinkTimeout as error:
            if self.target.scheme != "replay":
                name = self._speaks(error) if advising else ""
                if name in ("", self.driver.name):
                    advice = self._other_protocol(error) if advising else ""
                    if advice and advice not in str(error):  # once, where this is nested
                        raise LinkTimeout(f"{error} {advice}", error.heard) from error
                    raise
                raise LinkTimeout(
                    f"What came are frames of {name}, not of {self.driver.name}: write {name}+… "
                    "as the target.",
                    error.heard,
                ) from error
            raise LinkTimeout(
                f"The recording {self.target.place} holds no further answer to what is asked; "
                f"`bmslink decode {self.target.place}` shows what it holds.",
                error.heard,
            ) from error
        except (BmsError, OSError):
            raise
        except Exception as error:
            raise BmsError(
                f"bmslink made a mistake with {self.target} ({type(error).__name__}: {error}). "
                "Please report it, with a recording if you can."
            ) from error
