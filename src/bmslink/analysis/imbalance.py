"""How far the cells are apart: at rest, and when the battery is full."""

from __future__ import annotations

from datetime import datetime

import msgspec

from bmslink.analysis.facts import Estimate, ImbalanceFacts, Trend
from bmslink.analysis.robust import line, thinned
from bmslink.analysis.sample import LifeSample, widest

__all__ = ["ImbalanceFinder", "ImbalanceState", "Week"]

_WEEK, _DAY, _YEAR = 7 * 86400.0, 86400.0, 365.25 * 86400.0
_REST = 0.02
"""C."""
_RESTED = 1800.0
"""s."""
_MIDDLE = (20.0, 80.0)
"""%."""
_EVERY = 1800.0
"""s between two samples of the same kind."""
_WEEKS = 60
_MILLIVOLTS = 1.0
"""mV, one standard deviation of a week's mean: boards round, and cells drift with temperature."""
_LEAST_WEEKS = 6


class Week(msgspec.Struct):
    """Of one week: the sum of the deltas, mV."""

    age: float
    since: datetime
    until: datetime
    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float:
        """mV."""
        return self.total / self.count

    @property
    def sigma(self) -> float:
        """mV, one standard deviation of the mean."""
        if self.count < 2:
            return 3 * _MILLIVOLTS
        apart = max(0.0, self.squares / self.count - self.mean**2)
        return float(max(_MILLIVOLTS, (apart / self.count) ** 0.5))


class ImbalanceState(msgspec.Struct):
    """All that is remembered."""

    rest: list[Week] = []
    top: list[Week] = []
    rest_at: float | None = None
    top_at: float | None = None


class ImbalanceFinder:
    """Fed with each reading."""

    def __init__(self, state: ImbalanceState | None = None) -> None:
        self.state = state or ImbalanceState()
        self._resting: float | None = None

    def hear(self, sample: LifeSample, capacity: float | None, *, full: bool) -> None:
        """A reading; `full`: it is proven full."""
        state = self.state
        if not sample.cells:
            return
        if full and _due(state.top_at, sample.age):
            state.top, state.top_at = _add(state.top, sample), sample.age
        current = sample.current
        if current is None or not capacity or abs(current) > _REST * capacity:
            self._resting = None
            return
        if self._resting is None or sample.step <= 0:
            self._resting = sample.age
        soc = sample.soc
        middle = soc is not None and _MIDDLE[0] <= soc <= _MIDDLE[1]
        if middle and sample.age - self._resting >= _RESTED and _due(state.rest_at, sample.age):
            state.rest, state.rest_at = _add(state.rest, sample), sample.age

    def forget_full(self) -> None:
        """What was taken for full was not."""
        self.state.top, self.state.top_at = [], None

    def facts(self) -> ImbalanceFacts:
        """As of now."""
        state = self.state
        return ImbalanceFacts(
            rest=_newest(state.rest, "It was never seen at rest for half an hour at 20 to 80 %."),
            rest_trend=_trend(state.rest),
            top=_newest(state.top, "It was never proven full."),
            top_trend=_trend(state.top),
        )


def _due(before: float | None, age: float) -> bool:
    return before is None or age - before >= _EVERY


def _add(weeks: list[Week], sample: LifeSample) -> list[Week]:
    delta = 1000 * widest(sample.cells)
    if not weeks or sample.age - weeks[-1].age >= _WEEK:
        weeks = thinned([*weeks, Week(sample.age, sample.time, sample.time)], _WEEKS)
    week = weeks[-1]
    week.count, week.until = week.count + 1, sample.time
    week.total, week.squares = week.total + delta, week.squares + delta * delta
    return weeks


def _newest(weeks: list[Week], why: str) -> Estimate:
    if not weeks:
        return Estimate(why=why)
    week = weeks[-1]
    return Estimate(
        value=week.mean, uncertainty=2 * week.sigma, evidence=week.count, since=week.since,
        until=week.until,
    )  # fmt: skip


def _trend(weeks: list[Week]) -> Trend:
    days = (weeks[-1].age - weeks[0].age) / _DAY if weeks else 0.0
    fitted = line(
        [week.age / _YEAR for week in weeks], [w.mean for w in weeks], [w.sigma for w in weeks]
    )
    if fitted is None or len(weeks) < _LEAST_WEEKS:
        why = f"Not enough weeks: {len(weeks)} of {_LEAST_WEEKS}."
        return Trend(evidence=len(weeks), days=days, why=why)
    return Trend(
        per_year=fitted.slope, uncertainty=2 * fitted.slope_sigma, evidence=len(weeks), days=days
    )
