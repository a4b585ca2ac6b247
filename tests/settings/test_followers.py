"""What belongs to a limit follows it, and nothing else moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmslink.settings.catalogue import CATALOGUE
from bmslink.settings.followers import FOLLOWERS, Wish, follow
from bmslink.settings.rules import RULES

HELD = {
    "cell_ovp": 3.65, "cell_ovp_warning": 3.55, "cell_ovp_release": 3.4,
    "cell_uvp": 2.5, "cell_uvp_warning": 2.8, "cell_uvp_release": 3.0,
    "pack_ovp": 57.8, "pack_ovp_warning": 56.6, "pack_ovp_release": 54.4,
    "charge_ocp": 100.0, "charge_ocp_warning": 80.0, "charge_utp": 0.0, "charge_utp_release": 3.0,
    "full_charge_voltage": 3.45, "jk_request_charge_voltage": 3.5, "float_voltage": 0.0,
}  # fmt: skip


def followed(values: dict[str, float], *optional: str, **more: Any) -> dict[str, float]:
    held = {**HELD, **more.pop("held", {})}
    wish = Wish(values=values, held=held, optional=frozenset(optional), cells=16, **more)
    return {key: round(value, 3) for key, (value, _) in follow(wish).items()}


@pytest.mark.parametrize(
    ("values", "optional", "found"),
    [
        # a warning keeps its distance, whichever way its limit moves
        ({"cell_ovp": 3.6}, (), {"cell_ovp_warning": 3.5}),
        ({"cell_ovp": 3.7}, (), {"cell_ovp_warning": 3.6}),
        ({"charge_ocp": 50.0}, (), {"charge_ocp_warning": 40.0}),
        # the rest moves only where it would contradict
        (
            {"cell_ovp": 3.4},
            (),
            {"cell_ovp_warning": 3.3, "cell_ovp_release": 3.3, "full_charge_voltage": 3.35,
             "jk_request_charge_voltage": 3.35},
        ),
        # what is named stays, and is the caller's to get right
        ({"cell_ovp": 3.55, "cell_ovp_warning": 3.6}, (), {}),
        ({"charge_utp": 5.0, "charge_utp_release": 3.0}, (), {}),
        # what is optional yields where it must
        ({"charge_utp": 5.0, "charge_utp_release": 3.0}, ("charge_utp_release",),
         {"charge_utp_release": 8.0}),
        ({"charge_utp": 2.0, "charge_utp_release": 3.0}, ("charge_utp_release",), {}),
        ({"pack_ovp": 28.9, "pack_ovp_release": 27.2}, ("pack_ovp", "pack_ovp_release"),
         {"pack_ovp": 57.816, "pack_ovp_release": 54.4, "pack_ovp_warning": 56.616}),
        ({"pack_ovp": 28.9}, (),
         {"pack_ovp_warning": 28.3, "pack_ovp_release": 28.611}),
        ({}, (), {}),
    ],
)  # fmt: skip
def test_what_follows(values: dict[str, float], optional: Any, found: dict[str, float]) -> None:
    assert followed(values, *optional) == found


def test_of_values_by_name_only_a_warning_follows_and_only_where_it_must() -> None:
    assert followed({"cell_ovp": 3.6}, unnamed=False) == {}
    assert followed({"cell_ovp": 3.4}, unnamed=False) == {"cell_ovp_warning": 3.3}
    held = {"cell_ovp_warning": 3.7}  # it was wrong before: it keeps no distance
    assert followed({"cell_ovp": 3.6}, unnamed=False, held=held) == {"cell_ovp_warning": 3.5}


def test_only_optional_currents_are_capped() -> None:
    wanted = {"charge_ocp": 140.0}
    assert followed(wanted, "charge_ocp", caps={"charge_ocp": 90.0})["charge_ocp"] == 90.0
    assert "charge_ocp" not in followed(wanted, caps={"charge_ocp": 90.0})


def test_every_follower_has_a_rule_that_it_keeps() -> None:
    ruled = {frozenset(rule.keys) for rule in RULES}
    for each in FOLLOWERS:
        assert {each.key, each.leader} <= CATALOGUE.keys() | {
            "jk_request_charge_voltage",
            "jk_power_off_voltage",
        }
        if (
            not each.key.startswith("soc")
            and not each.cells
            and (each.warning or each.key.endswith("_release"))
        ):
            timed = {"cell_delta_release", "temperature_delta_release"}
            assert each.key in timed or frozenset((each.key, each.leader)) in ruled, each


@given(
    ovp=st.floats(2.6, 4.3), uvp=st.floats(1.4, 2.5), warning=st.floats(2.5, 4.4),
    release=st.floats(2.0, 4.4), asked=st.floats(2.0, 4.4),
)  # fmt: skip
def test_what_follows_is_on_its_side(
    ovp: float, uvp: float, warning: float, release: float, asked: float
) -> None:
    wish = Wish(
        values={"cell_ovp": ovp, "cell_uvp": uvp, "cell_ovp_release": asked, "pack_ovp": 57.0},
        held={"cell_ovp": 3.65, "cell_ovp_warning": warning, "cell_ovp_release": release},
        optional=frozenset({"cell_ovp_release", "pack_ovp"}),
        cells=16,
    )
    found = {key: value for key, (value, _) in follow(wish).items()}
    assert found.get("cell_ovp_warning", warning) <= ovp or ovp == 3.65
    assert found.get("cell_ovp_release", asked) < ovp
    assert found.get("pack_ovp", 57.0) <= 16 * ovp


def test_warnings_that_would_pass_one_another_keep_the_least_distance_instead() -> None:
    held = {
        "charge_otp": 55.0, "charge_otp_warning": 40.0,
        "charge_utp": 0.0, "charge_utp_warning": 15.0, "charge_utp_release": 30.0,
    }  # fmt: skip
    limits = {"charge_otp": 40.0, "charge_utp": 12.0}
    assert followed(limits, held=held) == {"charge_otp_warning": 37.0, "charge_utp_warning": 15.0}
    # at 25 and 24 they do not pass one another
    near = {"charge_otp": 40.0, "charge_utp": 9.0}
    assert followed(near, held=held) == {"charge_otp_warning": 25.0, "charge_utp_warning": 24.0}
    # what is named stays, whatever the other one does
    named = {**limits, "charge_utp_warning": 30.0}
    assert followed(named, held=held) == {"charge_otp_warning": 37.0}


def test_floating_stays_below_what_is_asked_for_while_charging() -> None:
    wanted = {"cell_ovp": 3.4, "cell_ovp_warning": 3.3}
    found = followed(wanted, held={"float_voltage": 3.45})
    assert (found["jk_request_charge_voltage"], found["float_voltage"]) == (3.35, 3.3)
    assert "float_voltage" not in followed(wanted)  # 0 V: there is none


def test_without_the_number_of_cells_nothing_of_the_pack_follows_them() -> None:
    wanted = {"cell_ovp": 3.4, "pack_ovp": 57.0}
    wish = Wish(values=wanted, held=HELD, optional=frozenset({"pack_ovp"}), cells=0)
    assert "pack_ovp" not in follow(wish)
    assert "pack_ovp" in follow(replace(wish, cells=16))
