"""Whether a pack may be switched on beside others: what equalises then, against all limits."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from bank_support import member

from bmslink.control.banks.joining import JoinCode, may_join, resistance_of
from bmslink.control.banks.member import Member


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
