"""The capacity of a battery, found by counting between a proven full and a proven empty.

The board's current has an offset that a day makes into ampere-hours. From full to full nothing
is gained or lost, so what was counted then is the offset; it is taken out of every pass. What is
counted comes from the one counter (`Counted`).
"""

from __future__ import annotations

import math
from datetime import datetime

import msgspec

from bmslink.analysis.anchors import Anchor, FullWatch, empty_anchor, full_anchor
from bmslink.analysis.facts import CapacityFacts, Estimate, Pass, Trend
from bmslink.analysis.robust import line, median, spread, thinned, weighted_mean
from bmslink.analysis.sample import LifeSample
from bmslink.settings.chemistry import Chemistry

__all__ = ["CapacityFinder", "CapacityState", "FoundPass", "Loop", "Point"]

_HOUR, _DAY, _YEAR = 3600.0, 86400.0, 365.25 * 86400.0
_OFFSET = 0.2
"""A, one standard deviation of boards' offsets, before any loop was seen."""
_OFFSET_FLOOR = 0.035
"""A by which an offset moves with time and temperature."""
_GAIN = 0.006
"""One standard deviation of boards' gains: makers say 1 % and mean the most."""
_FULL_AGAIN = 0.003
"""Of the capacity, by which one full charge differs from the next, one standard deviation."""
_SHORTEST_LOOP = 12 * _HOUR
_LONGEST_LOOP = 60 * _DAY
_MOST_UNKNOWN = 0.05
"""Of the time of a pass or a loop."""
_MOST_SIGMA = 0.03
"""Of the capacity: a pass that is less sure is not used."""
_TURNED = 0.02
"""Of the capacity that flows back before an empty battery counts as being charged again."""
_PASSES, _LOOPS, _SHOWN = 64, 24, 12
_AGEING = 0.025
"""Of the capacity that a battery may have lost in a year of which nothing is known, one standard
deviation: cells lose 2 to 5 %, most of it in their first year."""
_BENDING = 0.01
"""The same beyond a line that is known."""
_LEAST_PASSES, _LEAST_DAYS = 4, 60.0
"""For a trend."""
_JUDGED = ("lfp",)
"""Chemistries for which `tools/judge_life.py` has judged it."""
_NO_CHEMISTRY = (
    "What the cells are made of is not known: set `chemistry` of the pack in bmslink.toml "
    "(with --from: --chemistry)."
)
_NO_CAPACITY = (
    "The board does not report its nominal capacity: a policy file says it (with --from: "
    "--capacity)."
)


class Point(msgspec.Struct):
    """A moment at which the charge was known."""

    age: float
    net: float
    unknown: float
    moved: float
    soc: float
    sigma: float
    temperature: float | None = None


class FoundPass(msgspec.Struct):
    """One pass, before the offset is taken out: Ah counted over so many hours."""

    age: float
    time: datetime
    counted: float
    """Ah out of it going down, into it going up; what the board's current makes of them."""
    hours: float
    share: float
    """Of the charge that was passed through, 0..1."""
    sigma: float
    """Ah of the whole capacity, one standard deviation, without offset and gain."""
    down: bool
    temperature: float | None = None


class Loop(msgspec.Struct):
    """From full to full."""

    hours: float
    offset: float
    """A."""
    sigma: float


class CapacityState(msgspec.Struct):
    """All that is remembered."""

    full: Point | None = None
    """The latest moment of the latest full."""
    loop: Point | None = None
    """The full that the next loop is counted from."""
    empty: Point | None = None
    """The emptiest moment since the latest full, or the one that a charge is counted from."""
    proven: bool = False
    """A charge since `empty` is under way, and `empty` is used up going down."""
    passes: list[FoundPass] = []
    loops: list[Loop] = []
    unused: int = 0
    fulls: int = 0
    last_full: datetime | None = None
    full_age: float | None = None
    counted_full: float | None = None


class CapacityFinder:
    """Fed with each reading."""

    def __init__(self, state: CapacityState | None = None) -> None:
        self.state = state or CapacityState()
        self._held = FullWatch()
        self._low = False
        """The latest reading was of an empty battery."""
        self.is_full = False
        """Proven by the latest reading."""

    def hear(self, sample: LifeSample, kind: Chemistry | None, capacity: float | None) -> None:
        """A reading. Without a chemistry or a capacity (Ah) nothing is proven."""
        self.is_full = False
        if kind is None or not capacity:
            return
        full = full_anchor(sample, kind, capacity)
        empty = empty_anchor(sample, kind, capacity)
        # Boards now and then give a single cell voltage that never was: one reading proves nothing.
        emptied, self._low = self._low and sample.step > 0, empty is not None
        if self._held.hear(sample, full) and full is not None:
            self.is_full = True
            self._hear_full(sample, full, capacity)
            return
        if empty is not None and emptied:
            self._hear_empty(sample, empty)
        self._turn(sample, capacity)

    def _hear_full(self, sample: LifeSample, anchor: Anchor, capacity: float) -> None:
        state, now = self.state, _point(sample, anchor)
        if state.empty is not None:
            if not state.proven:
                self._close(state.full, state.empty, sample, capacity, down=True)
            self._close(state.empty, now, sample, capacity, down=False)
            state.empty, state.proven = None, False
        if state.loop is None or now.age - state.loop.age >= _SHORTEST_LOOP:
            if state.loop is not None:
                self._close_loop(state.loop, now, capacity)
            state.loop = now
        if state.counted_full is None or now.age - state.counted_full >= _SHORTEST_LOOP:
            state.fulls, state.counted_full = state.fulls + 1, now.age
        state.full, state.last_full, state.full_age = now, sample.time, now.age

    def _hear_empty(self, sample: LifeSample, anchor: Anchor) -> None:
        state = self.state
        if state.empty is None or anchor.soc <= state.empty.soc or state.proven:
            state.empty, state.proven = _point(sample, anchor), False

    def _turn(self, sample: LifeSample, capacity: float) -> None:
        """A battery that was empty is charged again: the way down has ended."""
        state = self.state
        if state.empty is None or state.proven:
            return
        if sample.net - state.empty.net > _TURNED * capacity * _HOUR:
            self._close(state.full, state.empty, sample, capacity, down=True)
            state.full, state.proven = None, True

    def _close(
        self, start: Point | None, end: Point, sample: LifeSample, capacity: float, *, down: bool
    ) -> None:
        if start is None:
            return
        state, hours = self.state, (end.age - start.age) / _HOUR
        unknown = (end.unknown - start.unknown) / _HOUR
        share = abs(end.soc - start.soc)
        known = hours - unknown
        if hours <= 0 or known <= 0 or share < 0.5:
            return
        if unknown > _MOST_UNKNOWN * hours:
            state.unused += 1
            return
        counted = (start.net - end.net if down else end.net - start.net) / _HOUR
        # In time that nobody saw as much flowed as on the average, give or take as much again.
        counted *= hours / known
        gap = unknown * (end.moved - start.moved) / _HOUR / known
        ends = math.hypot(start.sigma, end.sigma) * capacity
        sigma = math.hypot(gap, ends) / share
        offset = self._offset()[1] * hours / share
        if counted <= 0.2 * capacity or math.hypot(sigma, offset) > _MOST_SIGMA * capacity:
            state.unused += 1
            return
        warm = [t for t in (start.temperature, end.temperature) if t is not None]
        found = FoundPass(
            end.age, sample.time, counted, hours, share, sigma, down,
            sum(warm) / len(warm) if warm else None,
        )  # fmt: skip
        state.passes = thinned([*state.passes, found], _PASSES)

    def _close_loop(self, start: Point, end: Point, capacity: float) -> None:
        seconds = end.age - start.age
        unknown = end.unknown - start.unknown
        if seconds > _LONGEST_LOOP or unknown > _MOST_UNKNOWN * seconds:
            return
        hours, known = seconds / _HOUR, (seconds - unknown) / _HOUR
        gained = (end.net - start.net) / _HOUR - (end.soc - start.soc) * capacity
        missed = unknown / _HOUR * (end.moved - start.moved) / _HOUR / known
        sigma = math.hypot(2**0.5 * _FULL_AGAIN * capacity, missed) / known
        self.state.loops = [*self.state.loops, Loop(hours, gained / known, sigma)][-_LOOPS:]

    def _offset(self) -> tuple[float, float]:
        """A that the current is wrong by, and one standard deviation."""
        loops = self.state.loops
        if not loops:
            return 0.0, _OFFSET
        value, sigma = weighted_mean([x.offset for x in loops], [x.sigma for x in loops])
        middle = median([x.offset for x in loops])
        if len(loops) >= 5:  # one full that was none moves a mean, and no median
            sure = 1.25 * spread([x.offset for x in loops]) / math.sqrt(len(loops))
            value, sigma = middle, max(sigma, sure)
        return value, math.hypot(min(sigma, _OFFSET), _OFFSET_FLOOR)

    def charge_doubt(self, amp_hours: float, hours: float) -> float:
        """Ah, for 95 %, that a charge counted over so many hours may be wrong by: what the gain of
        the board's current makes, and its offset, which is not taken out of the counter."""
        value, sigma = self._offset()
        return math.hypot((abs(value) + 2 * sigma) * hours, 2 * _GAIN * amp_hours)

    # -- what was found --------------------------------------------------------------------------

    def facts(self, kind: Chemistry | None, capacity: float | None, age: float) -> CapacityFacts:
        """As of now; `age` in s."""
        state = self.state
        offset, sigma = self._offset()
        seen = state.passes
        passes = [_worth(each, offset) for each in seen]
        why = _why(kind, capacity, state)
        now, trend = Estimate(why=why), Trend(why=why)
        if passes:
            value, random, trend = _value_now(
                [each.age for each in seen], [v for v, _ in passes], [s for _, s in passes], age
            )
            # What all passes share does not grow smaller with their number.
            shared = math.hypot(_GAIN * value, sigma * _leaning(seen, passes))
            now = Estimate(
                value=value,
                uncertainty=2 * math.hypot(random, shared),
                evidence=len(passes),
                since=seen[0].time,
                until=seen[-1].time,
            )
        shown = tuple(
            Pass(
                time=each.time, capacity=value, uncertainty=2 * s, hours=each.hours,
                down=each.down, temperature=each.temperature,
            )
            for each, (value, s) in [*zip(seen, passes, strict=True)][-_SHOWN:]
        )  # fmt: skip
        loops = len(state.loops)
        return CapacityFacts(
            now=now,
            of_nominal=100 * now.value / capacity if now.value and capacity else None,
            trend=trend,
            offset=Estimate(value=offset, uncertainty=2 * sigma, evidence=loops)
            if loops
            else Estimate(why="It was never seen full twice, 12 hours apart."),
            passes=shown,
            unused=state.unused,
            judged=kind is not None and kind.name in _JUDGED,
        )


def _worth(found: FoundPass, offset: float) -> tuple[float, float]:
    """Ah of the whole battery, and what this pass alone may be wrong by, one standard deviation."""
    wrong = offset * found.hours * (1 if found.down else -1)
    whole = (found.counted + wrong) / found.share
    return whole, math.hypot(found.sigma, _OFFSET_FLOOR * found.hours / found.share)


def _leaning(seen: list[FoundPass], passes: list[tuple[float, float]]) -> float:
    """Ah by which the mean of the passes moves for each A that the offset is wrong: ways down and
    ways up lean to opposite sides."""
    weights = [1 / sigma**2 for _, sigma in passes]
    leans = [p.hours / p.share * (1 if p.down else -1) for p in seen]
    return abs(sum(w * x for w, x in zip(weights, leans, strict=True)) / sum(weights))


def _value_now(
    ages: list[float], values: list[float], sigmas: list[float], now: float
) -> tuple[float, float, Trend]:
    """Ah now, one standard deviation, and the change."""
    days = (ages[-1] - ages[0]) / _DAY
    fitted = line(ages, values, sigmas)
    if fitted is None or len(values) < _LEAST_PASSES or days < _LEAST_DAYS:
        value, random = weighted_mean(values, sigmas)
        since = (now - sum(ages) / len(ages)) / _YEAR
        random = math.hypot(random, _AGEING * value * since)
        why = (
            f"Not enough passes: {len(values)} over {days:.0f} days, of "
            f"{_LEAST_PASSES} over {_LEAST_DAYS:.0f}."
        )
        return value, random, Trend(evidence=len(values), days=days, why=why)
    value, random = fitted.at(now)
    random = math.hypot(random, _BENDING * value * (now - ages[-1]) / _YEAR)
    trend = Trend(
        per_year=100 * fitted.slope * _YEAR / value,
        uncertainty=200 * fitted.slope_sigma * _YEAR / value,
        evidence=len(values),
        days=days,
    )
    return value, random, trend


def _why(kind: Chemistry | None, capacity: float | None, state: CapacityState) -> str:
    if kind is None:
        return _NO_CHEMISTRY
    if not capacity:
        return _NO_CAPACITY
    if state.passes:
        return ""
    more = f" {_passes(state.unused)} too uncertain." if state.unused else ""
    return f"It was not yet seen all the way from full to empty, or from empty to full.{more}"


def _passes(count: int) -> str:
    return "One pass was" if count == 1 else f"{count} passes were"


def _point(sample: LifeSample, anchor: Anchor) -> Point:
    return Point(
        sample.age, sample.net, sample.unknown, sample.moved, anchor.soc, anchor.sigma,
        sample.temperature,
    )  # fmt: skip
