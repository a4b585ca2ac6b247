"""Construct pieces shared by the protocols, all two-way: what they parse they build again.

Scaling divides, so decimals stay exact (`3300 / 1000 == 3.3`). Reserved bytes are named `Bytes`,
because `Padding` would not round-trip.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypedDict, TypeVar, overload

from construct import ConstructError, Int16ub, ListContainer, Renamed, Struct
from construct import Container as Parsed

from bmslink.errors import FrameError
from bmslink.model import Condition
from bmslink.protocols.common.derive import UNFIT, reader, writer
from bmslink.protocols.common.scale import Layout, Scaled

__all__ = [
    "Layout",
    "Scaled",
    "Severity",
    "bits",
    "build",
    "fields_of",
    "flag",
    "flag_or_raw",
    "is_set",
    "kelvin",
    "last_connected",
    "named_bits",
    "of_count",
    "open_wires",
    "parse",
    "parse_value",
    "scaled",
    "signed",
    "sort_conditions",
    "text",
    "unnamed_bits",
]

T = TypeVar("T")


def scaled(subcon: Layout, per: int, offset: int = 0) -> Scaled:
    """A number of `per` steps a unit, `offset` added to the raw value first."""
    return Scaled(subcon, per, offset)


def kelvin(subcon: Layout = Int16ub) -> Scaled:
    """Tenths of a kelvin counted from 273.1 K, as °C."""
    return Scaled(subcon, 10, -2731)


def parse(layout: Layout, data: bytes, what: str) -> dict[str, Any]:
    """Payload to plain Python values; a payload that does not fit is a `FrameError`."""
    fast = reader(layout)
    try:
        if fast is not None:
            return fast(data)
        values: dict[str, Any] = _plain(layout.parse(data))
        return values
    except (ConstructError, ValueError) as exc:
        raise FrameError(f"{what} of {len(data)} bytes does not fit: {_short(exc)}", data) from exc


def parse_value(layout: Layout, data: bytes, what: str) -> Any:
    """The same for a layout of one value."""
    return parse(_alone(layout), data, what)["value"]


@lru_cache(maxsize=512)
def _alone(layout: Layout) -> Layout:
    """Made once: a layout's fast reader is compiled for the object."""
    return Struct("value" / layout)


def build(layout: Layout, values: Mapping[str, Any] | object, what: str) -> bytes:
    """Plain values to payload; values that do not fit are a `FrameError`."""
    fast = writer(layout)
    if fast is not None:
        with suppress(*UNFIT):  # construct builds them, or says what is wrong
            return fast(values)
    try:
        return bytes(layout.build(values))
    except (ConstructError, KeyError, TypeError, OverflowError) as exc:
        raise FrameError(f"{what} cannot be built: {_short(exc)}") from exc


def _short(exc: BaseException) -> str:
    return str(exc).splitlines()[-1] if str(exc) else type(exc).__name__


def _plain(value: Any) -> Any:
    if isinstance(value, Parsed):
        return {k: _plain(v) for k, v in value.items() if not k.startswith("_")}
    if isinstance(value, ListContainer):
        return [_plain(v) for v in value]
    return value


def fields_of(layout: Layout) -> list[tuple[str, Layout]]:
    """The named fields of a Struct, in wire order; a `TypeError` for anything else."""
    if not isinstance(layout, Struct):
        raise TypeError("only a Struct has fields")
    return [
        (field.name, field.subcon)
        for field in layout.subcons
        if isinstance(field, Renamed) and field.name is not None
    ]


def text(data: bytes) -> str:
    """A device string: cut at the first NUL, undecodable bytes kept visible, trimmed."""
    return data.split(b"\0")[0].decode("latin-1").strip(" \xff")


@overload
def is_set(word: int, number: int) -> bool: ...
@overload
def is_set(word: int | None, number: int) -> bool | None: ...
def is_set(word: int | None, number: int) -> bool | None:
    """Whether a bit of a word is set; `None` where the word is unknown."""
    return None if word is None else bool(word >> number & 1)


def bits(word: int) -> tuple[int, ...]:
    """The numbers of the bits that are set, lowest first."""
    if not word:  # nearly always: no alarms, no balancing
        return ()
    return tuple(i for i in range(word.bit_length()) if word >> i & 1)


def flag(value: object) -> bool | None:
    """A number that is 0 or 1; anything else was never seen and says nothing."""
    return bool(value) if value in (0, 1) else None


def flag_or_raw(values: Mapping[str, Any], name: str, raw: dict[str, Any]) -> bool | None:
    """The same of a field; what is neither 0 nor 1 is kept in `raw`."""
    value = values.get(name)
    if value not in (None, 0, 1):
        raw[name] = value
    return flag(value)


def signed(current: float | None, sign: str, raw: dict[str, Any]) -> float | None:
    """A current whose direction the protocol states, unless the owner says it is the other way."""
    raw["current_sign"] = "reported" if sign == "auto" else "configured"
    return -current if sign == "inverted" and current else current


def named_bits(word: int, names: Mapping[int, T]) -> list[T]:
    """What the bits that are set mean, of those with a name, lowest first."""
    return [names[number] for number in bits(word) if number in names]


def unnamed_bits(word: int, names: Container[int]) -> list[int]:
    """The bits that are set and have no name."""
    return [number for number in bits(word) if number not in names]


Severity = str
"""`alarm`, `protection` or `fault`: the list of the Reading a condition goes to."""


def of_count(slots: Sequence[float | None], count: int) -> tuple[float | None, ...]:
    """The cells of a pack of `count`: slots beyond are padding, missing ones are unknown."""
    return (*slots[:count], *(None,) * (count - len(slots)))


def last_connected(slots: Iterable[float | None]) -> int:
    """The number, from 1, of the last slot that measures a voltage; 0 where none does."""
    return max((number for number, volts in enumerate(slots, 1) if volts), default=0)


def open_wires(cells: Iterable[float | None]) -> list[tuple[Severity, Condition]]:
    """A fault where an input measures 0 V: an open wire, or no cell at all."""
    return [("fault", Condition.VOLTAGE_SENSE)] if 0 in cells else []


class ConditionLists(TypedDict):
    """The three lists of a Reading, and whether they are complete."""

    alarms: tuple[Condition, ...]
    protections: tuple[Condition, ...]
    faults: tuple[Condition, ...]
    conditions_known: bool


def sort_conditions(
    found: Iterable[tuple[Severity, Condition]], *, known: bool = True
) -> ConditionLists:
    """Keyword arguments for `Reading`: each condition once per list, in order of appearance.

    `known`: what the BMS says of conditions was read."""
    lists: dict[str, dict[Condition, None]] = {"alarm": {}, "protection": {}, "fault": {}}
    for severity, condition in found:
        lists[severity][condition] = None
    return {
        "alarms": tuple(lists["alarm"]),
        "protections": tuple(lists["protection"]),
        "faults": tuple(lists["fault"]),
        "conditions_known": known,
    }
