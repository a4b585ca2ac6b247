"""A charger that disobeys, current through a switch that is off, and limits that die."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bmslink.control.act.detectors import (
    DISOBEYED,
    CurrentWatch,
    Detected,
    detect,
    load_watch,
    release,
    save_watch,
)
from bmslink.control.act.facts import SwitchFacts
from bmslink.control.act.sinks import TTL, LimitMessage, SinkState, directions_alive, in_force
from bmslink.control.decide.decision import Limits
from bmslink.control.decide.limits import Limit, Reason

ALIVE = {"charge": True, "discharge": True}


def limits(ccl: float = 0.0, dcl: float = 0.0) -> Limits:
    def limit(value: float) -> Limit:
        return Limit(value, (Reason("rating", value, ""),))

    return Limits(limit(56.0), limit(ccl), limit(dcl), limit(44.0))


class Bench:
    def __init__(self) -> None:
        self.watch, self.now = CurrentWatch(), 0.0
        self.said: list[str] = []

    def __call__(self, current: float | None, seconds: float = 2.0, **more: Any) -> set[str]:
        """So long, every 2 s; gives back what is held open in the end."""
        values: dict[str, Any] = {"limits": limits(), "alive": ALIVE, "off": {}, **more}
        found = Detected(self.watch, {}, [])
        for _ in range(int(seconds / 2)):
            self.now += 2.0
            found = detect(self.watch, facts=SwitchFacts(current=current), now=self.now, **values)
            self.watch = found.watch
            self.said += [r.what for r in found.remarks]
        return set(found.holds)


def test_a_limit_that_is_disobeyed_opens_the_switch() -> None:
    bench = Bench()
    assert bench(60.0, 10) == set()
    assert bench(60.0) == {"charge"}
    assert bench.said == [DISOBEYED]
    assert bench(60.0, 60) == {"charge"}
    assert bench.said == [DISOBEYED], "it is said once"
    assert bench(0.0, 54) == {"charge"}
    assert bench(0.0, 6) == set()


@pytest.mark.parametrize(
    ("current", "more", "held"),
    [
        (2.0, {}, set()),
        (2.1, {}, {"charge"}),
        (-2.1, {}, {"discharge"}),
        (104.9, {"limits": limits(ccl=100.0)}, set()),
        (105.1, {"limits": limits(ccl=100.0)}, {"charge"}),
        (60.0, {"alive": {"charge": False}}, set()),
        (60.0, {"alive": {}}, set()),
        (None, {}, set()),
    ],
)
def test_how_far_is_too_far(current: float | None, more: Any, held: set[str]) -> None:
    assert Bench()(current, 14, **more) == held


def test_a_moment_is_forgiven() -> None:
    bench = Bench()
    for _ in range(20):
        assert bench(60.0, 8) == set()
        assert bench(0.0) == set()


def test_the_third_time_a_person_has_to_look() -> None:
    bench = Bench()
    for _ in range(3):
        assert bench(60.0, 14) == {"charge"}
        bench(0.0, 70)
    assert bench(0.0, 7200) == {"charge"}
    saved = json.loads(json.dumps(save_watch(bench.watch, bench.now)))
    bench.watch = load_watch(saved, bench.now)
    assert bench(0.0, 7200) == {"charge"}, "a restart permits nothing sooner"
    bench.watch = release(bench.watch, "charge")
    assert bench(0.0) == set()
    with pytest.raises(ValueError, match="time"):
        load_watch({"charge": {"disobeyed": [-1.0]}}, 0.0)
    with pytest.raises(ValueError, match="Expected"):
        load_watch({"charge": 5}, 0.0)


def test_current_through_a_switch_that_is_off_is_an_alarm() -> None:
    bench = Bench()
    wide = limits(ccl=100.0, dcl=100.0)
    bench(60.0, 2, off={"charge": True}, limits=wide)
    assert bench.said == []
    bench(60.0, 20, off={"charge": True}, limits=wide)
    assert bench.said == ["flows_on"]
    bench(-60.0, 20, off={"charge": True}, limits=wide)  # the other way is not charging
    assert bench.said == ["flows_on"]


# -- limits --------------------------------------------------------------------------------------


def test_a_sink_is_alive_while_it_takes_and_answers() -> None:
    quiet = SinkState()
    assert not quiet.health(0.0).alive
    assert quiet.with_sent(0.0).health(TTL).alive
    assert not quiet.with_sent(0.0).health(TTL + 0.1).alive
    assert not quiet.with_sent(0.0).with_failure().health(0.0).alive
    asked = SinkState(acknowledges=True, patience=5.0).with_sent(0.0)
    assert not asked.health(1.0).alive
    assert asked.with_ack(1.0).health(5.0) == (True, 1.0) or asked.with_ack(1.0).health(5.0).alive
    assert not asked.with_ack(1.0).with_sent(6.0).health(6.1).alive


def test_a_direction_is_limited_while_all_that_limit_it_are_alive() -> None:
    good = SinkState(directions=frozenset({"charge"})).with_sent(0.0)
    dead = SinkState(directions=frozenset({"charge", "discharge"}))
    assert directions_alive([], 0.0) == {}
    assert directions_alive([good], 0.0) == {"charge": True}
    assert directions_alive([good, dead], 0.0) == {"charge": False, "discharge": False}
    assert directions_alive([SinkState(directions=frozenset())], 0.0) == {}


def test_a_limit_dies_with_its_sender() -> None:
    old = LimitMessage.of(limits(50.0, 80.0), sequence=7, time=1e9)
    assert in_force(old, 0.0) is old
    assert in_force(old, TTL) is old
    assert in_force(old, TTL + 0.01) is None
    assert in_force(old, -1.0) is None, "a clock that went back proves nothing"
    assert in_force(None, 0.0) is None
    new = LimitMessage.of(limits(), sequence=8, time=1e9)
    assert in_force(old, 0.0, after=new) is None
    assert old.to_dict()["ccl"] == 50.0
