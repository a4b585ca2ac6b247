"""Ways to misbehave. Each is a switch with parameters; any number of them can be combined.

Where a quirk strikes at "the n-th write", requests to write settings or switches count, from 1;
what opens and closes a session does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from hostile.board import Board, Effect, Quirk, Timed, Unit, Write

__all__ = ["QUIRKS", "parse"]


_WIDEST = 4
"""Bytes of the longest number; what is longer is a clock or a text."""


def _held(board: Board, register: int) -> int:
    parts = board.words(register, bytes(board.width(register)))
    return int.from_bytes(b"".join(board.unit.memory[at] for at, _ in parts), "big")


def _put(board: Board, register: int, number: int, by: str) -> None:
    board.put(register, _wrapped(number, board.width(register)), by)


def _wrapped(number: int, width: int) -> bytes:
    mask: int = (1 << 8 * width) - 1
    return (number & mask).to_bytes(width, "big")


@dataclass
class LateByOne(Quirk):
    """From the exchange after `after` on, each request gets the answer of the one before it."""

    after: int = 0
    _held: Timed = field(default_factory=list)

    def answers(self, board: Board, answers: Timed) -> Timed:
        if board.requests <= self.after:
            return answers
        held, self._held = self._held, answers
        return held


@dataclass
class Late(Quirk):
    """Answers `seconds` later than they should; of requests number `first` to `last`."""

    seconds: float = 0.7
    first: int = 1
    last: int = 1_000_000

    def answers(self, board: Board, answers: Timed) -> Timed:
        late = self.seconds if self.first <= board.requests <= self.last else 0.0
        return [(delay + late, data) for delay, data in answers]


@dataclass
class DelayedView(Quirk):
    """Writes count at once, but reads go on showing the old value for `low` to `high` seconds."""

    low: float = 4.0
    high: float = 6.0
    _changes: list[tuple[float, Write]] = field(default_factory=list)

    def stored(self, board: Board, write: Write) -> None:
        spread = self.high - self.low
        share = (len(self._changes) * 0.37 + 0.5) % 1
        self._changes.append((write.time + self.low + spread * share, write))

    def read(self, board: Board, register: int, raw: bytes) -> bytes:
        for seen, write in self._changes:
            if (write.register, write.unit) == (register, board.at) and board.now < seen:
                return write.old
        return raw


@dataclass
class Forgets(Quirk):
    """`seconds` after the n-th write its registers hold what they held before; `every`: after each
    write of that register from then on."""

    seconds: float = 2.0
    nth: int = 1
    every: bool = False
    _before: dict[int, bytes] = field(default_factory=dict)
    _register: int | None = None

    def write(self, board: Board, effect: Effect) -> None:
        again = self.every and effect.register == self._register
        if effect.number == self.nth or again:
            self._register = effect.register
            for address, _ in board.words(effect.register, effect.data):
                self._before.setdefault(address, board.unit.memory[address])
            board.later(self.seconds, lambda: self._forget(board))

    def _forget(self, board: Board) -> None:
        for address, old in self._before.items():
            if board.unit.memory[address] != old:
                board.put(address, old, "board")


@dataclass
class AcksAndIgnores(Quirk):
    """Acknowledges and does nothing: writes of one register (by its word), or of all; the first
    `times` of them."""

    register: str = ""
    times: int = 1_000_000

    def write(self, board: Board, effect: Effect) -> None:
        if not self.register or effect.register == board.register(self.register):
            if self.times > 0:
                effect.stores = False
            self.times -= 1


@dataclass
class IgnoresSwitches(Quirk):
    """Acknowledges a switch and does not switch; `above`: only while that many A flow."""

    above: float = 0.0

    def attach(self, board: Board) -> None:
        if self.above and not board.current:
            board.current = 2 * self.above

    def write(self, board: Board, effect: Effect) -> None:
        if effect.switch and abs(board.current) >= self.above:
            effect.stores = False


@dataclass
class Rounds(Quirk):
    """Stores numbers in steps of `step`."""

    step: int = 16

    def write(self, board: Board, effect: Effect) -> None:
        if not effect.switch and len(effect.data) <= _WIDEST:
            number = int.from_bytes(effect.data, "big")
            effect.data = (number - number % self.step).to_bytes(len(effect.data), "big")


@dataclass
class Clamps(Quirk):
    """Stores of a number at most `share` of the way from the old one, as if at a limit."""

    share: float = 0.5

    def write(self, board: Board, effect: Effect) -> None:
        addresses = [address for address, _ in board.words(effect.register, effect.data)]
        old = int.from_bytes(b"".join(board.unit.memory[a] for a in addresses), "big")
        new = int.from_bytes(effect.data, "big")
        if not effect.switch and len(effect.data) <= _WIDEST:
            effect.data = int(old + (new - old) * self.share).to_bytes(len(effect.data), "big")


@dataclass
class WritesNeighbour(Quirk):
    """With the n-th write another register changes too: by `add`, or to `to`; `seconds` later."""

    register: str = "cell_count"
    add: int = -1
    to: int = -1
    nth: int = 1
    seconds: float = 0.0
    every: bool = False

    def written(self, board: Board, effect: Effect) -> None:
        if effect.number == self.nth or (self.every and effect.number > self.nth):
            board.later(self.seconds, lambda: self._strike(board))

    def _strike(self, board: Board) -> None:
        at, number = board.register(self.register), self.to
        if number < 0:
            number = _held(board, at) + self.add
        _put(board, at, number, "board")


@dataclass
class Refuses(Quirk):
    """Says no to writes of one register from its n-th on; without a register to the n-th write
    and to all later ones of the same register (`stuck`) or of all."""

    register: str = ""
    nth: int = 1
    stuck: bool = False
    _count: int = 0
    _stuck: int | None = None

    def write(self, board: Board, effect: Effect) -> None:
        if self.register:
            self._count += effect.register == board.register(self.register)
            struck = self._count >= self.nth and effect.register == board.register(self.register)
        else:
            struck = effect.number >= self.nth
            if struck and self._stuck is None:
                self._stuck = effect.register
            if self.stuck:
                struck = struck and effect.register == self._stuck
        effect.refused = effect.refused or struck


@dataclass
class LosesLink(Quirk):
    """The cable is pulled at the n-th write, for `seconds`, before or after it took effect."""

    nth: int = 1
    seconds: float = 3.0
    applied: bool = True
    hangs_up: bool = True

    def write(self, board: Board, effect: Effect) -> None:
        if effect.number == self.nth and not self.applied:
            effect.stores = False

    def written(self, board: Board, effect: Effect) -> None:
        if effect.number == self.nth:
            board.cut_off(self.seconds, hangs_up=self.hangs_up)


@dataclass
class Swaps(Quirk):
    """At the n-th write the cable is pulled, and another board is behind the port afterwards:
    an identical one as it left the factory, or a `different` one."""

    nth: int = 1
    seconds: float = 3.0
    different: bool = False
    hangs_up: bool = True

    def attach(self, board: Board) -> None:
        texts = {
            name: f"{text[:-1]}{'X' if text[-1:] != 'X' else 'Y'}" if self.different else text
            for name, text in board.identity().items()
        }
        board.units.append(Unit(board.factory(), texts))

    def written(self, board: Board, effect: Effect) -> None:
        if effect.number == self.nth:
            board.cut_off(self.seconds, hangs_up=self.hangs_up)
            board.at = 1


@dataclass
class AnswersTwice(Quirk):
    """Every answer comes twice, the second `seconds` later."""

    seconds: float = 0.01

    def answers(self, board: Board, answers: Timed) -> Timed:
        return answers + [(delay + self.seconds, data) for delay, data in answers]


@dataclass
class Garbage(Quirk):
    """Noise that begins like a frame, before or after each `every`-th answer."""

    before: bool = True
    every: int = 1

    def answers(self, board: Board, answers: Timed) -> Timed:
        if board.requests % self.every:
            return answers
        noise = [(board.latency, board.lead)]
        return [*noise, *answers] if self.before else [*answers, *noise]


@dataclass
class TruncatesTexts(Quirk):
    """What it says of itself is cut to `keep` characters, from request `after` or the n-th write
    on."""

    keep: int = 4
    after: int = 1_000_000
    nth: int = 1

    def text(self, board: Board, text: str) -> str:
        struck = board.requests > self.after or board.writes >= self.nth
        return text[: self.keep] if struck else text


@dataclass
class Implausible(Quirk):
    """A register holds nonsense from the factory on (355 °C, 3200 s, 10000 °C)."""

    register: str = "charge_otp"
    to: int = 0

    def attach(self, board: Board) -> None:
        for unit in board.units:
            at = board.register(self.register)
            number = self.to or board.nonsense(at)
            unit.hold(dict(board.words(at, number.to_bytes(board.width(at), "big"))))


@dataclass
class Flickers(Quirk):
    """Every other time a register is read it shows `add` more than it holds, from request `after`
    on; `always`: every time."""

    register: str = "charge_otp"
    add: int = 3
    after: int = 0
    always: bool = False
    _count: int = 0

    def read(self, board: Board, register: int, raw: bytes) -> bytes:
        at = board.register(self.register)
        last = board.words(at, bytes(board.width(at)))[-1][0]
        if register != last or board.requests <= self.after:
            return raw
        self._count += 1
        if self._count % 2 and not self.always:
            return raw
        return _wrapped(int.from_bytes(raw, "big") + self.add, len(raw))


@dataclass
class ForeignMaster(Quirk):
    """Another master changes a register `seconds` after the n-th write."""

    register: str = "charge_otp"
    add: int = -2
    nth: int = 1
    seconds: float = 0.15

    def written(self, board: Board, effect: Effect) -> None:
        if effect.number == self.nth:
            board.later(self.seconds, lambda: self._strike(board))

    def _strike(self, board: Board) -> None:
        at = board.register(self.register)
        _put(board, at, _held(board, at) + self.add, "foreign")


@dataclass
class Restarts(Quirk):
    """`seconds` after the n-th write it restarts with what it held when it was switched on, and is
    deaf for `boot` seconds."""

    seconds: float = 0.05
    nth: int = 1
    boot: float = 3.0

    def written(self, board: Board, effect: Effect) -> None:
        if effect.number == self.nth:
            board.later(self.seconds, lambda: board.restart(self.boot))


@dataclass
class FactoryStays(Quirk):
    """JBD: the end of factory mode is acknowledged, and the mode stays open."""

    def attach(self, board: Board) -> None:
        board.exit_honoured = False


@dataclass
class CommitsOnExit(Quirk):
    """JBD: what was written is kept only if factory mode is left with 2828."""

    def attach(self, board: Board) -> None:
        board.commits_only_on_exit = True


QUIRKS: dict[str, type[Any]] = {
    "late-by-one": LateByOne,
    "late": Late,
    "delayed-view": DelayedView,
    "forgets": Forgets,
    "acks-and-ignores": AcksAndIgnores,
    "ignores-switches": IgnoresSwitches,
    "rounds": Rounds,
    "clamps": Clamps,
    "neighbour": WritesNeighbour,
    "refuses": Refuses,
    "loses-link": LosesLink,
    "swaps": Swaps,
    "answers-twice": AnswersTwice,
    "garbage": Garbage,
    "truncates-texts": TruncatesTexts,
    "implausible": Implausible,
    "flickers": Flickers,
    "foreign-master": ForeignMaster,
    "restarts": Restarts,
    "factory-stays": FactoryStays,
    "commits-on-exit": CommitsOnExit,
}


def parse(text: str) -> Quirk:
    """`late-by-one`, `forgets=seconds:8`, `neighbour=register:cell_count,add:1`."""
    name, _, rest = text.partition("=")
    kind = QUIRKS[name]
    defaults: dict[str, Any] = {
        each.name: each.default for each in fields(kind) if not each.name.startswith("_")
    }
    given: dict[str, Any] = {}
    for pair in filter(None, rest.split(",")):
        key, _, value = pair.partition(":")
        default = defaults[key]
        if isinstance(default, bool):
            given[key] = value.lower() in ("", "yes", "true", "1")
        else:
            given[key] = type(default)(value)
    quirk = kind(**given)
    if not isinstance(quirk, Quirk):
        raise TypeError(f"{name} is no quirk")
    return quirk
