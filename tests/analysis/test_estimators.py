"""The sums of the estimators, each by itself: what a number is, and what it is unsure by."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bmslink.analysis.anchors import empty_anchor, full_anchor
from bmslink.analysis.capacity import CapacityFinder, CapacityState, FoundPass, Loop, Point
from bmslink.analysis.imbalance import ImbalanceFinder
from bmslink.analysis.resistance import KeptStep, ResistanceFinder, ResistanceState, StepBlock
from bmslink.analysis.robust import line, spread, thinned, weighted_mean
from bmslink.analysis.sample import LifeSample
from bmslink.analysis.steps import LoadStep, StepWatch
from bmslink.settings.chemistry import CHEMISTRIES

LFP = CHEMISTRIES["lfp"]
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY, YEAR = 3600.0, 86400.0, 365.25 * 86400.0


def sample(age: float = 0.0, amps: float | None = 0.0, volts: float = 3.3, **more: Any
           ) -> LifeSample:  # fmt: skip
    known: dict[str, Any] = {
        "time": BEGAN + timedelta(seconds=age), "age": age, "step": 10.0, "net": 0.0,
        "unknown": 0.0, "moved": 0.0, "current": amps, "cells": (volts,) * 4, "temperature": 25.0,
        "soc": 50.0,
    }  # fmt: skip
    return LifeSample(**{**known, **more})


# ------------------------------------------------------------------------------- full and empty


def test_full_takes_the_rise_of_its_current_off_and_looks_at_the_highest_cell() -> None:
    assert full_anchor(sample(amps=6.0, volts=3.3901), LFP, 100.0) is None, "3.385 V at rest"
    assert full_anchor(sample(amps=6.0, volts=3.396), LFP, 100.0) is not None
    absurd = sample(amps=1.0, cells=(3.45, 3.45, 3.45, 3.75))
    assert full_anchor(absurd, LFP, 100.0) is None


def test_empty_adds_the_drop_of_its_current_and_looks_at_the_lowest_cell() -> None:
    found = empty_anchor(sample(amps=-50.0, volts=2.91), LFP, 100.0)
    assert found is not None and found.soc == pytest.approx(LFP.soc_at(2.95) / 100)
    assert empty_anchor(sample(amps=-50.0, volts=3.02), LFP, 100.0) is None, "3.06 V at rest"
    assert empty_anchor(sample(amps=-61.0, volts=2.70), LFP, 100.0) is None, "too much current"
    assert empty_anchor(sample(amps=1.0, volts=2.90), LFP, 100.0) is None, "it is being charged"
    lowest = empty_anchor(sample(amps=-1.0, cells=(3.2, 3.2, 2.9, 3.2)), LFP, 100.0)
    assert lowest is not None and lowest.soc < 0.03
    broken = sample(amps=-1.0, cells=(3.2, 3.2, 1.9, 3.2))
    assert empty_anchor(broken, LFP, 100.0) is None, "no cell is that low: a wire is off"
    light = empty_anchor(sample(amps=-1.0, volts=2.95), LFP, 100.0)
    assert light is not None and light.sigma < found.sigma, "a drop is not known exactly"


# ------------------------------------------------------------------------------------- capacity


def _pass(age: float, whole: float = 100.0, *, hours: float = 5.0, down: bool = True,
          sigma: float = 0.7) -> FoundPass:  # fmt: skip
    when = BEGAN + timedelta(seconds=age)
    return FoundPass(age, when, whole * 0.985, hours, 0.985, sigma, down)


def _facts(*passes: FoundPass, age: float | None = None, loops: list[Loop] | None = None) -> Any:
    state = CapacityState(passes=[*passes], loops=loops or [])
    return CapacityFinder(state).facts(LFP, 100.0, passes[-1].age if age is None else age)


_OWN = math.hypot(0.7, 0.035 * 5 / 0.985)


def test_a_pass_alone_is_unsure_by_its_ends_the_gain_and_the_offset_for_95_percent() -> None:
    now = _facts(_pass(0.0)).now
    shared = math.hypot(0.6, math.hypot(0.2, 0.035) * 5 / 0.985)
    assert now.value == pytest.approx(100.0)
    assert now.uncertainty == pytest.approx(2 * math.hypot(_OWN, shared), rel=0.01)


def test_ways_down_and_up_cancel_the_offset_and_many_passes_do_not() -> None:
    both = _facts(_pass(0.0), _pass(0.0, down=False)).now
    assert both.uncertainty == pytest.approx(2 * math.hypot(_OWN / 2**0.5, 0.6), rel=0.01)
    many = _facts(*[_pass(0.0)] * 40).now
    assert many.uncertainty > 2 * math.hypot(0.6, 1.0), "what all share stays"


def test_years_without_a_pass_make_it_less_sure() -> None:
    soon, later = _facts(_pass(0.0)).now, _facts(_pass(0.0), age=YEAR).now
    grown = math.hypot(soon.uncertainty / 2, 2.5)
    assert later.value == soon.value and later.uncertainty == pytest.approx(2 * grown, rel=0.01)


def test_the_change_is_a_line_and_so_is_the_capacity_now() -> None:
    ages = [n * YEAR / 8 for n in range(17)]
    passes = [_pass(a, 100 - 3 * a / YEAR, down=n % 2 == 0) for n, a in enumerate(ages)]
    found = _facts(*passes)
    assert found.now.value == pytest.approx(94.0, abs=0.01)
    assert found.trend.per_year == pytest.approx(-3 / 94 * 100, abs=0.01)
    slope = _OWN / math.sqrt(sum((a / YEAR - 1) ** 2 for a in ages))
    assert found.trend.uncertainty == pytest.approx(200 * slope / 94, rel=0.02)
    later = _facts(*passes, age=3 * YEAR).now
    assert later.value == pytest.approx(91.0, abs=0.01)
    wider = math.hypot(_OWN / 17**0.5, slope * 2, 0.91, 0.006 * 91)
    assert later.uncertainty == pytest.approx(2 * wider, rel=0.04)


def test_one_wrong_loop_moves_no_offset_and_scatter_is_said() -> None:
    even = [Loop(24.0, 0.2, 0.02)] * 8
    found = _facts(_pass(0.0), loops=[*even, Loop(24.0, 5.0, 0.02)]).offset
    assert found.value == pytest.approx(0.2)
    wild = [Loop(24.0, n / 10, 0.001) for n in range(-10, 11)]
    assert _facts(_pass(0.0), loops=wild).offset.uncertainty > 0.25
    assert _facts(_pass(0.0), loops=[Loop(24.0, 0.2, 1e-4)] * 4).offset.uncertainty >= 0.07


def _full(finder: CapacityFinder, age: float, net: float, volts: float = 3.46, unknown: float = 0.0
          ) -> None:  # fmt: skip
    for second in range(0, 130, 10):
        finder.hear(sample(age + second, 0.0, volts, net=net * HOUR, unknown=unknown), LFP, 100.0)


def test_a_loop_takes_off_what_one_full_is_fuller_than_the_other() -> None:
    finder = CapacityFinder()
    _full(finder, 0.0, 0.0, 3.45)
    _full(finder, 20 * HOUR, -0.5, 3.42)
    [loop] = finder.state.loops
    assert loop.offset == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("hours", "unknown"), [(61 * 24, 0.0), (20, 2.0), (3, 0.0)])
def test_a_loop_that_is_too_long_too_short_or_has_gaps_is_none(hours: float, unknown: float
                                                               ) -> None:  # fmt: skip
    finder = CapacityFinder()
    _full(finder, 0.0, 0.0)
    _full(finder, hours * HOUR, 1.0, unknown=unknown * HOUR)
    assert finder.state.loops == []
    assert finder.state.fulls == (1 if hours == 3 else 2), "12 hours apart"


def _low(finder: CapacityFinder, age: float, net: float, volts: float) -> None:
    for second in (0, 10):
        finder.hear(sample(age + second, -5.0, volts, net=net * HOUR), LFP, 100.0)


def _charged(finder: CapacityFinder, age: float, net: float) -> None:
    finder.hear(sample(age, 30.0, 3.25, net=net * HOUR), LFP, 100.0)


def test_the_emptiest_moment_counts_and_a_little_charge_between_ends_no_way_down() -> None:
    finder = CapacityFinder()
    _full(finder, 0.0, 0.0)
    _low(finder, 5 * HOUR, -95.0, 3.00)
    _charged(finder, 5.5 * HOUR, -94.0)
    _low(finder, 6 * HOUR, -98.5, 2.80)
    _low(finder, 6.1 * HOUR, -98.4, 3.00)
    _charged(finder, 7 * HOUR, -96.0)
    [found] = finder.state.passes
    assert found.down and found.counted == pytest.approx(98.5)
    _full(finder, 11 * HOUR, 0.0)
    down, up = finder.state.passes
    assert down is found and not up.down and up.counted == pytest.approx(98.5)


def test_a_battery_emptied_again_before_it_was_full_is_counted_from_the_later_empty() -> None:
    finder = CapacityFinder()
    _full(finder, 0.0, 0.0)
    _low(finder, 5 * HOUR, -98.0, 2.80)
    _charged(finder, 6 * HOUR, -60.0)
    _low(finder, 8 * HOUR, -97.0, 2.85)  # less empty than before
    _charged(finder, 9 * HOUR, -60.0)
    assert len(finder.state.passes) == 1, "from a full that is used up nothing is counted again"
    _full(finder, 12 * HOUR, 1.0)
    assert finder.state.passes[-1].counted == pytest.approx(98.0)
    assert finder.state.passes[-1].hours == pytest.approx(4.0, abs=0.1)


def test_unknown_time_of_a_pass_is_filled_by_its_average_and_makes_it_less_sure() -> None:
    def found(unknown: float) -> FoundPass:
        finder = CapacityFinder()
        _full(finder, 0.0, 0.0)
        known = 5.0 - unknown
        more = {"unknown": unknown * HOUR, "moved": 97.0 * HOUR}
        for second in (0, 10):
            low = sample(5 * HOUR + second, -20.0, 2.80, net=-97.0 * known / 5 * HOUR, **more)
            finder.hear(low, LFP, 100.0)
        finder.hear(sample(6 * HOUR, 30.0, 3.2, net=-50 * HOUR, **more), LFP, 100.0)
        return finder.state.passes[0]

    whole, holed = found(0.0), found(0.1)
    assert whole.sigma > 100 * math.hypot(0.004, 0.007), "where full and empty are, nobody knows"
    assert holed.counted == pytest.approx(whole.counted, rel=0.001)
    assert holed.sigma == pytest.approx(math.hypot(whole.sigma, 0.1 * 97 / 4.9 / 0.98), rel=0.02)


def test_what_is_too_little_or_too_unsure_is_no_pass() -> None:
    finder = CapacityFinder()
    finder.state.full = Point(0.0, 0.0, 0.0, 0.0, 1.0, 0.004)
    _low(finder, 5 * HOUR, -15.0, 2.80)
    _charged(finder, 6 * HOUR, 0.0)
    assert finder.state.passes == [] and finder.state.unused == 1, "15 Ah of 100"
    finder = CapacityFinder()
    finder.state.full = Point(0.0, 0.0, 0.0, 0.0, 0.4, 0.004)
    _low(finder, 2 * HOUR, -35.0, 2.80)
    _charged(finder, 3 * HOUR, 0.0)
    assert finder.state.passes == [] and finder.state.unused == 0, "a part is no pass"
    finder = CapacityFinder()
    _full(finder, 0.0, 0.0)
    _low(finder, 30 * HOUR, -95.0, 2.80)  # 30 hours of an offset that nobody knows
    _charged(finder, 31 * HOUR, 0.0)
    assert finder.state.passes == [] and finder.state.unused == 1


def test_a_doubt_in_charge_has_offset_and_gain() -> None:
    finder = CapacityFinder(CapacityState(loops=[Loop(24.0, -0.3, 0.01)] * 8))
    sure = 2 * math.hypot(0.01, 0.035)
    assert finder.charge_doubt(0.0, 100.0) == pytest.approx((0.3 + sure) * 100, rel=0.02)
    assert finder.charge_doubt(1e5, 0.0) == pytest.approx(1200.0)


# ----------------------------------------------------------------------------------- resistance


def _block(years: float, ohms: list[float], warm: float | None = 25.0) -> StepBlock:
    when = BEGAN + timedelta(days=365.25 * years)
    return StepBlock(years * YEAR, when, when, 25, ohms, [1e-6] * len(ohms), 9.0, warm, 50.0)


def _resistance(*blocks: StepBlock, steps: list[KeptStep] | None = None) -> Any:
    state = ResistanceState(blocks=[*blocks], steps=steps or [], since=BEGAN, until=BEGAN)
    return ResistanceFinder(state).facts()


def test_growth_is_told_apart_from_winter() -> None:
    """Two years at 10 % a year, between 5 and 30 °C: a winter alone makes it half again."""
    blocks = []
    for n in range(24):
        years, warm = n / 12, 17.5 - 12.5 * math.cos(2 * math.pi * n / 12)
        cold = math.exp(2886 * (1 / (warm + 273.15) - 1 / 298.15))
        blocks.append(_block(years, [0.001 * math.exp(0.1 * years) * cold] * 4, warm))
    trend = _resistance(*blocks).trend
    assert trend.per_year == pytest.approx(10.0, abs=0.3)
    slope = 0.012 / math.sqrt(sum((n / 12 - 23 / 24) ** 2 for n in range(24)))
    assert trend.uncertainty == pytest.approx(200 * slope, rel=0.1)


def test_a_cold_that_came_with_the_time_says_nothing_of_growth() -> None:
    blocks = [_block(n / 12, [0.001] * 4, 25.0 - 2 * n) for n in range(6)]
    assert _resistance(*blocks).trend.per_year is None


def test_a_cell_that_always_had_more_has_not_grown() -> None:
    first, last = [1, 1, 1, 1.3, 1], [2, 2, 2, 2.6, 3]
    blocks = [_block(n, [0.001 * x for x in ohms]) for n, ohms in enumerate((first, last))]
    cells = _resistance(*blocks).cells
    assert [cell.change for cell in cells] == pytest.approx([0, 0, 0, 0, 50], abs=1e-6)
    assert cells[3].of_median == pytest.approx(130)


def test_resistance_is_unsure_by_its_scatter_and_by_what_all_steps_share() -> None:
    calm = [KeptStep([1000.0] * 4, 9.0, 0.04, 25.0, 50.0)] * 16
    found = _resistance(steps=calm)
    shared, rounding = math.hypot(0.006, 0.045), 1.25 * 0.0003 / 0.04 / 4
    own = found.cells[0].uncertainty / found.cells[0].value
    assert own == pytest.approx(2 * math.hypot(shared, rounding), rel=0.001)
    all_four = math.hypot(shared, rounding / 2)
    assert found.median.uncertainty / found.median.value == pytest.approx(2 * all_four, rel=0.001)
    wild = [KeptStep([1000.0 + 100 * (n % 5 - 2)] * 4, 9.0, 0.04) for n in range(15)]
    random = 1.25 * 1.4826 * 100 / math.sqrt(15) / 1000
    own = _resistance(steps=wild).cells[0].uncertainty / 0.001
    assert own == pytest.approx(2 * math.hypot(shared, random), rel=0.01)


def test_steps_of_another_number_of_cells_begin_a_new_block() -> None:
    finder = ResistanceFinder()
    for n in range(12):
        size = 4 if n < 6 else 8
        finder._keep(LoadStep(n * 60.0, (0.001,) * size, 9.0, 25.0, 50.0, 0.04), BEGAN)
    assert {len(step.ohms) for step in finder.state.steps} == {8}
    assert len(finder.facts().cells) == 8


# ---------------------------------------------------------------------------------------- steps


def _step(after: list[tuple[float, float]], *, before: float = 0.0, rest: float = 100.0,
          cells: int = 4, ohms: float = 0.001) -> LoadStep | None:  # fmt: skip
    """What is found of a current that is steady, and then as in `after`: s since the reading
    before, A. Every 5 s."""
    watch, age, found = StepWatch(), 0.0, None
    for _ in range(int(rest / 5)):
        age += 5.0
        found = found or watch.hear(sample(age, before, 3.3 + before * ohms, step=5.0), 100.0, LFP)
    for seconds, amps in after:
        age += seconds
        now = sample(age, amps, step=seconds, cells=(3.3 + amps * ohms,) * cells)
        found = found or watch.hear(now, 100.0, LFP)
    return found


def _then(*amps: float, every: float = 5.0) -> list[tuple[float, float]]:
    return [(every, a) for a in amps]


def test_a_clean_step_is_measured_near_ten_seconds() -> None:
    found = _step(_then(-40, -40, -40, -40))
    assert found is not None and found.delay == 7.5
    assert found.ohms == pytest.approx((0.001,) * 4)
    up = _step(_then(40, 40, 40, 40), before=-20.0)
    assert up is not None and up.ohms == pytest.approx((0.001,) * 4)


@pytest.mark.parametrize(
    ("why", "after", "more"),
    [
        ("it goes on rising", _then(-20, -40, -40, -40), {}),
        ("it wanders", _then(-40, -36, -41, -36, -41, -40, every=2.0), {}),
        ("too late", _then(-40, -40, every=12.0), {}),
        ("a gap", [(5.0, -40.0), (13.0, -40.0), (5.0, -40.0)], {}),
        ("too small", _then(-4, -4, -4, -4), {"ohms": 0.004}),
        ("cells that moved too little", _then(-10, -10, -10, -10), {"ohms": 0.0003}),
        ("cells that rise under load", _then(-40, -40, -40, -40), {"ohms": -0.001}),
        ("another number of cells", _then(-40, -40, -40, -40), {"cells": 5}),
        ("not steady for long", _then(-40, -40, -40, -40), {"rest": 30.0}),
    ],
)
def test_other_steps_are_none(why: str, after: list[tuple[float, float]], more: Any) -> None:
    assert _step(after, **more) is None, why


# ------------------------------------------------------------------------------------ imbalance


def _apart(finder: ImbalanceFinder, minutes: int, begin: float = 0.0, **more: Any) -> int:
    """How often rest was counted in readings of each minute."""
    for n in range(minutes + 1):
        at = sample(begin + n * 60.0, step=60.0, **{"cells": (3.30, 3.31), **more})
        finder.hear(at, 100.0, full=False)
    return sum(week.count for week in finder.state.rest)


def test_rest_takes_half_an_hour_without_current_or_gap_in_the_middle_of_the_charge() -> None:
    assert _apart(ImbalanceFinder(), 29) == 0
    assert _apart(ImbalanceFinder(), 30) == 1
    assert _apart(ImbalanceFinder(), 120, current=3.0) == 0
    assert _apart(ImbalanceFinder(), 120, soc=85.0) == _apart(ImbalanceFinder(), 120, soc=None) == 0
    assert _apart(ImbalanceFinder(), 120) == 4, "once in half an hour"
    finder = ImbalanceFinder()
    _apart(finder, 25)
    finder.hear(sample(1560.0, step=0.0, cells=(3.30, 3.31)), 100.0, full=False)
    assert _apart(finder, 10, 1560.0) == 0, "what happened in the gap nobody knows"


def test_imbalance_is_said_with_the_scatter_of_its_week() -> None:
    finder = ImbalanceFinder()
    for n in range(8):
        at = 1800.0 * n
        finder._resting = -1e6
        finder.hear(sample(at, cells=(3.30, 3.31 + 0.01 * (n % 2))), 100.0, full=False)
    found = finder.facts().rest
    assert found.value == pytest.approx(15.0)
    assert found.uncertainty == pytest.approx(2 * 5 / math.sqrt(8), rel=0.01)


# ----------------------------------------------------------------------------------- statistics


def test_sums_weigh_what_is_sure_more() -> None:
    mean, sigma = weighted_mean([1.0, 2.0], [1.0, 0.5])
    assert mean == pytest.approx(1.8) and sigma == pytest.approx(1 / math.sqrt(5))
    found = line([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 30.0], [0.1, 0.1, 0.1, 1e6])
    assert found is not None and found.slope == pytest.approx(1.0, abs=0.001)
    assert found.at(1.0)[1] == pytest.approx(0.1 / math.sqrt(3), rel=0.01)
    assert found.at(11.0)[1] == pytest.approx(
        0.1 * math.hypot(3**-0.5, 10 / math.sqrt(2)), rel=0.01
    )
    assert spread([1.0, 2.0, 3.0, 4.0, 100.0]) == pytest.approx(1.4826)
    assert thinned([*range(11)], 10) == [0, 2, 4, 5, 6, 7, 8, 9, 10]
