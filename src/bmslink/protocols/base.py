"""What a protocol is made of: a framer, a codec (pure) and a driver (orders the requests).

To add one: a package with these three, one line in `DRIVERS`, its simulated board, captures under
`tests/fixtures/`. The driver carries as data what other packages want to know of the protocol.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, TypeVar

from bmslink.errors import FrameError, Refused, TargetError
from bmslink.link.gatt import Advert, Gatt
from bmslink.link.link import Frame, Framer, Link, Timing, Value
from bmslink.link.transport import Pin
from bmslink.model import Identity, Reading
from bmslink.past import BoardCounter, BoardEvent, BoardPast, reported_now
from bmslink.protocols.common.scale import Layout
from bmslink.protocols.common.settings_map import SettingsMap, WriteCommand
from bmslink.protocols.parts import ClockSoc, SettingsAccess, Switches
from bmslink.protocols.probe import Probe, Relatives

__all__ = [
    "Assembler",
    "Codec",
    "Driver",
    "Options",
    "Payload",
    "Record",
    "Requester",
    "Role",
    "require",
]

F = TypeVar("F", bound=Frame)

Role = Literal["reading", "identity", "settings", "log", "ack", "refusal", "request", "other"]


class Record(Value, frozen=True):
    """What one frame says, in plain values.

    `part` names the piece of a poll it is (frames of one poll carry different parts; a part that
    comes again begins the next poll); `None` for everything that is not live data. Frames that
    are numbered on the wire have parts like `95.3`, and a number that goes back begins the next
    poll too.
    """

    kind: str
    role: Role
    values: Mapping[str, Any] = {}
    part: str | None = None
    pack: int | None = None
    """Which of several packs on one line it is of; one of another pack begins the next poll."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A frame's payload with the layout that explains it, both ways."""

    layout: Layout
    data: bytes


class Codec(ABC, Generic[F]):
    """Frames of one device to meaning, and nothing else: no I/O, no clock.

    It may remember what later frames need (which JK variant, how many Daly cells, which register
    was asked for), so use one codec per device and feed it both directions in order.
    """

    whole: ClassVar[frozenset[str]] = frozenset()
    """The parts that make a poll complete; empty where only the next poll shows that it was."""

    @abstractmethod
    def decode(self, frame: F, *, sent: bool = False) -> Record:
        """What a frame says; `FrameError` if its payload fits no layout. `sent`: it went out."""

    @abstractmethod
    def payload(self, frame: F, *, sent: bool = False) -> Payload | None:
        """The payload and its layout, or `None` where the payload is empty or opaque.

        Must be called before `decode` of the same frame: it looks at what is remembered, and
        changes nothing.
        """

    @abstractmethod
    def reading(self, records: Sequence[Record]) -> Reading:
        """Merge the parts of one poll; what did not come stays `None`."""

    @abstractmethod
    def identity(self, records: Sequence[Record]) -> Identity:
        """Merge what is known about who the device is (identity parts and live parts alike)."""

    def scrub(self, frame: F) -> bytes | None:
        """The frame with its secrets blanked and its checksum renewed; `None`: no secrets."""
        return None

    names_of_board: ClassVar[frozenset[str]] = frozenset()
    """The fields of its layouts that say whose board it is: serial numbers, names, user data."""

    def private(self, frame: F) -> frozenset[str]:
        """Those of one frame."""
        return self.names_of_board

    def forget_settings(self) -> None:
        """What was read of the settings long ago may not be in the device any more."""

    def scrub_noise(self, data: bytes) -> bytes:
        """Bytes that are no valid frame, with what may be a secret in them blanked."""
        return data


class Assembler(Generic[F]):
    """Gathers the frames of each poll into one reading, offline.

    A part that came alone is a reading too, with what it says and no more (JBD's 03, asked to
    identify the board, comes again with the first poll): it was measured all the same, and a
    recording does not say what it was asked for. `at_once`: a poll ends with the last of its parts
    where the protocol says which those are.
    """

    def __init__(self, codec: Codec[F], *, at_once: bool = False) -> None:
        self.codec = codec
        self._whole = codec.whole if at_once else frozenset()
        self._parts: dict[str, Record] = {}
        self._time: datetime | None = None

    def add(self, record: Record, time: datetime | None = None) -> Reading | None:
        """Take a record; gives back the reading that it closes by beginning the next one."""
        if record.part is None:
            return None
        done = self.finish() if self._begins_next(record, record.part) else None
        self._parts[record.part] = record
        self._time = time
        complete = self._whole and self._whole <= self._parts.keys()
        return self.finish() if complete and done is None else done

    def _begins_next(self, record: Record, part: str) -> bool:
        """A part that comes again, or from another pack, or a numbered one that counts back."""
        if part in self._parts or any(r.pack != record.pack for r in self._parts.values()):
            return True
        series, dot, number = part.partition(".")
        return bool(dot) and any(
            int(other.partition(".")[2]) > int(number)
            for other in self._parts
            if other.startswith(f"{series}.")
        )

    def finish(self) -> Reading | None:
        """The reading of the parts that wait, if any."""
        if not self._parts:
            return None
        reading = self.codec.reading(list(self._parts.values()))
        reading = replace(reading, time=self._time)
        self._parts.clear()
        return reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a target may say about its device."""

    address: int | None = None
    current_sign: Literal["auto", "normal", "inverted"] = "auto"
    variant: str | None = None
    """What is known beforehand about the dialect (`24s`, `32s`), where frames alone cannot tell."""
    pin: Pin = field(default_factory=Pin, compare=False)
    """What is answered to a device that asks who we are."""


Requester = Callable[[int | None], Any]
"""The frame of a request, for an address or for a board without one."""

_DRY_RUNS: ContextVar[Mapping[Driver[Any], list[bytes]]] = ContextVar(
    "dry runs", default=MappingProxyType({})
)
"""Driver -> what it would have sent, of the drivers that this task only lets rehearse."""


class Driver(ABC, Generic[F]):
    """Orders the requests of one protocol over a link: who it is, what it measures.

    What can be changed are its parts, `settings`, `switches` and `clock_soc`, which a driver
    makes when it is made itself; `perform` sends what they make.
    """

    name: ClassVar[str]
    vendor: ClassVar[str]
    timing: ClassVar[Timing]
    addresses: ClassVar[range] = range(0)
    """What a target's `address` may be; empty where the protocol knows no addresses."""
    modules: ClassVar[tuple[Gatt, ...]] = ()
    """The radio modules it is spoken through, the likeliest first; empty: not over Bluetooth."""
    adverts: ClassVar[tuple[Advert, ...]] = ()
    """What such boards advertise."""
    vendor_name: ClassVar[str] = ""
    """The vendor's name for people, where the driver has adverts."""
    radio_rank: ClassVar[int] = 90
    """Where an advert leaves several protocols open, that with the smallest is asked first."""
    probes: ClassVar[tuple[Probe, ...]] = ()
    """The questions that find such a board on a line; the first is the one that an address in a
    target is put into, and whose frames are overheard."""
    requests: ClassVar[Mapping[str, Requester]] = {}
    """Its read requests by name, those of one poll first and in their order."""
    relatives: ClassVar[Relatives] = ""
    """Whether such boards may answer other protocols of their vendor as well."""
    streams: ClassVar[bool] = False
    """Whether the board goes on sending by itself once somebody has asked it."""
    yields: ClassVar[bool] = False
    """Whether the driver sends nothing where somebody else asks."""
    responder: ClassVar[str] = ""
    """The simulated board, as "module:Class": loaded by name, because it is built on drivers."""
    counts_seconds: ClassVar[bool] = False
    """Whether the `uptime` of its readings moves every second, as recordings show."""

    def __init__(self, link: Link[F], options: Options) -> None:
        if options.address is not None and options.address not in self.addresses:
            raise TargetError(
                f"{self.name} boards have the addresses {self.addresses[0]} to "
                f"{self.addresses[-1]}, not {options.address}."
                if self.addresses
                else f"{self.name} knows no addresses: leave address={options.address} away."
            )
        self.link = link
        self.options = options
        self.codec: Codec[F] = self.make_codec(options)

    @classmethod
    @abstractmethod
    def make_framer(cls) -> Framer[F]:
        """A new framer for one direction of one line."""

    @classmethod
    @abstractmethod
    def make_codec(cls, options: Options) -> Codec[F]:
        """A new codec for one device."""

    @classmethod
    def every_map(cls) -> tuple[SettingsMap, ...]:
        """Maps that together hold every setting that a board of this protocol may have."""
        return ()

    @abstractmethod
    async def identify(self) -> Identity:
        """Ask who it is, by reading only."""

    @abstractmethod
    async def read(self) -> Reading:
        """One complete poll (for a streaming device: the next one that arrives)."""

    past_missing: ClassVar[Mapping[str, str]] = {}
    """Why boards of this protocol tell no `events` or `counters` of their past, where more is
    known than that nothing documents them."""

    async def past(self, limit: int, *, brief: bool = False) -> BoardPast:
        """What the board remembers, by reading only: at most `limit` entries where each is asked
        for by itself. `brief`: nothing that would keep the line for more than a few seconds."""
        return self.past_of(await self.read())

    def past_of(
        self,
        reading: Reading | None = None,
        *,
        events: tuple[BoardEvent, ...] | None = None,
        samples: tuple[BoardEvent, ...] = (),
        counters: tuple[BoardCounter, ...] | None = None,
        missing: Mapping[str, str] = MappingProxyType({}),
        clock: datetime | None = None,
    ) -> BoardPast:
        """What was found; why there are no events or counters is in `missing` or `past_missing`,
        where they are `None`."""
        undocumented = f"not documented for {self.name}"
        reasons = {
            what: self.past_missing.get(what, undocumented)
            for what, found in (("events", events), ("counters", counters))
            if found is None
        }
        return BoardPast(
            protocol=self.name,
            clock=clock,
            events=events or (),
            samples=samples,
            counters=counters or (),
            now=None if reading is None else reported_now(reading),
            missing=reasons | dict(missing),
        )

    async def start(self) -> None:
        """Called once after the link is open, before anything else."""

    def forget(self) -> None:
        """Another board may answer by now: who it is, is asked and not remembered."""

    # ---------------------------------------------------------------------------------- parts

    settings: SettingsAccess[F] | None = None
    """Its settings; a part that the driver makes of itself, as the two below."""
    no_settings_reason: ClassVar[str] = "nothing proves how its settings are written"
    """Why it has no `settings`."""
    switches: Switches[F] | None = None
    """Its switches."""
    clock_soc: ClockSoc[F] | None = None
    """Its clock and state of charge."""
    no_clock_soc_reasons: ClassVar[Mapping[str, str]] = {}
    """Why it has no `clock_soc`, for `clock` and `soc`, where more is known than that nothing
    proves how they are set."""

    # ---------------------------------------------------------------------------------- sending

    async def perform(self, step: WriteCommand[F]) -> bool:
        """Send one frame that changes something: the only place that does.

        Gives back whether something acknowledged it. Raises `Refused`, `LinkTimeout`, … An
        acknowledgement proves nothing: who writes must read back. Inside `collecting` the frame
        is kept instead of sent.
        """
        return await self._perform(step, self.codec)

    async def perform_apart(self, step: WriteCommand[F]) -> bool:
        """The same at once, in the middle of somebody else's questions: nothing that the codec
        remembers of those is touched."""
        return await self._perform(replace(step, urgent=True), self.make_codec(self.options))

    async def _perform(self, step: WriteCommand[F], codec: Codec[F]) -> bool:
        codec.decode(step.frame, sent=True)
        if (kept := _DRY_RUNS.get().get(self)) is not None:
            self.link.alive()
            kept.append(self.link.framer.encode(step.frame))
            return False
        self.sending(step)
        answer = await self.exchange(step)
        if answer is not None:
            self._check(step, codec.decode(answer))
        return answer is not None

    @contextmanager
    def collecting(self) -> Iterator[list[bytes]]:
        """A dry run: what is performed inside, and in tasks that begin inside, is kept in the
        list; questions are sent, and so is what other tasks perform meanwhile."""
        kept: list[bytes] = []
        token = _DRY_RUNS.set({**_DRY_RUNS.get(), self: kept})
        try:
            yield kept
        finally:
            _DRY_RUNS.reset(token)

    @property
    def dry(self) -> bool:
        """Whether this task is inside `collecting`."""
        return self in _DRY_RUNS.get()

    def sending(self, step: WriteCommand[F]) -> None:
        """A step is next to leave: for parts that remember what they sent."""
        return

    async def exchange(self, step: WriteCommand[F]) -> F | None:
        """Send a step's frame and give back what acknowledges it."""
        if step.answer is None:
            await self.link.send(step.frame, urgent=step.urgent, leaving=step.leaving)
            return None
        return await self.send_step(step, step.answer, 0 if step.once else None)

    async def send_step(
        self, step: WriteCommand[F], answer: Callable[[F], bool], retries: int | None
    ) -> F:
        """Send a step's frame, at most `retries` times more, and give back what answers it."""
        got = await self.link.collect(
            step.frame, answer, bool, retries=retries, urgent=step.urgent, leaving=step.leaving
        )
        return got[0]

    def _check(self, step: WriteCommand[F], record: Record) -> None:
        if record.role == "refusal":
            why = record.values.get("meaning", "no reason given")
            raise Refused(f"The board refuses {step.what}: {why}.", record.values.get("status"))


def require(condition: object, message: str, data: bytes = b"") -> None:
    """`FrameError` unless the condition holds."""
    if not condition:
        raise FrameError(message, data)
