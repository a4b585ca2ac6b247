"""When who is told: delay, hysteresis, quiet hours, limits. Time is given; nothing is sent."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from bmslink.events import EventSeverity, PackEvent
from bmslink.outputs.alerts.options import AlertOptions
from bmslink.outputs.alerts.rules import AlertRule

BEGAN = datetime(2026, 1, 10, 12, tzinfo=UTC)


class Bench:
    """A rule under a clock; what it sends is noted with the second."""

    def __init__(self, receiver=None, **section):
        values = {"to": {"me": {"webhook": "http://x/", **(receiver or {})}}, **section}
        options = msgspec.convert(values, AlertOptions)
        self.rule = AlertRule(options, options.to["me"])
        self.clock = 0.0
        self.wall = BEGAN
        self.sent = []
        self.open = {}

    def tick(self, seconds=0.0):
        """Time passes, as the loop that waits lets it: nothing happens between two looks."""
        until = self.clock + seconds
        while True:
            for alert in self.rule.due(self.clock, self.wall):
                self.sent.append((self.clock, alert.state, alert.text.partition(" Since")[0]))
            wait = self.rule.wait(self.clock, self.wall)
            if self.clock + wait > until:
                break
            self.wall += timedelta(seconds=wait)
            self.clock += wait
        self.wall += timedelta(seconds=until - self.clock)
        self.clock = until

    def moment(self):
        return BEGAN + timedelta(seconds=self.clock)

    def begin(self, key="c/low", severity="alarm", pack="van", what="condition"):
        event = PackEvent(
            what, f"{key} is there.", EventSeverity(severity), pack, self.moment(), key,
            self.moment(),
        )  # fmt: skip
        self.open[key] = event
        self.rule.hear(event, self.clock)
        self.tick()

    def end(self, key="c/low"):
        over = self.open[key].over(self.moment())
        self.rule.hear(over, self.clock)
        self.tick()

    def happen(self, severity="alarm", pack="van", what="change"):
        self.rule.hear(
            PackEvent(what, "It was changed.", EventSeverity(severity), pack), self.clock
        )
        self.tick()

    @property
    def states(self):
        return [(second, state) for second, state, _ in self.sent]


def test_a_condition_is_sent_after_its_delay_and_once_more_when_it_is_over():
    bench = Bench(delay=30, settle=60)
    bench.begin()
    bench.tick(100)
    bench.end()
    bench.tick(1000)
    assert bench.states == [(30, "begun"), (160, "over")]
    assert bench.rule.wait(bench.clock, bench.wall) == math.inf


def test_what_comes_and_goes_within_the_delay_is_not_sent():
    bench = Bench(delay=30)
    for _ in range(20):
        bench.begin()
        bench.tick(29)
        bench.end()
        bench.tick(1)
    bench.tick(500)
    assert bench.sent == []


def test_what_flaps_is_sent_once_and_is_over_once():
    bench = Bench(delay=10, settle=60)
    bench.begin()
    bench.tick(10)
    for _ in range(30):
        bench.end()
        bench.tick(59)
        bench.begin()
        bench.tick(30)
    bench.end()
    bench.tick(100)
    assert [state for _, state in bench.states] == ["begun", "over"]


def test_critical_is_sent_at_once_and_what_becomes_worse_once_more():
    bench = Bench(delay=30)
    bench.begin(severity="critical")
    bench.begin("c/other")
    bench.tick(40)
    bench.begin("c/other", severity="critical")
    assert bench.states == [(0, "begun"), (30, "begun"), (40, "begun")]


def test_only_what_was_asked_for_is_sent_and_never_the_trouble_of_an_output():
    wanted = {"severity": "warning", "kinds": ["condition"], "packs": ["van"]}
    bench = Bench(wanted, delay=0)
    bench.begin("c/1", "warning")
    bench.begin("c/2", "info")
    bench.begin("c/3", pack="shed")
    bench.begin("c/4", what="state")
    bench.happen()
    bench.tick(10)
    assert [text for *_, text in bench.sent] == ["van: c/1 is there."]
    bench = Bench({"severity": "info"}, delay=0)
    bench.begin("output/alerts.me", what="output")
    bench.tick(10)
    assert bench.sent == []


def test_the_kind_state_is_all_that_a_pack_can_be():
    bench = Bench({"severity": "info", "kinds": ["state"]}, delay=0)
    bench.begin("state", what="lost")
    bench.begin("c/1")
    bench.tick(10)
    assert [text for *_, text in bench.sent] == ["van: state is there."]


def test_not_what_is_over_where_that_is_not_asked_for():
    bench = Bench({"over": False}, delay=0, settle=0)
    bench.begin()
    bench.end()
    bench.tick(100)
    assert bench.states == [(0, "begun")]


def test_in_quiet_hours_only_critical_goes_through_and_the_rest_comes_after_them():
    bench = Bench(delay=0, settle=0, quiet="11:00-13:00")
    bench.begin("c/stays")
    bench.begin("c/goes")
    bench.begin("c/critical", severity="critical")
    bench.happen()
    bench.tick(600)
    bench.end("c/goes")
    bench.end("c/critical")
    bench.tick(600)
    assert bench.states == [(0, "begun"), (600, "over")]
    bench.tick(7200)
    later = bench.sent[2:]
    assert {text for *_, text in later} == {"van: c/stays is there.", "van: It was changed."}
    assert all(3600 <= second <= 3660 for second, *_ in later)


@pytest.mark.parametrize(
    ("quiet", "hour", "is_quiet"),
    [("22:00-07:00", 23, True), ("22:00-07:00", 6, True), ("22:00-07:00", 7, False),
     ("22:00-07:00", 12, False), ("12:00-13:00", 12, True), ("", 3, False)],
)  # fmt: skip
def test_quiet_hours_may_pass_midnight(quiet, hour, is_quiet):
    options = AlertOptions(quiet=quiet)
    assert options.is_quiet(BEGAN.replace(hour=hour).time()) is is_quiet


def test_too_many_are_held_back_and_counted_and_critical_is_not():
    bench = Bench(delay=0, settle=0, most_per_hour=4)
    for number in range(40):
        bench.begin(f"c/{number}")
    bench.begin("c/worst", severity="critical")
    assert [state for _, state in bench.states] == ["begun"] * 5
    assert bench.sent[-1][2] == "van: c/worst is there."
    for number in range(40):
        bench.end(f"c/{number}")
    bench.tick(7200)
    more = [text for _, state, text in bench.sent if state == "held_back"]
    assert len(bench.sent) <= 5 + 8
    assert "c/4 is there" in more[0]
    assert not any("over" in text for text in more[1:])


@pytest.mark.parametrize(
    "values",
    [
        {"quiet": "25:00-07:00"},
        {"to": {"me": {}}},
        {"to": {"me": {"webhook": "http://x", "apprise": "ntfy://x"}}},
        {"to": {"me": {"apprise": "ntfy://x", "token_env": "X"}}},
        {"to": {"me": {"webhook": "http://x", "severity": "loud"}}},
        {"to": {"me": {"webhook": "http://x", "kinds": ["conditon"]}}},
        {"to": {"me": {"webhook": "http://x", "kinds": ["output"]}}},
        {"quiet": "07:00-07:00"},
        {"to": {"me too": {"webhook": "http://x"}}},
        {"delay": -1},
    ],
)
def test_a_section_with_a_mistake_is_refused(values):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(values, AlertOptions)


def test_no_text_of_the_options_holds_a_secret():
    values = {"to": {"me": {"webhook": "http://x/SECRET"}}}
    assert "SECRET" not in repr(msgspec.convert(values, AlertOptions))
