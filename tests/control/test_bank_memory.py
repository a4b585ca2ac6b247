"""What a bank knows over a restart, and of whom."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bank_support import Bench
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.control.banks.decision import BankDecision
from bmslink.control.banks.memory import BankMemory, parse_memory
from bmslink.control.banks.shares import PackShare

TRUE = {"a": 0.6, "b": 0.25, "c": 0.15}
PACKS: list[dict[str, Any]] = [{"name": n, "board": f"JK {n}"} for n in "abc"]
SHUT = {"charging_allowed": False, "discharging_allowed": False}


def learned(packs: list[dict[str, Any]] = PACKS) -> Bench:
    """A bank whose first pack takes 60 % of each ampere, which three loads have shown."""
    bench = Bench(packs)
    for total in (0.0, -90.0, 0.0, -90.0, 0.0):
        bench(5, **{n: {"current": share * total} for n, share in TRUE.items()})
    return bench


def restarted(bench: Bench, *, age: float = 5.0, **changes: Any) -> Bench:
    """The same packs under a bank that knows what was kept."""
    text = json.dumps(bench.bank.remember(bench.now).to_dict())
    new = Bench([{**each, **changes.get(each["name"], {})} for each in bench.packs])
    new.now = 5000.0
    new.bank.recall(parse_memory(json.loads(text)).aged(age), new.now)
    return new


def share(decision: BankDecision, name: str) -> PackShare:
    return next(each for each in decision.members if each.name == name).shares["charge"]


def test_shares_are_known_again_after_a_restart() -> None:
    bench = learned()
    before, after = bench(), restarted(bench)()
    for name, true in TRUE.items():
        assert share(after, name).likely == pytest.approx(true, abs=0.01)
        assert share(after, name).source == "steps"
        for end in ("likely", "low", "high"):
            assert getattr(share(after, name), end) == pytest.approx(
                getattr(share(before, name), end)
            )


def test_a_pack_that_is_gone_keeps_its_last_share_and_one_that_was_open_stays_open() -> None:
    gone = {"reading": None, "heard": None, "decision": None, "board": ""}
    bench = learned()
    bench(c=SHUT)
    found = restarted(bench, a=gone, c=gone)(3)
    assert share(found, "a").likely == pytest.approx(0.6 / 0.85, abs=0.01)
    assert found.members[2].charge is False
    assert "c is not heard" not in " ".join(found.trouble)
    assert found.ccl is not None
    assert (found.ccl.value, found.ccl.why.pack) == (0.0, "a")  # what it may take, nobody knows
    again = restarted(bench, a=gone, c=gone)
    again(3)
    assert restarted(again)(3).members[2].charge is False
    # nobody knows what an open pack did in an hour
    long = restarted(bench, age=3600.0, c=gone)(3)
    assert (share(long, "a").source, long.members[2].charge) == ("steps", None)


@pytest.mark.parametrize(("change", "kept"), [
    ({"board": "JK other"}, False), ({"board": ""}, True), ({"capacity": 150.0}, False),
])  # fmt: skip
def test_another_board_or_other_cells_inherit_nothing(
    change: dict[str, Any], *, kept: bool
) -> None:
    found = restarted(learned(), a=change)(3)
    assert (share(found, "a").source == "steps") is kept
    assert share(found, "b").source == "steps"


def test_a_board_that_is_replaced_while_it_runs_inherits_nothing_and_takes_nothing_away() -> None:
    bench = learned()
    bench(a={"reading": None, "heard": None, "board": "JK other"})
    other = bench(a={"reading": None, "heard": None, "board": "JK other"})
    assert share(other, "a").source == "capacity"
    for each in bench.packs:
        each.pop("reading", None)
        each.pop("heard", None)
    back = bench(a={"board": "JK a"})
    assert share(back, "a").source == "steps"
    bench(a={"board": "JK new"})
    for total in (0.0, -90.0, 0.0):
        found = bench(5, **{n: {"current": total / 3} for n in "abc"})
    assert bench.bank.book.kept()["a"].board == "JK new"
    assert share(found, "a").likely < 0.5


def test_how_another_board_was_says_nothing_of_this_one() -> None:
    bench = learned()
    bench(c=SHUT)
    gone = {"reading": None, "heard": None, "decision": None, "board": "JK other"}
    assert restarted(bench, c=gone)(3).members[2].charge is None


def test_what_is_kept_has_its_time() -> None:
    kept = learned().bank.remember(200.0)
    assert kept.aged(86400.0 * 29).shares == kept.shares
    assert kept.aged(86400.0 * 31) == BankMemory()
    assert (kept.aged(700.0).packs, kept.aged(700.0).ramps) == ({}, {})
    back = kept.aged(-86400.0)  # the clock of a board without a battery
    assert (back.shares, back.packs, back.ramps) == (kept.shares, {}, kept.ramps)
    bank = learned()
    more = Bench([*PACKS, {"name": "d", "capacity": 300.0}])
    more.bank.recall(bank.bank.remember(bank.now), more.now)
    found = more()
    assert share(found, "a").likely == pytest.approx(0.3, abs=0.01)  # beside as much again
    assert share(found, "d").likely == pytest.approx(0.5, abs=0.01)


def test_what_is_read_late_from_a_slow_disk_raises_nothing() -> None:
    bench = learned()
    kept = bench.bank.remember(bench.now)
    low = bench(a={"ccl": 5.0, "dcl": 5.0})
    bench.bank.recall(kept, bench.now)
    after = bench(2, a={"ccl": 50.0, "dcl": 100.0})
    assert low.ccl is not None
    assert after.ccl is not None
    assert after.ccl.value <= low.ccl.value


@pytest.mark.parametrize("path", ["conductance", "factor", "steps", "capacity"])
@pytest.mark.parametrize("value", [0, -1, "x", None, 1e300, [], True])
def test_what_cannot_be_is_refused(path: str, value: Any) -> None:
    kept = json.loads(json.dumps(learned().bank.remember(200.0).to_dict()))
    kept["shares"]["a"][path] = value
    if (path, value) == ("steps", 1e300):
        kept["shares"]["a"][path] = "many"
    with pytest.raises(ValueError, match=r"\S"):
        parse_memory(kept)


@given(st.lists(st.sampled_from(["load", "cold", "open", "close", "lost", "warm"]), max_size=6),
       st.lists(st.sampled_from(["load", "warm", "close"]), min_size=1, max_size=4),
       st.floats(0.0, 600.0))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_restart_raises_no_limit_sooner(before: list[str], after: list[str], age: float) -> None:
    bench = learned()
    does: dict[str, Any] = {
        "load": {n: {"current": -s * 60} for n, s in TRUE.items()},
        "cold": {"a": {"ccl": 5.0, "dcl": 8.0}}, "warm": {"a": {"ccl": 50.0, "dcl": 100.0}},
        "open": {"b": SHUT}, "close": {"b": dict.fromkeys(SHUT, True)},
        "lost": {"c": {"ccl": 15.0, "dcl": 30.0}},
    }  # fmt: skip
    for what in before:
        bench(4, **does[what])
    new = restarted(bench, age=age)
    for what in after:
        for _ in range(4):
            went_on, began = bench(**does[what]), new(**does[what])
            for name in ("ccl", "dcl", "cvl"):
                one, other = getattr(went_on, name), getattr(began, name)
                # an anchor or an overload that is not kept moves it by less than the ramp does
                assert other.value <= one.value * 1.25 + 20.0, (what, name)
                assert name != "cvl" or other.value <= one.value
