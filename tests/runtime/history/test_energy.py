"""Charge and energy: against another integral, over kills, clock steps and summer time."""

from __future__ import annotations

import asyncio
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from history_support import BEGIN, HistoryWorld
from hypothesis import given
from hypothesis import strategies as st

from bmslink.runtime.watching.energy import EnergyMeter, EnergyTotals, longest_step


def current(time: float) -> float:
    """A day of a house: sun, loads, and a compressor that goes on and off smoothly, A."""
    return 40 * math.sin(time / 4000) + 12 * math.sin(time / 130) - 5


def volts(time: float) -> float:
    return 52 + current(time) * 0.01


def truth(since: float, until: float) -> tuple[float, float, float, float]:
    """As and J, in and out, as a sum of very small steps in the middle of each."""
    step, found = 0.02, [0.0, 0.0, 0.0, 0.0]
    for number in range(round((until - since) / step)):
        time = since + (number + 0.5) * step
        amps = current(time)
        found[0 if amps > 0 else 1] += abs(amps) * step
        found[2 if amps > 0 else 3] += abs(amps) * volts(time) * step
    return found[0], found[1], found[2], found[3]


def close(counted: float, true: float, share: float = 0.001) -> bool:
    return abs(counted - true) <= share * max(true, 1.0)


def test_polled_energy_is_exact_to_a_thousandth() -> None:
    meter = EnergyMeter(longest_step(5))
    chance = random.Random(1)
    times = [number * 5 + chance.uniform(0, 0.8) for number in range(3601)]  # no poll is punctual
    first, last = times[0], times[-1]
    for time in times:
        meter.hear(time, BEGIN + timedelta(seconds=time), volts(time), current(time))
    found = meter.totals(last, BEGIN + timedelta(seconds=last))
    assert found is not None
    true = truth(first, last)
    counted = (found.charge_in, found.charge_out, found.energy_in, found.energy_out)
    assert all(map(close, counted, true)), (counted, true)
    assert found.unknown == 0 and found.known == pytest.approx(last - first)


def test_a_change_of_sign_counts_for_both_directions() -> None:
    meter = EnergyMeter(10)
    meter.hear(0, BEGIN, 50.0, 10.0)
    meter.hear(4, BEGIN + timedelta(seconds=4), 50.0, -30.0)
    found = meter.totals(4, BEGIN)
    assert found is not None
    assert (found.charge_in, found.charge_out) == (5, 45)
    assert (found.energy_in, found.energy_out) == (250, 2250)


def test_what_was_counted_before_the_store_was_open_is_added() -> None:
    before = EnergyTotals(BEGIN - timedelta(days=1), BEGIN, 10, 20, 30, 40, 50, 60)
    meter = EnergyMeter(10)
    for second in (100, 105):
        meter.hear(second, BEGIN + timedelta(seconds=second), 50.0, 2.0)
    meter.resume(before)
    assert meter.totals(105, BEGIN) == EnergyTotals(
        before.since, BEGIN + timedelta(seconds=105), 20, 20, 530, 40, 55, 160
    )


readings = st.lists(
    st.tuples(
        st.floats(0.01, 60),
        st.one_of(st.none(), st.floats(-500, 500)),
        st.one_of(st.none(), st.floats(40, 60)),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


@given(readings)
def test_all_time_is_known_or_unknown_and_nothing_is_made_up(
    steps: list[tuple[float, float | None, float | None, bool]],
) -> None:
    """Every second from the first to the last usable reading is in one of both; what was counted
    never falls, and needs a pair of readings that are close enough."""
    meter, clock, before = EnergyMeter(10), 0.0, (0.0,) * 6
    heard: list[float] = []
    bound = 0.0
    for step, amps, voltage, blind in steps:
        clock += step
        if blind:
            meter.blind()
        meter.hear(clock, BEGIN + timedelta(seconds=clock), voltage, amps)
        if amps is None or voltage is None:
            continue
        if heard and clock - heard[-1] <= 10:
            bound += 500 * (clock - heard[-1])
        heard.append(clock)
        found = meter.totals(clock, BEGIN)
        assert found is not None
        assert found.known + found.unknown == pytest.approx(heard[-1] - heard[0])
        now = (found.charge_in, found.charge_out, found.energy_in, found.energy_out,
               found.known, found.unknown)  # fmt: skip
        assert all(new >= old for new, old in zip(now, before, strict=True))
        assert found.charge_in + found.charge_out <= bound + 1e-6
        before = now


async def test_kills_lose_a_minute_at_most_and_never_count_twice(tmp_path: Path) -> None:
    """Twelve runs, each killed at a random moment: what is counted in the end is what was written
    before each kill, and the time between is unknown."""
    chance = random.Random(7)
    begin, path = BEGIN, tmp_path / "history.db"
    elapsed, lost = 0.0, 0.0
    for _ in range(12):
        world = HistoryWorld(path, begin, interval=5)
        length, away = chance.uniform(20, 700), chance.uniform(1, 100)
        async with world.running(kill=True):
            first = world.now()
            await feed(world, length)
            last = world.now()
        begin = last + timedelta(seconds=away)
        elapsed += (last - first).total_seconds()
        lost += 60 + 5
    world = HistoryWorld(path, begin, interval=5)
    async with world.running():
        await feed(world, 10)
        found = world.watcher.energy("van")
    assert found is not None
    span = (found.until - BEGIN).total_seconds()
    assert found.known + found.unknown == pytest.approx(span, abs=1)
    assert elapsed - lost <= found.known <= elapsed + 15
    known = truth(0, span)
    assert found.charge_in <= known[0] * 1.001 and found.charge_out <= known[1] * 1.001
    # What is known is counted: a straight current of 2 A beside it says how much that is.
    other = world.watcher.energy("steady")
    assert other is not None and close(other.charge_in, 2 * other.known, 1e-9)


async def feed(world: HistoryWorld, seconds: float) -> None:
    until = world.now() + timedelta(seconds=seconds)
    while world.now() < until:
        time = (world.now() - BEGIN).total_seconds()
        world.read(current=current(time), voltage=volts(time))
        world.read("steady", current=2.0)
        await asyncio.sleep(5)


@pytest.mark.parametrize(
    "begin",
    [
        datetime(2026, 3, 29, 2, 59, 0, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC),
        datetime(2026, 10, 25, 2, 59, 0, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC),
    ],
)
async def test_summer_time_and_a_set_clock_change_no_counter(
    tmp_path: Path, begin: datetime
) -> None:
    world = HistoryWorld(tmp_path / "history.db", begin)
    async with world.running():
        await world.poll(120, current=3.6)
        world.begin -= timedelta(hours=1)  # the clock is set back
        await world.poll(120, current=3.6)
        world.begin += timedelta(days=400)  # and forward
        await world.poll(120, current=3.6)
        found = world.watcher.energy("van")
        rows = (await world.history(limit=1000)).rows
        hours = (await world.history(resolution="hour", fields=("charged_capacity",))).rows
    assert found is not None
    assert found.charge_in == pytest.approx(359 * 3.6) and found.unknown == 0
    assert len(rows) == 360, "no reading was lost, none is there twice"
    assert len({row[0] for row in rows}) == 360
    assert max(row[1] for row in hours) == pytest.approx(0.359, abs=0.001)


async def test_every_minute_has_the_counters_of_its_end(tmp_path: Path) -> None:
    """Also the last one before a link is lost, and one that is asked for while it lasts."""
    world = HistoryWorld(tmp_path / "history.db")
    fields = ("charged_energy",)
    async with world.running():
        await world.poll(130)
        await asyncio.sleep(200)  # nothing is read any more; the minute's end is written later
        lost = await world.history(resolution="minute", fields=fields)
        await world.poll(50)
        half = BEGIN + timedelta(seconds=350)
        early = await world.history(resolution="minute", fields=fields, until=half)
    counted = 52 * 10 * 129 / 3600
    assert [row[1] for row in lost.rows][-1] == pytest.approx(counted, abs=1e-5)
    assert len(lost.rows) == 3 and len(early.rows) == 4
    assert None not in [row[1] for row in early.rows]
