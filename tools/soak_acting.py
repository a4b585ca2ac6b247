"""A million violations through engine, reconciler and a simulated board: does the current stop?

    python tools/soak_acting.py [--violations N] [--seed N] [--period S] [--jobs N] [--minutes M]

The violations, the noise, the lost frames and the drop-outs are those of `soak_control`, up to five
violations at a time. Here a policy that trips is not enough: the switch of each path that it acts
on must really be off, in time, and a current that is cut is gone. Of the commands 15 % are ignored,
acknowledged for nothing, late, lost or in doubt; the board restarts and forgets, the program is
killed and starts again. What was off is given back by us, or where that would take long by an app.
Judged too: no switch is switched on while something violates on its path, nor after an emergency
stop; nothing is sent for what the BMS protects itself.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec

from acting_board import PATHS, ActingBoard
from bmslink.control import Decision, Engine, Mode
from bmslink.control.act.messages import Resume
from bmslink.control.act.numbers import ActingNumbers
from bmslink.control.decide.catalogue import default_policies
from bmslink.control.decide.policy import Demand, Severity
from bmslink.model import Condition, Reading
from soak_control import KINDS, LINK, Kind
from soak_wire import BATTERY, Bench, Wire

__all__ = ["ActedTally", "acted"]

_ROW = {policy.name: policy for policy in default_policies(BATTERY).policies.values()}
_PATIENCE = 8
"""Periods after the on-delay, within which the switch must be off, whatever is lost on the way."""
_ROUGH = 0.15
_CLOSES = {Condition.CELL_OVERVOLTAGE: "charge", Condition.CELL_UNDERVOLTAGE: "discharge"}
_OFTEN = ActingNumbers(enables_an_hour=10**6, writes_a_day=10**6)
"""Budgets that end nothing, in every second part: then switches are given back all day long."""


def _paths(kind: Kind) -> tuple[str, ...]:
    """What its policy opens."""
    row = _ROW[kind.policy]
    return tuple(map(str, row.acts)) if row.severity >= Severity.TRIP else ()


@dataclass
class ActedTally:
    """What came of the violations."""

    injected: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What was sent and should not have been."""
    longest: dict[str, float] = field(default_factory=dict)
    """Policy -> s from the violation until the last of its switches was off."""
    sent: Counter[tuple[str, bool]] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    lost: int = 0

    @property
    def total(self) -> int:
        """All violations."""
        return sum(self.injected.values())

    def add(self, other: ActedTally) -> None:
        """What another process found."""
        self.injected += other.injected
        self.missed += other.missed
        self.wrong += other.wrong
        for name, took in other.longest.items():
            self.longest[name] = max(took, self.longest.get(name, 0.0))
        self.sent += other.sent
        self.happened += other.happened
        self.samples += other.samples
        self.lost += other.lost


class SwitchedBench(Bench):
    """The bench behind two switches: a current that is cut does not flow."""

    def __init__(self, board: ActingBoard) -> None:
        super().__init__()
        self.board = board

    def advance(self, seconds: float) -> None:
        """Time passes, for what is late too."""
        super().advance(seconds)
        self.board.pass_time(self._now)

    def restart(self) -> None:
        """The board forgets its switches, and counts its uptime from 0."""
        self.board.forget()
        self._booted = self._now

    _booted = 0.0

    def truth(self) -> Reading:
        """What it measures, without noise."""
        told = super().truth()
        protected = [_CLOSES[each] for each in told.protections]
        amps = told.current or 0.0
        path = "charge" if amps > 0 else "discharge"
        flows = self.board.on[path] and path not in protected
        return replace(
            told,
            current=amps if flows else 0.0,
            uptime=self._now - self._booted,
            **self.board.shown(protected),
        )


class _Acted:
    """A wire, the board behind it and what acts on it."""

    def __init__(self, seed: int, period: float, tally: ActedTally) -> None:
        self.draw = draw = random.Random(seed)
        self.board = ActingBoard(
            draw=draw, rough=_ROUGH, tells_switch=seed % 3 > 0,
            numbers=_OFTEN if seed % 2 else ActingNumbers(),
        )  # fmt: skip
        self.wire = Wire(SwitchedBench(self.board), seed, period)
        self.alive = dict.fromkeys(PATHS, seed % 4 > 1)
        """Something carries limits out, and the bench obeys none of them."""
        self.hurt: list[Kind] = []
        self.tally = tally

    def beat(self, *requests: Resume) -> Decision:
        """One period: read, decide, act, judge."""
        wire, board = self.wire, self.board
        decision = wire.beat()
        board.cycle(decision, wire.reading, wire.now, self.alive, *requests)
        held = {path for kind in self.hurt for path in _paths(kind)}
        for command in board.commands:
            name = command.actuator
            if command.on and name in held:
                self.tally.wrong.append(f"{name} on at {wire.now:.0f} s, under a violation")
            if not command.on and not self.hurt and getattr(decision, name).demand < Demand.OPEN:
                self.tally.wrong.append(f"{name} off at {wire.now:.0f} s, and nothing holds it")
        return decision

    def die(self) -> None:
        """The program is killed and starts again; the engine too."""
        wire = self.wire
        self.board.die(wire.now)
        engine = Engine(
            default_policies(BATTERY), acting=(Mode.SHADOW, Mode.ENFORCE), poll=wire.period
        )
        engine.load(msgspec.json.decode(msgspec.json.encode(wire.engine.save())), wire.now)
        wire.engine = engine
        self.tally.happened["deaths"] += 1

    def violate(self) -> None:
        """Up to five at once, until each has what it must have."""
        wire, tally = self.wire, self.tally
        self.hurt = chosen = self._choose()
        for number, kind in enumerate(chosen):
            kind.hurt(wire.pack, self.draw.uniform(kind.low, kind.high), number)
            tally.injected[kind.policy] += 1
        began, before = wire.now, self.board.sent.total()
        waiting = list(chosen)
        while waiting:
            self.beat()
            if self.draw.random() < 0.003:
                self.die()
                began = wire.now  # it reads anew
            waiting = [kind for kind in waiting if not self._seen(kind, began)]
        if not any(_paths(kind) for kind in chosen) and self.board.sent.total() > before:
            tally.wrong.append(f"sent at {wire.now:.0f} s for what the BMS does itself")
        if self.draw.random() < 0.03:
            self._forgotten()
        for number, kind in enumerate(chosen):
            kind.heal(wire.pack, number)
        self.hurt = []

    def _seen(self, kind: Kind, began: float) -> bool:
        """Whether it is over with this violation: its switches are off, or it is missed."""
        wire, tally, row = self.wire, self.tally, _ROW[kind.policy]
        took, paths = wire.now - began, _paths(kind)
        done = not any(self.board.on[path] for path in paths) if paths else (
            kind.policy in wire.tripped
        )  # fmt: skip
        if done:
            tally.longest[kind.policy] = max(took, tally.longest.get(kind.policy, 0.0))
        elif took > max(row.on_delay, row.load_delay) + _PATIENCE * wire.period:
            tally.missed.append(f"{kind.policy} at {began:.0f} s")
            done = True
        return done

    def _forgotten(self) -> None:
        """The board restarts in the middle of it with all on: what it can show must be off
        again."""
        wire, tally = self.wire, self.tally
        tells = self.board.shown()["charge_switch"] is not None
        held = {path for kind in self.hurt for path in _paths(kind)}
        paths = {path for path in held if tells or not self._closed(path)}
        wire.pack.restart()
        tally.happened["restarts that forget"] += 1
        for _ in range(_PATIENCE + 2):
            self.beat()
            if not any(self.board.on[path] for path in paths):
                return
        tally.missed.append(f"the restart at {wire.now:.0f} s: {', '.join(sorted(paths))} stays on")

    def _closed(self, path: str) -> bool:
        """Whether the BMS closes it itself: a board that shows no switches then shows nothing."""
        return any(_CLOSES[each] == path for each in self.wire.pack.truth().protections)

    def _choose(self) -> list[Kind]:
        free = [kind for kind in KINDS if kind.policy not in self.wire.tripped]
        self.draw.shuffle(free)
        chosen: dict[str, Kind] = {}
        for kind in free[: 1 + self.draw.randrange(8)]:
            chosen.setdefault(kind.group, kind)
        return list(chosen.values())[:5]

    def recover(self) -> bool:
        """Until everything is on again, by us or by an app; whether it is, within two hours."""
        wire, board = self.wire, self.board
        patient = self.draw.random() < 0.3
        for beat in range(round(7200 / wire.period)):
            down = any(board.ledger.record(path).down is not None for path in PATHS)
            decision = self.beat(*([Resume("anna")] if down else []))
            if any(name not in LINK for name in wire.tripped):
                wire.reset()
                board.look()
            free = all(getattr(decision, path).demand == Demand.FREE for path in PATHS)
            if not free or decision.stale or any(kind.policy in wire.tripped for kind in KINDS):
                continue
            if all(board.on.values()) and wire.reading is not None:
                return True
            if beat > (15 if patient else 1):
                for path in PATHS:
                    board.app(path, on=True)
                self.tally.happened["given back by an app"] += 1
        return False


def acted(count: int, seed: int, period: float) -> ActedTally:
    """Inject at least so many violations."""
    tally = ActedTally()
    while tally.total < count:
        one = _Acted(seed + 1_000_003 * tally.total, period, tally)
        for _ in range(20):
            one.beat()
        while tally.total < count and one.wire.now < 3e8:
            one.violate()
            if not one.recover():
                tally.missed.append(f"it is not on again at {one.wire.now:.0f} s")
                break
        tally.samples += one.wire.samples
        tally.lost += one.wire.lost
        tally.sent += one.board.sent
        tally.happened += Counter({f"remark {k}": n for k, n in one.board.said.items()})
    return tally


_PART = 5_000  # violations
say = partial(print, flush=True)


def _part(seed: int, count: int, period: float) -> ActedTally:
    return acted(count, seed, period)


def _show(tally: ActedTally, seconds: float) -> None:
    say(
        f"{tally.total} violations, {len(tally.missed)} missed, {len(tally.wrong)} wrong commands; "
        f"{tally.samples} samples, {tally.lost} lost ({seconds:.0f} s)"
    )


def main(arguments: list[str]) -> int:
    """Print the figures; 1 if anything was missed or wrongly sent."""
    parser = argparse.ArgumentParser(description="Violations through everything that acts.")
    parser.add_argument("--violations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--period", type=float, default=10.0, help="s between samples")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no more violations then")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    chosen = parser.parse_args(arguments)
    start, tally = time.monotonic(), ActedTally()
    parts = math.ceil(chosen.violations / _PART)
    count = math.ceil(chosen.violations / parts)
    one = partial(_part, count=count, period=chosen.period)
    with ProcessPoolExecutor(chosen.jobs) as pool:
        seeds = range(chosen.seed, chosen.seed + parts)
        for number, part in enumerate(pool.map(one, seeds), 1):
            tally.add(part)
            if number % 20 == 0:
                _show(tally, time.monotonic() - start)
            if time.monotonic() - start > 60 * chosen.minutes:
                pool.shutdown(cancel_futures=True)
                break
    for name, number in sorted(tally.injected.items()):
        say(f"  {name:<32} {number:>8}  off within {tally.longest.get(name, math.nan):3.0f} s")
    for (name, on), number in sorted(tally.sent.items()):
        say(f"  sent: {name} {'on' if on else 'off'}: {number}")
    for what, number in sorted(tally.happened.items()):
        say(f"  {what}: {number}")
    for text in (*tally.missed[:20], *tally.wrong[:20]):
        say(f"  FAILED {text}")
    _show(tally, time.monotonic() - start)
    return 1 if tally.missed or tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
