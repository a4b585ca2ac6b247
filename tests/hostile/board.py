"""A board that answers bytes with bytes: memory, views of it, and hooks for misbehaviour.

Time is passed in: a board does nothing by itself, it catches up when it is asked or told the time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

__all__ = ["Board", "Effect", "Quirk", "Timed", "Unit", "Write", "crc16"]

Timed = list[tuple[float, bytes]]
"""Answers: how many seconds after the request, and the bytes."""


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_REMAINDERS = [_remainder(byte) for byte in range(256)]


def crc16(data: bytes) -> bytes:
    """CRC-16/Modbus as it goes over the wire, low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _REMAINDERS[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


@dataclass(frozen=True, slots=True)
class Write:
    """A change of a register that a board accepted."""

    time: float
    register: int
    old: bytes
    new: bytes
    unit: int
    """Which board behind the port: 0 is the first."""
    by: str
    """`asked` (over the wire), `board` (its own doing) or `foreign` (another master)."""


@dataclass(slots=True)
class Unit:
    """One physical board: what it holds and what it says of itself."""

    memory: dict[int, bytes]
    texts: dict[str, str]
    saved: dict[int, bytes] = field(default_factory=dict)
    """What it wakes up with after a restart."""

    def __post_init__(self) -> None:
        self.saved = dict(self.memory)

    def hold(self, registers: dict[int, bytes]) -> None:
        """Hold this from the beginning, and after a restart too."""
        self.memory |= registers
        self.saved |= registers


@dataclass(slots=True)
class Effect:
    """What a request to write is about to do; quirks change it."""

    register: int
    data: bytes
    number: int
    """Which request to write this is, from 1, of all that the board heard."""
    switch: bool
    """Whether it switches a FET or the balancer."""
    stores: bool = True
    refused: bool = False
    silent: bool = False


class Quirk:
    """A way to misbehave: the hooks do nothing here."""

    def attach(self, board: Board) -> None:
        """The board is new."""

    def write(self, board: Board, effect: Effect) -> None:
        """A request to write was heard, nothing is done yet."""

    def written(self, board: Board, effect: Effect) -> None:
        """A request to write was carried out."""

    def stored(self, board: Board, write: Write) -> None:
        """A register changed, whoever did it."""

    def read(self, board: Board, register: int, raw: bytes) -> bytes:
        """What a reader of this register is shown."""
        return raw

    def text(self, board: Board, text: str) -> str:
        """What a reader of a text is shown."""
        return text

    def answers(self, board: Board, answers: Timed) -> Timed:
        """What goes out for one request."""
        return answers


class Board(ABC):
    """A board with one wire. `receive` takes bytes and the time and gives timed answers."""

    name: ClassVar[str]
    registers: ClassVar[dict[str, int]]
    """Canonical words for registers, for tests and for quirks."""
    switches: ClassVar[frozenset[int]] = frozenset()
    """Registers that switch something."""
    live: ClassVar[frozenset[int]] = frozenset()
    """Registers of the memory that run by themselves."""
    lead: ClassVar[bytes]
    """Noise that looks like the beginning of a frame."""
    latency: ClassVar[float] = 0.02
    volatile: ClassVar[frozenset[int]] = frozenset()
    """Registers that a restart clears."""

    def __init__(self, *quirks: Quirk, serial: str = "", current: float = 0.0) -> None:
        """`serial`: many real boards have none. `current` in A, positive while charging."""
        self.serial = serial
        self.current = current
        self.units = [Unit(self.factory(), self.identity())]
        self.at = 0
        self.log: list[Write] = []
        self.now = 0.0
        self.requests = 0
        self.writes = 0
        self.acknowledged = 0
        self.deaf_until = float("-inf")
        self.absent_until = float("-inf")
        """Until then the port itself is gone: it cannot be opened."""
        self.hung_up = False
        """The connection is cut now; whoever carries the bytes looks at this after each call."""
        self.exit_honoured = True
        self.commits_only_on_exit = False
        self._pending: list[tuple[float, Callable[[], None]]] = []
        self._buffer = b""
        self.quirks = quirks
        for quirk in quirks:
            quirk.attach(self)

    # ------------------------------------------------------------------------------- contents

    @abstractmethod
    def factory(self) -> dict[int, bytes]:
        """The registers of a new board."""

    @abstractmethod
    def identity(self) -> dict[str, str]:
        """What a new board says of itself."""

    @property
    def unit(self) -> Unit:
        """The board that is behind the port now."""
        return self.units[self.at]

    def register(self, word: int | str) -> int:
        """A register by its word or its number."""
        return self.registers[word] if isinstance(word, str) else word

    def snapshot(self, unit: int = 0) -> dict[int, bytes]:
        """All registers that hold still by themselves, as they really are."""
        held = self.units[unit].memory
        return {register: raw for register, raw in held.items() if register not in self.live}

    def put(self, register: int, data: bytes, by: str) -> None:
        """Change memory (a run of registers) and write it down."""
        for address, word in self.words(register, data):
            old = self.unit.memory.get(address, b"")
            self.unit.memory[address] = word
            write = Write(self.now, address, old, word, self.at, by)
            self.log.append(write)
            for quirk in self.quirks:
                quirk.stored(self, write)

    def words(self, register: int, data: bytes) -> list[tuple[int, bytes]]:
        """The registers that data fill from one on."""
        return [(register, data)]

    def width(self, register: int) -> int:
        """Bytes of the number that begins at a register."""
        return len(self.unit.memory[register])

    @abstractmethod
    def nonsense(self, register: int) -> int:
        """A number that no board could mean there: 355 °C, 3200 s."""

    def view(self, register: int) -> bytes:
        """What a reader sees of a register."""
        raw = self.unit.memory[register]
        for quirk in self.quirks:
            raw = quirk.read(self, register, raw)
        return raw

    def number(self, register: int) -> int:
        """A register as a reader sees it, unsigned."""
        return int.from_bytes(self.view(register), "big")

    def shown(self, name: str) -> str:
        """A text as a reader sees it."""
        text = self.unit.texts[name]
        for quirk in self.quirks:
            text = quirk.text(self, text)
        return text

    # ----------------------------------------------------------------------------------- time

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something in a while."""
        self._pending.append((self.now + seconds, act))

    def pass_time(self, now: float) -> None:
        """Catch up with the clock."""
        while due := sorted((entry for entry in self._pending if entry[0] <= now), key=_when):
            self._pending.remove(due[0])
            self.now = max(self.now, due[0][0])
            due[0][1]()
        self.now = max(self.now, now)

    def restart(self, seconds: float) -> None:
        """Lose what is not kept, and be deaf for a while."""
        self.deaf_until = self.now + seconds
        for register, saved in self.unit.saved.items():
            if self.unit.memory[register] != saved and register not in self.live:
                self.put(register, saved, "board")

    def cut_off(self, seconds: float, *, hangs_up: bool) -> None:
        """Hear nothing for a while; `hangs_up`: the connection is cut, too, and cannot be opened
        until then."""
        if hangs_up:
            self.hung_up = True
            self.absent_until = self.now + seconds
        else:
            self.deaf_until = self.now + seconds

    # ----------------------------------------------------------------------------------- wire

    def connect(self, now: float) -> bool:
        """Somebody opens the port; `False`: there is none."""
        self.pass_time(now)
        self.hung_up = False
        self._buffer = b""
        return now >= self.absent_until

    def receive(self, data: bytes, now: float) -> Timed:
        """Bytes from the wire; what is answered, and when."""
        self.pass_time(now)
        if now < self.deaf_until or now < self.absent_until:
            return []
        self._buffer += data
        out: Timed = []
        for request in self.cut():
            self.requests += 1
            answers: Timed = [(self.latency, answer) for answer in self.answer(request)]
            for quirk in self.quirks:
                answers = quirk.answers(self, answers)
            if self.hung_up or self.now < self.deaf_until:
                break
            out += answers
        return out

    def cut(self) -> Iterable[bytes]:
        """The complete requests in the buffer, taken out of it."""
        while self._buffer:
            length = self.length(self._buffer)
            if length is None:
                return
            if length == 0:
                self._buffer = self._buffer[1:]
                continue
            request, self._buffer = self._buffer[:length], self._buffer[length:]
            yield request

    @abstractmethod
    def length(self, buffer: bytes) -> int | None:
        """Bytes of the valid request in front; 0: none begins here; `None`: not complete yet."""

    @abstractmethod
    def answer(self, request: bytes) -> list[bytes]:
        """What a well-behaved board answers to a valid request."""

    def ask_to_write(self, register: int, data: bytes) -> Effect:
        """A request to write, by the quirks; says what came of it."""
        self.writes += 1
        effect = Effect(register, data, self.writes, register in self.switches)
        for quirk in self.quirks:
            quirk.write(self, effect)
        if effect.stores and not effect.refused:
            self.put(effect.register, effect.data, "asked")
        self.acknowledged += not (effect.refused or effect.silent)
        for quirk in self.quirks:
            quirk.written(self, effect)
        return effect


def _when(entry: tuple[float, Callable[[], None]]) -> float:
    return entry[0]
