"""A bank of three unequal packs on the second pack model: every pack inside its own limits."""

from __future__ import annotations

from typing import Any

import pytest

from bank_world import BankPack, BankWorld


def world(*, soc: tuple[float, float, float] = (0.6, 0.6, 0.6)) -> BankWorld:
    """280, 200 and 100 Ah, with cables that are unlike as well; after it has seen two loads."""
    found = BankWorld(
        [
            BankPack("a", 280, soc[0], 0.001),
            BankPack("b", 200, soc[1], 0.003, phase=0.5),
            BankPack("c", 100, soc[2], 0.004),
        ]
    )
    for load in (20.0, 300.0, 20.0):
        found.load = load
        found.go_on(40)
    return found


def limits(found: BankWorld) -> tuple[float, float]:
    assert found.latest is not None
    assert found.latest.ccl is not None
    assert found.latest.dcl is not None
    return found.latest.ccl.value, found.latest.dcl.value


def longest(found: BankWorld) -> float:
    return max(found.beyond.values(), default=0.0)


def test_an_evening_with_kettles_moves_hardly_a_limit() -> None:
    found = world()
    begun, before = found.now, limits(found)
    for _ in range(3):
        found.load = 210.0
        found.go_on(90)
        found.load = 20.0
        found.go_on(90)
    assert found.changes(begun) <= 6
    for now, then in zip(limits(found), before, strict=True):
        assert now == pytest.approx(then, rel=0.15)
    assert (longest(found), found.stops) == (0.0, 0)


def test_all_that_the_bank_can_give_is_nearly_all_that_its_packs_can() -> None:
    found = world()
    found.load = 2000.0
    found.go_on(90)
    flows = [-p.model.current / p.capacity for p in found.packs]
    assert 0.9 < max(flows) <= 1.0
    assert longest(found) == 0.0


def test_a_radio_that_drops_out_for_ten_seconds_stops_nothing() -> None:
    found = world()
    found.load, begun = 100.0, found.now
    found.go_on(20)
    before = limits(found)
    found.packs[2].hidden = True
    found.go_on(9)
    assert limits(found) == before
    found.go_on(1)
    found.packs[2].hidden = False
    found.go_on(120)
    assert limits(found)[1] == pytest.approx(before[1], rel=0.1)
    falls = sum(b[2] < a[2] for a, b in zip(found.values, found.values[1:], strict=False)
                if b[0] > begun)  # fmt: skip
    assert falls <= 2
    assert (longest(found), found.stops) == (0.0, 0)
    assert sum(p.model.current for p in found.packs) == pytest.approx(-100, abs=1)


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_pack_that_drops_out_under_full_load(which: int, silent: bool) -> None:
    """Its BMS opens everything, and perhaps falls silent with that. The others get what it had, and
    the bank gives less, before the detector of disobeyed limits (10 s) opens any of them."""
    found = world()
    found.load = 2000.0
    found.go_on(60)
    gone = found.packs[which]
    gone.hidden = silent
    gone.model.charge_open = gone.model.discharge_open = True
    found.go_on(40)
    assert longest(found) <= 3.0
    for pack in found.packs:
        if pack is not gone:
            assert -pack.model.current <= pack.capacity + 2
    assert found.stops == 0


FAULTS: dict[str, dict[str, Any]] = {
    "offset": {"offset": 15.0}, "noise": {"noise": 3.0}, "sign": {"sign": -1},
    "late": {"late": 30.0}, "resistance": {"cable": 0.03},
}  # fmt: skip


@pytest.mark.parametrize(("fault", "which"), [("sign", 0), *((fault, 2) for fault in FAULTS)])
def test_a_sensor_or_a_joint_that_is_wrong_overloads_nobody(fault: str, which: int) -> None:
    packs = [BankPack("a", 280, 0.6, 0.001), BankPack("b", 200, 0.6, 0.003, phase=0.5),
             BankPack("c", 100, 0.6, 0.004)]  # fmt: skip
    for name, value in FAULTS[fault].items():
        setattr(packs[which], name, value)
    found = BankWorld(packs)
    for load in (20.0, 300.0, 20.0, 300.0, 20.0):
        found.load = load
        found.go_on(30)
    assert found.latest is not None
    told = any("sign is wrong" in text for text in found.latest.trouble)
    assert told is (fault in ("sign", "late"))
    found.load = 2000.0
    found.go_on(60)
    assert longest(found) == 0.0
    assert max(-p.model.current / p.capacity for p in found.packs) > 0.2


def test_two_packs_that_open_and_fall_silent_at_once() -> None:
    found = world()
    found.load = 2000.0
    found.go_on(60)
    for gone in found.packs[:2]:
        gone.hidden = True
        gone.model.charge_open = gone.model.discharge_open = True
    found.go_on(40)
    assert longest(found) <= 3.0


@pytest.mark.slow
def test_a_charge_to_the_top_where_one_pack_is_full_first() -> None:
    found = world(soc=(0.955, 0.965, 0.98))
    found.charge, begun = (400.0, 3.5 * 16), found.now
    found.go_on(900)
    assert (longest(found) <= 5.0, found.stops) == (True, 0)
    assert all(p.model.soc[0] > 0.985 for p in found.packs)
    assert max(max(p.model.volts) for p in found.packs) < 3.47
    turns = 0
    rising = None
    for (_, a, _), (time, b, _) in zip(found.values, found.values[1:], strict=False):
        if time > begun and a != b:
            turns += rising is not None and (b > a) is not rising
            rising = b > a
    assert turns <= 10
