"""Ordinary life: what happens to a healthy pack must neither stop it nor be told as a fault.

Each test is one thing that went wrong in somebody's ordinary life; its opposite, the real fault
that looks alike, is in the same test or named beside it.
"""

from __future__ import annotations

import msgspec
import pytest

from bmslink.control import Battery
from bmslink.control.decide.catalogue import CATALOGUE, default_policies
from bmslink.control.decide.compile import ratings
from control_support import LFP, Run, against, healthy, only, verdicts

_BALANCING = {name for name in CATALOGUE["lfp"] if name.startswith("balance_")}


# ------------------------------------- D7: a curve is a fraction of the moment, only a trip opens


@pytest.mark.parametrize(
    ("chemistry", "volts"),
    [("lfp", 3.55), ("lfp", 3.60), ("lfp", 3.65), ("nmc", 4.20), ("lto", 2.70)],
)
def test_charging_to_the_voltage_of_the_data_sheet_stops_nothing(
    chemistry: str, volts: float
) -> None:
    """A curve that came to 0 was a stop in two samples, so the trips and their delays never acted:
    every full charge stopped once, by 3.55 V of LFP cells."""
    run = Run(default_policies(msgspec.structs.replace(LFP, chemistry=chemistry)))
    for second in range(3600):
        noise = 0.002 * (second % 3 - 1)
        run(healthy(round(volts + noise, 3), current=3.0, soc=100.0))
    assert run.changes["charge"] == 0
    assert not {e.policy for e in run.events if e.what in ("trip", "latch")} - _BALANCING
    over = {"lfp": 3.71, "nmc": 4.26, "lto": 2.76}[chemistry]
    assert "cell_overvoltage" in against(run(healthy(over, current=3.0, soc=100.0), 3), "charge")


def test_a_curve_has_no_memory() -> None:
    run = Run(only("cell_overvoltage_derate"), sink=True)
    run(healthy(3.56, current=5.0), 60)
    assert run.decision.limits.ccl.value == 0
    assert run.decision.charge.allowed
    run(healthy(3.44, current=5.0), 45)
    assert run.decision.limits.ccl.value == pytest.approx(30)  # not held until 3.40 V
    assert run.events == []


def test_a_sag_has_its_ten_seconds() -> None:
    """The curve of the discharge current stopped it in two samples."""
    run = Run()
    run(healthy(3.1), 5)
    assert run(healthy(2.68, current=-80.0), 8).discharge.allowed
    assert not run(healthy(2.68, current=-80.0), 5).discharge.allowed


# ---------------------------------------------------------------- D9: durations are seconds


@pytest.mark.parametrize("poll", [0.25, 0.5, 1.0])
def test_an_inrush_of_a_second_cuts_nothing(poll: float) -> None:
    """It counted samples: half a second at 4 Hz stopped the house, and four starts latched it."""
    run = Run(poll=poll)
    for _ in range(5):
        run(healthy(current=-30.0), 30)
        run(healthy(current=-220.0), 1.0)
        run(healthy(current=-30.0), 120)
        assert run.decision.discharge.allowed
    assert run.happened("discharge_overcurrent_instant") == []
    run(healthy(current=-220.0), 3.0)
    assert "discharge_overcurrent_instant" in against(run.decision, "discharge")


# ------------------------------------------------ D10: what is over is released, without a person


def test_a_top_imbalance_that_was_balanced_is_over() -> None:
    """It left 5 % of the charge current until a person came, and no command reset it."""
    run = Run(only("runaway_cell"))
    for step in range(300):
        run(healthy(3.40, current=10.0, cells={3: round(3.40 + 0.0006 * step, 4)}))
    assert run.decision.limits.ccl.value == 5
    assert verdicts(run.decision) == {"runaway_cell": "tripped"}
    run(healthy(3.40, current=10.0, cells={3: 3.42}), 540)
    assert run.decision.limits.ccl.value == 5
    assert run(healthy(3.40, current=10.0, cells={3: 3.42}), 150).limits.ccl.value == 50


def test_only_evidence_of_damage_waits_for_a_person() -> None:
    for rows in CATALOGUE.values():
        waits = {name for name, row in rows.items() if row.reset == "manual"}
        assert waits == {
            "cell_overvoltage_critical", "cell_undervoltage_critical", "no_charge_below",
            "temperature_critical", "temperature_rise", "short_circuit_memory", "emergency_stop",
            *(name for name in rows if name.startswith("bms_did_not_trip_")),
        }  # fmt: skip


# ----------------------------------------- D11: a policy acts on the direction that makes it worse


def test_cells_that_differ_at_the_top_limit_no_load() -> None:
    run = Run(only("cell_delta_top", "cell_delta_load", "cell_delta_charging"))
    top = run(healthy(3.42, current=10.0, cells={2: 3.56}), 90)
    assert (top.limits.ccl.value, top.limits.dcl.value) == (15, 100)
    run = Run(only("cell_delta_top", "cell_delta_load", "cell_delta_charging"))
    loaded = run(healthy(3.25, current=-40.0, cells={2: 2.90}), 90)
    assert (loaded.limits.ccl.value, loaded.limits.dcl.value) == (50, 30)
    run = Run(only("cell_delta_load", "cell_delta_charging"))
    charged = run(healthy(3.25, current=40.0, cells={2: 2.90}), 90)
    assert (charged.limits.ccl.value, charged.limits.dcl.value) == (15, 100)


# ------------------------------------------------- D13: at the rating nothing limits and warns


@pytest.mark.parametrize("current", [-100.0, 50.0])
def test_at_the_rating_nothing_limits_or_warns(current: float) -> None:
    run = Run()
    for second in range(1800):
        run(healthy(current=current * (1 + 0.01 * (second % 2))))
    assert (run.decision.limits.ccl.value, run.decision.limits.dcl.value) == (50, 100)
    told = {name for name in verdicts(run.decision) if not name.startswith(("balance", "charge_c",
            "charge_hot"))}  # fmt: skip
    assert told == set()
    assert {"charge_heat", "discharge_heat"} & set(verdicts(run(healthy(current=-150.0), 200)))


# ------------------------------------------------------------------------------- the defaults


def test_without_a_rating_a_house_may_take_one_c() -> None:
    """An 8.5 kW inverter on 48 V and 280 Ah takes 0.6 C; 0.5 C was reckoned with."""
    charge, discharge = ratings(Battery(chemistry="lfp", cells=16, capacity=280.0), {})
    assert (charge.amps, discharge.amps) == (140, 280)


def test_a_cold_pack_that_sags_for_a_moment_is_not_dead() -> None:
    run = Run(only("cell_undervoltage_critical"))
    run(healthy(3.1), 5)
    assert run(healthy(2.35, current=-90.0), 8).discharge.allowed
    assert run(healthy(3.1), 5).discharge.allowed
    assert not run(healthy(2.35, current=-90.0), 13).discharge.allowed
    run = Run(only("cell_undervoltage_critical"))
    run(healthy(3.1), 5)
    assert not run(healthy(2.35), 3).discharge.allowed
