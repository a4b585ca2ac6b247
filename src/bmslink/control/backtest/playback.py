"""The engine with time taken from a log: what it would have decided, moment by moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Protocol

from bmslink.control.backtest.logs import Entry
from bmslink.control.decide.decision import Decision
from bmslink.control.decide.engine import Engine
from bmslink.control.decide.policy import Mode, PolicySet
from bmslink.errors import TargetError
from bmslink.model import Reading

__all__ = ["ALL", "Follower", "Playback", "make_engine", "packs", "usual_interval"]

ALL = (Mode.ENFORCE, Mode.SHADOW)
"""What would act if nothing were only tried."""

_BEFORE = 24
"""Readings of a pack from which the time between them is taken."""
_MOST_PACKS = 64
_SHORTEST, _LONGEST = 0.1, 3600.0  # s between readings
_LATE = 1.5  # times the usual interval
_BLIND = 1900.0  # s: by then everything has happened that silence makes happen


class Follower(Protocol):
    """Gets what was decided on one pack."""

    def sampled(self, entry: Entry, decision: Decision, engine: Engine) -> None:
        """A decision on a reading."""

    def waited(self, time: float, decision: Decision, engine: Engine) -> None:
        """A decision in a gap of the log."""

    def skipped(self, entry: Entry, why: str) -> None:
        """A reading that was not judged, or (`backwards`) not at its own time."""


class Playback:
    """The readings of one pack through one engine; tells what is decided to a follower.

    In gaps it ticks as a live program would, a little coarser the longer they last.
    """

    def __init__(self, engine: Engine, follower: Follower, poll: float) -> None:
        self.engine = engine
        self._follower = follower
        self.poll = poll
        """Time between readings, s: the median of the last, since a log may change its pace."""
        self._steps: deque[float] = deque(maxlen=_BEFORE)
        self._last: Entry | None = None

    def step(self, entry: Entry) -> None:
        """Judge the next reading of the log."""
        last = self._last
        if last is not None:
            if entry.time == last.time and _same(entry.reading, last.reading):
                self._follower.skipped(entry, "duplicate")
                return
            if entry.time < last.time:
                self._follower.skipped(entry, "backwards")
            elif entry.time > last.time:
                self._keep_pace(entry.time - last.time)
                if entry.time - last.time > _LATE * self.poll:
                    self._wait(last.time, entry.time)
        self._last = entry
        decision = self.engine.step(entry.reading, entry.time)
        self._follower.sampled(entry, decision, self.engine)

    def _keep_pace(self, step: float) -> None:
        """Follow the log where most of its readings are further apart than they were, or nearer."""
        self._steps.append(step)
        fits = self.poll / _LATE <= step <= _LATE * self.poll
        if fits or len(self._steps) < _BEFORE:
            return
        usual = sorted(self._steps)[_BEFORE // 2]
        if not self.poll / _LATE <= usual <= _LATE * self.poll:
            self.poll = min(_LONGEST, max(_SHORTEST, usual))
            self.engine.retime(self.poll)

    def wait_until(self, time: float) -> None:
        """Nothing is heard from the last reading to this time, which may be a gap."""
        if self._last is not None and time - self._last.time > _LATE * self.poll:
            self._wait(self._last.time, time)
            self._follower.waited(time, self.engine.tick(time), self.engine)

    def _wait(self, since: float, until: float) -> None:
        passed = self.poll
        while passed <= _BLIND + self.poll and since + passed < until:
            moment = since + passed
            self._follower.waited(moment, self.engine.tick(moment), self.engine)
            passed += max(self.poll, passed / 50)


def usual_interval(entries: Iterable[Entry]) -> float:
    """The usual time between readings, s; 1 if it is not known."""
    times = [entry.time for entry in entries]
    steps = sorted(b - a for a, b in pairwise(times) if b > a)
    if not steps:
        return 1.0
    return min(_LONGEST, max(_SHORTEST, steps[len(steps) // 2]))


def packs(entries: Iterable[Entry]) -> Iterator[tuple[str, float, Iterable[Entry]]]:
    """The entries of a log, in portions: target, usual interval, entries.

    The first portion of a pack is as long as it takes to see how far its readings are apart.
    """
    waiting: dict[str, list[Entry]] = {}
    known: dict[str, float] = {}
    for entry in entries:
        target = entry.target
        if target in known:
            yield target, known[target], (entry,)
            continue
        if target not in waiting and len(waiting) + len(known) >= _MOST_PACKS:
            raise TargetError(f"The log holds more than {_MOST_PACKS} packs: take it in parts.")
        begun = waiting.setdefault(target, [])
        begun.append(entry)
        if len(begun) >= _BEFORE:
            known[target] = usual_interval(begun)
            yield target, known[target], waiting.pop(target)
    for target, begun in waiting.items():
        yield target, usual_interval(begun), begun


def make_engine(
    policies: PolicySet,
    settings: Mapping[str, float] | None,
    *,
    poll: float,
    sink: bool,
    acting: Collection[Mode] = ALL,
) -> Engine:
    """An engine in which everything acts that is not switched off, or what has one of these
    modes."""
    return Engine(policies, settings, acting=acting, sink=sink, poll=poll)


def _same(one: Reading, other: Reading) -> bool:
    return one.cell_voltages == other.cell_voltages and one == other
