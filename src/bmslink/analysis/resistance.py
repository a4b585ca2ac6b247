"""The resistance of each cell, from load steps, in blocks of a few dozen steps.

A block's value is the median of its steps. The blocks of a year show how the resistance grows,
once the temperature is taken out: ln R is fitted over time and 1/T.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

import msgspec

from bmslink.analysis.facts import CellResistance, Estimate, ResistanceFacts, Trend
from bmslink.analysis.robust import line, median, spread, thinned
from bmslink.analysis.sample import LifeSample
from bmslink.analysis.steps import LoadStep, StepWatch
from bmslink.settings.chemistry import Chemistry

__all__ = ["ResistanceFinder", "ResistanceState", "StepBlock"]

_DAY, _YEAR = 86400.0, 365.25 * 86400.0
_FULL_BLOCK = 25
"""Steps."""
_LEAST_STEPS = 5
_PAUSE = 7 * _DAY
"""s from the beginning of one block to the next: what is kept stays small."""
_BLOCKS = 60
_GAIN = 0.006
"""One standard deviation of boards' gains of current and voltage together."""
_TIMING = 0.045
"""One standard deviation that a step's moment, which nobody knows to a second or two, makes of it,
and makers' cells make of 10 s."""
_MILLIVOLT = 0.0003
"""V, one standard deviation of a board's rounding to millivolts."""
_BLOCKS_DIFFER = 0.012
"""Of a block's value, one standard deviation: no two have steps at the same moments and charge."""
_LEAST_BLOCKS, _LEAST_DAYS = 4, 90.0
_APART = 4.0
"""K between blocks before the temperature is fitted, not assumed equal."""
_KELVIN, _WARM = 273.15, 298.15


class KeptStep(msgspec.Struct):
    """One step, µΩ by cell."""

    ohms: list[float]
    delay: float
    volts: float
    temperature: float | None = None
    soc: float | None = None


class StepBlock(msgspec.Struct):
    """What several steps said."""

    age: float
    since: datetime
    until: datetime
    steps: int
    ohms: list[float]
    """Ω of each cell, medians."""
    sigmas: list[float]
    """Ω, one standard deviation of each median, without what all steps share."""
    delay: float
    temperature: float | None = None
    soc: float | None = None


class ResistanceState(msgspec.Struct):
    """All that is remembered."""

    began: float | None = None
    """Age at which the open block began."""
    since: datetime | None = None
    until: datetime | None = None
    steps: list[KeptStep] = []
    blocks: list[StepBlock] = []
    seen: int = 0


class ResistanceFinder:
    """Fed with each reading."""

    def __init__(self, state: ResistanceState | None = None) -> None:
        self.state = state or ResistanceState()
        self._watch = StepWatch()

    def clear(self) -> None:
        """Nothing is known of the time until now."""
        self._watch.clear()

    def hear(
        self, sample: LifeSample, capacity: float | None, kind: Chemistry | None = None
    ) -> None:
        """A reading; `capacity` in Ah says what a large step is."""
        if not capacity:
            return
        found = self._watch.hear(sample, capacity, kind)
        if found is not None:
            self._keep(found, sample.time)

    def _keep(self, step: LoadStep, time: datetime) -> None:
        state = self.state
        state.seen += 1
        if state.steps and len(state.steps[0].ohms) != len(step.ohms):
            state.steps, state.began = [], None
        if not state.steps:
            if state.began is not None and step.age - state.began < _PAUSE:
                return
            state.began, state.since = step.age, time
        state.until = time
        kept = KeptStep(
            [round(x * 1e6, 1) for x in step.ohms], round(step.delay, 2), round(step.volts, 4),
            step.temperature, step.soc,
        )  # fmt: skip
        state.steps = [*state.steps, kept]
        if len(state.steps) >= _FULL_BLOCK:
            block = self._open_block()
            if block is not None:
                state.blocks = thinned([*state.blocks, block], _BLOCKS)
            state.steps = []

    def _open_block(self) -> StepBlock | None:
        """What the steps of the block that is open say; `None`: too few."""
        state, steps = self.state, self.state.steps
        if len(steps) < _LEAST_STEPS or state.since is None or state.until is None:
            return None
        ohms, sigmas = [], []
        rounding = median([_MILLIVOLT / each.volts for each in steps])
        for index in range(len(steps[0].ohms)):
            values = [each.ohms[index] * 1e-6 for each in steps]
            middle = median(values)
            random = 1.25 * max(spread(values), rounding * middle) / math.sqrt(len(values))
            ohms.append(middle)
            sigmas.append(random)
        warm = [each.temperature for each in steps if each.temperature is not None]
        socs = [each.soc for each in steps if each.soc is not None]
        return StepBlock(
            state.began or 0.0, state.since, state.until, len(steps), ohms, sigmas,
            median([each.delay for each in steps]),
            median(warm) if warm else None, median(socs) if socs else None,
        )  # fmt: skip

    # -- what was found --------------------------------------------------------------------------

    def facts(self) -> ResistanceFacts:
        """As of now."""
        state = self.state
        opened = self._open_block()
        blocks = [*state.blocks, *([opened] if opened is not None else [])]
        if not blocks:
            why = (
                f"Not enough load steps: {len(state.steps)} of {_LEAST_STEPS}. A step counts where "
                "the current was steady for a minute, then changes at once and stays, and where "
                "readings are at most 12 s apart."
            )
            return ResistanceFacts(
                median=Estimate(why=why, evidence=len(state.steps)), cells=(), temperature=None,
                soc=None, delay=None, trend=Trend(why=why),
            )  # fmt: skip
        newest = blocks[-1]
        alike = [each for each in blocks if len(each.ohms) == len(newest.ohms)]
        middle = median(newest.ohms)
        common = math.hypot(_GAIN, _TIMING)
        sigma = math.hypot(median(newest.sigmas) / math.sqrt(len(newest.ohms)), common * middle)
        return ResistanceFacts(
            median=Estimate(
                value=middle, uncertainty=2 * sigma, evidence=newest.steps,
                since=newest.since, until=newest.until,
            ),
            cells=tuple(_cells(newest, alike[0] if len(alike) > 1 else None, common)),
            temperature=newest.temperature,
            soc=newest.soc,
            delay=newest.delay,
            trend=_trend(alike),
        )  # fmt: skip


def _cells(newest: StepBlock, first: StepBlock | None, common: float) -> list[CellResistance]:
    middle = median(newest.ohms)
    before = None if first is None else median(first.ohms)
    return [
        CellResistance(
            cell=index + 1,
            value=ohms,
            uncertainty=2 * math.hypot(newest.sigmas[index], common * ohms),
            of_median=100 * ohms / middle,
            change=None
            if first is None or not before
            else 100 * (ohms / middle - first.ohms[index] / before),
        )
        for index, ohms in enumerate(newest.ohms)
    ]


def _trend(blocks: Sequence[StepBlock]) -> Trend:
    """Growth in % a year, of blocks that tell their temperature."""
    known = [each for each in blocks if each.temperature is not None]
    days = (known[-1].age - known[0].age) / _DAY if known else 0.0
    if len(known) < _LEAST_BLOCKS or days < _LEAST_DAYS:
        why = (
            f"Not enough blocks of steps: {len(known)} over {days:.0f} days, of {_LEAST_BLOCKS} "
            f"over {_LEAST_DAYS:.0f}."
        )
        return Trend(evidence=len(known), days=days, why=why)
    years = [each.age / _YEAR for each in known]
    logs = [math.log(median(each.ohms)) for each in known]
    sigmas = [
        max(_BLOCKS_DIFFER, median(b.sigmas) / math.sqrt(len(b.ohms)) / median(b.ohms))
        for b in known
    ]
    colds = [1000 / ((each.temperature or 0.0) + _KELVIN) - 1000 / _WARM for each in known]
    warm = [each.temperature or 0.0 for each in known]
    if max(warm) - min(warm) >= _APART:
        # Frisch and Waugh: what the temperature explains is taken out of both, then time is left.
        by_cold, time_by_cold = line(colds, logs, sigmas), line(colds, years, sigmas)
        if by_cold is None or time_by_cold is None:
            return Trend(
                evidence=len(known), days=days, why="The temperatures cannot be told apart."
            )
        logs = [y - by_cold.at(c)[0] for y, c in zip(logs, colds, strict=True)]
        years = [y - time_by_cold.at(c)[0] for y, c in zip(years, colds, strict=True)]
    fitted = line(years, logs, sigmas)
    if fitted is None or fitted.slope_sigma > 0.25:
        why = "Time and temperature moved together: a whole year tells them apart."
        return Trend(evidence=len(known), days=days, why=why)
    return Trend(
        per_year=100 * fitted.slope, uncertainty=200 * fitted.slope_sigma, evidence=len(known),
        days=days,
    )  # fmt: skip
