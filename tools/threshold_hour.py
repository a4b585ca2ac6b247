"""An hour of noise at each threshold at which a policy moves a switch: it may move it twice.

    python tools/threshold_hour.py [--seed N] [--poll S] [--noise X] [--only NAME]

For each row that withdraws a permit, an hour in which what it judges lies at its trip, and, once it
has tripped, an hour in which it lies at its release: measured once a second with noise several
times that of a board. All policies act, and nothing carries the limits out, so that a limit of 0
moves a switch too. Counted are the changes of each permit, and the commands that ledger and
reconciler make of them, repeats included.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from acting_board import ActingBoard
from bmslink.control import Battery, Decision, Engine, Mode, Severity
from bmslink.control.decide.catalogue import default_policies
from bmslink.control.decide.compile import compile_policies
from bmslink.model import Reading

__all__ = ["ENDS", "MOST", "Hour", "hours", "spend"]

MOST = 2
"""Changes of one permit in an hour, and commands to one switch."""
ENDS = ("trip", "release")
_CELLS = 4
_BATTERY = Battery(
    chemistry="lfp", cells=_CELLS, capacity=100.0, charge_current=50.0, discharge_current=100.0
)
_HOUR = 3600.0  # s
_PICKUP = 1.05  # of the rating: at this the path is at 100 % in the end

Change = Callable[[dict[str, Any], float], None]


def _cell(which: int) -> Change:
    def change(told: dict[str, Any], volts: float) -> None:
        told["cell_voltages"][which] = volts

    return change


def _all_cells(told: dict[str, Any], volts: float) -> None:
    told["cell_voltages"] = [volts] * _CELLS


def _apart(told: dict[str, Any], volts: float) -> None:
    told["cell_voltages"] = [told["cell_voltages"][0]] * _CELLS
    told["cell_voltages"][1] -= volts


def _probe(*names: str) -> Change:
    def change(told: dict[str, Any], celsius: float) -> None:
        told["temperatures"] |= dict.fromkeys(names, celsius)

    return change


def _current(amps: float) -> Change:
    """So many A for each unit of what is judged."""

    def change(told: dict[str, Any], value: float) -> None:
        told["current"] = amps * value

    return change


def _hot_path(way: float) -> Change:
    """The current that holds a path at so many % in the end."""

    def change(told: dict[str, Any], percent: float) -> None:
        told["current"] = way * _PICKUP * (max(0.0, percent) / 100) ** 0.5

    return change


def _soc(told: dict[str, Any], percent: float) -> None:
    told["soc"] = percent


_JUDGED: Mapping[str, tuple[Change, float]] = {
    "max_cell": (_cell(1), 0.005),
    "min_cell": (_cell(2), 0.005),
    "pack_voltage": (_all_cells, 0.005),
    "cell_delta": (_apart, 0.001),
    "charge_load": (_current(0.5), 1.5),
    "discharge_load": (_current(-1.0), 1.5),
    "charge_heat": (_hot_path(50.0), 3.0),
    "discharge_heat": (_hot_path(-100.0), 3.0),
    "rate": (_current(100.0), 0.01),
    "discharge_rate": (_current(-100.0), 0.001),
    "max_temperature": (_probe("cell_1"), 0.6),
    "min_temperature": (_probe("cell_2"), 0.6),
    "min_working_temperature": (_probe("cell_2"), 0.6),
    "mosfet_temperature": (_probe("mosfet"), 0.6),
    "balancer_temperature": (_probe("balancer"), 0.6),
    "soc": (_soc, 0.5),
}
"""Quantity -> how a reading shows a value of it, and the noise: about four times a board's."""


@dataclass(frozen=True)
class Hour:
    """A row, and which of its ends the value lies at."""

    policy: str
    end: str

    def __str__(self) -> str:
        return f"{self.policy} at its {self.end}"


_SHIPPED = default_policies(_BATTERY)
_PLAN = {rule.name: rule for rule in compile_policies(_SHIPPED, acting=tuple(Mode)).rules}


def hours() -> Iterator[Hour]:
    """Every row that moves a switch by a value that can lie at a threshold, at both its ends."""
    for name, rule in _PLAN.items():
        row = rule.policy
        moves = row.severity >= Severity.TRIP or (
            row.severity == Severity.DERATE and not row.factor
        )
        if moves and row.acts and rule.curve is None and row.quantity in _JUDGED:
            yield from (Hour(name, end) for end in ENDS)


def _reading(
    hour: Hour, value: float, now: float, draw: random.Random, switches: Mapping[str, Any]
) -> Reading:
    """A healthy pack, but for one value; at the top of its charge where the balancer is judged."""
    rule = _PLAN[hour.policy]
    top = hour.policy.startswith("balance_")
    told: dict[str, Any] = {
        "cell_voltages": [3.45 if top else 3.30] * _CELLS,
        "current": 2.0 if top else 0.0,
        "soc": 60.0,
        "temperatures": {"cell_1": 25.0, "cell_2": 25.0, "mosfet": 30.0, "balancer": 30.0},
    }
    if top:
        told["cell_voltages"][3] -= 0.03
        if hour.policy == "balance_voltage":
            told["cell_voltages"] = [value - 0.03] * _CELLS
    _JUDGED[rule.policy.quantity][0](told, value)
    cells = tuple(round(v + draw.gauss(0, 0.001), 3) for v in told.pop("cell_voltages"))
    return Reading(
        cell_voltages=cells,
        voltage=round(sum(cells), 2),
        **switches,
        conditions_known=True,
        uptime=now,
        raw={"current_sign": "reported"},
        **told,
    )


def spend(hour: Hour, seed: int, poll: float = 1.0, noise: float = 1.0) -> Counter[str]:
    """The changes of each permit in that hour, and the commands to each switch."""
    draw = random.Random(f"{seed} {hour}")
    rule = _PLAN[hour.policy]
    trip, release = rule.trip * rule.sign, rule.release * rule.sign
    engine = Engine(_SHIPPED, acting=tuple(Mode), poll=poll)
    sigma = noise * _JUDGED[rule.policy.quantity][1]
    inside = release + (release - trip)
    now = 0.0
    changes: Counter[str] = Counter()
    board = ActingBoard(capacity=_BATTERY.capacity)

    def pass_time(value: float, seconds: float, spread: float) -> Iterator[Decision]:
        nonlocal now
        end = now + seconds
        while now < end:
            now += poll
            told = _reading(hour, draw.gauss(value, spread), now, draw, board.shown())
            decision = engine.step(told, now)
            board.cycle(decision, told, now, {})
            yield decision

    *_, last = pass_time(inside, 300.0, 0.0)
    if hour.end == "release":
        beyond = trip + 0.2 * (trip - release)
        *_, last = pass_time(beyond, 600.0, 0.0)
    board.sent.clear()
    for decision in pass_time(trip if hour.end == "trip" else release, _HOUR, sigma):
        for permit in ("charge", "discharge", "balance"):
            changes[permit] += getattr(last, permit).allowed != getattr(decision, permit).allowed
        last = decision
    for (name, _), count in board.sent.items():
        changes[f"{name} commands"] += count
    return +changes


def main(arguments: list[str]) -> int:
    """Print each hour; 1 if a permit or a switch moved more than twice in one of them."""
    parser = argparse.ArgumentParser(description="An hour of noise at each threshold.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--poll", type=float, default=1.0, help="s between readings")
    parser.add_argument("--noise", type=float, default=1.0, help="times the noise of the tool")
    parser.add_argument("--only", default="", help="part of a policy's name")
    chosen = parser.parse_args(arguments)
    worst = 0
    for hour in hours():
        if chosen.only not in hour.policy:
            continue
        changes = spend(hour, chosen.seed, chosen.poll, chosen.noise)
        most = max(changes.values(), default=0)
        worst = max(worst, most)
        print(f"{hour!s:<50} {dict(changes) or 'no change'}{'  MORE' if most > MOST else ''}")
    print(f"at most {worst} changes of a permit or commands to a switch in an hour")
    return 1 if worst > MOST else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
