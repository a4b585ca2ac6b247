"""Daly's register maps: what is in which register, and layouts for any run of them.

A dialect has one table of rows. A read may ask for any block of registers, so the layout of a
block is made from the rows that lie in it; what no row names is called `reserved_` and its
register. Numbers are 16 bits, high byte first.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from construct import Adapter, Array, Bytes, Int16ub, Int32ub, Struct

from bmslink.protocols.base import require
from bmslink.protocols.common.fields import Layout, parse, scaled

__all__ = [
    "ABSENT",
    "MAX_REGISTERS",
    "TENS",
    "RegisterMap",
    "RegisterRow",
    "amps",
    "block_fields",
    "block_layout",
    "block_values",
    "board_name",
    "celsius",
    "clock",
    "date",
    "forward",
    "number",
    "secret",
    "string",
    "switch",
    "volts",
    "wide",
]

ABSENT = 0xFFFF
"""What a board answers for a register that it does not have."""
MAX_REGISTERS = 126
"""More in one answer was never seen (the D2 status of the newest boards)."""
_NO_PROBE = (0, 0xFF, ABSENT)

if TYPE_CHECKING:
    _TensBase = Adapter[int, int, int, int]
else:
    _TensBase = Adapter


class _Tens(_TensBase):
    """Whole tens, both ways."""

    def _decode(self, obj: int, context: Any, path: Any) -> int:
        return obj * 10

    def _encode(self, obj: int, context: Any, path: Any) -> int:
        return round(obj / 10)


TENS: Layout = _Tens(Int16ub)
"""A number that counts tens."""


@dataclass(frozen=True, slots=True)
class RegisterRow:
    """A named value in one or more registers, or an array of them."""

    register: int
    name: str
    layout: Layout = Int16ub
    """Of one item."""
    size: int = 1
    """Registers of one item."""
    count: int | None = None
    """Items of an array; `None`: a single value."""
    absent: tuple[int, ...] = (ABSENT,)
    """Raw numbers that mean: not there."""
    low: float | None = None
    high: float | None = None
    """Values beyond these are not believed."""
    show: Callable[[bytes], Any] | None = None
    """Bytes to what a record says; its absence means that the value is a number."""
    secret: bool = False
    role: str = "reading"
    """The role of a block's record (`reading`, `identity`, `settings`)."""

    @property
    def length(self) -> int:
        """Registers, all items together."""
        return self.size * (self.count or 1)


def number(register: int, name: str, per: int = 1, **more: Any) -> RegisterRow:
    """A number of `per` steps a unit (1: as it is)."""
    return RegisterRow(register, name, Int16ub if per == 1 else scaled(Int16ub, per), **more)


def volts(register: int, name: str, **more: Any) -> RegisterRow:
    """Millivolts."""
    return number(register, name, 1000, **more)


def celsius(
    register: int, name: str, absent: tuple[int, ...] = _NO_PROBE, **more: Any
) -> RegisterRow:
    """Degrees, 40 added."""
    return RegisterRow(register, name, scaled(Int16ub, 1, -40), absent=absent, **more)


def amps(register: int, name: str, per: int = 10, **more: Any) -> RegisterRow:
    """Tenths (or, with `per` -10, tenths downwards) counted from 30000."""
    return RegisterRow(register, name, scaled(Int16ub, per, -30000), **more)


def wide(register: int, name: str, per: int = 1, **more: Any) -> RegisterRow:
    """A number of 32 bits."""
    layout = Int32ub if per == 1 else scaled(Int32ub, per)
    return RegisterRow(register, name, layout, size=2, absent=(0xFFFFFFFF,), **more)


def switch(register: int, name: str, **more: Any) -> RegisterRow:
    """0 or 1."""
    return RegisterRow(register, name, high=1, **more)


def string(register: int, name: str, registers: int) -> RegisterRow:
    """ASCII, as sent."""
    return RegisterRow(
        register, name, Bytes(2 * registers), size=registers, show=plain_text, role="identity"
    )


def secret(register: int, name: str, registers: int) -> RegisterRow:
    """What must never be shown, not even where a block holds only a part of it."""
    return RegisterRow(register, name, count=registers, secret=True, role="settings")


def clock(register: int, name: str, **more: Any) -> RegisterRow:
    """Year from 2000, month, day, hour, minute, second, a byte each."""
    return RegisterRow(register, name, Bytes(6), size=3, show=_moment, **more)


def date(register: int, name: str, **more: Any) -> RegisterRow:
    """Year from 2000, month, day and a zero, a byte each."""
    return RegisterRow(register, name, Bytes(4), size=2, show=_moment, **more)


def plain_text(data: bytes) -> str | None:
    """A string without its padding (00, FF, blanks); `None` if nothing is left."""
    return data.strip(b"\0\xff ").split(b"\0")[0].decode("latin-1").strip() or None


def _moment(data: bytes) -> str | None:
    """ISO date, or date and time, as the board's clock says it; `None` if it is none."""
    year, month, day, *rest = data
    if year > 99 or not 1 <= month <= 12 or not 1 <= day <= 31:
        return None
    text = f"{2000 + year}-{month:02}-{day:02}"
    if len(rest) < 3:
        return text
    hour, minute, second = rest
    return (
        None
        if hour > 23 or max(minute, second) > 59
        else (f"{text}T{hour:02}:{minute:02}:{second:02}")
    )


# ------------------------------------------------------------------------- reversed strings

_VERSION = re.compile(r"\d{2}_\d{6}_\w+")
_BOARD = re.compile(r"JHB|BMS|DL|ESS")
_YEARS = range(18, 40)
"""The years a date in a D2 version can lie in. The codec has no clock that would know today."""


def forward(text: str | None) -> str | None:
    """A version or board name the right way round.

    Many D2 boards send these strings back to front: `B002_111132_03` is `30_231111_200B`
    (`daly-d2-balancer-btsnoop`), others do not. A string that makes sense as sent is kept.
    """
    if text is None or _sensible(text) or not _sensible(text[::-1]):
        return text
    return text[::-1]


def _sensible(text: str) -> bool:
    return _is_date(text) or bool(_VERSION.match(text) or _BOARD.match(text))


def _is_date(text: str) -> bool:
    """YYMMDD or YYYYMMDD, the right way round."""
    match = re.fullmatch(r"(?:20)?(\d\d)(\d\d)(\d\d)", text)
    if match is None:
        return False
    year, month, day = (int(number) for number in match.groups())
    return year in _YEARS and 1 <= month <= 12 and 1 <= day <= 31


def board_name(text: str | None) -> str | None:
    """A model or hardware name the right way round; `None` for a date, which some boards keep in
    its place (`daly-d2-date-as-model`)."""
    name = forward(text)
    return None if name is not None and _is_date(name) else name


# ------------------------------------------------------------------------------- the tables


class RegisterMap:
    """The register map of one dialect."""

    def __init__(self, *rows: RegisterRow) -> None:
        self.rows = tuple(sorted(rows, key=lambda row: row.register))
        for row, following in zip(self.rows, self.rows[1:], strict=False):
            if row.register + row.length > following.register:
                raise ValueError(f"{row.name} and {following.name} overlap")

    def within(self, start: int, count: int) -> Iterator[tuple[RegisterRow, int]]:
        """The rows that have all of a value in these registers, cut to what lies in them, with
        the number of the first item (from 0)."""
        for row in self.rows:
            first = max(0, -(-(start - row.register) // row.size))
            last = min(row.count or 1, (start + count - row.register) // row.size)
            if first < last:
                items = None if row.count is None else last - first
                yield replace(row, register=row.register + first * row.size, count=items), first


class BlockField(NamedTuple):
    """A piece of a block; `row` is `None` where nothing is known."""

    name: str
    at: int
    """RegisterRow, counted from the start of the block."""
    length: int
    row: RegisterRow | None


@lru_cache(maxsize=512)
def block_fields(table: RegisterMap, start: int, count: int) -> tuple[BlockField, ...]:
    """What is in a block, without gaps."""
    found: list[BlockField] = []
    at = start
    for row, first in table.within(start, count):
        if row.register > at:
            found.append(_reserved(start, at, row.register))
        # an array that the block cuts at its front must not pass for one that begins with item 1
        name = row.name if not first else f"{row.name}_from_{first + 1}"
        found.append(BlockField(name, row.register - start, row.length, row))
        at = row.register + row.length
    if at < start + count:
        found.append(_reserved(start, at, start + count))
    return tuple(found)


def _reserved(start: int, first: int, end: int) -> BlockField:
    return BlockField(f"reserved_{first:02X}", first - start, end - first, None)


@lru_cache(maxsize=512)
def block_layout(table: RegisterMap, start: int, count: int) -> Layout:
    """The layout of any block of registers."""
    return Struct(*(_field_layout(field) for field in block_fields(table, start, count)))


def _field_layout(field: BlockField) -> Layout:
    row = field.row
    if row is None:
        return field.name / Bytes(2 * field.length)
    layout: Layout = row.layout if row.count is None else Array(row.count, row.layout)
    return field.name / layout


def block_values(table: RegisterMap, start: int, data: bytes) -> dict[str, Any]:
    """What a block says: absent and unbelievable values are `None` (the latter are under
    `implausible` as the board sent them), secrets and empty reserved registers are left out.

    `FrameError` if the data is no whole number of registers.
    """
    require(len(data) % 2 == 0, f"Registers in an odd number of bytes, {len(data)}.", data)
    count = len(data) // 2
    parsed = parse(block_layout(table, start, count), data, f"Block {start:04X}")
    values: dict[str, Any] = {}
    implausible: dict[str, int] = {}
    for field in block_fields(table, start, count):
        row, raw = field.row, data[2 * field.at : 2 * (field.at + field.length)]
        if row is None:
            if raw.strip(b"\0") and raw.strip(b"\xff"):
                values[field.name] = raw.hex()
        elif row.show is not None:
            values[field.name] = row.show(raw) if raw.strip(b"\xff") else None
        elif not row.secret:
            values[field.name] = _believed(field.name, row, parsed[field.name], raw, implausible)
    if implausible:
        values["implausible"] = implausible
    return values


def _believed(
    name: str, row: RegisterRow, value: Any, raw: bytes, implausible: dict[str, int]
) -> Any:
    words = struct.unpack(f">{len(raw) // (2 * row.size)}{'H' if row.size == 1 else 'I'}", raw)
    if row.count is None:
        return _one(name, row, value, words[0], implausible)
    return [
        _one(f"{name}_{number}", row, item, word, implausible)
        for number, (item, word) in enumerate(zip(value, words, strict=True), 1)
    ]


def _one(name: str, row: RegisterRow, value: Any, word: int, implausible: dict[str, int]) -> Any:
    if word in row.absent:
        return None
    if (row.low is not None and value < row.low) or (row.high is not None and value > row.high):
        implausible[name] = word
        return None
    return value + 0  # never -0.0
