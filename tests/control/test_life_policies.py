"""The four warnings about a battery's years: each comes, is said once, and ends; none acts, and
none comes of what is not known or not sure."""

from __future__ import annotations

import pytest

from bmslink.analysis import BatteryLife
from bmslink.control.decide.lasting.life_measures import LifeMeasures, measures_of
from control_support import Run, healthy, only

FINE = LifeMeasures(days_since_full=2.0, capacity_left=97.0, resistance_lead=3.0, full_cycles=40.0)


@pytest.mark.parametrize(
    ("policy", "ill", "nearly"),
    [
        ("full_charge_due", {"days_since_full": 30.5}, {"days_since_full": 29.0}),
        ("capacity_lost", {"capacity_left": 79.0}, {"capacity_left": 81.0}),
        ("cell_resistance_rising", {"resistance_lead": 51.0}, {"resistance_lead": 49.0}),
        ("throughput_budget", {"full_cycles": 4001.0}, {"full_cycles": 3999.0}),
    ],
)
def test_each_warning_comes_once_acts_on_nothing_and_ends(
    policy: str, ill: dict[str, float], nearly: dict[str, float]
) -> None:
    run = Run(only(policy))
    using = healthy(3.30, current=-20.0)
    for known in (LifeMeasures(), FINE, FINE._replace(**nearly)):
        run.engine.know_life(known)
        run(using, 300)
        assert run.happened(policy) == []
    run.engine.know_life(FINE._replace(**ill))
    run(using, 55)
    assert run.happened(policy) == [], "for a minute it may be a mistake"
    decision = run(using, 600)
    assert run.happened(policy) == ["trip"]
    assert decision.charge.allowed and decision.discharge.allowed
    run.engine.know_life(LifeMeasures())
    run(using, 600)
    assert "latch" not in run.happened(policy)
    well = 99.0 if policy == "capacity_lost" else 0.5
    run.engine.know_life(FINE._replace(**dict.fromkeys(ill, well)))
    run(using, 600)
    assert run.happened(policy)[-1] == "release" and run.happened(policy).count("trip") == 1


def test_a_battery_in_store_needs_no_full_charge() -> None:
    run = Run(only("full_charge_due"))
    run.engine.know_life(FINE._replace(days_since_full=200.0))
    run(healthy(3.30, current=0.0), 3600)
    assert run.happened("full_charge_due") == []


def test_nothing_is_said_of_a_battery_that_was_never_read() -> None:
    assert measures_of(BatteryLife("lfp").facts()) == LifeMeasures()
