"""Sessions on the second pack model: brought together, never beyond the bound, ordinary life."""

from __future__ import annotations

import math

import msgspec
import pytest
from session_bench import Bench

from bmslink.control.sessions.balancer import HeldSetting
from bmslink.control.sessions.state import Around, Phase


@pytest.mark.parametrize("seed", range(1, 5))
def test_lfp_cells_come_together_and_none_passes_the_top(seed: int) -> None:
    bench = Bench(seed)
    end = bench.run()
    assert end is not None
    assert end.done, end
    assert bench.worst >= 0.055, "60 mV at the top"
    assert bench.now.delta <= 0.010
    assert bench.highest <= bench.plan.top + 0.010
    assert bench.switchings == [], "nothing is written: the board balances by itself"


@pytest.mark.parametrize(("kind", "apart"), [("nmc", 0.02), ("lto", 0.02)])
def test_other_chemistries(kind: str, apart: float) -> None:
    begins = {"nmc": 4.00, "lto": 2.45}[kind]
    held = {"settings": {"balance_start_voltage": HeldSetting(begins, True)}}
    bench = Bench(3, kind=kind, apart=apart, amps=3.0, soc=0.95, plan_of=held)
    end = bench.run()
    assert end is not None
    assert end.done, end
    assert bench.now.delta <= 0.010
    assert bench.highest <= bench.plan.top + 0.010


def _sun(bench: Bench, hour: float) -> None:
    """Days of sun with clouds, kettles at noon, drop-outs of 10 s, a charger that pauses."""
    light = math.sin(math.pi * ((hour % 24) - 1) / 11)
    cloud = 0.3 if int(hour * 30) % 7 == 0 else 1.0
    bench.charger.amps = max(0.0, 25 * light * cloud)
    bench.charger.on = int(hour * 6) % 11 != 0
    kettle = 40.0 if int(hour * 20) % 37 == 0 else 0.0
    bench.load = 1.0 + kettle
    bench.blind = "no answer" if int(hour * 360) % 50 == 0 else ""


def test_ordinary_life_is_waited_for_and_nothing_is_written() -> None:
    bench = Bench(2, amps=0.5, soc=0.93, interval=20.0, world=_sun)
    end = bench.run()
    assert end is not None
    assert end.done, (end, bench.state)
    assert bench.state.time > 20 * 3600, "there was a night in it"
    assert bench.phases.count(Phase.APPROACH) >= 2, "the pack left the top, and came back"
    assert bench.switchings == []
    assert bench.highest <= bench.plan.top + 0.015


def test_a_balancer_that_does_nothing_is_told() -> None:
    bench = Bench(1, working=False)
    end = bench.run()
    assert end is not None
    assert end.name == "no_effect"
    assert "never showed that it balances" in end.text


def test_a_charger_that_disobeys_ends_it_at_the_bound() -> None:
    bench = Bench(1, obeys=False)
    end = bench.run()
    assert end is not None
    assert end.name == "cell_high"
    assert "does not do what it is told" in end.text


def test_a_link_that_is_lost_for_long_ends_it() -> None:
    def lost(bench: Bench, hour: float) -> None:
        bench.blind = "no answer" if hour > 1 else ""

    bench = Bench(1, world=lost)
    end = bench.run()
    assert end is not None
    assert end.name == "blind"
    assert bench.charger.ccl == 0.0, "no limits, no current"


def test_somebody_who_switches_balancing_off_ends_it() -> None:
    def app(bench: Bench, hour: float) -> None:
        bench.switch = hour < 1

    held = {"on": False, "settings": {}}
    bench = Bench(1, world=app, plan_of=held)
    permit = msgspec.structs.replace(bench.state.permit, on=True, confirmed=True)
    bench.state = bench.state.with_permit(permit)
    end = bench.run()
    assert end is not None
    assert (end.name, end.text) == ("switched", "Somebody switched balancing off by another way.")


def test_a_policy_that_holds_charging_is_waited_for() -> None:
    def held(bench: Bench, hour: float) -> None:
        bench.around = Around(charge_held="cell 3 is over 3.48 V" if 0.2 < hour < 5 else "")

    bench = Bench(1, world=held)
    end = bench.run()
    assert end is not None
    assert end.done, end


def test_a_leaking_cell_moves_apart_and_that_is_told() -> None:
    def leak(bench: Bench, hour: float) -> None:
        if hour > 2:
            bench.pack.soc[7] -= 0.00004

    bench = Bench(1, world=leak, amps=0.2)
    end = bench.run()
    assert end is not None
    assert end.name in ("growing", "no_progress"), end
    assert bench.highest < bench.plan.bound


@pytest.mark.parametrize("who", ["stopped", "cancelled"])
def test_people_end_it_at_once(who: str) -> None:
    def ask(bench: Bench, hour: float) -> None:
        if hour > 0.5:
            bench.around = Around(**{who: "anna"})

    bench = Bench(1, world=ask)
    end = bench.run()
    assert end is not None
    assert end.name == who
    assert end.text.startswith("anna ")
    assert bench.state.time <= 0.5 * 3600 + 20


def test_a_board_that_balances_anywhere_is_switched_by_region() -> None:
    bench = Bench(1, plan_of={"settings": {}, "on": True}, soc=0.95)
    assert not bench.plan.by_itself
    end = bench.run()
    assert end is not None
    assert end.done, end
    assert len(bench.switchings) <= 4
