"""Many readings in bounded memory: once there are too many, neighbours share a slot, which keeps
the lowest and the highest value of each column, and which of them came first."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from statistics import median

from bmslink.runtime.watching.energy import longest_step

__all__ = ["Condensed", "Slot"]

_NONE = math.nan
_AROUND = 5
"""Steps on either side whose median is the usual time between two readings."""
_AT_ONCE = 512
"""Rows of one slot that wait to be joined."""

Row = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Slot:
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
        self._slots: list[Slot] = []
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

    def slots(self, most: int | None = None) -> list[Slot]:
        """What is kept, in the order of time; `most`: in at most so many."""
        self._close()
        self._slots.sort(key=lambda each: each.first)
        if most is None or len(self._slots) <= most:
            return [*self._slots]
        coarse = Condensed(max(2, most) * 2)  # `_widen` ends at the half of it
        coarse._slots, coarse._width = [*self._slots], self._width
        coarse._widen()
        return coarse._slots

    def breaks(self, slots: Sequence[Slot]) -> list[bool]:
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


def _slot(rows: Sequence[tuple[float, Row]]) -> Slot:
    times = [time for time, _ in rows]
    if len(rows) == 1:
        low = array("d", [_NONE if v is None else v for v in rows[0][1]])
        return Slot(times[0], times[0], low, low, bytes(len(low)))
    low, high, rising = array("d"), array("d"), bytearray()
    for column in zip_longest(*(row for _, row in rows)):
        known = [v for v in column if v is not None] if None in column else column
        least, most = (min(known), max(known)) if known else (_NONE, _NONE)
        low.append(least)
        high.append(most)
        rising.append(bool(known) and known.index(least) < known.index(most))
    return Slot(min(times), max(times), low, high, bytes(rising))


def _joined(slots: Sequence[Slot], width: float) -> Iterator[Slot]:
    """Slots of at least this width. A whole new one is a pair of old ones, or more where slots
    were few."""
    waiting: list[Slot] = []
    for slot in slots:
        if waiting and math.floor(slot.first / width) != math.floor(waiting[0].first / width):
            yield _merged(waiting)
            waiting = []
        waiting.append(slot)
    if waiting:
        yield _merged(waiting)


def _merged(slots: Sequence[Slot]) -> Slot:
    if len(slots) == 1:
        return slots[0]
    low, high, rising = array("d"), array("d"), bytearray()
    for n in range(max(len(each.low) for each in slots)):
        there = [(s.low[n], s.high[n], s.rising[n]) for s in slots if n < len(s.low)]
        known = [each for each in there if each[0] == each[0]]
        if not known:
            low.append(_NONE)
            high.append(_NONE)
            rising.append(0)
            continue
        least, most = min(v for v, _, _ in known), max(v for _, v, _ in known)
        at_low = next(k for k, each in enumerate(known) if each[0] == least)
        at_high = next(k for k, each in enumerate(known) if each[1] == most)
        low.append(least)
        high.append(most)
        rising.append(known[at_low][2] if at_low == at_high else at_low < at_high)
    last = max(each.last for each in slots)
    return Slot(slots[0].first, last, low, high, bytes(rising))
