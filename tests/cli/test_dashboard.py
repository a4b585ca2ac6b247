"""The dashboard without a terminal: what stands on the screen, and what keys do."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from dashboard_support import (
    CLOCK,
    NOW,
    READING,
    SIZES,
    bank,
    press,
    screen,
    snapshot,
    snapshot_file,
    tripped,
    watched,
)
from drawn_readings import READINGS
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.text import Text

import bmslink.cli.dashboard
from bmslink.cli.dashboard.desk import TABS, Desk, Dialog, KeyWish, LineInput
from bmslink.cli.dashboard.drawing import draw
from bmslink.cli.dashboard.keys import Keyboard
from bmslink.cli.dashboard.model.bank import sums_of
from bmslink.cli.dashboard.model.bounds import CellBound, nearest
from bmslink.cli.dashboard.model.memory import SeenHistory
from bmslink.cli.dashboard.model.pack import WatchedPack
from bmslink.cli.dashboard.model.wires import outliers
from bmslink.cli.dashboard.model.words import meaning, short
from bmslink.cli.dashboard.pages.cells import bars
from bmslink.cli.dashboard.pages.chart import chart
from bmslink.cli.dashboard.pages.fit import meta_at
from bmslink.cli.dashboard.watching.recording import Recorded
from bmslink.cli.render import text as t
from bmslink.events import EventSeverity
from bmslink.link.transport import parse_target
from bmslink.model import Condition, Identity, Reading

KINDS = pytest.mark.parametrize("g", [t.UNICODE, t.ASCII], ids=["unicode", "ascii"])


def zoomed(pack: WatchedPack, tab: str = "live") -> Desk:
    desk = Desk([pack])
    desk.tab = tab
    return desk


# ------------------------------------------------------------------------------------ the list


def test_the_pack_in_trouble_is_the_first_line_and_what_has_no_room_is_said():
    lines = screen(Desk(bank()))
    first = next(n for n, line in enumerate(lines) if "what is wrong" in line) + 1
    assert lines[first].startswith(">!!bank-12")
    for word in ("61 %", "-12.3", "343", "0.4s", "CELL OVER-VOLTAGE"):
        assert word in lines[first]
    told = " ".join(" ".join(lines[first : first + 2]).split())
    assert "alarm cell delta, charge FET open" in told
    assert [line[1:10].strip() for line in lines[first + 2 : first + 5]] == [
        "??bank-11", "! bank-10", "o bank-09",
    ]  # fmt: skip
    assert "12 packs, 11 live" in lines[0]
    assert lines[1].startswith("worst: !! bank-12 CELL OVER-VOLTAGE")
    desk = Desk(bank())
    assert any("more below: nothing is wrong with them" in line for line in screen(desk, 80, 12))
    press(desk, "s")
    told = next(line for line in screen(desk, 80, 12) if "more below" in line)
    assert re.search(r"\d more below: !! bank-12 CELL OVER-VOLTAGE, and 3 with trouble", told)


@pytest.mark.slow
def test_however_small_the_screen_the_worst_is_on_it():
    for count in (10, 30):
        packs = bank(count)
        for height in range(6, 40):
            lines = screen(Desk(packs), 80, height)
            assert any(f">!!bank-{count}" in line for line in lines), (height, count)


def test_down_reaches_every_pack_and_says_what_is_above():
    desk = Desk(bank(30))
    seen = set()
    for _ in range(30):
        (line,) = [each for each in screen(desk, 80, 14) if each.startswith(">")]
        seen.add(line[3:10])
        press(desk, "down")
    assert len(seen) == 30
    assert any("more above: !! bank-30 CELL OVER" in line for line in screen(desk, 80, 14))
    press(desk, "home")
    assert screen(desk, 80, 14)[4].startswith(">!!bank-30")


def test_sorting_and_finding():
    desk = Desk(bank())
    press(desk, "s")
    assert desk.sort == "as given"
    assert [pack.name for pack in desk.listed(NOW)][:2] == ["bank-01", "bank-02"]
    press(desk, "/", *"volt")
    assert [pack.name for pack in desk.listed(NOW)] == ["bank-12"]
    assert "only packs with: volt (1 of 12)" in "\n".join(screen(desk))
    press(desk, "enter", "escape")
    assert len(desk.listed(NOW)) == 12
    press(desk, "/", *"zzz", "enter")
    assert desk.current(NOW) is None
    for key in ("enter", "x", "down", "a"):
        assert press(desk, key) is None


def test_the_bank_sums_only_what_is_live_and_says_how_long_it_lasts():
    packs = [watched("a"), watched("b")]
    sums = sums_of(packs, NOW)
    assert sums.current == pytest.approx(-24.68)
    assert sums.power == pytest.approx(2 * READING.power)
    assert sums.soc == (61.0, 61.0)
    assert sums.seconds == pytest.approx(61.2 / 11.9 * 3600, rel=0.05)
    packs[1].fail("No answer.", NOW, CLOCK, lost=True)
    sums = sums_of(packs, NOW)
    assert (sums.live, sums.current, sums.seconds) == (1, pytest.approx(-12.34), None)
    assert sums_of([], NOW).worst is None


# ------------------------------------------------------------------------------------ one pack


def test_the_zoom_tells_what_why_and_since_when():
    desk = Desk(bank())
    press(desk, "enter")
    text = "\n".join(screen(desk, 80, 40))
    assert "!! bank-12  SP16S  2.1" in text
    words = " ".join(text.split())
    assert "!! protection: cell over-voltage since 12:29:00 (1 min 15 s): a cell is above" in words
    assert "! alarm: cell delta" in text
    for word in ("cell 5", "min 3.318 V", "max 3.661 V", "0.100 (cell 1) to 0.250 ohm (cell 16)",
                 "cells 3, 7 at 0.10 A", "charge off", "cell_1 24.2 °C", "99 %"):  # fmt: skip
        assert word in text, word
    press(desk, "escape")
    assert desk.zoomed is None


def test_what_was_there_when_the_monitor_began_may_be_older():
    pack = WatchedPack("new", "sim://")
    pack.take(tripped(), NOW, CLOCK)
    assert "since before 12:30:15" in "\n".join(screen(zoomed(pack)))


@KINDS
@pytest.mark.parametrize("cells", [1, 4, 16, 24, 32, 48])
def test_every_cell_has_its_place(g, cells):
    values = tuple(3.0 + 0.001 * n for n in range(1, cells + 1))
    pack = watched("many", replace(READING, cell_voltages=values, balancing_cells=(cells,)))
    for width, height in ((80, 24), (132, 40)):
        desk, text = zoomed(pack), ""
        for _ in range(3):  # 48 cells need a second page at 80x24
            text += "\n".join(screen(desk, width, height, g))
            press(desk, "pagedown")
        for n, value in enumerate(values, 1):
            assert re.search(rf"(?<!\d){n} {value:.3f}", text), text
        assert g.balance in text


def test_two_millivolts_look_like_two_millivolts():
    """The scale does not grow to fill the screen, and a bar is as long as what it means."""

    def blocks(apart: float, width: int = 60) -> float:
        cells = (3.3, 3.3, 3.3, 3.3 + apart)
        lines = [line.plain for line in bars(Reading(cell_voltages=cells), [], width, 9, t.UNICODE)]
        last = next(line for line in lines if line.startswith(" 4"))[17:]
        parts = t.UNICODE.parts
        return last.count("█") + sum(parts.index(c) + 1 for c in last if c in parts) / 8

    half = (60 - 17) / 2
    assert blocks(0.002) < 0.06 * half  # 1.5 mV from the mean, of 50
    assert blocks(0.02) == pytest.approx(0.015 / 0.05 * half, abs=0.2)
    assert blocks(0.04) == pytest.approx(0.03 / 0.05 * half, abs=0.2)
    scaled = [line.plain for line in bars(tripped(), [], 80, 9, t.UNICODE)]
    assert scaled[0].startswith("bars: 500 mV to either side of the mean 3.3409 V")


def test_limits_are_drawn_where_they_are_and_a_cell_beyond_one_is_marked():
    bounds = [CellBound("H", "over-voltage protection", 3.35, True)]
    lines = [line.plain for line in bars(READING, bounds, 80, 20, t.UNICODE)]
    assert "H 3.350" in lines[0]
    column = {line.index("H") for line in lines[1:]}
    assert len(column) == 1
    beyond = [line.plain for line in bars(tripped(), bounds, 80, 20, t.ASCII)]
    assert next(line for line in beyond if line.startswith(" 5"))[:19].count("!") == 1
    assert sum("!" in line for line in beyond) == 1
    _, far = nearest(bounds, READING.cell_voltages)
    assert far == pytest.approx(0.029)


@KINDS
def test_each_wire_is_beside_the_bar_of_its_cell_and_one_that_stands_out_is_marked(g):
    cells = tuple(3.3 + 0.001 * n for n in range(24))
    wires = tuple(None if n == 3 else 0.9 if n == 6 else 0.1 + 0.001 * n for n in range(24))
    reading = replace(READING, cell_voltages=cells, cell_resistances=wires)
    text = "\n".join(screen(zoomed(watched("w", reading)), 80, 24, g))
    for n, ohm in enumerate(wires, 1):
        rest = re.search(rf"(?<!\d){n} {cells[n - 1]:.3f}(.{{31}})", text)
        assert rest is not None, text
        found = re.search(r"(\d\.\d{3})(.?)", rest[1][10:])
        assert (found and found[1]) == (None if ohm is None else f"{ohm:.3f}")
        assert found is None or (found[2] == "!") is (n == 7)
    text = "\n".join(screen(zoomed(watched("w", reading)), 80, 40, g))
    assert "0.100 (cell 1) to 0.900 ohm (cell 7)" in text
    assert "! cell 7 far above the others" in text
    calm = replace(reading, cell_resistances=tuple(0.05 + 0.004 * n for n in range(24)))
    assert not outliers(calm), "wires of different lengths"
    assert outliers(replace(calm, raw={"wire_resistance_cells": [2, 99, "x"]})) == {2}
    for wild in (float("nan"), float("inf"), -7.0, 65.535, 1e9):
        for width in (30, 80):
            screen(zoomed(watched("w", replace(reading, cell_resistances=(wild,) * 24))), width)


@pytest.mark.parametrize(
    ("age", "error", "over", "words"),
    [
        (0.4, None, False, ["live, 0.4 s"]),
        (4.9, None, False, ["live, 4.9 s"]),
        (5.1, None, False, ["STALE, last value 5.1 s ago"]),
        (125, None, False, ["STALE, last value 2 min 5 s ago"]),
        (0.4, "No answer.", False, ["STALE, last value 0.4 s ago", "No answer."]),
        (0.4, None, True, ["ENDED, last value 0.4 s ago"]),
    ],
)
def test_an_old_value_is_never_shown_as_live(age, error, over, words):
    pack = watched("old", at=NOW - age)
    if error is not None:
        pack.fail(error, NOW, CLOCK, lost=False)
    pack.over = over
    desk = zoomed(pack)
    lines = draw(desk, 80, 24, NOW, CLOCK, t.UNICODE)
    text = "\n".join(line.plain for line in lines)
    for word in words:
        assert word in text
    old = "live" not in words[0]
    assert ("live," in text) is not old
    assert ("last known 53.10 V" in text) is old
    soc = next(line for line in lines if line.plain.startswith("SOC"))
    colours = {str(span.style) for span in soc.spans} | {str(soc.style)}
    assert any("green" in c for c in colours) is not old
    row = next(line for line in screen(Desk([pack, watched("b")])) if "old" in line[:12])
    assert any(word in row for word in ("LATE", "NO ANSWER", "ENDED")) is old


def test_a_held_screen_is_still_looks_old_and_says_what_gets_worse():
    packs = bank(3)
    desk = Desk(packs)
    press(desk, "p")
    packs[1].take(tripped(), NOW, CLOCK)
    text = "\n".join(screen(desk))
    assert "HELD for 0 s" in text
    assert "meanwhile worse: bank-02 CELL OVER-VOLTAGE" in text
    assert not any(line.startswith(" !!bank-02") for line in text.splitlines())
    press(desk, "enter")
    assert "HELD, " in screen(desk)[0] and "live," not in screen(desk)[0]
    press(desk, "escape", "p")
    assert any("!!bank-02" in line[:12] for line in screen(desk))


def test_another_board_is_said_until_it_is_accepted_and_nothing_is_switched_on_it():
    pack = watched("swap")
    desk = Desk([pack, watched("b")])
    pack.meet(Identity(vendor="JBD", model="SP04S"), "model SP04S, not SP16S", CLOCK)
    assert pack.reading is None and len(pack.history) == 0
    pack.take(replace(READING, cell_voltages=(3.3,) * 4), NOW, CLOCK)
    assert "OTHER BOARD" in next(line for line in screen(desk) if line.startswith(">??swap"))
    press(desk, "enter")
    assert "another board answers since" in "\n".join(screen(desk))
    assert press(desk, "x") is None
    assert desk.question is None
    assert press(desk, "a") == KeyWish("accept", pack)
    pack.accept(CLOCK)
    assert "another board" not in "\n".join(screen(desk))
    press(desk, "x")
    assert desk.question is not None


def test_a_new_name_and_a_name_that_means_another_place_are_said():
    pack = watched("van")
    pack.call("shed", "", CLOCK)
    assert "shed" in screen(zoomed(pack))[0]
    pack.call("shed", "bmslink.toml gives the name to another place now.", CLOCK)
    assert "another place now" in "\n".join(screen(Desk([pack, watched("b")])))
    assert "called van" in "\n".join(screen(zoomed(pack, "events")))


# ------------------------------------------------------------------------------------ the tabs


def test_tabs_by_number_tab_and_click():
    desk = Desk(bank())
    press(desk, "enter")
    for n, name in enumerate(TABS, 1):
        press(desk, str(n))
        assert desk.tab == name
        assert f"{n}[{name}]" in screen(desk)[1]
    press(desk, "tab")
    assert desk.tab == "live"
    press(desk, "shift+tab")
    assert desk.tab == "link"
    tabs = draw(desk, 80, 24, NOW, CLOCK, t.UNICODE)[1]
    meta = meta_at(tabs, tabs.plain.index("events"))
    Keyboard(desk).click(meta, NOW)
    assert desk.tab == "events"


def test_a_click_chooses_a_pack_and_a_second_one_zooms():
    desk = Desk(bank())
    lines = draw(desk, 80, 24, NOW, CLOCK, t.UNICODE)
    line = next(line for line in lines if "bank-03" in line.plain)
    for zoomed_now in (False, True):
        Keyboard(desk).click(meta_at(line, 6), NOW)
        assert desk.chosen is desk.packs[2]
        assert (desk.zoomed is desk.packs[2]) is zoomed_now


def test_events_tell_what_began_and_what_is_over():
    pack = watched("ev", tripped())
    pack.take(READING, NOW, CLOCK)
    pack.fail("No answer.", NOW, CLOCK, lost=True)
    pack.fail("No answer.", NOW, CLOCK, lost=True)
    pack.take(replace(READING, charge_switch=False), NOW, CLOCK)
    text = "\n".join(screen(zoomed(pack, "events"), 80, 30))
    for words in ("protection: cell over-voltage", "protection over: cell over-voltage after 1 min",
                  "The charge FET is open", "The charge FET conducts", "It answers again",
                  "charge was switched off"):  # fmt: skip
        assert words in text, words
    assert text.count("No answer.") == 1
    assert max(event.severity for event in pack.events if event.what == "condition")


def test_over_time_is_drawn_and_the_span_changes():
    desk = zoomed(watched("time"), "over time")
    text = "\n".join(screen(desk, 80, 30))
    assert "the last 5 min" in text
    assert re.search("[\u2801-\u28ff]", text)
    assert "*" in "\n".join(screen(desk, 80, 30, t.ASCII))
    press(desk, "]")
    assert "the last 1 h 0 min" in "\n".join(screen(desk, 80, 30))
    assert [line.plain for line in chart([], 80, 5, (0, 1), t.UNICODE, least=1, digits=1)] == [
        "nothing was seen yet"
    ]


def test_the_link_shows_counters_and_bytes_on_demand():
    pack = watched("wire")
    pack.link = {"requests": 9, "answers": 8, "timeouts": 1, "turnaround": 0.05}
    desk = zoomed(pack, "link")
    assert "9 asked, 8 answered, 1 without an answer" in "\n".join(screen(desk))
    assert press(desk, "b") == KeyWish("raw", pack)
    desk.more(pack).raw = [("12:00:00.123", "rx", "dd03")]
    assert "12:00:00.123 rx dd 03" in "\n".join(screen(desk))


# ------------------------------------------------------------------------------------ switching


@pytest.mark.parametrize("width", [80, 132])
def test_a_question_is_asked_with_its_answers_however_long_its_names_are(width):
    pack = watched("a-name-that-somebody-thought-of-for-long")
    desk = Desk([pack])
    press(desk, "x")
    assert screen(desk, width)[-1].rstrip().endswith("c charge  d discharge  a both  Esc no")
    press(desk, "escape")
    place = "usb-FTDI_FT232R_USB_UART_A10KXYZ-if00-port0"
    desk.dialog = Dialog("", question=f"Write 1 setting to van (/dev/serial/by-id/{place})?")
    last = screen(desk, width)[-1].rstrip()
    assert last.startswith("Write 1 setting to van (") and last.endswith(")?  y yes  n no")
    desk.dialog = None
    desk.typing = LineInput("jbd_hardware_cell_ovp, now 3.65 V: new value in V" * 3, print, "3.61")
    assert screen(desk, width)[-2].rstrip().endswith("3.61_")
    desk.typing.text = "x" * 200 + "end"
    assert screen(desk, width)[-2].endswith("xend_")


def test_e_without_a_chosen_setting_says_what_to_do():
    desk = zoomed(watched("van"), "settings")
    desk.setting_keys = ["cell_ovp"]
    assert Keyboard(desk).press("e", NOW) is None
    assert "arrows" in desk.message


def test_nothing_of_a_heading_or_a_target_is_lost_at_80_columns():
    desk = zoomed(watched("van"), "over time")
    desk.more(desk.zoomed).stored_from = "From the service's history, and what this monitor saw."
    text = " ".join(" ".join(screen(desk)).split())
    assert "and what this monitor saw." in text
    place = "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A10KXYZ-if00-port0"
    pack = WatchedPack("van", f"jbd+serial://{place}?address=12")
    assert f"{place}?address=12" in "".join("".join(screen(zoomed(pack, "link"))).split())


def test_off_is_two_keys_away_from_everywhere():
    desk = Desk(bank())
    pack = desk.current(NOW)
    press(desk, "x")
    assert "Switch off on bank-12, at once?" in screen(desk)[-1]
    assert press(desk, "c") == KeyWish("off", pack, ("charge",))
    press(desk, "enter", "x")
    assert press(desk, "d") == KeyWish("off", pack, ("discharge",))
    press(desk, "3", "x")
    assert press(desk, "a") == KeyWish("off", pack, ("charge", "discharge"))
    press(desk, "x")
    assert press(desk, "q") is None, "any other key is a no, and ends nothing"
    assert desk.message == "Nothing was switched."
    assert press(desk, "q") == KeyWish("quit")


def test_the_interval_and_what_waits_for_an_answer():
    desk = Desk(bank())
    assert press(desk, "+") == KeyWish("interval", value=0.5)
    assert press(desk, "-") == KeyWish("interval", value=1.0)
    said: list[bool] = []
    desk.dialog = Dialog("plan", question="Write?", done=said.append)
    press(desk, "down", "y")
    assert said == [True]
    desk.dialog = Dialog("writing", busy="writing 1 of 2")
    press(desk, "q", "escape", "x")
    assert desk.dialog is not None
    assert press(desk, "ctrl+c") == KeyWish("interrupt")


# ------------------------------------------------------------------------------------ any size


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_snapshots(size):
    """The list and the zoom, as text: look at what changed. `python tests/cli/dashboard_support.py`
    writes them."""
    assert snapshot(size) == snapshot_file(size).read_text()


@settings(deadline=None, max_examples=40)
@given(
    reading=READINGS,
    size=st.tuples(st.integers(1, 130), st.integers(1, 50)),
    tab=st.sampled_from([*TABS, ""]),
    g=st.sampled_from([t.UNICODE, t.ASCII]),
)
def test_any_reading_fits_any_screen(reading, size, tab, g):
    pack = WatchedPack("e\x1b\x9b2J\u202e", "sim://\x1b")
    for age in (2, 1):
        pack.take(reading, NOW - age, CLOCK - timedelta(seconds=age))
    desk = Desk([pack, watched("b")])
    if tab:
        desk.zoomed, desk.tab = pack, tab
    text = "\n".join(screen(desk, *size, g))
    assert not any((ord(c) < 32 and c != "\n") or c in "\x9b\u202e" for c in text)


def test_help_names_every_key():
    desk = Desk(bank())
    press(desk, "?")
    text = "\n".join(screen(desk, 100, 60))
    for key in ("Enter", "Esc", "x", "/", "s ", "p ", "+ -", "Tab", "q "):
        assert key in text
    press(desk, "escape")
    assert not desk.helping


# ------------------------------------------------------------------------------------ memory


def test_the_history_is_bounded_keeps_the_whole_time_and_no_peak_is_averaged_away():
    seen = SeenHistory(64)
    for n in range(10_000):
        current = -90.0 if n == 3000 else 1.0
        seen.add(float(n), replace(READING, current=current))
    assert len(seen) < 64
    points = seen.series("current")
    assert points[0][0] < 400 and points[-1][0] > 9_500
    assert min(value for _, value in points) == -90.0
    seen.gap(10_000.0)
    seen.add(10_001.0, replace(READING, cell_voltages=(3.3,) * 4))
    assert seen.names.count("cell_5") == 0
    assert seen.series("nothing") == []
    assert len(seen.spread()) == len(seen)


def test_every_condition_has_plain_words():
    for condition in Condition:
        assert meaning(condition) and short(condition)
    assert meaning("of a later version") == ""


def test_only_the_application_knows_textual():
    folder = Path(bmslink.cli.dashboard.__file__).parent
    users = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "textual" for name in names):
                users.add(path.name)
    assert users == {"app.py", "canvas.py", "driver.py"}


def test_severities_are_those_of_events():
    pack = watched("sev", replace(READING, faults=(Condition.AFE,)))
    assert pack.events[-1].severity is EventSeverity.CRITICAL


@pytest.mark.parametrize(
    "name", ["電池バンク一号", "😀😀 van", "電池" * 20, "e\u0301clair" * 3, "a" * 40]
)
def test_a_name_of_wide_signs_keeps_the_columns(name):
    packs = [watched(name), watched("ordinary"), watched("none", Reading())]
    for width in (60, 80, 132):
        lines = [Text(line) for line in screen(Desk(packs), width)]
        head = next(line for line in lines if "what is" in line.plain)
        column = Text(head.plain[: head.plain.index("SOC") + 3]).cell_len
        for line in lines[lines.index(head) + 1 :][:2]:
            before = line.plain[: line.plain.index(" %") + 2]
            assert Text(before).cell_len == column, [each.plain for each in lines]
    desk = Desk(packs)
    press(desk, "/", *name)
    assert any(name[-3:] + "_" in line for line in screen(desk, 50))


def test_a_board_without_cell_voltages_says_so():
    text = "\n".join(screen(zoomed(watched("n", Reading(soc=50.0)))))
    assert "the board gives no cell voltages" in text


@pytest.mark.parametrize("tab", TABS)
def test_the_clock_and_the_way_out_are_whole_on_the_line_of_keys(tab):
    pack = watched("r")
    pack.recording = (3.0, 60.0, 1.0)
    for several in ([pack], [pack, watched("b")]):
        desk = Desk(several)
        desk.zoomed, desk.tab = pack, tab
        for width in (40, 60, 80, 100):
            last = screen(desk, width)[-1]
            assert last.endswith(" 12:30:15") and "q quits" in last


def test_nothing_is_switched_on_a_recording_and_what_is_held_reads_well():
    pack = WatchedPack("r", "jbd+replay:///r.jsonl")
    pack.take(READING, NOW, CLOCK)
    desk = Desk([pack])
    assert press(desk, "x") is None and desk.question is None
    assert "Nothing was switched: this is a recording." in "\n".join(screen(desk))
    pack.over = True
    press(desk, "p")
    assert "HELD, ENDED, last value 0.0 s ago" in screen(desk, 100)[0]


def test_a_recording_is_never_turned_beyond_its_end():
    turned = Recorded(parse_target("replay:///r.jsonl?from=5"))
    turned.turn(by=60.0)
    assert turned.endpoint().number("from", 0.0) == 65.0, "how long it is, is not known yet"
    turned._length = 0.0
    turned.turn(by=60.0)
    assert turned.endpoint().number("from", 1.0) == 0.0


def test_what_is_off_is_on_the_first_page_however_many_cells_there_are():
    cells = tuple(3.3 + 0.001 * n for n in range(32))
    reading = replace(tripped(), cell_voltages=cells, cell_resistances=(0.05,) * 32)
    text = "\n".join(screen(zoomed(watched("many", reading))))
    assert "o charge FET open" in text
    assert "o charge FET" not in "\n".join(screen(zoomed(watched("many", reading)), 132, 50))


def test_a_key_of_another_page_does_nothing():
    own = {
        "over time": "[]",
        "settings": "er",
        "link": "b",
        "live": "",
        "policies": "",
        "events": "",
    }
    for tab in TABS:
        pack = watched("k")
        desk = zoomed(pack, tab)
        span, setting = desk.span, desk.setting
        for key in sorted({*"[]erb<>()s/a"} - {*own[tab]}):
            assert press(desk, key) is None, (tab, key)
            assert (desk.tab, desk.span, desk.setting) == (tab, span, setting)
            assert desk.typing is None and desk.dialog is None and desk.question is None
    desk = Desk(bank(3))
    for key in [*"123456[]erb<>()", "tab", "f1", "backspace"]:
        assert press(desk, key) is None and desk.zoomed is None
    press(desk, "?")
    for key in [*"123456[]erbs/a", "tab"]:
        assert press(desk, key) is None and desk.helping and desk.typing is None
