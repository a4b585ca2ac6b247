"""Load steps, as a board that is asked every few seconds shows them.

Boards measure cells and current at different moments, so the reading in which the current changes
may hold cells of before. What counts is a steady current before, another steady current after, and
the cells of the second reading after the change or later, near 10 s.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from bmslink.analysis.sample import LifeSample
from bmslink.settings.chemistry import Chemistry

__all__ = ["LoadStep", "StepWatch"]

_BEFORE = 45.0
"""s of a steady current before a step: what is left of earlier steps then moves little in 10 s."""
_AT = 10.0
"""s after the step that the resistance is meant for."""
_LATEST = 16.0
_LONGEST_GAP = 12.0
"""s between two readings of a step."""
_STEADY = 0.03
"""Of the step, by which the currents before and after may wander."""
_RISING = 0.2
"""Of the step, that the current may still go on after the first reading that shows it: boards tell
means of a second or so."""
_LEAST = 0.06
"""C: the smallest step."""
_LEAST_VOLTS = 0.004
"""V: the smallest change of the median cell; boards tell millivolts."""
_LEVEL = (12.0, 96.0)
"""% between which ten seconds of current do not move the rest voltage."""
_MEAN_OF = 3
"""Readings before a step whose mean is taken."""


class LoadStep(NamedTuple):
    """One."""

    age: float
    ohms: tuple[float, ...]
    """Of each cell."""
    delay: float
    """s from the middle of the interval in which the current changed."""
    temperature: float | None
    soc: float | None
    volts: float
    """By which the median cell moved."""


class StepWatch:
    """Finds steps; remembers less than a minute."""

    def __init__(self) -> None:
        self._before: deque[LifeSample] = deque(maxlen=64)
        self._after: list[LifeSample] = []

    def clear(self) -> None:
        """Nothing is known of the time until now."""
        self._before.clear()
        self._after.clear()

    def hear(
        self, sample: LifeSample, capacity: float, kind: Chemistry | None = None
    ) -> LoadStep | None:
        """A reading; the step that it completes."""
        gap = not 0 < sample.step <= _LONGEST_GAP
        if gap or sample.current is None or not sample.cells:
            self.clear()
            if sample.current is None or not sample.cells:
                return None
        if self._after:
            return self._go_on(sample, capacity)
        before = self._before
        if before and self._changed(sample, capacity):
            long = sample.age - before[0].age >= _BEFORE
            if long and self._steady(before, sample) and _level(before[-1], kind):
                self._after = [sample]
                return None
            before.clear()
        before.append(sample)
        while sample.age - before[0].age > 2 * _BEFORE:
            before.popleft()
        return None

    def _changed(self, sample: LifeSample, capacity: float) -> bool:
        return abs(_amps(sample) - _amps(self._before[-1])) >= _LEAST * capacity / 2

    def _steady(self, before: deque[LifeSample], sample: LifeSample) -> bool:
        currents = [_amps(each) for each in before if sample.age - each.age <= 1.5 * _BEFORE]
        size = abs(_amps(sample) - currents[-1])
        return max(currents) - min(currents) <= max(_STEADY * size, 0.05)

    def _go_on(self, sample: LifeSample, capacity: float) -> LoadStep | None:
        """The readings after the change: the current is where it goes to, near 10 s."""
        after = [*self._after, sample]
        edge = (self._before[-1].age + after[0].age) / 2
        delay = sample.age - edge
        settled = after[1:]
        currents = [_amps(each) for each in settled]
        size = abs(currents[-1] - _amps(self._before[-1]))
        wander = max(currents) - min(currents)
        moved_on = abs(currents[0] - _amps(after[0])) > _RISING * size
        if moved_on or wander > max(_STEADY * size, 0.05) or delay > _LATEST:
            self.clear()
            self._before.append(sample)
            return None
        self._after = after
        if delay < _AT - sample.step / 2:
            return None
        found = self._step(sample, delay, capacity)
        self.clear()
        self._before.append(sample)
        return found

    def _step(self, sample: LifeSample, delay: float, capacity: float) -> LoadStep | None:
        calm = [*self._before][-_MEAN_OF:]
        amps = _amps(sample) - sum(map(_amps, calm)) / len(calm)
        if abs(amps) < _LEAST * capacity or any(len(s.cells) != len(sample.cells) for s in calm):
            return None
        volts = [
            now - sum(s.cells[index] for s in calm) / len(calm)
            for index, now in enumerate(sample.cells)
        ]
        moved = sorted(abs(v) for v in volts)[len(volts) // 2]
        ohms = tuple(v / amps for v in volts)
        if moved < _LEAST_VOLTS or min(ohms) <= 0 or max(ohms) > 0.5:
            return None
        return LoadStep(sample.age, ohms, delay, sample.temperature, sample.soc, moved)


def _level(sample: LifeSample, kind: Chemistry | None) -> bool:
    """Whether the rest voltage hardly changes with a little charge: neither full nor empty."""
    if kind is not None:
        return kind.ocv(_LEVEL[0]) <= sample.mean <= kind.ocv(_LEVEL[1])
    return sample.soc is not None and _LEVEL[0] <= sample.soc <= _LEVEL[1]


def _amps(sample: LifeSample) -> float:
    return sample.current or 0.0
