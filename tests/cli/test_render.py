"""What the renderings say, without a terminal: every value once, nothing old as if it were live."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from drawn_readings import READINGS
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bmslink.cli.render import capture, decode, info, read, simulate
from bmslink.cli.render import text as t
from bmslink.decoding import FrameEvent, Skip
from bmslink.model import Capability, Condition, Identity, Reading

PACK = Reading(
    target="jbd+sim://?cells=16",
    protocol="jbd",
    time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    voltage=53.1,
    current=-12.34,
    soc=61.0,
    soh=99.0,
    remaining_capacity=61.2,
    full_capacity=100.1,
    nominal_capacity=104.0,
    cycles=12,
    cycle_capacity=1234.0,
    cell_voltages=tuple(round(3.300 + 0.001 * ((7 * i) % 16), 3) for i in range(16)),
    temperatures={"cell_1": 24.2, "cell_2": None, "mosfet": 30.1},
    balancing_active=True,
    balancing_cells=(3, 7),
    balance_current=0.1,
    charge_switch=True,
    discharge_switch=True,
    balance_switch=False,
    charging_allowed=True,
    discharging_allowed=False,
    heater=False,
    alarms=(Condition.CELL_DELTA,),
    protections=(Condition.CHARGE_OVERCURRENT,),
    faults=(Condition.TEMPERATURE_SENSE,),
    uptime=12345.0,
    raw={"current_sign": "reported"},
)
KINDS = pytest.mark.parametrize("g", [t.UNICODE, t.ASCII], ids=["unicode", "ascii"])


def printed(renderable: Any, width: int = 80) -> str:
    """What a terminal without colours shows."""
    file = io.StringIO()
    Console(file=file, width=width, highlight=False, markup=False).print(renderable)
    return file.getvalue()


# ------------------------------------------------------------------------------ small parts


@pytest.mark.parametrize(
    ("value", "digits", "unit", "expected"),
    [
        (1.005, 1, " V", "1.0 V"),
        (-0.04, 1, "", "0.0"),
        (0.0, 2, " A", "0.00 A"),
        (None, 2, " A", "—"),
    ],
)
def test_numbers(value, digits, unit, expected):
    assert t.number(value, digits, unit, t.UNICODE) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, "░░░░"), (0.5, "██░░"), (1.0, "████"), (7.0, "████"), (-1.0, "░░░░"), (0.375, "█▌░░")],
)
def test_bars(share, expected):
    assert t.bar(share, 4, t.UNICODE) == expected


def test_ascii_bars_have_no_parts():
    assert t.bar(0.5, 5, t.ASCII) == "##..."
    assert t.bar(1.0, 5, t.ASCII) == "#####"


@pytest.mark.parametrize(
    ("total", "expected"),
    [(5, "5 s"), (65, "1 min 5 s"), (3600, "1 h 0 min"), (90000, "1 d 1 h")],
)
def test_durations(total, expected):
    assert t.duration(total) == expected


def test_a_zero_volt_cell_counts_and_a_lost_one_does_not():
    cells = replace(PACK, cell_voltages=(3.3, 0.0, None, 3.4))
    assert t.extremes(cells) == (2, 4)
    assert "min 0.000 V (cell 2)" in read.cell_summary(cells, t.UNICODE)
    assert "delta 3400 mV" in read.cell_summary(cells, t.UNICODE)


# ------------------------------------------------------------------------------ read


@KINDS
def test_a_reading_shows_every_value_in_80_columns(g):
    out = printed(read.block(PACK, g))
    for word in (
        "jbd+sim://?cells=16",
        "53.10 V",
        "-12.34 A",
        "-655 W",
        "discharging",
        "61 %",
        "61.2 of 100.1 Ah (104.0 nominal)",
        "16   min 3.300 V (cell 1)   max 3.315 V (cell 10)   delta 15 mV",
        "cell_1 24.2",
        "mosfet 30.1",
        "cells 3, 7 at 0.10 A",
        "fault: temperature_sense",
        "protection: charge_overcurrent",
        "alarm: cell_delta",
        "health 99 %",
        "12 cycles",
        "1234 Ah",
        "up 3 h 25 min",
    ):
        assert word in out, out
    for value in PACK.cell_voltages:
        assert f"{value:.3f}" in out
    assert f"3.300{g.low}" in out
    assert f"3.315{g.high}" in out
    assert out.count(g.balance) == 2 + out.count("**")
    assert re.search(r"switches\s+charge on  discharge on  balance off  heater off", out)
    assert re.search(r"FETs\s+charge on  discharge off", out)
    assert max(map(len, out.splitlines())) <= 80
    assert "current_sign" not in out


def test_ascii_is_ascii():
    assert printed(read.block(PACK, t.ASCII)).isascii()
    assert read.line(PACK, t.ASCII).plain.isascii()


def test_an_unknown_value_is_a_dash_and_no_zero():
    out = printed(read.block(Reading(protocol="jbd"), t.UNICODE))
    assert not re.search(r"\d", out), out
    assert out.count("—") >= 4
    assert "cells" not in out
    assert "FETs" not in out


def test_a_balancer_that_does_not_say_which_cells_is_active():
    active = replace(PACK, balancing_cells=None, balance_current=None)
    assert t.balancing(active, t.UNICODE) == "active"
    off = replace(active, balancing_active=False)
    assert t.balancing(off, t.UNICODE) == "off"
    unknown = replace(active, balancing_active=None)
    assert t.balancing(unknown, t.UNICODE) == "—"


@KINDS
def test_a_line_stands_under_its_header(g):
    line = read.line(PACK, g).plain
    for name, value in (("voltage", "53.10 V"), ("current", "-12.34 A"), ("SOC", "61 %")):
        end = read.HEADER.index(name) + len(name)
        assert line[:end].endswith(value)
    assert "fault: temperature_sense" in line
    assert read.line(Reading(), g, "#1 ").plain.startswith("#1 ")


@pytest.mark.parametrize(
    ("left", "full", "nominal", "expected"),
    [
        (59.4, 99.0, 100.0, "59.4 of 99.0 Ah (100.0 nominal)"),
        (59.4, 99.0, None, "59.4 of 99.0 Ah"),
        (59.4, None, 100.0, "59.4 of 100.0 Ah (nominal)"),
        (59.4, None, None, "59.4 Ah left"),
        (None, 99.0, None, "of 99.0 Ah"),
        (None, 99.0, 100.0, "of 99.0 Ah (100.0 nominal)"),
        (None, None, 100.0, "of 100.0 Ah (nominal)"),
        (None, None, None, ""),
        (0.0, 0.0, None, "0.0 of 0.0 Ah"),
    ],
)
def test_a_capacity_says_which_one_it_is(left, full, nominal, expected):
    pack = replace(PACK, remaining_capacity=left, full_capacity=full, nominal_capacity=nominal)
    assert t.capacity(pack, t.UNICODE) == expected


# ------------------------------------------------------------------------------ the others


def test_an_identity_is_a_table_with_reasons():
    identity = Identity(
        vendor="JBD",
        model="SP16\x1b[31m",
        cell_count=16,
        protocol="jbd",
        capabilities={"read": Capability(True), "settings": Capability(False, "reads only")},
        map={"name": "jbd-1", "evidence": "capture"},
    )
    out = printed(info.table(identity, t.UNICODE))
    assert re.search(r"model\s+SP16\?\[31m", out)
    assert re.search(r"serial number\s+—", out)
    assert re.search(r"read\s+yes", out)
    assert re.search(r"settings\s+no: reads only", out)
    assert "jbd-1: capture" in out
    assert "\x1b" not in out


def test_frames_and_skips_are_one_line():
    event = FrameEvent(12, "jbd", "cells", "reading", {"a": [1, None], "b": {"c": "x\n"}}, "dd77")
    assert decode.frame(event).plain == "    12 < jbd cells (reading)  a=[1, -]  b={c=x }"
    assert decode.frame_object(event)["reading"] == {"a": [1, None], "b": {"c": "x\n"}}
    sent = replace(event, sent=True, role="ack", kind="ack")
    assert decode.frame(sent).plain.startswith("    12 > jbd ack  ")
    assert (
        decode.skip(Skip(3, 1, "noise", "ff")) == "offset 3 (received): 1 byte skipped, noise: ff"
    )
    long = decode.skip(Skip(0, 100, "checksum", "ab" * 100, True))
    assert "100 bytes skipped, checksum" in long
    assert "(sent)" in long
    assert len(long) < 100 + 50
    assert long.endswith("ab ...")
    assert decode.skip(Skip(0, 24, "noise", "ab" * 24)).endswith("ab" * 24)
    assert decode.skip(Skip(0, 22, "noise", "ab" * 20)).endswith("ab ...")


def test_progress_and_faults_and_ready():
    assert capture.progress(3, 40, 1, 0) == "3 pieces, 40 bytes, 1 readings"
    assert capture.progress(3, 40, 1, 2).endswith("2 errors")
    assert capture.summary("f.jsonl", 3, 40, 1, 0).plain.startswith("f.jsonl: 3 pieces")
    assert simulate.ready("jbd+tcp://h:1") == "ready jbd+tcp://h:1"
    assert "what it does" in printed(simulate.faults({"noise": "what it does"}))


@KINDS
def test_conditions_nobody_asked_for_are_unknown_and_not_none(g):
    cells = Reading(cell_voltages=(3.3, 3.4))
    assert t.conditions(cells, g).plain == g.none
    assert re.search(rf"conditions +{g.none} *\n", printed(read.block(cells, g)))
    assert t.conditions(replace(cells, voltage=6.7, soc=3.0), g).plain == g.none
    assert t.conditions(replace(cells, conditions_known=True), g).plain == "none"
    said = replace(cells, alarms=(Condition.CELL_DELTA,))
    assert t.conditions(said, g).plain == "alarm: cell_delta"


@settings(deadline=None, max_examples=60)
@given(
    reading=READINGS,
    g=st.sampled_from([t.UNICODE, t.ASCII]),
)
def test_any_reading_can_be_shown(reading, g):
    out = printed(read.block(reading, g)) + read.line(reading, g).plain
    assert "None" not in out.replace("'None'", "")
    assert not any(ord(c) < 32 and c != "\n" for c in out)
