"""Policies as programs use them: presets, rows of their own, readings of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from bmslink import Reading, control
from bmslink.errors import GateError, TargetError, UsageError
from bmslink.testing import SimulatedPack

OWN = control.Policy(
    name="night_reserve",
    title="a reserve is kept for the night",
    quantity="soc",
    over=False,
    trip=40.0,
    release=45.0,
    severity=control.Severity.TRIP,
    acts=(control.Action.DISCHARGE,),
)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def readings(pack: SimulatedPack, count: int) -> list[Reading]:
    return [replace(pack.truth(), time=BEGIN + timedelta(seconds=n)) for n in range(count)]


def test_a_row_of_ones_own_decides() -> None:
    shipped = control.preset_policies("lfp", "solar", cells=4, capacity=100)
    policies = shipped.adding(OWN)
    assert "night_reserve" not in shipped.policies
    low, high = (readings(SimulatedPack("jbd", cells=4, soc=soc), 12) for soc in (30, 80))
    judged = list(control.judge(low, policies))
    assert [each.reading for each in judged] == low
    events = [event for each in judged for event in each.decision.events]
    assert "night_reserve" in {event.policy for event in events if event.what == "trip"}
    assert not judged[-1].decision.discharge.allowed
    assert list(control.judge(high, policies))[-1].decision.discharge.allowed


def test_a_log_goes_back_into_the_engine() -> None:
    """The lines of `read --json` decide what the readings themselves decided."""
    policies = control.preset_policies("lfp", "ups", cells=4, capacity=100).adding(OWN)
    live = readings(SimulatedPack("jbd", cells=4, soc=30), 12)
    lines = [json.dumps({"schema": 1, **reading.to_dict()}) for reading in live]
    logged = [Reading.from_dict(json.loads(line)) for line in lines]
    before, after = control.judge(live, policies), control.judge(logged, policies)
    assert [e.decision.to_dict() for e in before] == [e.decision.to_dict() for e in after]


def test_a_row_is_changed_and_the_set_it_came_from_is_not() -> None:
    shipped = control.preset_policies("lfp", "van", cells=4, capacity=200)
    changed = shipped.changing("soc_floor", trip=25.0, release=30.0, mode=control.Mode.OFF)
    assert (changed.policy("soc_floor").trip, changed.policy("soc_floor").mode) == (25.0, "off")
    assert shipped.policy("soc_floor").trip != 25.0
    assert changed.battery == shipped.battery
    assert changed.battery.cells == 4


def test_what_cannot_be_meant() -> None:
    shipped = control.preset_policies("lfp")
    with pytest.raises(TargetError, match="no chemistry 'lead'"):
        control.preset_policies("lead")
    with pytest.raises(TargetError, match="use"):
        control.preset_policies("lfp", "submarine")
    with pytest.raises(TargetError):
        control.preset_policies("lfp", cells="16")
    with pytest.raises(TargetError, match="already"):
        shipped.adding(OWN, OWN)
    with pytest.raises(TargetError, match="not str"):
        shipped.adding("night_reserve")
    with pytest.raises(TargetError, match="no policy 'soc_flor'"):
        shipped.changing("soc_flor", trip=1.0)
    for wrong in ("trp", "name"):
        with pytest.raises(TargetError, match=f"no field {wrong}"):
            shipped.changing("soc_floor", **{wrong: 1.0})
    row = replace_quantity("nose")
    with pytest.raises(TargetError, match="no quantity nose"):
        control.Engine(shipped.adding(row))
    with pytest.raises(UsageError, match="no time"):
        list(control.judge([Reading()], shipped))


def replace_quantity(quantity: str) -> control.Policy:
    return control.Policy(
        name="own", title="own", quantity=quantity, severity=control.Severity.WARN, trip=1.0
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"release": 35.0}, r"release \(35\) must be above trip \(40\)"),
        ({"trip": float("nan")}, "trip must be a finite number"),
        ({"on_delay": float("inf")}, "on_delay must be a finite number"),
        ({"samples": 0}, "samples must be 1 to 100, not 0"),
        ({"factor": 2.0}, "factor must be 0 to 1, not 2"),
        ({"severity": "trip"}, "severity"),
        ({"acts": 3}, "acts"),
        ({"name": "Night reserve"}, "name must be in snake case"),
    ],
)
def test_a_row_that_would_never_or_always_trip_is_refused(
    fields: dict[str, Any], sentence: str
) -> None:
    row = msgspec.structs.replace(OWN, **fields)
    policies = control.preset_policies("lfp", "ups", cells=4, capacity=100).adding(row)
    with pytest.raises(TargetError, match=sentence):
        control.Engine(policies)


def test_a_line_of_a_pack_that_did_not_answer_is_no_reading() -> None:
    with pytest.raises(UsageError, match="why there is none"):
        Reading.from_dict({"schema": 1, "target": "van", "error": "No answer."})


def test_files_of_policies_are_asked_for_by_a_path() -> None:
    for wrong in (None, "policies.toml", 3):
        with pytest.raises(TargetError, match=r"load_policies\(\): path must be"):
            control.load_policies(wrong)


SHIPPED = control.preset_policies("lfp", "ups", cells=4, capacity=100)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda e: e.step(None, 1.0), r"step\(\): reading must be a Reading, not NoneType"),
        (lambda e: e.step({}, 1.0), r"step\(\): reading must be a Reading, not dict"),
        (lambda e: e.step(Reading(), float("nan")), r"step\(\): now must be seconds of a clock"),
        (lambda e: e.step(Reading(), 10**400), r"step\(\): now must be seconds of a clock"),
        (lambda e: e.step(Reading(), True), r"step\(\): now must be seconds, not bool"),
        (lambda e: e.tick("5"), r"tick\(\): now must be seconds, not str"),
        (lambda e: e.tick(float("inf")), r"tick\(\): now must be seconds of a clock"),
        (lambda e: e.load(e.save(), float("nan")), r"load\(\): now must be"),
        (lambda e: e.retime(0), r"retime\(\): poll must be 0\.01 to 86400 s, not 0"),
        (lambda e: control.Engine(SHIPPED, poll=float("nan")), "poll must be 0.01 to 86400 s"),
        (lambda e: control.Engine(SHIPPED, poll="1"), "poll must be seconds, not str"),
        (lambda e: control.Engine(SHIPPED, acting=("act",)), "some of off, shadow, enforce"),
        (lambda e: control.Engine(SHIPPED, acting="enforce"), "acting must be a list of modes"),
        (lambda e: control.Engine(SHIPPED, 5), "settings must be a mapping"),
        (lambda e: control.Engine(SHIPPED, sink="no"), "sink must be True or False"),
        (lambda e: control.judge(None, SHIPPED), r"judge\(\): readings must be readings"),
        (
            lambda e: next(control.judge([5], SHIPPED)),
            r"judge\(\): reading must be a Reading, not int",
        ),
    ],
)
def test_wrong_arguments_of_an_engine_are_told(call: Any, sentence: str) -> None:
    """A moment that is nan was taken, and everything waited for ever after it."""
    engine = control.Engine(SHIPPED)
    before = engine.save()
    with pytest.raises(UsageError, match=sentence):
        call(engine)
    assert engine.save() == before


def test_rows_of_ones_own_are_checked_with_the_others() -> None:
    from bmslink.control.check import check_policies

    usual = check_policies(SHIPPED)
    assert check_policies(SHIPPED.adding(OWN)) == usual
    off = msgspec.structs.replace(OWN, mode=control.Mode.OFF)
    assert check_policies(SHIPPED.adding(off)) == usual
    for wrong in (None, msgspec.structs.replace(SHIPPED, thresholds={})):
        with pytest.raises(TargetError):
            check_policies(wrong)


@pytest.mark.parametrize(
    ("battery", "thresholds", "sentence"),
    [
        ({"cells": 0}, {}, "cells must be 1 to 48, not 0"),
        ({"capacity": float("nan")}, {}, "capacity must be 0.1 to 100000, not nan"),
        ({"fuse": "250 A"}, {}, "fuse"),
        ({}, {"ov_trip": float("nan")}, "ov_trip must be a number from 0.1 to 6"),
        ({}, {"charge_ot_trip": "45 °C"}, "charge_ot_trip must be a number from -60 to 150"),
    ],
)
def test_a_set_made_in_python_has_the_ranges_of_a_file(
    battery: dict[str, Any], thresholds: dict[str, Any], sentence: str
) -> None:
    policies = msgspec.structs.replace(
        SHIPPED,
        battery=msgspec.structs.replace(SHIPPED.battery, **battery),
        thresholds={**SHIPPED.thresholds, **thresholds},
    )
    with pytest.raises(TargetError, match=sentence):
        control.Engine(policies)


def test_a_level_is_reset_by_both_of_its_names() -> None:
    pack = SimulatedPack("jbd", cells=4, soc=50)
    high = replace(pack.truth(), cell_voltages=(3.3, 3.8, 3.3, 3.3))
    for name in ("cell_overvoltage_critical", "cell_overvoltage.critical"):
        engine = control.Engine(SHIPPED, acting=("shadow",))
        for second in range(5):
            engine.step(replace(high, uptime=float(second)), float(second))
        with pytest.raises(GateError, match="while its cause lasts"):
            engine.reset(name)
        for second in range(5, 10):
            engine.step(replace(pack.truth(), uptime=float(second)), float(second))
        engine.reset(name)
        with pytest.raises(GateError, match="is not latched"):
            engine.reset(name)
