"""A link that drops out neither trips a policy nor makes it forget: evidence ripens on readings."""

from __future__ import annotations

from typing import Any

import pytest

from control_support import Run, against, healthy, only, replace, verdicts, warm

_INRUSH = healthy(current=-220.0)
_LOAD = healthy(current=-20.0)


@pytest.mark.parametrize("poll", [0.25, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("seconds", [8, 12, 15, 120])
def test_an_inrush_just_before_a_drop_out_cuts_nothing(poll: float, seconds: float) -> None:
    """Two stops in a week: the last reading before the silence showed 460 A, and nothing refuted
    it."""
    run = Run(poll=poll)
    run(_LOAD, 60)
    run(_INRUSH)
    run.silence(seconds)
    assert run.decision.discharge.allowed
    run(_LOAD, 60)
    assert run.decision.discharge.allowed
    assert run.happened("discharge_overcurrent_instant") == []
    assert run.happened("discharge_overcurrent_fast") == []


@pytest.mark.parametrize("seconds", [2, 12, 120, 3600])
@pytest.mark.parametrize(
    ("policy", "reading", "path"),
    [
        ("cell_overvoltage", healthy(3.72), "charge"),
        ("cell_undervoltage_critical", healthy(2.30), "discharge"),
        ("discharge_overcurrent_instant", _INRUSH, "discharge"),
        ("charge_undertemperature", healthy(temperatures=warm(-5.0)), "charge"),
    ],
)
def test_a_violation_that_is_still_there_after_a_drop_out_trips_as_soon(
    seconds: float, policy: str, reading: Any, path: str
) -> None:
    """The reading before the silence counts, and so does the time until then."""
    seen = Run(only(policy))
    seen(healthy(), 30)
    needed = 1
    while policy not in against(seen(reading, 0), path):
        needed += 1
    run = Run(only(policy))
    run(healthy(), 30)
    run(reading, needed - 2)
    run.silence(seconds)
    assert policy not in against(run.decision, path)
    run(reading, 0)
    assert policy in against(run.decision, path)


def test_two_readings_with_minutes_between_them_are_not_minutes_of_overload() -> None:
    """Nobody measured what flowed in between: 105 % may flow for 300 s, and for 10 s 120 %."""
    run = Run(only("discharge_overcurrent", "discharge_overcurrent_fast"))
    run(_LOAD, 30)
    for _ in range(3):
        run(healthy(current=-125.0))
        run.silence(290)
        run(healthy(current=-125.0))
        assert run.decision.discharge.allowed
        run(_LOAD, 30)
    run(healthy(current=-125.0), 12)
    assert "discharge_overcurrent_fast" in against(run.decision, "discharge")


def test_a_link_with_more_holes_than_readings_still_trips() -> None:
    """Every silence counts a little: what is there all the time is found in the end."""
    run = Run(only("discharge_overcurrent_fast"))
    run(_LOAD, 30)
    for _ in range(6):
        run(healthy(current=-125.0))
        run.silence(20)
    run(healthy(current=-125.0))
    assert "discharge_overcurrent_fast" in against(run.decision, "discharge")


def test_a_probe_that_one_reading_lacks_before_a_drop_out_stops_nothing() -> None:
    run = Run(only("charge_undertemperature"), poll=5.0)
    dark = healthy(temperatures=warm(25.0, cell_2=None))
    run(healthy(), 30)
    run(dark)
    run.silence(60)
    assert verdicts(run.decision) == {}
    run(dark)
    assert verdicts(run.decision) == {}
    run(dark)
    assert verdicts(run.decision) == {"charge_undertemperature": "missing"}


def test_a_drop_out_does_not_heat_the_path() -> None:
    """The load after a silence was reckoned to have flowed all the time."""
    run = Run(only("discharge_heat"))
    run(_LOAD, 30)
    run.silence(600)
    run(healthy(current=-118.0), 20)
    assert run.decision.discharge.allowed
    run(healthy(current=-118.0), 600)
    assert "discharge_heat" in against(run.decision, "discharge")


def test_what_a_kettle_warmed_while_nobody_saw_it_is_no_fire() -> None:
    run = Run(only("temperature_rise"))
    run(healthy(temperatures=warm(20.0)), 300)
    run.silence(150)
    run(healthy(temperatures=warm(28.5)), 300)
    assert run.happened("temperature_rise") == []


def test_a_fire_is_seen_through_short_drop_outs() -> None:
    run = Run(only("temperature_rise"))
    for second in range(0, 360, 15):
        run(healthy(temperatures=warm(20 + 3 * second / 60)))
        run.silence(13)
    assert run.happened("temperature_rise") == ["latch"]


def test_a_value_that_nobody_can_read_any_more_is_still_confirmed() -> None:
    """The board answers, and the cell that was too high has no value now: that is no drop-out."""
    run = Run(only("cell_overvoltage"))
    run(healthy(), 30)
    run(healthy(cells={4: 3.72}))
    assert run(healthy(cells={4: None})).charge.allowed
    assert not run(healthy(cells={4: None}), 3).charge.allowed


def test_a_restart_in_a_drop_out_changes_nothing_of_this() -> None:
    run = Run(only("discharge_overcurrent_instant"))
    run(_LOAD, 30)
    run(_INRUSH)
    run.silence(6)
    again = Run(run.engine.plan.policies)
    again.now = run.now
    again.engine.load(run.engine.save(), run.now)
    again.silence(6)
    assert again.decision.discharge.allowed
    again(replace(_INRUSH, uptime=1.0))
    assert not again.decision.discharge.allowed
