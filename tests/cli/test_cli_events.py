"""`bmslink events TARGET`: the board's own history, beside what a service saw."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bmslink.cli.past_view import by_our_clock, clock_off, without_doubles
from bmslink.cli.render import past as render
from bmslink.cli.render.history import event_text
from bmslink.events import EventSeverity
from bmslink.past import BoardCounter, BoardEvent, BoardPast
from cli_support import Cli

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def test_each_vendor_says_what_it_has_and_what_not(cli: Cli) -> None:
    jk = cli("events", "sim://jk02?cells=8", "--json")
    assert [(x["what"], x["source"], x["event"]) for x in jk.objects] == [
        ("past", "board", "boot"),
        ("missing", "board", "counters"),
    ]
    assert jk.objects[0]["raw"] == "0000000001"
    assert (jk.objects[0]["log"], jk.objects[0]["running"]) == ("logbook", 0)
    jbd = cli("events", "sim://jbd?cells=8")
    assert "counters: all 12 are 0" in jbd.out
    assert "now: nothing is reported" in jbd.out
    assert "no events: classic JBD boards" in jbd.out
    jk04 = cli("events", "sim://jk04")
    assert "no events: not documented for jk04" in jk04.out
    assert "does not say whether anything is wrong" in jk04.out


def test_what_is_wanted_of_a_board(cli: Cli) -> None:
    target = "sim://jk02?cells=8"
    assert [x["what"] for x in cli("events", target, "--json", "--samples").objects] == [
        *("past", "sample", "missing"),
    ]
    assert cli("events", target, "--open", "--json").out == ""
    assert "measured by the board" in cli("events", target, "--samples").out
    alarms = cli("events", target, "--severity", "alarm", "--json").objects
    assert [x["what"] for x in alarms] == ["missing"]
    assert "boot" not in cli("events", target, "--until", "2020-01-01", "--json").out
    cli("events", "--board").failed(2, "Name a TARGET")
    cli("events", target, "--seen", "--board").failed(2, "--board and --samples")
    cli("events", target, "--severity", "bad").failed(2, "no severity")
    cli("events", target, "--seen").failed(1, "No service runs")
    cli("events", "nosuch").failed(2, "is no target")


def entry(log: str, code: int, minutes: float, **more: object) -> BoardEvent:
    name = more.pop("name", "cell_overvoltage")
    time = NOW + timedelta(minutes=minutes)
    return BoardEvent(log=log, code=code, name=str(name), text="t", time=time, **more)


def test_an_event_that_both_logs_have_is_shown_once() -> None:
    book, other, twin = (entry("logbook", c, m) for c, m in ((18, 0), (18, 9), (17, 0)))
    detail = entry("detail_log", 18, 1.5, values={"current": 1.0})
    undated = BoardEvent(log="logbook", code=18, name="x", text="t")
    assert without_doubles([book, other, twin, undated, detail]) == [other, twin, undated, detail]


def test_the_table_of_both_says_how_sure_each_time_is() -> None:
    seen = [{"time": "2026-12-01T12:03:00Z", "severity": "alarm", "pack": "van", "text": "x"}]
    board = [
        entry("logbook", 1, 1, time_source="latest"),
        entry("logbook", 1, 2, time_source="reckoned", severity=EventSeverity.ALARM),
        entry("detail_log", 1, 9, time_source="clock", values={"current": -3.0}),
        BoardEvent(log="logbook", name="x", text="undated", running=100),
        BoardEvent(log="journal", name="x", text="nowhen"),
    ]
    table = render.event_table(seen, board, 9, ascii_only=True)
    assert table is not None
    rows = [[str(cell) for cell in row] for row in table._rows]
    assert [row[0][:6] for row in rows[:2]] == ["after ", "-"]
    assert [row[0][:3] for row in rows[2:4]] == ["<= ", "~ 2"]
    assert [row[1] for row in rows[2:]] == [
        *("board, logbook", "board, logbook", "bmslink", "board, detail log"),
    ]
    assert rows[3][2] == "ALARM: t"
    assert rows[4][2] == event_text(seen[0]) == "ALARM: van: x"
    assert rows[5][2] == "t (-3.0 A)"
    newest = render.event_table(seen, board, 1)
    assert newest is not None
    assert len(newest._rows) == 1
    assert render.event_table([], [], 1) is None


def test_counters_and_a_clock_that_is_wrong() -> None:
    counters = [BoardCounter(name=n, text=n, count=c) for n, c in (("a", 3), ("b", 0), ("c", 0))]
    assert [*render.counter_lines(counters)] == ["counters: a 3; the other 2 are 0"]
    assert [*render.counter_lines(counters[:1])] == ["counters: a 3"]
    assert [*render.counter_lines([])] == []
    three = timedelta(days=3)
    dated = (entry("detail_log", 1, 0, time_source="clock"), entry("logbook", 1, 0))
    told = BoardPast(time=NOW, clock=NOW + three, events=dated)
    assert clock_off(told) == three
    assert [(e.time, e.time_source) for e in by_our_clock(told)] == [
        (NOW - three, "reckoned"),
        (NOW, None),
    ]
    assert "3 d 0 h ahead" in render.clock_remark(three)
    assert "3 d 0 h behind" in render.clock_remark(-three)
    for right in (BoardPast(time=NOW, clock=NOW, events=dated), BoardPast(events=dated)):
        assert by_our_clock(right) == [*dated]
