"""What frames of Daly's two register dialects say, and what of them is secret.

An answer does not say which registers it holds, so the codec remembers what was asked. Facts and
their evidence: `docs/protocols/daly-d2.md` and `docs/protocols/daly-p81.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from bmslink.model import Identity, Reading
from bmslink.protocols.base import Codec, Options, Payload, Record, Role, require
from bmslink.protocols.common.rtu import RTUFrame, RTUFramer
from bmslink.protocols.daly.registers.framing import (
    D2_UNIT,
    asked_board,
    speaking_board,
)
from bmslink.protocols.daly.registers.layouts import (
    MAX_REGISTERS,
    RegisterMap,
    block_fields,
    block_layout,
    block_values,
)

__all__ = ["Block", "DalyRegisterCodec", "Dialect"]


class Block(NamedTuple):
    """A run of registers."""

    register: int
    length: int

    @property
    def part(self) -> str:
        """Its name among the parts of a poll."""
        return f"{self.register:04x}"


Merge = Callable[[Mapping[str, Any], Options], Reading]
"""Values of one poll to a reading."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between D2 and 81/51."""

    name: str
    table: RegisterMap
    framer: Callable[[], RTUFramer]
    typical: tuple[Block, ...]
    """Blocks of different lengths that programs usually read: an answer to no known request is
    taken for one of these if it is as long."""
    merge: Merge
    identify: Callable[[Mapping[str, Any]], Identity]

    def board(self, frame: RTUFrame) -> int:
        """Which board speaks or is spoken to; a D2 line has only one."""
        if frame.unit == D2_UNIT:
            return 1
        return asked_board(frame.unit) or speaking_board(frame.unit)

    def is_request(self, frame: RTUFrame) -> bool:
        """Whether nobody but a host sends such a frame (a D2 write and its echo are alike)."""
        return frame.shape in ("read", "write_bare") or bool(asked_board(frame.unit))


class _Questions:
    """Which blocks were asked for and not answered yet, oldest first.

    Boards answer in order, so an answer that fits a later question means that the ones before it
    were lost. Two open questions of the same length cannot be distinguished: then nothing is said.
    """

    def __init__(self, typical: Sequence[Block]) -> None:
        self._typical = typical
        self._open: list[Block] = []
        self._answered: dict[int, Block] = {}

    def ask(self, block: Block) -> None:
        """A request went out; the same one again is a repetition."""
        if block not in self._open:
            self._open = [*self._open[-15:], block]

    def forget(self) -> None:
        """Nothing that was asked before is waited for any more."""
        self._open.clear()
        self._answered.clear()

    def candidates(self, count: int) -> tuple[list[Block], bool]:
        """The blocks that an answer of so many registers can be, and whether that is a guess."""
        asked = [block for block in self._open if block.length == count]
        if not asked and count in self._answered:
            asked = [self._answered[count]]
        if asked:
            return asked, False
        return [block for block in self._typical if block.length == count], True

    def answer(self, count: int) -> None:
        """An answer of so many registers was heard."""
        for number, block in enumerate(self._open):
            if block.length == count:
                if not any(b.length == count for b in self._open[number + 1 :]):
                    self._answered[count] = block
                del self._open[: number + 1]
                break


# ------------------------------------------------------------------------------------- codec


class DalyRegisterCodec(Codec[RTUFrame]):
    """Meaning of register frames. Remembers what was asked; frames of other boards on the same
    line are not mixed in."""

    names_of_board: ClassVar[frozenset[str]] = frozenset(
        {"daly_serial_number", "daly_battery_code"}
    )

    def __init__(self, dialect: Dialect, options: Options | None = None) -> None:
        self.dialect = dialect
        self.options = options or Options()
        self.questions = _Questions(dialect.typical)
        self._board = self.options.address
        self._hidden = _Questions(dialect.typical)  # the same for scrub, which sees all frames

    # ---- blocks

    def _block(self, frame: RTUFrame) -> Block | None:
        """The registers that a frame carries values of, if that is known for sure (or guessed
        from a length that only one usual block has)."""
        if frame.shape == "data":
            candidates, _ = self.questions.candidates(len(frame.data) // 2)
            return candidates[0] if len(candidates) == 1 else None
        if frame.shape == "write":
            return Block(frame.register, 1)
        if frame.shape == "write_bare":
            return Block(frame.register, len(frame.data) // 2)
        return None

    def payload(self, frame: RTUFrame, *, sent: bool = False) -> Payload | None:
        block = self._block(frame)
        if block is None or self._strange(frame):
            return None
        return Payload(block_layout(self.dialect.table, *block), _values_in(frame))

    def _strange(self, frame: RTUFrame) -> bool:
        return self._board not in (None, self.dialect.board(frame))

    def decode(self, frame: RTUFrame, *, sent: bool = False) -> Record:
        require(frame.shape in ("read", "data", "write", "write_bare", "written"), "No such frame.")
        if self._strange(frame):
            return Record("other_board", "other", {"board": self.dialect.board(frame)})
        self._board = self.dialect.board(frame)
        if frame.shape == "data":
            return self._explain_data(frame)
        values: dict[str, Any] = {"register": frame.register}
        if frame.shape == "read":
            block = Block(frame.register, frame.count)
            self.questions.ask(block)
            return Record("read", "request", values | {"count": frame.count})
        if frame.shape != "written":  # the count word of an 81 acknowledgement is no count
            block = self._block(frame) or Block(frame.register, 0)
            values |= block_values(self.dialect.table, block.register, _values_in(frame))
        asked = sent or self.dialect.is_request(frame)
        return Record("write", "request", values) if asked else Record("written", "ack", values)

    def _explain_data(self, frame: RTUFrame) -> Record:
        count = len(frame.data) // 2
        require(count <= MAX_REGISTERS, f"{count} registers in one answer.", frame.data)
        candidates, guessed = self.questions.candidates(count)
        self.questions.answer(count)
        if len(candidates) != 1:
            could_be = [f"{block.register:04X}" for block in candidates]
            values: dict[str, Any] = {"data": frame.data.hex(), "could_be": could_be}
            if any(self._holds_secret(block) for block in candidates):
                del values["data"]
            return Record("registers", "other", values)
        block = candidates[0]
        values = block_values(self.dialect.table, block.register, frame.data)
        role = self._role(block)
        if guessed:
            values["block"] = "inferred"
        if role == "reading":
            return Record("status", role, values, part=block.part)
        if role == "other":
            return Record("registers", role, {"register": block.register} | values)
        return Record("versions" if role == "identity" else role, role, values)

    def _role(self, block: Block) -> Role:
        fields = block_fields(self.dialect.table, *block)
        roles = {field.row.role for field in fields if field.row is not None}
        for role in ("reading", "settings", "identity"):
            if role in roles:
                return role
        return "other"

    # ---- readings

    def reading(self, records: Sequence[Record]) -> Reading:
        return self.dialect.merge(_merged(records), self.options)

    def identity(self, records: Sequence[Record]) -> Identity:
        return self.dialect.identify(_merged(records))

    # ---- secrets

    def _holds_secret(self, block: Block) -> bool:
        return bool(list(self._secret_bytes(block)))

    def _secret_bytes(self, block: Block) -> list[int]:
        """The bytes of a block that must not be kept; also where it holds only half a secret."""
        secrets = [row for row in self.dialect.table.rows if row.secret]
        return [
            2 * (register - block.register) + half
            for row in secrets
            for register in range(row.register, row.register + row.length)
            if block.register <= register < block.register + block.length
            for half in (0, 1)
        ]

    def scrub(self, frame: RTUFrame) -> bytes | None:
        """The app's password can be read and written in clear; its ASCII digits become zeros."""
        if frame.shape == "read":
            self._hidden.ask(Block(frame.register, frame.count))
            return None
        if frame.shape == "data":
            blocks = self._hidden.candidates(len(frame.data) // 2)[0]
            self._hidden.answer(len(frame.data) // 2)
        else:
            block = self._block(frame)
            blocks = [] if block is None else [block]
        data = bytearray(_values_in(frame))
        secrets = {at for block in blocks for at in self._secret_bytes(block)}
        if not secrets:
            return None
        for at in secrets:
            data[at] = 0
        if frame.shape == "write":
            clean = frame.replace(count=int.from_bytes(data, "big"))
        else:
            clean = frame.replace(data=bytes(data))
        return self.dialect.framer().encode(clean)


def _values_in(frame: RTUFrame) -> bytes:
    return frame.count.to_bytes(2, "big") if frame.shape == "write" else frame.data


def _merged(records: Sequence[Record]) -> dict[str, Any]:
    """The values of several blocks; of what comes twice, the later that is known."""
    values: dict[str, Any] = {}
    for record in records:
        for name, value in record.values.items():
            if name == "implausible":
                values[name] = values.get(name, {}) | value
            elif value is not None or name not in values:
                values[name] = value
    return values
