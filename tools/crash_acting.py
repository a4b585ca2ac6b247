"""The program that acts, killed at every await of what it does, against a board of each dialect.

    python tools/crash_acting.py [--stride N] [--first N] [--only SCENARIO] [PROTOCOL ...]

A scenario (trip and give back, both switches, a person, an emergency stop, an override, an
approval) runs on virtual time with the real frames, actuators, ledger, consent and store. It is
repeated for each of its awaits, and killed there: nothing that was under way goes on, and the disk
holds what was written by then. A new program begins with that, and the scenario goes on. What the
board was sent, and how its switches are, is judged by the board's own memory:

* nothing is switched on that we did not switch off, nor while a violation, a person's off or a stop
  is in force, nor within a minute of the start or of the off (A1, A3, A4, A7, A11)
* what is held is off within a few polls of the restart; a stop lasts until its reset (A3)
* no frame moves another switch (A5), and nothing is sent before it is approved (A10)
* what the disk calls ours we switched off (A2), it can be read after every death, and in the end it
  is given back

A6 and A8 are judged by the explorer (`explore_acting.py`), A9 belongs to sessions, A12 to limits.
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
import time

from acting_world import TRIP
from bmslink.control.act.messages import (
    EmergencyStop,
    OverridePolicy,
    PersonOff,
    PersonOn,
    ResetStop,
)
from bmslink.control.decide.policy import Demand
from crash_bench import FREE, WHO, Act, Outcome, bench_of

__all__ = ["DIALECTS", "SCENARIOS", "points", "possible", "run", "scenario_of"]

DIALECTS = ("jk02", "jk04", "jk-modbus", "jk-nw", "jbd", "daly-a5", "daly-d2", "daly-p81")


def _quiet(polls: int, every: float = 10.0) -> Act:
    return Act(polls=polls, every=every, armed=False)


def _trip(*names: str, demand: Demand = Demand.OPEN_NOW) -> Act:
    return Act(demand=dict.fromkeys(names, demand), polls=3)


_BACK = (Act(demand=FREE, polls=2), _quiet(6), Act(polls=4))
"""Free again; a minute later it is given back."""


def _scenarios(name: str) -> dict[str, tuple[Act, ...]]:
    ready = _quiet(7)
    both = ("charge", "discharge")
    return {
        "trip": (ready, _trip(name), *_BACK),
        "soft": (ready, _trip(name, demand=Demand.OPEN), *_BACK),
        "both": (ready, _trip(*both), *_BACK),
        "person": (
            ready, Act(ask=PersonOff(name, WHO), polls=2), _quiet(8),
            Act(ask=PersonOn(name, WHO), polls=2),
        ),
        "person over a trip": (
            ready, _trip(name), Act(ask=PersonOff(name, WHO), polls=1), *_BACK,
        ),
        "stop": (ready, Act(ask=EmergencyStop(WHO), polls=2), _quiet(7),
                 Act(ask=ResetStop(WHO), polls=5)),
        "override": (
            ready, _trip(name, demand=Demand.OPEN),
            Act(ask=OverridePolicy(TRIP, 30.0, WHO), polls=1),
            Act(ask=PersonOn(name, WHO), polls=2),
            _quiet(4), Act(polls=2), *_BACK,
        ),
        "approve": (
            Act(demand={name: Demand.OPEN_NOW}, polls=2), Act(approve=True, polls=0),
            _quiet(4), Act(polls=2), *_BACK,
        ),
    }  # fmt: skip


SCENARIOS = tuple(_scenarios("charge"))


def scenario_of(protocol: str, name: str) -> tuple[Act, ...]:
    """Of a dialect. JK04 switches nothing but its balancer, which no policy does."""
    return _scenarios("balance" if protocol == "jk04" else "charge")[name]


def possible(protocol: str) -> tuple[str, ...]:
    """The scenarios of a dialect."""
    return ("person", "stop") if protocol == "jk04" else SCENARIOS


def run(protocol: str, scenario: str, dies_at: float = math.inf) -> Outcome:
    """A scenario on a board, killed at a callback, and gone on with."""
    with bench_of(protocol, approved=scenario != "approve") as bench:
        alive = bench.begin(bench.time, dies_at=dies_at)
        for act in scenario_of(protocol, scenario):
            if not alive:
                alive = bench.begin(bench.time)
            alive = bench.do(act)
        if not alive:
            bench.begin(bench.time)
        bench.end()
        return bench.outcome


def points(protocol: str, scenario: str) -> list[int]:
    """Where it may be killed. Raises where it breaks a law without that."""
    whole = run(protocol, scenario)
    if whole.broken or whole.left:
        raise RuntimeError(f"{protocol}, {scenario}, not killed: {whole.broken or whole.left}")
    return whole.points


def _main() -> int:
    parser = argparse.ArgumentParser(description="Kill what acts at every await.")
    parser.add_argument("protocols", nargs="*", default=DIALECTS)
    parser.add_argument("--stride", type=int, default=1, help="every so many awaits")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a scenario's name")
    asked = parser.parse_args()
    began, deaths, bad = time.monotonic(), 0, 0
    for protocol in asked.protocols:
        for scenario in (name for name in possible(protocol) if asked.only in name):
            tried = points(protocol, scenario)[asked.first :: asked.stride]
            found = [(point, run(protocol, scenario, point)) for point in tried]
            gc.collect()
            broken = [(point, each) for point, each in found if each.broken]
            deaths += sum(each.died for _, each in found)
            left = sum(each.left for _, each in found)
            bad += len(broken)
            print(
                f"{protocol:<10} {scenario:<20} {len(found):>5} deaths, {left} times left to a "
                f"person, {len(broken)} broken ({time.monotonic() - began:.0f} s)",
                flush=True,
            )
            for point, each in broken[:2]:
                print(f"  at {point}: {'; '.join(each.broken)}", flush=True)
    print(f"{deaths} deaths, {bad} broken, {time.monotonic() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(_main())
