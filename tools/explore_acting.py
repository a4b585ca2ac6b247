"""Every history of what can happen to a switch, up to a depth, judged by the laws of acting.

    python tools/explore_acting.py [--depth 8] [--alphabet core|all] [--minutes 30] ...

Breadth first: a state that was reached before, by whatever history, is not followed again. States
are compared by a canonical form: times are ages, and ages that no rule tells apart are the same.
Prints how many states there are and how long it took; ends with 1 at the first law that is broken,
and the shortest history that breaks it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from acting_laws import Broken, Side
from acting_world import CONCERNS_ONE, CORE, LETTERS, Plan, World

from bmslink.control.act.ledger import Record
from bmslink.control.act.mandate import Mandate
from bmslink.control.act.numbers import ActingNumbers

__all__ = ["PLANS", "Explored", "canonical", "explore"]

_EDGES = (10.0, 60.0, 600.0, 3600.0, 86400.0)
TIGHT = ActingNumbers(enables_an_hour=2, writes_a_day=5)
"""Budgets that short histories use up."""
PLANS = {
    "plain": Plan(),
    "stubborn": Plan(obeys=False),
    "alternator": Plan(mandate=Mandate(enforce=True, host_power="other", alternator=True)),
    "tight": Plan(numbers=TIGHT),
    "shadow": Plan(mandate=Mandate()),
    "pair": Plan(switches=("charge", "discharge"), one_word=True),
}
Letter = tuple[str, str]
_pack = msgspec.msgpack.Encoder().encode


class Explored(NamedTuple):
    """What an exploration found."""

    depth: int
    """To which all histories were followed."""
    states: list[int]
    """New ones at each depth."""
    steps: int
    seconds: float
    broken: Broken | None
    history: tuple[Letter, ...]
    """That breaks it."""


def bucket(age: float) -> float:
    """Ages that no rule tells apart are the same: up to 10 s exactly, then by the edges, ten
    minutes by ten minutes within the hour."""
    if age <= _EDGES[0]:
        return age
    if age < _EDGES[1]:
        return 11.0
    if age < _EDGES[2]:
        return 60.0
    if age < _EDGES[3]:
        return age // 600.0 * 600.0
    return 3600.0 if age < _EDGES[4] else 86400.0


def _age(now: float, at: float | None) -> float | None:
    return None if at is None else bucket(now - at)


def _recent(now: float, times: tuple[float, ...], longest: float) -> tuple[float, ...]:
    return tuple(bucket(now - t) for t in times if now - t < longest)


def _of_record(record: Record, now: float) -> Hashable:
    order = record.order
    told = order and (
        order.on,
        _age(now, order.last),
        min(order.tries, 6),
        order.unsent,
        order.took,
        order.over and _age(now, order.at),
        order.read_back,
        min(order.against, 3),
    )
    return (
        record.prior,
        record.own,
        record.confirmed,
        record.owner,
        record.holders,
        record.person,
        told,
        record.seen,
        record.held is None,
        order is not None and record.held is not None and order.last >= record.held,
        _age(now, record.waiting),
        _age(now, record.off_at),
        _recent(now, record.enables, 3600.0),
        _recent(now, record.writes, 86400.0),
        _recent(now, record.clashes, 600.0),
        record.down is None,
        min(record.futile, 3),
        record.asserted,
    )


def _of_side(side: Side, now: float) -> Hashable:
    return (
        side.on,
        tuple((at - now, on) for at, on in side.due),
        side.trip,
        side.emergency,
        side.protected,
        side.shown,
        side.own_off,
        side.hit,
        _age(now, side.off_at),
        _age(now, side.on_at) if side.coming_on else None,
        side.prior,
        min(side.vain, 3),
        side.shown_off,
        side.foreign,
        side.foreign_shown,
        side.person,
        _recent(now, side.clashes, 600.0),
        side.down,
        side.answered,
        side.hold,
        min(side.tries, 6),
        _age(now, side.waiting),
        _age(now, side.asked),
        _recent(now, side.ons, 3600.0),
        _recent(now, side.writes, 86400.0),
        side.amnesia,
    )


def canonical(world: World) -> Hashable:
    """What tells two worlds apart for all that can still happen."""
    now, ledger = world.now, world.ledger
    kept = None
    if world.kept is not None:
        old, at = world.kept
        kept = tuple(_of_record(old.record(s.name), at) for s in world.sides)
    return (
        world.effect,
        world.stale,
        world.sink,
        world.disk,
        kept,
        world.rebooted,
        _age(now, world.started),
        world.heard,
        world.good,
        world.stop,
        ledger.stop is None,
        ledger.run.good,
        ledger.run.heard,
        tuple(sorted(ledger.run.told)),
        tuple(_of_record(ledger.record(s.name), now) for s in world.sides),
        tuple(_of_side(side, now) for side in world.sides),
    )


def letters_of(plan: Plan, names: Sequence[str]) -> list[Letter]:
    """All that can happen: what concerns one switch, to each of them."""
    return [
        (letter, name)
        for letter in names
        for name in (plan.switches if letter in CONCERNS_ONE else plan.switches[:1])
    ]


def explore(
    plan: Plan,
    names: Sequence[str] = CORE,
    *,
    depth: int = 8,
    seconds: float = 1800.0,
    tails: int = 1,
) -> Explored:
    """Follow every history. `tails`: of every so many states it is also tried what becomes of them
    when nothing happens any more; 0: of none."""
    began = time.monotonic()
    letters = letters_of(plan, names)
    start = World.new(plan)
    start.cycle()
    seen = {_digest(canonical(start))}
    frontier: list[tuple[World, tuple[int, ...]]] = [(start, ())]
    counts, steps = [1], 0
    for level in range(1, depth + 1):
        following: list[tuple[World, tuple[int, ...]]] = []
        fresh = 0
        for world, history in frontier:
            if time.monotonic() - began > seconds:
                took = time.monotonic() - began
                return Explored(level - 1, counts, steps, took, None, ())
            for number, (letter, name) in enumerate(letters):
                other = world.copy()
                steps += 1
                try:
                    other.step(letter, name)
                    key = _digest(canonical(other))
                    if key in seen:
                        continue
                    seen.add(key)
                    fresh += 1
                    if tails and key[0] * 256 + key[1] < 65536 // tails:
                        rest(other)
                except Broken as broken:
                    told = tuple(letters[n] for n in (*history, number))
                    took = time.monotonic() - began
                    return Explored(level, [*counts, fresh], steps, took, broken, told)
                if level < depth:
                    following.append((other, (*history, number)))
        counts.append(fresh)
        frontier = following
    return Explored(depth, counts, steps, time.monotonic() - began, None, ())


def _digest(key: Hashable) -> bytes:
    return hashlib.blake2b(_pack(key), digest_size=12).digest()


def rest(world: World) -> None:
    """What becomes of a state when nothing happens any more, and when all is well again. Raises
    `Broken`."""
    _constant(world.copy())
    _given_back(world.copy())


def _constant(world: World) -> None:
    for _ in range(4):
        world.cycle()
    ons, offs = world.ons, world.offs
    for seconds in (2.0, 2.0, 60.0, 600.0):
        world.cycle(seconds)
    if world.offs > offs:
        raise Broken("A6", "an off is sent though nothing changed")
    if world.ons > ons + world.plan.numbers.futile_enables * len(world.sides):
        raise Broken("A6", "on is sent again though nothing changed")


def _given_back(world: World) -> None:
    """What we took is given back, once nothing speaks against it."""
    world.effect, world.stale = "now", False
    if not world.disk:
        world.disk, world.kept = True, None
    for side in world.sides:
        side.trip = side.emergency = side.protected = False
    for seconds in (2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 62.0, 62.0, 3600.0, 2.0, 90000.0, 2.0):
        world.cycle(seconds)
    for side in world.sides:
        ours = side.own_off and side.prior and not (side.foreign or side.amnesia)
        held = side.person or world.stop or side.down
        held = held or side.vain >= world.plan.numbers.futile_enables
        if ours and not held and world.plan.mandate.enforce and not side.on:
            raise Broken("given back", f"{side.name} is never switched on again")


def _main() -> int:
    parser = argparse.ArgumentParser(description="Explore every history of acting.")
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--alphabet", choices=("core", "all"), default="core")
    parser.add_argument("--plan", choices=(*PLANS, "every"), default="plain")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--tails", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    names = CORE if asked.alphabet == "core" else tuple(LETTERS)
    for name in PLANS if asked.plan == "every" else (asked.plan,):
        found = explore(
            PLANS[name], names, depth=asked.depth, seconds=60 * asked.minutes, tails=asked.tails
        )
        for line in _lines(name, names, found, as_json=asked.json):
            print(line, flush=True)
        if found.broken is not None:
            return 1
    return 0


def _lines(
    name: str, names: Sequence[str], found: Explored, *, as_json: bool
) -> Iterator[str]:
    if as_json:
        told = {"plan": name, "letters": len(names), **found._asdict()}
        yield msgspec.json.encode({**told, "broken": str(found.broken or "")}).decode()
        return
    yield (
        f"{name}: {len(names)} letters, every history up to depth {found.depth}: "
        f"{sum(found.states)} states ({', '.join(map(str, found.states))}), {found.steps} steps, "
        f"{found.seconds:.1f} s"
    )
    if found.broken is not None:
        yield f"broken {found.broken}"
        yield "by " + ", ".join(" ".join(each) for each in found.history)


if __name__ == "__main__":
    sys.exit(_main())
