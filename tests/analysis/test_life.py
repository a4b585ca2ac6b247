"""The estimators of a battery's life: judged by another model, fed with nonsense, cut off."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bmslink.analysis import BatteryLife, Counted, LifeFacts
from bmslink.analysis.robust import line, thinned, weighted_mean
from bmslink.control.decide.lasting.life_measures import measures_of
from bmslink.errors import UsageError
from bmslink.model import Reading
from judge_life import Judge, Verdict
from life_world import DAY, HOUR, USES, Plan, Use

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def _days(draw: random.Random, day: int) -> Plan:
    """A battery that is emptied every other day, and charged the day after."""
    if day % 2:
        return Plan([], 0.4, [(HOUR, 10 * HOUR, 25.0)])
    loads = [(h * HOUR, 600.0, 40.0) for h in (2, 4, 6, 8)]
    return Plan([*loads, (10 * HOUR, 8 * HOUR, 12.0)], 1.0)


@pytest.fixture(scope="module")
def judged() -> Verdict:
    """Eight days with all that boards do wrong, and a restart."""
    return Judge(Use("daily", _days, 100.0, soc=0.9), 3).run(8)


def test_capacity_and_resistance_are_what_the_model_knows(judged: Verdict) -> None:
    true, found, sure = judged.capacity
    assert judged.passes >= 3
    assert found is not None and sure is not None
    assert abs(found / true - 1) < 0.03 and abs(found - true) <= sure < 0.06 * true
    true, found, sure = judged.resistance
    assert judged.steps >= 10
    assert found is not None and sure is not None
    assert abs(found / true - 1) < 0.15 and abs(found - true) <= sure < 0.2 * true


def test_the_offset_is_found_and_the_energy_is_right(judged: Verdict) -> None:
    true, found, sure = judged.offset
    assert found is not None and sure is not None and abs(found - true) <= sure < 0.3
    assert abs(judged.energy) < 0.001
    assert judged.fade[1] is None and judged.growth[1] is None, "eight days say nothing of years"
    assert judged.kept < 30_000


def test_a_battery_that_is_never_emptied_has_no_capacity() -> None:
    ups = next(use for use in USES if use.name == "UPS")
    verdict = Judge(ups, 0).run(3)
    assert verdict.capacity[1:] == (None, None) and verdict.passes == 0


# ------------------------------------------------------------------------ drawn by hand

_FULL, _LOW = 3.46, 2.80


class Hand:
    """A battery drawn by hand: V, A and s."""

    def __init__(self, chemistry: str | None = "lfp", **life: Any) -> None:
        self.life = BatteryLife(chemistry, **life)
        self.clock, self.counted = 1000.0, Counted()
        self.time = BEGAN

    def go(
        self, seconds: float, amps: float, volts: float | Callable[[float], float],
        *, step: float = 10.0, known: bool = True, **more: Any,
    ) -> Hand:  # fmt: skip
        for n in range(max(1, round(seconds / step))):
            self.clock += step
            self.time += timedelta(seconds=step)
            passed = Counted(
                charge_in=max(0.0, amps) * step, charge_out=max(0.0, -amps) * step,
                energy_in=max(0.0, amps) * step * 13, energy_out=max(0.0, -amps) * step * 13,
                known=step,
            ) if known else Counted(unknown=step)  # fmt: skip
            self.counted = self.counted.plus(passed)
            at = volts(n * step / max(seconds, step)) if callable(volts) else volts
            cells = more.get("cells") or (at,) * 4
            self.life.hear(self.clock, self.read(amps, cells, more), self.counted)
        return self

    def read(self, amps: float, cells: tuple[float, ...], more: dict[str, Any]) -> Reading:
        return Reading(
            time=self.time, voltage=sum(cells), current=amps, soc=more.get("soc", 50.0),
            nominal_capacity=more.get("nominal", 100.0), cell_voltages=cells,
            temperatures={"sensor_1": more.get("warm", 25.0), "mosfet": 80.0},
        )  # fmt: skip

    @property
    def facts(self) -> LifeFacts:
        found = self.life.facts()
        assert found is not None
        return found

    def full(self) -> Hand:
        return self.go(600, 2.0, _FULL)

    def pass_down(self, amp_hours: float = 95.0, *, unknown: float = 0.0) -> Hand:
        self.full()
        if unknown:
            self.go(unknown, 0.0, 3.30, known=False)
        hours = amp_hours / 30
        self.go(hours * 3600, -30.0, lambda x: 3.28 - 0.10 * x, step=60)
        self.go(60, -30.0, _LOW)
        return self.go(1200, 30.0, 3.2)


def test_a_pass_is_counted_from_full_to_empty() -> None:
    found = Hand().pass_down().facts.capacity
    assert found.now.evidence == 1 and found.passes[0].down
    assert found.now.value == pytest.approx(95.5 / 0.985, rel=0.01)
    assert found.of_nominal == pytest.approx(found.now.value)
    assert found.trend.per_year is None and "Not enough passes" in found.trend.why
    assert found.offset.value is None


def test_a_pass_with_much_unknown_time_is_not_used() -> None:
    found = Hand().pass_down(unknown=1800.0).facts.capacity
    assert found.now.value is None and found.unused == 1
    assert "One pass was too uncertain" in found.now.why


def test_full_needs_the_held_voltage_and_little_current() -> None:
    assert Hand().go(3600, 30.0, _FULL).facts.full.days is None, "it is being charged"
    assert Hand().go(3600, -2.0, _FULL).facts.full.days is None, "it is being discharged"
    assert Hand().go(3600, 2.0, 3.36).facts.full.days is None, "it floats"
    assert Hand().go(100, 2.0, _FULL).facts.full.days is None, "not for long"
    assert Hand(None).full().facts.full.days is None, "nobody says what the cells are"
    uneven = Hand().go(3600, 2.0, _FULL, cells=(3.60, 3.34, 3.34, 3.34))
    assert uneven.facts.full.count == 1, "the mean counts"
    hand = Hand().full()
    assert hand.facts.full.days == 0 and hand.facts.full.count == 1
    hand.go(3 * DAY, -0.2, 3.3, step=600)
    assert hand.facts.full.days == pytest.approx(3.0)
    assert hand.full().facts.full.count == 2


def test_a_gap_while_full_begins_the_two_minutes_anew() -> None:
    hand = Hand().go(60, 2.0, _FULL)
    hand.go(100, 2.0, _FULL, known=False, step=100).go(60, 2.0, _FULL)
    assert hand.facts.full.days is None


def test_the_offset_is_taken_out_of_a_pass() -> None:
    """Two days full, with a quarter of an ampere that is not there: it is known then."""
    hand = Hand().full()
    for _ in range(6):
        hand.go(12 * 3600, 0.25, 3.40, step=300)
    offset = hand.facts.capacity.offset
    assert offset.value == pytest.approx(0.25, abs=0.01) and offset.evidence >= 5
    assert offset.uncertainty is not None and offset.uncertainty < 0.1
    alone, found = Hand().pass_down().facts.capacity, hand.pass_down().facts.capacity
    assert alone.now.value is not None and found.now.value is not None
    hours = found.passes[-1].hours
    assert found.now.value - alone.now.value == pytest.approx(0.25 * hours / 0.985, abs=0.2)


def test_an_offset_leans_a_way_up_to_the_other_side() -> None:
    def up(hand: Hand) -> float:
        hand.go(60, -30.0, _LOW).go(3.2 * 3600, 30.0, lambda x: 3.2 + 0.15 * x, step=60).full()
        found = hand.facts.capacity.passes[-1]
        assert not found.down
        return found.capacity

    hand = Hand().full()
    for _ in range(6):
        hand.go(12 * 3600, 0.25, 3.40, step=300)
    assert up(Hand()) - up(hand) == pytest.approx(0.25 * 3.3 / 0.98, abs=0.2)


def test_a_reading_with_a_cell_that_is_not_known_proves_nothing() -> None:
    hand = Hand().go(10, 2.0, _FULL)
    for _ in range(60):
        hand.clock += 10
        hand.counted = hand.counted.plus(Counted(known=10.0))
        reading = hand.read(2.0, (_FULL,) * 4, {})
        broken = replace(reading, cell_voltages=(_FULL, None, _FULL, _FULL))
        hand.life.hear(hand.clock, broken, hand.counted)
    assert hand.facts.full.days is None


@pytest.mark.parametrize("restarted", [False, True])
def test_time_under_another_counter_is_unknown_and_makes_no_capacity(restarted: bool) -> None:
    """A board that was on another pack for hours, where a third of its charge went."""
    hand = Hand().full().go(3600, -30.0, 3.27)
    if restarted:
        hand.life = BatteryLife.restore(hand.life.save(), "lfp")
    hand.life.leave_counter()
    hand.clock, hand.time = hand.clock + 5 * HOUR, hand.time + timedelta(hours=5)
    hand.counted = Counted()
    hand.go(1.1 * HOUR, -30.0, 3.2).go(60, -30.0, _LOW).go(1200, 30.0, 3.2)
    found = hand.facts
    assert found.capacity.now.value is None and found.capacity.unused == 1
    assert found.throughput.unknown_seconds == pytest.approx(5 * HOUR, abs=20)


def test_one_reading_of_a_low_cell_is_no_empty_battery() -> None:
    """At half the charge a board says 2.7 V of a cell, once; then it is charged."""
    hand = Hand().full().go(1.5 * HOUR, -30.0, 3.27)
    hand.go(10, -30.0, 0, cells=(3.27, 2.70, 3.27, 3.27)).go(600, -30.0, 3.27)
    found = hand.go(2 * HOUR, 30.0, 3.3).facts.capacity
    assert found.now.value is None and found.unused == 0


def test_two_low_readings_with_a_gap_between_them_are_no_empty_battery() -> None:
    hand = Hand().full().go(1.5 * HOUR, -30.0, 3.27)
    hand.go(10, -30.0, _LOW).go(10, -30.0, _LOW, known=False)
    assert hand.go(1200, 30.0, 3.3).facts.capacity.now.value is None


def test_readings_that_come_twice_break_nothing_off() -> None:
    hand, life = Hand(), BatteryLife("lfp")
    life.hear(*_last(hand.go(10, 2.0, _FULL)))
    for _ in range(60):
        last = _last(hand.go(10, 2.0, _FULL))
        life.hear(*last)
        life.hear(*last)
    found = life.facts()
    assert found is not None and found.full.count == 1


def _last(hand: Hand, amps: float = 2.0, volts: float = _FULL) -> tuple[float, Reading, Counted]:
    return hand.clock, hand.read(amps, (volts,) * 4, {}), hand.counted


@pytest.mark.parametrize(("size", "amps"), [(20.0, -0.3), (100.0, 0.3), (100.0, -0.3)])
def test_an_idle_ups_with_an_offset_is_full_and_its_throughput_is_in_doubt(
    size: float, amps: float
) -> None:
    """A month of a current that is not there: all that was counted is the offset."""
    facts = Hand().go(30 * DAY, amps, 3.42, nominal=size, step=600).facts
    assert facts.full.days == pytest.approx(0.0) and facts.full.count >= 50
    assert facts.capacity.offset.value == pytest.approx(amps, abs=0.01)
    flow = facts.throughput
    for moved, sure in (
        (flow.charged_capacity, flow.charged_capacity_uncertainty),
        (flow.discharged_capacity, flow.discharged_capacity_uncertainty),
        (flow.charged_energy, flow.charged_energy_uncertainty),
        (flow.discharged_energy, flow.discharged_energy_uncertainty),
    ):
        assert moved <= sure or moved == 0, "nothing flowed"
    assert flow.discharged_capacity_uncertainty > 100, "what an offset may hide is in doubt too"
    assert measures_of(facts).full_cycles == 0


def test_a_chemistry_that_is_corrected_forgets_what_was_taken_for_full() -> None:
    hand = Hand("lto").go(600, 2.0, 2.65)
    assert hand.facts.full.count == 1 and hand.facts.imbalance.top.value is not None
    hand.life.chemistry = "lfp"
    facts = hand.go(10, 0.0, 3.3).facts
    assert facts.full.days is None and facts.full.count == 0
    assert facts.imbalance.top.value is None
    hand.life.chemistry = None
    assert hand.full().facts.full.count == 1, "where nobody says it any more, it is what it was"


def test_a_new_block_of_steps_begins_a_week_later() -> None:
    hand = Hand()
    for _ in range(50):
        _stepped(hand)
    assert hand.facts.resistance.cells[0].change is None


def _stepped(hand: Hand, ohms: tuple[float, ...] = (0.002,) * 4, amps: float = -40.0) -> Hand:
    base = 3.30
    hand.go(100, 0.0, base, step=5.0)
    return hand.go(20, amps, 0, step=5.0, cells=tuple(base + amps * r for r in ohms))


def test_resistance_is_found_by_cell_and_the_worst_one_is_seen() -> None:
    hand = Hand()
    for _ in range(4):
        _stepped(hand)
    assert hand.facts.resistance.median.value is None, "four steps are too few"
    for _ in range(21):
        _stepped(hand)
    found = hand.facts.resistance
    assert found.median.value == pytest.approx(0.002, rel=0.02) and found.median.evidence == 25
    assert found.delay is not None and 5 <= found.delay <= 12.5 and found.temperature == 25.0
    assert measures_of(hand.facts).resistance_lead is None, "there is nothing to compare with"
    hand.go(8 * DAY, 0.0, 3.3, step=600)
    for _ in range(25):
        _stepped(hand, (0.002, 0.002, 0.0042, 0.002))
    worst = hand.facts.resistance.cells[2]
    assert worst.cell == 3 and worst.change == pytest.approx(110, abs=3)
    lead = measures_of(hand.facts).resistance_lead
    assert lead is not None and 95 < lead < 110, "less what it is unsure by"


@pytest.mark.parametrize("what", ["small", "unsteady", "short", "full", "gap"])
def test_steps_that_say_little_do_not_count(what: str) -> None:
    hand = Hand()
    for n in range(30):
        if what == "small":
            _stepped(hand, amps=-3.0)
        elif what == "unsteady":
            hand.go(100, 0.0, 3.3, step=5.0)
            for amps in (-40.0, -20.0, -60.0, -10.0):
                hand.go(5, amps, 3.3 + amps * 0.002, step=5.0)
        elif what == "short":
            hand.go(15, 0.0, 3.3, step=5.0).go(15, -40.0, 3.22, step=5.0)
        elif what == "full":
            hand.go(100, 0.0, 3.42, step=5.0).go(20, -40.0, 3.30, step=5.0)
        else:
            hand.go(100, 0.0, 3.3, step=5.0).go(20, -40.0, 3.22, step=20.0, known=n % 2 == 0)
    assert hand.facts.resistance.median.value is None, what


def test_hours_and_charge_fall_into_their_bands() -> None:
    hand = Hand().go(10, 0.0, 3.3)
    hand.go(3600, -30.0, 3.25, soc=15.0, warm=35.0).go(3600, 5.0, 3.3, soc=None, warm=None)
    facts = hand.facts
    soc = {(band.low, band.high): band.hours for band in facts.soc_hours}
    assert soc[10.0, 20.0] == pytest.approx(1) and soc[None, None] == pytest.approx(1)
    warm = {(band.low, band.high): band.hours for band in facts.temperature_hours}
    assert warm[30.0, 40.0] == pytest.approx(1) and warm[None, None] == pytest.approx(1)
    rates = {rate.low: rate for rate in facts.rates}
    assert rates[0.2].discharged_capacity == pytest.approx(30)
    assert rates[0.2].hours_discharging == pytest.approx(1)
    assert rates[0.02].charged_capacity == pytest.approx(5)
    assert facts.throughput.equivalent_cycles == pytest.approx(0.30)
    assert facts.throughput.discharged_energy == pytest.approx(30 * 13)


def test_cells_that_drift_apart_are_seen_in_weeks() -> None:
    hand = Hand()
    for week in range(9):
        apart = 0.010 + 0.002 * week
        hand.go(7 * DAY, 0.0, 0, step=1800, cells=(3.30, 3.30, 3.30, 3.30 + apart))
    found = hand.facts.imbalance
    assert found.rest.value == pytest.approx(26, abs=0.1)
    assert found.rest_trend.per_year == pytest.approx(2 * 365.25 / 7, rel=0.05)
    assert found.top.value is None


# -------------------------------------------------------------------------- what is kept


def test_what_is_kept_goes_on_where_it_was() -> None:
    one, other = Hand(), Hand()
    for hand in (one, other):
        hand.full().go(3600, -30.0, 3.26)
    other.life = BatteryLife.restore(other.life.save(), "lfp")
    for hand in (one, other):
        hand.go(2 * 3600 + 600, -30.0, 3.2).go(60, -30.0, _LOW).go(1200, 30.0, 3.2)
    assert other.facts.capacity.passes == one.facts.capacity.passes != ()
    assert other.facts.throughput == one.facts.throughput
    first, later = other.facts.rates[3], one.facts.rates[3]
    assert first == later


def test_a_kill_counts_nothing_twice() -> None:
    hand = Hand().go(3600, -30.0, 3.26)
    kept, counter = hand.life.save(), hand.counted
    hand.go(50, -30.0, 3.26)  # and this is lost
    hand.life, hand.counted = BatteryLife.restore(kept, "lfp"), counter.plus(Counted(unknown=90.0))
    hand.go(3600, -30.0, 3.2)
    flow = hand.facts.throughput
    assert flow.discharged_capacity == pytest.approx(60, rel=0.005)
    assert flow.known_seconds + flow.unknown_seconds == pytest.approx(7290, abs=15)


def test_a_counter_that_begins_again_adds_and_takes_nothing_away() -> None:
    hand = Hand().go(3600, -30.0, 3.26)
    hand.life = BatteryLife.restore(hand.life.save(), "lfp")
    hand.life.new_counter()
    hand.counted = Counted()
    hand.time += timedelta(hours=5)
    hand.go(3600, -30.0, 3.2)
    flow = hand.facts.throughput
    assert flow.discharged_capacity == pytest.approx(60, rel=0.005)
    assert flow.unknown_seconds == pytest.approx(5 * 3600, abs=20)


def test_another_pack_s_counter_is_not_this_battery_s() -> None:
    hand = Hand().go(3600, -30.0, 3.26)
    hand.life.leave_counter()
    hand.counted = Counted(charge_out=1e6, known=1e6)
    hand.go(3600, -30.0, 3.2)
    assert hand.facts.throughput.discharged_capacity == pytest.approx(60, rel=0.01)


@pytest.mark.parametrize("years", [-50, 80])
def test_a_calendar_that_is_set_moves_no_age(years: int) -> None:
    hand = Hand().full()
    hand.time += timedelta(days=365 * years)
    hand.go(DAY, -0.2, 3.3, step=600)
    assert hand.facts.full.days == pytest.approx(1.0, abs=0.01)
    hand.life = BatteryLife.restore(hand.life.save(), "lfp")
    hand.time += timedelta(days=365 * years)
    hand.go(60, -0.2, 3.3)
    days = hand.facts.full.days
    assert days is not None and 0 <= days <= 368


@pytest.mark.parametrize(
    "change",
    [{"begun": "{"}, {"usage": '{"soc": [1.0]}'}, {"capacity": "[]"}, {"begun": '{"version": 99}'}],
)
def test_a_damaged_record_is_refused_in_a_sentence(change: dict[str, str]) -> None:
    kept = Hand().go(100, 1.0, 3.3).life.save()
    with pytest.raises(UsageError, match="record of the battery's life"):
        BatteryLife.restore({**kept, **change})
    later = kept["begun"].replace('"version":1', '"version":99')
    with pytest.raises(UsageError, match="later version"):
        BatteryLife.restore({**kept, "begun": later})


# ------------------------------------------------------------------------------ nonsense

_ABSURD = (None, math.nan, math.inf, -math.inf, 0.0, -1.0, 1e300, -1e300, 3.3, 3.46, 2.5, 50.0)


def _nonsense(draw: random.Random) -> Iterator[tuple[float, Reading, Counted]]:
    clock, time, counted = 0.0, BEGAN, Counted()
    for _ in range(400):
        clock += draw.choice([0.0, 1.0, 5.0, 5.0, 60.0, -30.0, 1e6, -1e9, math.nan])
        if math.isnan(clock):
            yield clock, Reading(time=time), counted
            clock = 0.0
        try:
            time += timedelta(seconds=draw.choice([0, 5, 5, 60, -3600, 1e7, -1e8]))
        except OverflowError:
            time = BEGAN
        if draw.random() < 0.8:
            counted = counted.plus(Counted(draw.random(), draw.random(), 1, 1, 5, 0))
        else:
            counted = Counted(*(draw.choice([0.0, 1.0, 1e12, math.nan, -5.0]) for _ in range(6)))
        cells = tuple(draw.choices(_ABSURD, k=draw.choice([0, 1, 4, 4, 4, 5])))
        volts, amps, soc, size, full, moved, warm = draw.choices(_ABSURD, k=7)
        reading = Reading(
            time=draw.choice([time, time, time, None, time.replace(tzinfo=None)]),
            voltage=volts,
            current=amps,
            soc=soc,
            nominal_capacity=size,
            full_capacity=full,
            cycle_capacity=moved,
            cell_voltages=cells,
            cycles=draw.choice([None, 0, 7, -3, 10**30]),
            temperatures={"sensor_1": warm, "x": volts},
        )
        yield clock, reading, counted


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, (int, float)):
        yield float(value)


@pytest.mark.parametrize("seed", range(12))
def test_nonsense_raises_nothing_and_invents_nothing(seed: int) -> None:
    draw = random.Random(seed)
    life = BatteryLife(draw.choice(["lfp", "nmc", "lto", "na-ion", None]))
    for clock, reading, counted in _nonsense(draw):
        life.hear(clock, reading, counted)
        if draw.random() < 0.02:
            life = BatteryLife.restore(life.save(), life.chemistry) if life.save() else life
    found = life.facts()
    if found is None:
        return
    assert all(map(math.isfinite, _numbers(found.to_dict())))
    assert found.capacity.now.value is None and found.resistance.median.value is None
    flow = found.throughput
    assert min(flow.charged_capacity, flow.discharged_energy, flow.unknown_seconds) >= 0


def test_what_no_counter_says_is_no_zero_of_it() -> None:
    hand = Hand()
    hand.life.hear(0.0, hand.read(1.0, (3.3,) * 4, {}), Counted(charge_in=math.nan))
    hand.counted = Counted(charge_out=1e6, known=1e6)
    hand.go(3600, -30.0, 3.2)
    assert hand.facts.throughput.discharged_capacity == pytest.approx(30, rel=0.01)


def test_the_same_reading_twice_changes_nothing_but_time() -> None:
    hand = Hand().pass_down()
    before = hand.facts
    for _ in range(50):
        hand.life.hear(hand.clock, hand.read(30.0, (3.2,) * 4, {}), hand.counted)
    assert hand.facts.capacity == before.capacity and hand.facts.throughput == before.throughput


# -------------------------------------------------------------------------- a little sum


def test_lines_and_means_say_how_sure_they_are() -> None:
    assert weighted_mean([1.0, 3.0], [1.0, 1.0])[0] == 2.0
    assert weighted_mean([1.0, 9.0], [0.1, 0.1])[1] > 2.0, "scatter counts"
    found = line([0.0, 1.0, 2.0, 3.0], [1.0, 3.0, 5.0, 7.0], [0.1] * 4)
    assert found is not None and found.slope == pytest.approx(2.0)
    assert found.at(3.0)[0] == pytest.approx(7.0) and found.at(9.0)[1] > found.at(1.5)[1]
    assert line([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [1.0] * 3) is None
    kept = list(range(10))
    for _ in range(100):
        kept = thinned([*kept, kept[-1] + 1], 10)
    assert len(kept) <= 10 and kept[0] == 0 and kept[-1] == 109


def test_a_counter_that_went_back_is_another_one() -> None:
    hand = Hand().go(3600, -30.0, 3.26)
    hand.counted = Counted(charge_out=3.6e5, known=100.0)  # more went out, in less time
    hand.go(10, -30.0, 3.26)
    flow = hand.facts.throughput
    assert flow.discharged_capacity == pytest.approx(30, rel=0.01) and flow.unknown_seconds == 10
