"""What this monitor saw of one pack, in bounded memory: the whole time, ever more coarsely."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator

from bmslink.model import Reading

__all__ = ["SeenHistory"]

ROWS = 512
"""So many are kept: where there are more, each two become one, and from then on each is of twice as
many readings."""
_FIXED = ("current", "voltage", "soc")
_NOTHING = math.nan


class SeenHistory:
    """Rows of (time, current, voltage, SOC, cells, temperatures). Times are of one steady clock, s.

    A row of several readings has their means, and of the current that which was furthest from 0: a
    peak is not averaged away. What was not known is `nan`, and so is all of a gap.
    """

    def __init__(self, rows: int = ROWS) -> None:
        self._most = rows
        self.names: tuple[str, ...] = ()
        """The columns, as the latest reading had them."""
        self._times = array("d")
        self._values = array("f")
        self._each = 1  # readings a row
        self._waiting: list[tuple[float, list[float]]] = []

    def __len__(self) -> int:
        return len(self._times)

    @property
    def resolution(self) -> int:
        """How many readings are one row."""
        return self._each

    def add(self, time: float, reading: Reading) -> None:
        """A reading came."""
        names = (
            *_FIXED,
            *(f"cell_{n}" for n in range(1, len(reading.cell_voltages) + 1)),
            *(f"temperature {name}" for name in reading.temperatures),
        )
        if names != self.names:  # other cells or probes: what was is of another pack
            self.forget()
            self.names = names
        values = (
            reading.current,
            reading.voltage,
            reading.soc,
            *reading.cell_voltages,
            *reading.temperatures.values(),
        )
        self._take(time, [_NOTHING if v is None else v for v in values])

    def gap(self, time: float) -> None:
        """A reading did not come."""
        if self.names:
            self._take(time, [_NOTHING] * len(self.names))

    def forget(self) -> None:
        """Begin anew."""
        self.names, self._each = (), 1
        self._times, self._values = array("d"), array("f")
        self._waiting = []

    def _take(self, time: float, values: list[float]) -> None:
        self._waiting.append((time, values))
        if len(self._waiting) < self._each:
            return
        rows, self._waiting = self._waiting, []
        self._times.append(rows[-1][0])
        self._values.extend(rows[0][1] if len(rows) == 1 else _merged([r for _, r in rows]))
        if len(self._times) >= self._most:
            self._halve()

    def _halve(self) -> None:
        width, old = len(self.names), self._values
        new = array("f")
        for start in range(0, len(old) - width, 2 * width):
            new.extend(_merged([old[start : start + width], old[start + width :][:width]]))
        count = len(new) // width
        self._times = self._times[1 : 2 * count : 2]
        self._values = new
        self._each *= 2

    def series(self, name: str) -> list[tuple[float, float]]:
        """Time and value of a column, `nan` where it was not known; empty where there is none."""
        if name not in self.names:
            return []
        column, width = self.names.index(name), len(self.names)
        return list(zip(self._times, self._values[column::width], strict=True))

    def spread(self) -> list[tuple[float, float, float]]:
        """Time, and how far the lowest and the highest cell were from the mean of all, V."""
        cells = [i for i, name in enumerate(self.names) if name.startswith("cell_")]
        if not cells:
            return []
        first, last, found = cells[0], cells[-1] + 1, []
        for time, row in self._rows():
            known = [v for v in row[first:last] if v == v]
            mean = sum(known) / len(known) if known else _NOTHING
            low, high = (min(known), max(known)) if known else (_NOTHING, _NOTHING)
            found.append((time, low - mean, high - mean))
        return found

    def _rows(self) -> Iterator[tuple[float, array[float]]]:
        width = len(self.names)
        for n, time in enumerate(self._times):
            yield time, self._values[n * width : (n + 1) * width]

    def mean_current(self, since: float) -> float | None:
        """The mean of the rows since a time, A; `None` where there is none."""
        width, found = len(self.names), []
        for n in range(len(self._times) - 1, -1, -1):
            if self._times[n] < since:
                break
            value = self._values[n * width]
            if value == value:
                found.append(value)
        return sum(found) / len(found) if found else None

    def then(self, other: SeenHistory) -> SeenHistory:
        """This one, and after it what is later in another of the same pack."""
        joined = SeenHistory(self._most)
        joined.names, joined._each = self.names, self._each
        joined._times, joined._values = self._times[:], self._values[:]
        if other.names != self.names:
            return joined
        last = self._times[-1] if self._times else -math.inf
        for time, row in other._rows():
            if time > last:
                joined._times.append(time)
                joined._values.extend(row)
        return joined

    def copy(self) -> SeenHistory:
        """As it is now."""
        other = SeenHistory(self._most)
        other.names, other._each = self.names, self._each
        other._times, other._values = self._times[:], self._values[:]
        return other


def _merged(rows: list[list[float]] | list[array[float]]) -> list[float]:
    """Several rows as one."""
    found = []
    for column, values in enumerate(zip(*rows, strict=True)):
        known = [v for v in values if v == v]
        if not known:
            found.append(_NOTHING)
        elif column == 0:
            found.append(max(known, key=abs))
        else:
            found.append(sum(known) / len(known))
    return found
