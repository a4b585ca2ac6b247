"""Limits of packs that are wired together: no pack beyond its own, whatever its share may be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from bank_support import Bench, decided, member
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink.control.banks.decision import BankCode, BankLimit
from bmslink.control.banks.series import SeriesBank
from bmslink.control.banks.shares import ShareBook
from bmslink.control.decide.lasting.phase import ChargePhase
from bmslink.control.decide.limits import Limit, Reason

TWO: list[dict[str, Any]] = [{"name": "a"}, {"name": "b"}]
THREE: list[dict[str, Any]] = [
    {"name": "a", "capacity": 280.0, "ccl": 140.0, "dcl": 280.0},
    {"name": "b", "capacity": 200.0, "ccl": 100.0, "dcl": 200.0},
    {"name": "c", "capacity": 100.0, "ccl": 50.0, "dcl": 100.0},
]
AMPS = st.floats(0.0, 300.0)


def value(limit: BankLimit | None) -> float:
    assert limit is not None
    return limit.value


@st.composite
def banks(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[float], list[float], float]:
    """Packs with limits, what each conducts really (within what is known of it), the current that
    flows among them at none, and the bank's current."""
    count = draw(st.integers(2, 5))
    packs: list[dict[str, Any]] = [
        {"name": f"p{n}", "capacity": draw(st.floats(20.0, 500.0)), "ccl": draw(AMPS),
         "dcl": draw(AMPS)}
        for n in range(count)
    ]  # fmt: skip
    factor = st.floats(1 / 1.3, 1.3)
    ways = [each["capacity"] * draw(factor) for each in packs]
    offsets = [draw(st.floats(-30.0, 30.0)) for _ in packs]
    mean = sum(offsets) / count
    return packs, ways, [each - mean for each in offsets], draw(st.floats(0.0, 600.0))


@given(banks(), st.sampled_from(["charge", "discharge"]))
@settings(max_examples=150, deadline=None)
def test_no_pack_is_beyond_its_limit_for_any_share_within_what_is_known(
    found: tuple[list[dict[str, Any]], list[float], list[float], float], direction: str
) -> None:
    """I-21, where the network is really one of those that may be: in the bounds of the shares, with
    any current among the packs."""
    packs, ways, offsets, flows = found
    whole, sign = sum(ways), 1.0 if direction == "charge" else -1.0
    limit = "ccl" if direction == "charge" else "dcl"

    def currents(total: float) -> list[float]:
        return [o + w / whole * total for w, o in zip(ways, offsets, strict=True)]

    bench = Bench(packs)
    told = {p["name"]: {"current": sign * c} for p, c in zip(packs, currents(flows), strict=True)}
    decision = bench(4, **told)
    allowed = value(getattr(decision, limit))
    assert allowed <= sum(p[limit] for p in packs) + 1e-6
    if allowed == 0:
        return  # what flows among packs no limit of the bank can end
    for pack, amps in zip(packs, currents(allowed), strict=True):
        assert amps <= pack[limit] + 1e-6, (pack, amps, allowed, decision.to_dict())


@given(st.lists(st.tuples(st.floats(20.0, 500.0), AMPS), min_size=2, max_size=5), st.data())
@settings(max_examples=60, deadline=None)
def test_before_anything_steady_was_seen(
    sizes: list[tuple[float, float]], data: st.DataObject
) -> None:
    packs = [{"name": f"p{n}", "capacity": c, "ccl": a} for n, (c, a) in enumerate(sizes)]
    ways = [c * data.draw(st.floats(1 / 1.3, 1.3)) for c, _ in sizes]
    allowed = value(Bench(packs)().ccl)
    for (_, most), way in zip(sizes, ways, strict=True):
        assert allowed * way / sum(ways) <= most + 1e-6


@given(st.lists(st.tuples(st.floats(50.0, 400.0), st.floats(1.0, 300.0)), min_size=2, max_size=5),
       st.integers(0, 4), st.sampled_from(["open", "silent"]))  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_a_pack_that_leaves_or_is_not_heard_raises_nothing(
    sizes: list[tuple[float, float]], which: int, how: str
) -> None:
    packs = [{"name": f"p{n}", "capacity": c, "ccl": a} for n, (c, a) in enumerate(sizes)]
    name = f"p{which % len(packs)}"
    bench, other = Bench(packs), Bench(packs)
    before = value(bench(5).ccl)
    other(5)
    gone: dict[str, Any] = {"charging_allowed": False} if how == "open" else {"heard": bench.now}
    for _ in range(25):
        now, beside = bench(**{name: gone}), other()
        assert value(now.ccl) <= value(beside.ccl) + 1e-9 or how == "open"
        rest = [p["ccl"] for p in packs if p["name"] != name]
        if how == "open":
            assert value(now.ccl) <= sum(rest) + 1e-6
    assert value(bench().ccl) <= before if how == "silent" else True


def test_a_pack_that_opens_lowers_the_limit_at_once_and_one_that_comes_back_raises_it_slowly() -> (
    None
):
    bench = Bench(THREE)
    before = value(bench(20).ccl)
    opened = bench(a={"charging_allowed": False})
    assert value(opened.ccl) < 150 < before
    assert opened.ccl is not None
    assert opened.ccl.why.code is BankCode.SHARE
    assert value(opened.dcl) == value(bench(1).dcl)  # it gives as before
    back = bench(a={"charging_allowed": True})
    assert value(back.ccl) == value(opened.ccl)
    assert value(bench(60).ccl) == pytest.approx(before, rel=0.06)


def test_a_pack_with_nothing_left_stops_the_bank_while_it_conducts() -> None:
    bench = Bench(TWO)
    bench(5)
    full = bench(a={"ccl": 0.0})
    assert full.ccl is not None
    assert (full.ccl.value, full.ccl.why.pack) == (0.0, "a")
    bench(60, a={"charging_allowed": False})
    assert value(bench().ccl) == pytest.approx(50.0)


def test_a_pack_that_is_not_heard_counts_as_it_was_until_it_is_known_to_be_open() -> None:
    bench = Bench(THREE)
    before = bench(10)
    heard = bench.now
    silent = bench(20, c={"heard": heard})
    assert value(silent.ccl) == value(before.ccl)
    assert any("c is not heard and may conduct still" in text for text in silent.trouble)
    assert silent.current is None
    # its own policies lower what they let flow, and that counts
    derated = bench(c={"heard": heard, "ccl": 15.0})
    assert derated.ccl is not None
    assert derated.ccl.why.code is BankCode.VANISHED
    assert derated.ccl.value < value(before.ccl) / 2
    apart = bench(60, c={"heard": heard, "ccl": 0.0, "apart": True})
    assert not apart.trouble
    assert [m.name for m in apart.members if m.charge is False] == ["c"]
    assert value(apart.ccl) > 140
    # a person was wrong
    flows = bench(c={"heard": bench.now + 1, "current": 12.0, "ccl": 15.0, "apart": True})
    assert flows.trouble == ("c is said to be apart, and current flows: it counts.",)
    assert value(flows.ccl) < 100


def test_what_was_never_read_lets_nothing_flow_and_is_no_reason_to_recover() -> None:
    bench = Bench([{"name": "a"}, {"name": "b", "reading": None, "heard": None, "decision": None}])
    never = bench(120)
    assert never.ccl is not None
    assert (never.ccl.value, never.ccl.why.code, never.ccl.why.pack) == (0.0, BankCode.UNREAD, "b")
    bench.packs[1] = {"name": "b"}
    assert value(bench().ccl) > 75


def test_another_board_in_the_place_of_a_pack_raises_nothing() -> None:
    bench = Bench([{"name": "a"}, {"name": "b", "ccl": 5.0}])
    low = value(bench(5).ccl)
    risen = value(bench(12, b={"ccl": 50.0}).ccl)
    assert low < risen < 40
    gone = {"reading": None, "heard": None, "protect": None}
    assert value(bench(b=gone).ccl) <= risen + 10.0  # no faster than it rose


def test_old_decisions_fade_though_nobody_renews_them() -> None:
    bench = Bench(TWO)
    bench(5)
    stuck = member("b", bench.now)
    for after, least, most in ((5, 75, 101), (15, 20, 40), (70, 0, 0)):
        bench(after, b={"decision": stuck.decision, "heard": stuck.heard})
        assert least <= value(bench.latest.ccl if bench.latest else None) <= most
        bench.now = stuck.heard or 0.0


def test_the_voltage_protects_every_pack_and_the_phase_is_that_of_those_not_full() -> None:
    bench = Bench(
        [
            {"name": "a", "phase": ChargePhase.FLOAT, "top": 53.6},
            {"name": "b", "phase": ChargePhase.ABSORPTION},
        ]
    )
    found = bench(5)
    assert found.cvl is not None
    assert (found.cvl.value, found.cvl.why.code, found.cvl.why.pack) == (55.2, "phase", "b")
    assert found.phase == "absorption"
    lowered = bench(b={"protect": 54.0}).cvl
    assert lowered is not None
    assert (lowered.value, lowered.why.code, lowered.why.pack) == (54.0, BankCode.PROTECT, "b")
    assert bench(2, b={"protect": None}).cvl == bench.latest.cvl if bench.latest else None
    assert value(bench().cvl) < 54.1  # slowly up
    assert value(bench(200).cvl) == 55.2
    both = bench(300, b={"phase": ChargePhase.FLOAT, "top": 53.6})
    assert (value(both.cvl), both.phase) == (53.6, "float")
    # the wish of a full pack counts for nothing beside one that is not full
    mixed = bench(300, a={"top": 54.5}, b={"phase": ChargePhase.ABSORPTION, "top": 54.0})
    assert value(mixed.cvl) == 54.0
    bench(300, a={"top": 53.6}, b={"phase": ChargePhase.FLOAT, "top": 53.6})
    # a pack whose charge path is open has no say
    assert value(bench(300, a={"protect": 50.0, "charging_allowed": False}).cvl) == 53.6


def test_the_load_stops_where_the_first_pack_is_empty() -> None:
    bench = Bench(TWO)
    low = decided(bench.now, 50.0, 100.0).limits
    dvl = Limit(49.6, (Reason("cell_undervoltage_derate", 49.6, "a cell is low"),))
    higher = msgspec.structs.replace(low, dvl=dvl)
    decision = msgspec.structs.replace(decided(bench.now, 50.0, 100.0), limits=higher)
    found = bench(3, b={"decision": decision}).dvl
    assert found is not None
    assert (found.value, found.why.pack) == (49.6, "b")


def test_a_bank_has_the_charge_of_all_by_their_capacity() -> None:
    bench = Bench(THREE)
    found = bench(2, a={"soc": 50.0, "current": -10.0}, b={"soc": 60.0, "voltage": 52.8},
                  c={"soc": 80.0, "current": -5.0, "voltage": 53.1})  # fmt: skip
    assert (found.voltage, found.current, found.capacity) == (53.0, -15.0, 580.0)
    assert (found.soc, found.soc_spread) == (58.62, 30.0)


def test_every_reason_gives_its_value_and_no_limit_is_above_the_first() -> None:
    bench = Bench(THREE)
    for change in ({}, {"ccl": 11.3}, {"ccl": 0.04}, {"charging_allowed": False}):
        found = bench(3, a=change)
        for limit in (found.ccl, found.dcl, found.cvl):
            assert limit is not None
            assert limit.value == limit.reasons[0].value
            assert limit.value <= limit.why.value + 1e-9
            assert all(each.text for each in limit.reasons)
    assert msgspec.to_builtins(found.limits)["ccl"]["value"] == value(found.ccl)


def test_shares_are_learned_from_steps_whatever_flows_among_the_packs() -> None:
    true = {"a": 0.5, "b": 0.3, "c": 0.2}
    offset = {"a": 6.0, "b": -4.0, "c": -2.0}
    bench = Bench(THREE)
    for total in (0.0, -150.0, 0.0, -150.0, 0.0, -150.0):
        found = bench(5, **{n: {"current": offset[n] + true[n] * total} for n in true})
    for each in found.members:
        share = each.shares["charge"]
        assert share.source == "steps"
        assert share.likely == pytest.approx(true[each.name], abs=0.002)
        assert 0.02 < share.high - share.low < 0.08
    assert value(bench(60).dcl) > 0.85 * 490  # c: (100 + 2) A of its 0.2 is the least


def test_a_pack_conducts_as_it_says_unless_its_current_says_otherwise() -> None:
    now = 100.0
    shut: dict[str, Any] = {"charging_allowed": False, "discharging_allowed": False}
    assert member("a", now, 0.5, **shut).conducts("charge", now) is False
    assert member("a", now, 5.0, **shut).conducts("charge", now) is True
    assert member("a", now, 5.0, **shut).conducts("discharge", now) is False
    silent = member("a", now, charging_allowed=None)
    assert silent.conducts("charge", now) is None
    assert silent.reading is not None
    switched = replace(silent.reading, charge_switch=False)
    off = msgspec.structs.replace(silent, reading=switched)
    assert off.conducts("charge", now) is False
    assert off.conducts("charge", now + 60) is False  # as it was, however old that is


def test_a_load_moves_no_limit_of_charging() -> None:
    """Nor the other way round: what flows turns before it comes near that limit."""
    bench = Bench(TWO)
    idle = value(bench(6).ccl)
    loaded = bench(6, a={"current": -90.0}, b={"current": -90.0})
    assert value(loaded.ccl) == idle


def test_a_current_is_reckoned_a_little_higher_than_it_was_read() -> None:
    bench = Bench(TWO)
    bench(6, a={"current": 30.0}, b={"current": 30.0})
    book, own = bench.bank.book, member("a", bench.now, 30.0)
    share = book.shares(["a", "b"], [])["a"]
    nothing: dict[str, frozenset[str]] = {"charge": frozenset(), "discharge": frozenset()}
    most, _ = book.most(own, "charge", 50.0, share, bench.now, blocked=nothing)
    assert most == pytest.approx(60 + (50 - 30.3) / share.high)
    least, _ = book.most(own, "charge", 20.0, share, bench.now, blocked=nothing)
    assert least == pytest.approx(60 - (30.3 - 20) / share.low)


def test_a_pack_that_takes_nothing_now_counts_for_half_its_share_at_least() -> None:
    """A full one takes more as soon as the voltage rises; at 0 A it stops the bank."""
    bench = Bench([{"name": n, "capacity": 100.0} for n in "abc"])
    told = {"a": {"current": 0.0, "ccl": 10.0}, "b": {"current": 45.0}, "c": {"current": 45.0}}
    full = bench(40, **told)
    assert full.ccl is not None
    assert (full.ccl.why.pack, full.ccl.why.value) == ("a", 60.0)


def test_a_current_with_the_wrong_sign_is_told_and_nothing_is_learned_of_it() -> None:
    bench = Bench(THREE)
    true = {"a": 0.5, "b": 0.3, "c": -0.2}
    for total in (0.0, -150.0, 0.0):
        found = bench(5, **{n: {"current": share * total} for n, share in true.items()})
    assert found.trouble == ()  # once or twice may be anything
    for total in (-150.0, 0.0):
        found = bench(5, **{n: {"current": share * total} for n, share in true.items()})
    assert len(found.trouble) == 1
    assert "The current of c goes the other way" in found.trouble[0]
    assert found.members[2].shares["charge"].source == "capacity"
    true["c"] = 0.2
    found = bench(5, **{n: {"current": share * -150.0} for n, share in true.items()})
    assert found.trouble == ()
    two = Bench(TWO)  # nobody knows which of both
    for total in (0.0, -150.0, 0.0, -150.0, 0.0):
        found = two(5, a={"current": total}, b={"current": -total / 2})
    assert found.trouble == ()


def test_two_steady_states_long_after_each_other_say_nothing_of_shares() -> None:
    bench = Bench(TWO)
    bench(5)
    for n in range(80):
        bench(a={"current": -10.0 * (n % 7)}, b={"current": -10.0 * (n % 5)})
    found = bench(5, a={"current": -90.0}, b={"current": -10.0})
    assert found.members[0].shares["charge"].source == "capacity"


def test_a_pack_that_is_apart_keeps_nobody_from_learning() -> None:
    bench = Bench([*THREE, {"name": "d", "apart": True, "heard": None, "reading": None}])
    for total in (0.0, -90.0, 0.0):
        found = bench(5, **{n: {"current": total / 3} for n in "abc"})
    assert {each.shares["charge"].source for each in found.members[:3]} == {"steps"}


def test_a_pack_that_is_read_once_a_minute_is_no_pack_that_is_gone() -> None:
    bench = Bench([{"name": "a"}, {"name": "b", "interval": 60.0}])
    before = value(bench(5).ccl)
    rare = member("b", bench.now)
    found = bench(110, b={"decision": rare.decision, "heard": rare.heard})
    assert (value(found.ccl), found.trouble) == (before, ())


def test_a_pack_whose_direction_is_assumed_is_seen_beyond_its_limit_too() -> None:
    """Daly boards: every current of theirs is doubted, and there will be no better one."""
    bench = Bench(TWO)
    doubted = {"quality": {"current": "suspect"}}
    assumed = {"raw": {"current_sign": "assumed"}}
    for each in bench.packs:
        each.update(doubted, **assumed)
    half = {"a": {"current": 30.0}, "b": {"current": 30.0}}
    before = value(bench(30, **half).ccl)
    gone = {"heard": bench.now, "decision": member("b", bench.now).decision}
    assert value(bench(a={"current": 60.0}, b=gone).ccl) == before  # once may be a wild value
    seen = bench(2, a={"current": 60.0}, b=gone).ccl
    assert seen is not None
    assert seen.why.code is BankCode.OVERLOAD
    assert seen.value == pytest.approx(50.0)


def test_a_current_before_anything_was_decided_is_no_share() -> None:
    """At a start packs exchange some ampere, and their policies let nothing flow yet."""
    bench = Bench(TWO)
    none = Limit(0.0, (Reason("no_data", 0.0, "not enough was heard"),))
    unheard = msgspec.structs.replace(decided(bench.now, 0, 0).limits, ccl=none, dcl=none)
    decision = msgspec.structs.replace(decided(bench.now, 0, 0), limits=unheard)
    bench(5, a={"current": 9.0, "decision": decision}, b={"current": -8.0})
    for each in bench.packs:
        each.pop("decision", None)
    found = bench().ccl
    assert found is not None
    assert (found.why.code, found.value > 60) == (BankCode.SHARE, True)


def test_one_wild_value_is_no_share() -> None:
    bench = Bench(TWO)
    before = value(bench(10).ccl)
    wild = msgspec.structs.replace(decided(bench.now, 50.0, 100.0), quality={"current": "suspect"})
    assert value(bench(a={"current": 600.0, "decision": wild}).ccl) == before


def test_a_share_that_was_never_seen_steady_is_bounded_by_capacity_or_resistance() -> None:
    members = [member("a", 0.0, capacity=100.0), member("b", 0.0, capacity=100.0)]
    capacity = ShareBook(members, {}).shares(["a", "b"], [])["a"]
    known = ShareBook(members, {"a": 0.01, "b": 0.03}).shares(["a", "b"], [])["a"]
    assert (capacity.likely, capacity.source) == (0.5, "capacity")
    assert 0.35 < capacity.low < 0.38 < 0.62 < capacity.high < 0.65
    assert known.likely == pytest.approx(0.75)
    assert known.source == "resistance"
    assert known.high - known.low < 0.15
    # a pack that may be open counts for its own limit, and leaves the others nothing
    alone = ShareBook(members, {}).shares(["a"], ["b"])["a"]
    assert alone.high == 1.0


def test_a_pack_that_takes_more_than_reckoned_lowers_the_bank_at_once() -> None:
    """The other pack opened and went silent in the same moment: nobody can tell but by this one."""
    bench = Bench(TWO)
    half = {"a": {"current": 30.0}, "b": {"current": 30.0}}
    before = value(bench(30, **half).ccl)
    gone = {"heard": bench.now, "decision": member("b", bench.now).decision}
    seen = bench(a={"current": 60.0}, b=gone)
    assert seen.ccl is not None
    assert seen.ccl.why.code is BankCode.OVERLOAD
    assert seen.ccl.value <= 50.0 * before / 60.0 + 1
    later = bench(2, a={"current": 60.0}, b=gone)
    assert value(later.ccl) == pytest.approx(50.0)  # all of it goes through the one that is heard


def test_packs_of_unequal_cells_or_without_policies_have_no_limits() -> None:
    found = Bench([{"name": "a"}, {"name": "b", "cell_count": 15}])(5)
    assert (found.ccl, found.limits) == (None, None)
    assert "a 16, b 15" in found.trouble[0]
    found = Bench([{"name": "a"}, {"name": "b", "judged": False, "decision": None}])(5)
    assert found.ccl is None
    assert found.trouble == ("b has no policies, so nobody knows what it may take.",)


def test_packs_in_series_are_reported_with_the_weakest() -> None:
    members = [
        member("low", 100.0, voltage=52.0, soc=50.0, ccl=30.0),
        member("high", 100.0, voltage=54.0, soc=58.0, dcl=40.0),
    ]
    found = SeriesBank("stack").step(members, 101.0)
    assert (found.voltage, found.current, found.soc, found.soc_spread) == (106.0, 0.0, 50.0, 8.0)
    assert found.ccl is not None
    assert found.dcl is not None
    assert found.cvl is not None
    assert (found.ccl.value, found.ccl.why.pack) == (30.0, "low")
    assert (found.dcl.value, found.dcl.why.pack) == (40.0, "high")
    # `high` is 1.2 V below its limit: with both rising alike that is 2.4 V for the stack
    assert (found.cvl.value, found.cvl.why.pack) == (108.4, "high")
    assert found.limits is None
    assert not found.acts
    assert "more than 3 %" in found.trouble[0]
    opened = member("low", 100.0, charging_allowed=False)
    stopped = SeriesBank("stack").step([opened, members[1]], 101.0)
    assert stopped.ccl is not None
    assert (stopped.ccl.value, stopped.ccl.why.code) == (0.0, BankCode.NOT_CONDUCTING)
