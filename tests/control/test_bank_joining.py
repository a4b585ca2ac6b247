"""Whether a pack may be switched on beside others: what equalises then, against all limits."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from bank_support import member

from bmslink.control.banks.joining import JoinCode, may_join, resistance_of
from bmslink.control.banks.member import Member
from bmslink.control.decide.limits import Limit, Reason


def pair(difference: float, **more: Any) -> tuple[Member, list[Member]]:
    """A pack so many V above two others."""
    off = {"charging_allowed": False, "discharging_allowed": False}
    own = member("a", 100.0, voltage=53.0 + difference, **{**off, **more})
    return own, [member("b", 100.0), member("c", 100.0)]


def test_a_pack_joins_where_what_equalises_is_within_all_limits() -> None:
    # 16 cells of 100 Ah: 8 mΩ, and 4 mΩ of the two others
    own, others = pair(0.3)
    found = may_join(own, others, "discharge", {}, 100.0)
    assert found.free
    assert found.current == -25
    own, others = pair(-0.9)
    found = may_join(own, others, "charge", {}, 100.0)
    assert found.code is JoinCode.CURRENT
    for words in ("0.90 V below", "about 75 A", "into it", "8.0 mΩ", "a may take 50 A"):
        assert words in found.text
    lower, _ = pair(-2.0)
    assert may_join(lower, others, "discharge", {}, 100.0).free  # that path lets nothing in
    assert may_join(own, others, "charge", {"a": 0.016}, 100.0).free
    # a switch that is closed already changes nothing, nor one of a pack that is disconnected
    own, others = pair(-3.0, charging_allowed=True)
    assert may_join(own, others, "charge", {}, 100.0).free
    own, others = pair(-3.0, charging_allowed=False, apart=True)
    assert may_join(own, others, "charge", {}, 100.0).free
    # what the others may give or take counts too
    own, others = pair(-0.6, ccl=400.0)
    weak = [msgspec.structs.replace(each, decision=member("x", 100.0, dcl=10.0).decision)
            for each in others]  # fmt: skip
    assert "b may take 10 A of discharge current, not 25 A" in may_join(
        own, weak, "charge", {}, 100.0
    ).text  # fmt: skip


def test_a_pack_joins_alone_and_never_beside_one_that_nobody_knows() -> None:
    own, others = pair(-3.0)
    opened = [member(n, 100.0, charging_allowed=False, discharging_allowed=False) for n in "bc"]
    assert may_join(own, opened, "charge", {}, 100.0).free
    silent = [others[0], msgspec.structs.replace(others[1], heard=80.0)]
    found = may_join(pair(0.0)[0], silent, "charge", {}, 100.0)
    assert found.code is JoinCode.UNKNOWN
    assert "The voltage of c is not known" in found.text
    old = msgspec.structs.replace(own, heard=80.0)
    assert "of a is not known" in may_join(old, others, "charge", {}, 100.0).text
    once = msgspec.structs.replace(pair(0.0, charging_allowed=True)[0], heard=80.0)
    assert may_join(once, others, "charge", {}, 100.0).code is JoinCode.UNKNOWN


def test_the_resistance_that_is_reckoned_with_is_low_and_says_where_it_is_from() -> None:
    ohms, source = resistance_of(member("a", 0.0, capacity=280.0), {})
    assert ohms == pytest.approx(16 * 0.05 / 280)
    assert "capacity" in source
    assert resistance_of(member("a", 0.0), {"a": 0.02}) == (0.02, "as bmslink.toml says")
    strange = member("a", 0.0, chemistry="new")
    assert resistance_of(strange, {})[0] == pytest.approx(16 * 0.01 / 100)


def test_an_open_switch_is_no_limit_of_what_may_flow_once_it_is_closed() -> None:
    """The policies of a pack whose FET is open let nothing flow, and would keep it out for ever."""
    own, others = pair(-0.3, ccl=50.0)
    assert own.decision is not None
    shut = Reason("bms_charge_fet", 0.0, "charge MOSFETs open")
    rises = Reason("recovery", 0.0, "recovering")
    rating = Reason("rating", 50.0, "the cells")

    def with_reasons(*reasons: Reason) -> Member:
        limits = msgspec.structs.replace(own.decision.limits, ccl=Limit(0.0, reasons))
        decision = msgspec.structs.replace(own.decision, limits=limits)
        return msgspec.structs.replace(own, decision=decision)

    assert may_join(with_reasons(shut, rating), others, "charge", {}, 100.0).free
    assert may_join(with_reasons(rises, rating), others, "charge", {}, 100.0).free
    cold = Reason("charge_cold_derate", 5.0, "it is cold")
    found = may_join(with_reasons(shut, cold, rating), others, "charge", {}, 100.0)
    assert "a may take 5 A" in found.text
    assert "within 0.06 V" in found.text


def test_what_flows_already_comes_on_top() -> None:
    own, others = pair(-0.4)
    loaded = [member(each.name, 100.0, -90.0) for each in others]
    assert may_join(own, others, "charge", {}, 100.0).free
    found = may_join(own, loaded, "charge", {}, 100.0)
    assert "b may take 100 A of discharge current, not 107 A" in found.text
    # what flows the other way helps nobody: the charger may stop
    lower, _ = pair(-1.7, ccl=400.0)
    charged = [member(each.name, 100.0, 90.0, dcl=60.0) for each in others]
    assert "b may take 60 A of discharge current, not 71 A" in may_join(
        lower, charged, "charge", {}, 100.0
    ).text  # fmt: skip


def test_a_pack_that_conducts_one_way_only_has_not_the_voltage_of_the_bus() -> None:
    """It is 2 V above, and gives nothing: the one that joins is above the bus all the same."""
    own, (bus, high) = pair(0.9, dcl=50.0)
    apart = member("c", 100.0, voltage=55.0, discharging_allowed=False)
    assert high.name == "c"
    found = may_join(own, [bus, apart], "discharge", {}, 100.0)
    assert found.code is JoinCode.CURRENT
    assert "a has 0.90 V above" in found.text
    between, _ = pair(0.3)
    assert may_join(between, [bus, apart], "charge", {}, 100.0).free  # nothing gives at 55 V
    # and what may give is reckoned with at its highest
    above = member("c", 100.0, voltage=54.5)
    assert may_join(own, [bus, above], "charge", {}, 100.0).code is JoinCode.CURRENT


def test_a_closed_switch_is_asked_for_as_if_it_were_open_before_a_drill() -> None:
    own, others = pair(-3.0, charging_allowed=True)
    assert may_join(own, others, "charge", {}, 100.0).free
    assert not may_join(own, others, "charge", {}, 100.0, opened=True).free


@pytest.mark.parametrize("worth", ["suspect", "missing", "frozen"])
def test_a_wild_voltage_lets_nobody_join(worth: str) -> None:
    own, others = pair(0.0)
    doubted = msgspec.structs.replace(others[0].decision, quality={"voltage": worth})
    wild = msgspec.structs.replace(others[0], decision=doubted)
    found = may_join(own, [wild, others[1]], "charge", {}, 100.0)
    assert found.code is JoinCode.UNKNOWN
    assert "The voltage of b" in found.text
