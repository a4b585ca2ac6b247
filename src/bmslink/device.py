"""One pack behind one link: connect, identify, read, stream.

```python
async with bmslink.connect("sim://jbd?cells=16&seed=1") as device:
    reading = await device.read()
```
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import IO, Any, Literal, Self, cast

from bmslink.capture import CaptureHeader, Recorder, Writer, open_capture
from bmslink.errors import LinkTimeout, TargetError, TransportError
from bmslink.link import Link, Timing
from bmslink.model import Capability, Identity, Reading
from bmslink.packs import named
from bmslink.protocols import DRIVERS, VENDORS, load_driver
from bmslink.protocols.base import Driver, Options
from bmslink.sharing import shared
from bmslink.transport import Endpoint, Transport, make_transport, parse_target, require_scheme

__all__ = ["Device", "connect", "resolve"]

_log = logging.getLogger(__name__)

_READ_ONLY = "This version reads only."


def resolve(
    target: str | Endpoint,
    *,
    protocol: str | None = None,
    address: int | None = None,
    baudrate: int | None = None,
    timeout: float | None = None,
) -> Endpoint:
    """A target (or a name from bmslink.toml) with its options applied and its protocol settled.

    Raises `TargetError` if it cannot be.
    """
    endpoint = parse_target(named(target)) if isinstance(target, str) else target
    endpoint = endpoint.with_query(address=address, baudrate=baudrate, timeout=timeout)
    require_scheme(endpoint)
    name = protocol or endpoint.protocol
    if name is None and endpoint.scheme == "sim":
        name = "jk02"
    if name is None and endpoint.scheme == "replay":
        name = open_capture(endpoint.place)[0].protocol or None
    if name is None:
        raise TargetError(
            f"Which protocol does {endpoint} speak? Put it in front (jbd+{endpoint}) or give "
            f"--protocol; known: {', '.join(DRIVERS)}."
        )
    if name in VENDORS and name not in DRIVERS:
        spoken = [known for known in DRIVERS if known.startswith(name)]
        raise TargetError(f"{name!r} is a vendor; name the protocol: {' or '.join(spoken)}.")
    load_driver(name)
    return replace(endpoint, protocol=name)


def _timing(base: Timing, endpoint: Endpoint) -> Timing:
    changes: dict[str, Any] = {}
    for key, low, high in (("timeout", 0.01, 60.0), ("gap", 0.0, 10.0)):
        value = endpoint.number(key)
        if value is not None:
            if not low <= value <= high:
                raise TargetError(f"{key} must be {low:g} to {high:g} s, in target {endpoint}.")
            changes[key] = value
    baudrate = endpoint.integer("baudrate")
    if baudrate is not None:
        if not 300 <= baudrate <= 4_000_000:
            raise TargetError(f"baudrate={baudrate} is not possible, in target {endpoint}.")
        changes["baudrate"] = baudrate
    return replace(base, **changes)


def _options(endpoint: Endpoint) -> Options:
    sign = endpoint.query.get("current_sign", "auto")
    if sign not in ("auto", "normal", "inverted"):
        raise TargetError(f"current_sign is auto, normal or inverted, not {sign!r}.")
    address = endpoint.integer("address")
    if address is not None and not 0 <= address <= 255:
        raise TargetError(f"address={address} is not 0 to 255, in target {endpoint}.")
    return Options(address=address, current_sign=cast(Literal["auto", "normal", "inverted"], sign))


class Device:
    """A pack. Use it as an async context manager; `target` is the endpoint as resolved."""

    def __init__(self, endpoint: Endpoint, *, record: IO[bytes] | None = None) -> None:
        driver = load_driver(cast(str, endpoint.protocol))
        timing = _timing(driver.timing, endpoint)
        options = _options(endpoint)
        self.target = endpoint
        self._writer: Writer | None = None
        transport: Transport = shared(
            make_transport(
                endpoint.with_query(baudrate=timing.baudrate)
                if endpoint.scheme in ("serial", "rfc2217")
                else endpoint,
                driver.modules,
            )
        )
        self._recorded = record is not None
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
        self.link: Link[Any] = Link(transport, driver.make_framer(), timing, name=str(endpoint))
        self.driver: Driver[Any] = driver(self.link, options)
        self._turn = asyncio.Lock()  # codecs remember the latest question: one poll at a time

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
        if self._recorded and self._writer is None:
            raise TransportError("The recording of this device is finished: connect anew.")
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
        await self.link.close()
        await self.open()

    async def close(self) -> None:
        """Close the link and the recording."""
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

    async def identify(self) -> Identity:
        """Who the pack is, by reading only. Raises `LinkTimeout`, `Refused`, …"""
        async with self._turn:
            with self._waiting():
                identity = await self.driver.identify()
        return replace(
            identity,
            capabilities={
                "read": Capability(True),
                "settings": Capability(False, _READ_ONLY),
                "switch": Capability(False, _READ_ONLY),
            },
            map={"name": "", "evidence": _READ_ONLY},
        )

    async def read(self) -> Reading:
        """One complete reading. Raises `LinkTimeout`, `LinkClosed`, `Refused`, `FrameError`."""
        async with self._turn:
            with self._waiting():
                reading = await self.driver.read()
            return replace(reading, target=str(self.target), time=self.link.received_at)

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
) -> Device:
    """The pack at a target, or by its name in bmslink.toml; opened by `async with`.

    The options override the target's own `?key=value`. `record` takes every byte both ways in
    the capture format, passwords blanked. Raises `TargetError` at once, others on opening.
    """
    endpoint = resolve(
        target, protocol=protocol, address=address, baudrate=baudrate, timeout=timeout
    )
    return Device(endpoint, record=record)
