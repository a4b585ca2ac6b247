"""The device's side of the wire: requests in, answers out, through the same codecs.

A responder is pure: bytes and the time go in, bytes with a delay come out. `serve` and
`transport` put it on a pty, a TCP port, or nothing at all.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, Self

from bmslink.arguments import did_you_mean
from bmslink.errors import TargetError
from bmslink.link.transport import load
from bmslink.protocols import DRIVERS, is_protocol, load_driver

if TYPE_CHECKING:
    from bmslink.simulation.pack.pack import Pack

__all__ = [
    "RESPONDERS",
    "Answer",
    "Node",
    "Responder",
    "hear",
    "make_responder",
    "responder_class",
    "speak",
]


class _Responders(Mapping[str, str]):
    """What each driver names; a look at one protocol loads that driver only."""

    def __getitem__(self, protocol: str) -> str:
        if not is_protocol(protocol) or not (path := load_driver(protocol).responder):
            raise KeyError(protocol)
        return path

    def __iter__(self) -> Iterator[str]:
        return (name for name in DRIVERS if load_driver(name).responder)

    def __len__(self) -> int:
        return sum(1 for _ in self)


RESPONDERS: Mapping[str, str] = _Responders()
"""Protocol name -> "module:Responder", of every protocol with a simulated board."""


class Answer(NamedTuple):
    """Bytes that leave the device `delay` seconds after the request was complete."""

    delay: float
    data: bytes


class Node(Protocol):
    """What is at the end of a line: a device, or several on one bus."""

    @property
    def baudrate(self) -> int:
        """Its speed."""

    @property
    def period(self) -> float | None:
        """How often it speaks by itself, s; `None`: never."""

    def receive(self, data: bytes) -> list[Answer]:
        """Bytes from the client, cut anywhere; the answers they cause, in order."""

    def line(self) -> Node:
        """The same on one more line."""

    def stream(self) -> bytes:
        """What it says by itself now."""

    def pushes(self) -> list[Answer]:
        """The same, each piece in its time."""

    def remember(self) -> None:
        """Notice what has happened, though nobody asks: what it counts and logs."""

    def other_request(self, turn: int) -> bytes:
        """What another master on the line asks in its `turn`; empty where there can be none."""


class Responder(ABC):
    """One simulated BMS. Time is passed in, in seconds of the device."""

    baudrate: ClassVar[int] = 9600
    period: ClassVar[float | None] = None
    """A device that streams by itself does so this often, s."""
    default_cells: ClassVar[int] = 16
    """How many cells its pack has unless somebody says how many."""
    family: str = ""
    """What kind of device it is part of, where its class does not say so."""
    boots: int = 1
    """How often the board had started when this line last heard of it."""

    def __init__(
        self, pack: Pack, *, address: int | None = None, firmware: str | None = None
    ) -> None:
        self.pack = pack
        self.address = address
        self.firmware = firmware

    @classmethod
    def on_bus(cls, packs: Mapping[int, Pack], address: int, firmware: str | None) -> Self:
        """The device at an address of a bus, with all packs of the bus by their addresses."""
        return cls(packs[address], address=address, firmware=firmware)

    def serial_number(self, digits: int = 8) -> str:
        """Its own for each kind of device, address and seed: two packs are never taken for one."""
        own = f"{self.family or type(self).__name__} {self.address} {self.pack.seed}"
        return f"SIM{zlib.crc32(own.encode()) % 10**digits:0{digits}}"

    @abstractmethod
    def receive(self, data: bytes) -> list[Answer]:
        """Bytes from the client, cut anywhere; the answers they cause, in order."""

    def line(self) -> Responder:
        """The same device on one more line, with its own framing; a responder that remembers
        more than its pack does must share that memory here."""
        return type(self)(self.pack, address=self.address, firmware=self.firmware)

    def remember(self) -> None:
        """Notice what has happened, though nobody asks: what it counts and logs."""
        return

    def restarted(self) -> None:
        """The board has started anew: what it knew of this line is gone."""
        self.boots = self.pack.around.boots

    def stream(self) -> bytes:
        """What a streaming device says now, every `period`; empty while it is silent."""
        return b""

    def pushes(self) -> list[Answer]:
        """The same, each piece in its time."""
        data = self.stream()
        return [Answer(0.0, data)] if data else []

    def other_request(self, turn: int) -> bytes:
        """What another master on the line asks this device in its `turn` (0, 1, …); empty where
        the line has room for one client only."""
        return b""


def hear(node: Node, data: bytes) -> list[Answer]:
    """What a device answers, or a whole line of them: nothing while the board restarts, or where
    it does not hear the command."""
    if not isinstance(node, Responder):
        return node.receive(data)
    if _restarts(node):
        return []
    node.pack.around.unheard = False
    answers = node.receive(data)
    return [] if node.pack.around.unheard else answers


def speak(node: Node) -> list[Answer]:
    """The same for what it says by itself."""
    return [] if isinstance(node, Responder) and _restarts(node) else node.pushes()


def _restarts(responder: Responder) -> bool:
    around = responder.pack.around
    if responder.boots != around.boots:
        responder.restarted()
    return around.dark


def responder_class(protocol: str) -> type[Responder]:
    """What answers in a protocol; `TargetError` if there is none."""
    path = RESPONDERS.get(protocol)
    if path is None:
        raise TargetError(
            f"There is no simulated {protocol!r}; simulated are: {', '.join(RESPONDERS)}."
            f"{did_you_mean(protocol, RESPONDERS)}"
        )
    factory = load(path)
    if not (isinstance(factory, type) and issubclass(factory, Responder)):
        raise TypeError(f"{path} is no Responder")
    return factory


def make_responder(
    protocol: str, pack: Pack, *, address: int | None = None, firmware: str | None = None
) -> Responder:
    """The simulated device of a protocol; `TargetError` if there is none."""
    return responder_class(protocol)(pack, address=address, firmware=firmware)
