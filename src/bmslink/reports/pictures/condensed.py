"""Many readings in bounded memory: once there are too many, neighbours share a slot, which keeps
the lowest and the highest value of each column, and which of them came first."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise, zip_longest
from statistics import median

from bmslink.runtime.watching.energy import longest_step

__all__ = ["Condensed", "CondensedSlot"]

_NONE = math.nan
_AROUND = 5
"""Steps on either side whose median is the usual time between two readings."""
_AT_ONCE = 512
"""Rows of one slot that wait to be joined."""

Row = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class CondensedSlot:
    """The readings of a short time."""

    first: float
    """Time of the first one, s since 1970."""
    last: float
    """Time of the last one."""
    low: array[float]
    """The lowest value of each column; NaN where there is none."""
    high: array[float]
    """The highest."""
    rising: bytes
    """Of each column, 1 where the lowest came before the highest."""


class Condensed:
    """Values of several columns over time."""

    def __init__(self, most: int = 6000, *, step: float | None = None) -> None:
        """`most`: so many slots at most (2 or more). `step`: the time between two readings, s,
        where it is known; else it is taken from the readings themselves."""
        self.most = max(2, most)
        self.step = step
        self.columns: dict[str, int] = {}
        """Name -> its place in a slot."""
        self._slots: list[CondensedSlot] = []
        self._width = 0.0  # s of one slot; 0: each reading has its own
        self._open: list[tuple[float, Row]] = []
        self._open_number = 0

    def __len__(self) -> int:
        return len(self._slots) + bool(self._open)

    @property
    def joined(self) -> bool:
        """Whether readings share slots already."""
        return self._width > 0

    def add(self, time: float, values: Mapping[str, float | None]) -> None:
        """One reading; those that are no number count as unknown."""
        columns = self.columns
        if values.keys() - columns.keys():
            for name in values:
                columns.setdefault(name, len(columns))
        self.add_row(time, [values.get(name) for name in columns])

    def add_row(self, time: float, row: Row) -> None:
        """The same, in the order of `columns`."""
        if not self._width:
            self._slots.append(_slot([(time, row)]))
            if len(self._slots) > self.most:
                self._widen()
            return
        number = math.floor(time / self._width)
        if self._open and (number != self._open_number or len(self._open) >= _AT_ONCE):
            self._close()
        self._open_number = number
        self._open.append((time, row))

    def _close(self) -> None:
        if not self._open:
            return
        self._slots.append(_slot(self._open))
        self._open = []
        if len(self._slots) > self.most:
            self._widen()

    def _widen(self) -> None:
        """Wider slots, until they are few enough: half of what may be there."""
        self._slots.sort(key=lambda each: each.first)
        while len(self._slots) > self.most // 2:
            if self._width:
                self._width *= 2
            else:
                span = self._slots[-1].last - self._slots[0].first
                self._width = 2.0 ** math.ceil(math.log2(max(span / self.most, 0.01)))
            self._slots = [*_joined(self._slots, self._width)]

    def slots(self, most: int | None = None) -> list[CondensedSlot]:
        """What is kept, in the order of time; `most`: in at most so many."""
        self._close()
        self._slots.sort(key=lambda each: each.first)
        if most is None or len(self._slots) <= most:
            return [*self._slots]
        coarse = Condensed(max(2, most) * 2)  # `_widen` ends at the half of it
        coarse._slots, coarse._width = [*self._slots], self._width
        coarse._widen()
        return coarse._slots

    def breaks(self, slots: Sequence[CondensedSlot]) -> list[bool]:
        """Of each slot, whether time is missing before it: readings are further apart there than
        is usual around it."""
        steps = [after.first - before.last for before, after in pairwise(slots)]
        if self.step is not None:
            return [False, *(step > 1.25 * self.step for step in steps)]
        found = [False]
        for n, step in enumerate(steps):
            near = steps[max(0, n - _AROUND) : n + _AROUND + 1]
            found.append(step > longest_step(median(near)))
        return found


def _slot(rows: Sequence[tuple[float, Row]]) -> CondensedSlot:
    times = [time for time, _ in rows]
    if len(rows) == 1:
        low = array("d", [_NONE if v is None else v for v in rows[0][1]])
        return CondensedSlot(times[0], times[0], low, low, bytes(len(low)))
    lows, highs, rising = array("d"), array("d"), bytearray()
    columns: Iterator[tuple[float | None, ...]] = zip_longest(*(row for _, row in rows))
    for column in columns:
        known = [v for v in column if v is not None]
        least, most = (min(known), max(known)) if known else (_NONE, _NONE)
        lows.append(least)
        highs.append(most)
        rising.append(least < most and known.index(least) < known.index(most))
    return CondensedSlot(min(times), max(times), lows, highs, bytes(rising))


def _joined(slots: Sequence[CondensedSlot], width: float) -> Iterator[CondensedSlot]:
    """Slots of at least this width. A whole new one is a pair of old ones, or more where slots
    were few."""
    waiting: list[CondensedSlot] = []
    for slot in slots:
        if waiting and math.floor(slot.first / width) != math.floor(waiting[0].first / width):
            yield reduce(_pair, waiting)
            waiting = []
        waiting.append(slot)
    if waiting:
        yield reduce(_pair, waiting)


def _pair(one: CondensedSlot, other: CondensedSlot) -> CondensedSlot:
    """Two slots as one, the earlier one first. NaN is less than nothing: what is known wins."""
    size = max(len(one.low), len(other.low))
    a, b = _filled(one, size), _filled(other, size)
    low = array("d", [x if x <= y or y != y else y for x, y in zip(a.low, b.low, strict=True)])
    high = array("d", [x if x >= y or y != y else y for x, y in zip(a.high, b.high, strict=True)])
    rising = bytes(
        (a_up if bottom == a_low else 0) if top == a_high else (1 if bottom == a_low else b_up)
        for bottom, top, a_low, a_high, a_up, b_up in zip(
            low, high, a.low, a.high, a.rising, b.rising, strict=True
        )
    )
    return CondensedSlot(a.first, max(a.last, b.last), low, high, rising)


def _filled(slot: CondensedSlot, size: int) -> CondensedSlot:
    """With so many columns: those that came later have no value yet."""
    more = size - len(slot.low)
    if not more:
        return slot
    nothing = array("d", [_NONE] * more)
    return CondensedSlot(
        slot.first, slot.last, slot.low + nothing, slot.high + nothing, slot.rising + bytes(more)
    )
