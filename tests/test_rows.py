"""Readings to objects and rows, and back."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmslink import Condition, Reading
from bmslink.decoding import decode
from bmslink.errors import BmsError, UsageError
from support import FIXTURES


def recorded() -> list[Reading]:
    found = []
    for path in sorted(FIXTURES.glob("*/*.jsonl"))[::4]:
        try:
            found += decode(path)[:3]
        except BmsError:
            continue
    return found


RECORDED = recorded()


def test_recorded_readings_come_back() -> None:
    assert len(RECORDED) > 30
    for reading in RECORDED:
        line = json.loads(json.dumps(reading.to_dict()))
        back = Reading.from_dict(line | {"schema": 1, "later": [1]})
        assert back.to_dict() == reading.to_dict()
        assert back.conditions_known is reading.conditions_known
        assert back.time == reading.time


def test_every_field_comes_back() -> None:
    reading = Reading(
        target="van",
        protocol="jbd",
        time=datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC),
        voltage=13.25,
        current=-3.5,
        cycles=7,
        cell_voltages=(3.3, None, 0.0),
        cell_resistances=(0.05, None, 0.06),
        temperatures={"cell_1": 21.5, "mosfet": None},
        balancing_cells=(1, 3),
        balance_switch=False,
        alarms=(Condition.CELL_UNDERVOLTAGE,),
        conditions_known=True,
        raw={"word": 5},
    )
    assert Reading.from_dict(reading.to_dict()) == reading


def test_a_row_is_flat_and_a_table_holds_it() -> None:
    reading = Reading(
        protocol="jbd",
        voltage=6.6,
        current=2.0,
        cell_voltages=(3.3, None),
        temperatures={"mosfet": None, "cell_1": 20.0},
        balancing_cells=(1, 2),
        protections=(Condition.CELL_OVERVOLTAGE, Condition.CHARGE_OVERCURRENT),
        conditions_known=True,
        raw={"x": 1},
    )
    row = reading.to_row()
    assert row["power"] == 13.2
    assert (row["cell_voltage_1"], row["cell_voltage_2"]) == (3.3, None)
    assert (row["temperature_mosfet"], row["temperature_cell_1"]) == (None, 20.0)
    assert row["protections"] == "cell_overvoltage charge_overcurrent"
    assert (row["alarms"], row["balancing_cells"]) == ("", "1 2")
    assert "raw" not in row
    assert Reading().to_row()["alarms"] is None
    for each in RECORDED:
        flat = each.to_row()
        assert all(v is None or isinstance(v, str | float | int) for v in flat.values())
        out = io.StringIO()
        csv.DictWriter(out, flat).writerow(flat)


@pytest.mark.parametrize(
    "wrong",
    [
        {"voltage": "13"},
        {"voltage": math.nan},
        {"cell_voltages": [3.3, math.inf]},
        {"time": "2026-01-01T00:00:00"},
        {"time": 5},
        {"temperatures": []},
        {"balancing_active": 1},
        {"alarms": "cell_overvoltage"},
        {"alarms": {"a": 1}},
        {"cell_voltages": {"a": 1}},
        {"cycles": 1.5},
        None,
        [],
        "{}",
        5,
    ],
)
def test_what_is_no_reading(wrong: Any) -> None:
    with pytest.raises(UsageError, match="reading"):
        Reading.from_dict(wrong)


def test_conditions_of_a_later_version() -> None:
    told = Reading.from_dict({"alarms": ["flux_capacitor"], "protections": [], "faults": [None]})
    assert (told.alarms, told.protections) == ((Condition.OTHER,), ())
    assert told.faults == (Condition.OTHER,)
    assert told.conditions_known
    assert not Reading.from_dict({"alarms": None, "protections": [], "faults": []}).conditions_known


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(Reading().to_dict())), JSON, max_size=6))
def test_any_values(values: dict[str, Any]) -> None:
    try:
        found = Reading.from_dict(values)
    except UsageError:
        return
    json.dumps(found.to_dict(), allow_nan=False) if "raw" not in values else None
