"""One line that is searched for packs: what is overheard on it, and one question at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from bmslink.discovery.probes import PROBES, ProbeStep
from bmslink.errors import FrameError, LinkClosed
from bmslink.link.transport import Transport
from bmslink.model import Identity
from bmslink.protocols import load_driver
from bmslink.protocols.base import Options, Record
from bmslink.protocols.probe import Probe

__all__ = ["Heard", "Hit", "ProbedLine", "overheard"]

Heard = Literal["silence", "echo", "garbage", "other", "master", "hit"]

_LONGEST = 1 << 14
"""Bytes that are kept of what a line brings: more than a round of a full JK bus."""
_ENDLESS = 1.5
"""s after which an answer is taken to have ended, however much still comes."""
_GAP = 0.12
"""s of quiet between an answer and the next question: fewer lose Daly's and JK's answers."""
_ORDER = [name for probe in PROBES for name in probe.protocols]
_LIVE_ROLES = ("reading", "identity", "settings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A pack that was proven."""

    protocol: str
    baudrate: int
    address: int | None = None
    speaker: int | None = None
    """The address that the answer itself names."""
    identity: Identity = field(default_factory=Identity)
    question: str = ""
    """What it answered; empty: it was only overheard."""
    pushes: bool = False
    """It was overheard, but nobody who asks it: it sends its values by itself."""

    @property
    def rank(self) -> tuple[int, int]:
        """The best to use first."""
        return _ORDER.index(self.protocol), -1 if self.address is None else self.address


# ------------------------------------------------------------------------------------ listening


def _explained(codec: Any, frame: Any, *, sent: bool = False) -> Record | None:
    try:
        record: Record = codec.decode(frame, sent=sent)
    except FrameError:
        return None
    return record


def overheard(data: bytes, baudrate: int) -> list[Hit]:
    """The packs whose frames stand in what a line brought, whoever asked for them."""
    hits: dict[tuple[str, int | None], Hit] = {}
    for probe in PROBES:
        if not probe.overhears:
            continue
        for name in probe.protocols:
            driver = load_driver(name)
            framer, codec = driver.make_framer(), driver.make_codec(Options())
            by_address: dict[int | None, list[Record]] = {}
            asked = False
            for frame in [*framer.feed(data), *framer.flush()]:
                record = _explained(codec, frame)
                asked |= record is not None and record.role == "request"
                if record is not None and (record.role in _LIVE_ROLES or record.part):
                    by_address.setdefault(probe.speaker(frame), []).append(record)
            named = [address for address in by_address if address is not None]
            for address in named or by_address:
                identity = _identity(codec, by_address[address], name)
                hits[name, address] = Hit(
                    protocol=name,
                    baudrate=baudrate,
                    address=address,
                    identity=identity,
                    pushes=driver.streams and not asked,
                )
            if by_address:
                break
    return sorted(_without_doubles(list(hits.values()), data), key=lambda hit: hit.rank)


def _without_doubles(hits: Sequence[Hit], data: bytes) -> list[Hit]:
    """One protocol may carry the frames of another: its probe knows which of them is meant."""
    heard = [(hit.protocol, hit.address, hit.identity) for hit in hits]
    names = {hit.protocol for hit in hits}
    unwanted = {probe.rules_out(heard, data) for probe in PROBES if probe.protocol in names}
    return [hit for hit in hits if hit.protocol not in unwanted]


def _identity(codec: Any, records: Sequence[Record], name: str) -> Identity:
    with suppress(FrameError):
        identity: Identity = codec.identity(records)
        return identity
    return Identity(protocol=name)


# ---------------------------------------------------------------------------------------- asking


class ProbedLine:
    """One line, open at one speed."""

    def __init__(self, transport: Transport, baudrate: int, patience: float) -> None:
        self._transport = transport
        self.baudrate = baudrate
        self._patience = patience
        self._data = bytearray()
        self.total = 0
        self._last = float("-inf")
        self._news = asyncio.Event()
        self._lost: Exception | None = None

    async def open(self) -> None:
        await self._transport.open(self._on_data, self._on_lost)

    async def close(self) -> None:
        await self._transport.close()

    def _on_data(self, data: bytes) -> None:
        self.total += len(data)
        self._last = asyncio.get_running_loop().time()
        self._data += data[: _LONGEST - len(self._data)]
        self._news.set()

    def _on_lost(self, error: Exception | None) -> None:
        self._lost = error or LinkClosed("The other side closed the connection.")
        self._news.set()

    def take(self) -> bytes:
        """What came since the last time."""
        data = bytes(self._data)
        self._data.clear()
        self._news.clear()
        return data

    async def more(self, deadline: float) -> bytes:
        """What comes next; empty when nothing has come until the deadline."""
        if not self._data and self._lost is None:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
        if self._lost is not None:
            raise LinkClosed(str(self._lost)) from self._lost
        return self.take()

    async def listen(self, seconds: float) -> bytes:
        """All that comes within that time, and what waits already."""
        deadline = asyncio.get_running_loop().time() + seconds
        heard = bytearray()
        while asyncio.get_running_loop().time() < deadline:
            heard += (await self.more(deadline))[: _LONGEST - len(heard)]
        return bytes(heard)

    async def quiet(self) -> bytes:
        """Wait until the last answer is over; a line that others keep busy never is. Gives back
        what came since."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + _ENDLESS
        while True:
            rest = min(self._last + _GAP, latest) - loop.time()
            if rest <= 0:
                break
            await asyncio.sleep(rest)
        return self.take()

    async def ask(self, step: ProbeStep) -> tuple[Heard, Hit | None, bytes]:
        """One question on a quiet line: what came, the pack that it proves, and the bytes."""
        async with self._transport.turn(listens=True):
            exchange = _Exchange(step.probe, step.address)
            data = await self._exchange(exchange)
            if exchange.proof is not None and step.probe.confirm is not None:
                second = _Exchange(step.probe, step.address, step.probe.confirm)
                await self.quiet()
                data += await self._exchange(second)
                if second.proof is None:
                    return "garbage", None, data
        return *exchange.verdict(self.baudrate), data

    async def _exchange(self, exchange: _Exchange) -> bytes:
        loop = asyncio.get_running_loop()
        await self._transport.write(exchange.sent)
        start = loop.time()
        wire = 10 * len(exchange.sent) / self.baudrate if self.baudrate else 0.0
        latest = start + wire + exchange.probe.within + self._patience + _ENDLESS
        first = deadline = latest - _ENDLESS
        heard = bytearray()
        while exchange.proof is None:
            data = await self.more(deadline)
            heard += data
            exchange.take(data)
            if not data or len(heard) >= _LONGEST or loop.time() > latest:
                break
            deadline = min(max(first, loop.time() + exchange.idle + self._patience), latest)
        return bytes(heard)


class _Exchange:
    """A question, and what came of it so far."""

    def __init__(self, probe: Probe, address: int | None, question: Any = None) -> None:
        self.probe = probe
        self.address = address
        driver = load_driver(probe.protocol)
        self.idle = driver.timing.idle
        self._framer = driver.make_framer()
        self._request = probe.ask(address) if question is None else question
        self.sent: bytes = self._framer.encode(self._request)
        self._framer.expect(self._request)
        self._head: bytes | None = b""  # what may still be the beginning of the echo
        self._echoed = False
        self._frames: list[Any] = []
        self._garbled = False
        self.proof: Any = None

    def take(self, data: bytes) -> None:
        """Bytes of the answer; none: the line is silent."""
        fresh = self._without_echo(data)
        self._garbled |= bool(fresh)
        frames = self._framer.feed(fresh) if fresh else []
        for frame in frames if data else [*frames, *self._framer.flush()]:
            self._frames.append(frame)
            if self.proof is None and self.probe.fits(self._request, frame):
                self.proof = frame

    def _without_echo(self, data: bytes) -> bytes:
        """Some adapters hear themselves."""
        if self._head is None:
            return data
        self._head += data
        if data and len(self._head) < len(self.sent) and self.sent.startswith(self._head):
            return b""
        whole, self._head = self._head, None
        self._echoed = whole.startswith(self.sent)
        return whole[len(self.sent) :] if self._echoed else whole

    def verdict(self, baudrate: int) -> tuple[Heard, Hit | None]:
        """What all of it means."""
        if self.proof is not None:
            hit = self._hit(baudrate)
            return ("other", None) if hit is None else ("hit", hit)
        if not self._garbled:
            return ("echo" if self._echoed else "silence"), None
        codec = load_driver(self.probe.protocol).make_codec(Options())
        foreign = [frame for frame in self._frames if frame.raw != self.sent]
        records = [_explained(codec, frame) for frame in foreign]
        if self.probe.overhears and any(r is not None and r.role == "request" for r in records):
            return "master", None
        if self._frames and not foreign:  # the echo, behind what the turning of the line made
            return "echo", None
        return ("other" if foreign else "garbage"), None

    def _hit(self, baudrate: int) -> Hit | None:
        for name in self.probe.protocols:
            codec = load_driver(name).make_codec(Options())
            _explained(codec, self._request, sent=True)
            if self.probe.confirm is None and _explained(codec, self.proof) is None:
                continue
            codec = load_driver(name).make_codec(Options())
            _explained(codec, self._request, sent=True)
            records = [record for f in self._frames if (record := _explained(codec, f))]
            identity = _identity(codec, records, name)
            if self.probe.proves(identity):
                return Hit(
                    protocol=name,
                    baudrate=baudrate,
                    address=self.address,
                    speaker=self.probe.speaker(self.proof),
                    identity=identity,
                    question=self.probe.question,
                )
        return None
