"""What goes wrong between a pack and its reader: faults by name, on request.

Wire faults change what the device hears and what arrives of its answers; pack faults
(`probe`, `condition:NAME`) are handed on to the pack. All chance comes from one seed, so a
session can be repeated to the byte.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from bmslink.errors import TargetError
from bmslink.model import Condition
from bmslink.simulation.pack.pack import Pack
from bmslink.simulation.pack.surroundings import HAPPENINGS
from bmslink.simulation.responder import Answer

__all__ = ["FAULTS", "WireFaults", "uart_misread"]

FAULTS: dict[str, str] = {
    "silent": "the device hears, but nothing of it arrives",
    "noise": "noise[:BYTES]: junk before each answer (3 bytes)",
    "echo": "the request comes back before the answer, as on a two-wire adapter",
    "corrupt": "corrupt[:PERCENT]: one bit is flipped in that share of the answers (20 %)",
    "cut": "cut[:PERCENT]: that share of the answers ends early (20 %)",
    "glue": "the tail of the previous answer comes before the next",
    "late": "late[:SECONDS]: answers come that much later (0.3 s)",
    "chunk": "chunk[:BYTES]: answers arrive that many bytes at a time (1)",
    "duplicate": "every answer arrives twice",
    "sleepy": "sleepy[:REQUESTS]: the first requests only wake the device (2); again after 30 s",
    "second_master": "second_master[:SECONDS]: another master asks the device every so often (1 s)",
    "foreign": "a Modbus answer of another device on the line comes before each answer",
    "ble_drop": "ble_drop[:BYTES]: with --ble, a connection ends once, after that many bytes (150)",
    "probe": "probe[:NAME]: a broken temperature probe (cell_1)",
    "condition": "condition:NAME[:SEVERITY]: the pack reports it as alarm, protection or fault "
    "(protection), e.g. condition:cell_overvoltage",
    **HAPPENINGS,
}
"""Name -> what it does, in one line."""

FOREIGN_FRAME = bytes.fromhex("02 03 04 09 29 00 32 9a b2")
"""An energy meter at Modbus address 2 answers two registers: 234.5 V, 0.50 A."""


class _Number(NamedTuple):
    """The argument of a fault: what it is when it is not given, and what it may be."""

    default: float
    low: float
    high: float
    unit: str


_NUMBERS: dict[str, _Number] = {
    "noise": _Number(3, 1, 1000, "bytes"),
    "corrupt": _Number(20, 1, 100, "percent"),
    "cut": _Number(20, 1, 100, "percent"),
    "late": _Number(0.3, 0.001, 60, "seconds"),
    "chunk": _Number(1, 1, 1000, "bytes"),
    "sleepy": _Number(2, 1, 100, "requests"),
    "ble_drop": _Number(150, 1, 100_000, "bytes"),
    "second_master": _Number(1, 0.05, 60, "seconds"),
}

_BURST = 0.05  # s: bytes closer together than this belong to one request
_NAP = 30.0  # s without traffic after which a board sleeps again (docs/protocols/jbd.md, timing)
_BYTE = 0.00105  # s a byte needs on the line: ten bits at 9600 baud, rounded up
_GLUED = 6  # bytes of the previous answer that come again


class WireFaults:
    """The faults that are in force on one simulated device."""

    def __init__(self, pack: Pack, *, seed: int = 1, masters: bool = False) -> None:
        """`masters`: whether the line has room for more than one."""
        self.active: dict[str, float] = {}
        """Each fault in force with its number (0 where it takes none); pack faults are here
        with what they hit, as `probe:cell_1`."""
        self._pack = pack
        self._masters = masters
        self._random = random.Random(seed)
        self._previous = b""
        self._unheard = 0
        self._deaf = False
        self._heard_at = float("-inf")
        self._changes = {
            "corrupt": self._corrupt,
            "cut": self._cut,
            "glue": self._glue,
            "noise": self._noise,
            "foreign": self._foreign,
            "duplicate": self._duplicate,
            "late": self._late,
            "chunk": self._chunk,
        }

    def enable(self, spec: str) -> None:
        """Put `NAME[:ARGUMENT]` in force; `TargetError` for an unknown name or argument."""
        name, colon, argument = spec.strip().partition(":")
        _check_name(name)
        if name in HAPPENINGS:
            self._pack.around.enable(spec)
        elif name == "probe":
            argument = argument or "cell_1"
            self._pack.break_probe(argument)
            self.active[f"probe:{argument}"] = 0.0
        elif name == "condition":
            argument, _, severity = argument.partition(":")
            self._pack.raise_condition(severity or "protection", _condition(argument))
            self.active[f"condition:{argument}"] = 0.0
        elif name == "second_master" and not self._masters:
            raise TargetError("A line of this protocol has no room for a second master.")
        else:
            self.active[name] = _argument(name, argument if colon else None)
        if name == "sleepy":
            self.sleep()

    def disable(self, spec: str) -> None:
        """End a fault; without its argument a pack fault ends wherever it is. One that is not in
        force stays so. `TargetError` for an unknown name."""
        name, _, argument = spec.strip().partition(":")
        _check_name(name)
        if name in HAPPENINGS:
            self._pack.around.disable(name)
        for fault in list(self.active):
            kind, _, hit = fault.partition(":")
            if kind != name or (hit and argument not in ("", hit)):
                continue
            del self.active[fault]
            if kind == "probe":
                self._pack.set_temperature(hit, None)
            elif kind == "condition":
                self._pack.clear_condition(_condition(hit))

    def sleep(self) -> None:
        """The device falls asleep: with `sleepy`, its next requests only wake it."""
        self._unheard = int(self.active.get("sleepy", 0))

    def incoming(self, data: bytes, now: float) -> bytes:
        """What the device hears of bytes that come in at `now` (s of a steady clock)."""
        quiet, self._heard_at = now - self._heard_at, now
        if "sleepy" not in self.active:
            return data
        if quiet > _NAP:
            self.sleep()
        if quiet > _BURST:
            self._deaf = self._unheard > 0
            self._unheard -= self._deaf
        return b"" if self._deaf else data

    def outgoing(self, request: bytes, answers: list[Answer]) -> list[Answer]:
        """What arrives of the device's answers to a request (empty: it speaks by itself)."""
        if "silent" in self.active:
            return []
        for name, change in self._changes.items():
            if name in self.active:
                answers = change(answers)
        if "echo" in self.active and request:
            return [Answer(0.0, request), *answers]
        return answers

    def _happens(self, name: str) -> bool:
        return self._random.random() * 100 < self.active[name]

    def _corrupt(self, answers: list[Answer]) -> list[Answer]:
        return [a._replace(data=self._flip(a.data)) for a in answers]

    def _flip(self, data: bytes) -> bytes:
        if not data or not self._happens("corrupt"):
            return data
        changed = bytearray(data)
        changed[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
        return bytes(changed)

    def _cut(self, answers: list[Answer]) -> list[Answer]:
        return [
            a._replace(data=a.data[: self._random.randrange(len(a.data))])
            if a.data and self._happens("cut")
            else a
            for a in answers
        ]

    def _glue(self, answers: list[Answer]) -> list[Answer]:
        glued = []
        for answer in answers:
            glued.append(answer._replace(data=self._previous[-_GLUED:] + answer.data))
            self._previous = answer.data
        return glued

    def _noise(self, answers: list[Answer]) -> list[Answer]:
        count = int(self.active["noise"])
        return [a._replace(data=self._random.randbytes(count) + a.data) for a in answers]

    def _foreign(self, answers: list[Answer]) -> list[Answer]:
        return [a._replace(data=FOREIGN_FRAME + a.data) for a in answers]

    def _duplicate(self, answers: list[Answer]) -> list[Answer]:
        return [a for a in answers for _ in range(2)]

    def _late(self, answers: list[Answer]) -> list[Answer]:
        return [a._replace(delay=a.delay + self.active["late"]) for a in answers]

    def _chunk(self, answers: list[Answer]) -> list[Answer]:
        size = int(self.active["chunk"])
        return [
            Answer(a.delay + start * _BYTE, a.data[start : start + size])
            for a in answers
            for start in range(0, len(a.data), size)
        ]


def _check_name(name: str) -> None:
    if name not in FAULTS:
        raise TargetError(f"There is no fault {name!r}; known: {', '.join(FAULTS)}.")


def _condition(name: str) -> Condition:
    try:
        return Condition(name)
    except ValueError:
        raise TargetError(
            f"There is no condition {name!r}; write e.g. condition:{Condition.CELL_OVERVOLTAGE}."
        ) from None


def _argument(name: str, text: str | None) -> float:
    number = _NUMBERS.get(name)
    if number is None:
        if text is not None:
            raise TargetError(f"The fault {name!r} takes no argument, but has {text!r}.")
        return 0.0
    if text is None:
        return number.default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not number.low <= value <= number.high:
        raise TargetError(
            f"The fault {name!r} takes {number.low:g} to {number.high:g} {number.unit}, "
            f"not {text!r}."
        )
    return value


def uart_misread(data: bytes, sent: int, read: int) -> bytes:
    """What a UART at `read` baud makes of bytes sent back to back at `sent` baud (8N1).

    The receiver starts a character at each falling edge, samples the middle of its own bit
    times, and after a missing stop bit waits until the line is idle again. At 0 baud (hung up)
    nothing arrives.
    """
    if read <= 0:
        return b""
    line = [b for byte in data for b in (0, *(byte >> i & 1 for i in range(8)), 1)]

    def level(moment: float) -> int:
        return line[int(moment)] if moment < len(line) else 1

    step = sent / read
    result = bytearray()
    at = 0.0
    while at < len(line):
        if level(at):
            at = int(at) + 1.0
            continue
        result.append(sum(level(at + step * (1.5 + i)) << i for i in range(8)))
        at += step * 9.5
        while not level(at):
            at = int(at) + 1.0
    return bytes(result)
