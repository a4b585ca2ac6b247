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
from acting_world import CONCERNS_ONE, CORE, LETTERS, POLL, Plan, World
from bmslink.control.act.ledger import SwitchRecord
from bmslink.control.act.mandate import Mandate
from bmslink.control.act.numbers import HOUR, ActingNumbers

__all__ = ["PLANS", "Explored", "Letter", "canonical", "explore", "letters_of", "rest"]

TIGHT = ActingNumbers(enables_an_hour=1, writes_a_day=4)
"""Budgets that short histories use up."""
PLANS = {
    "plain": Plan(),
    "stubborn": Plan(obeys=False),
    "alternator": Plan(
        obeys=False, mandate=Mandate(enforce=True, host_power="other", alternator=True)
    ),
    "tight": Plan(numbers=TIGHT),
    "shadow": Plan(mandate=Mandate()),
    "pair": Plan(switches=("charge", "discharge"), one_word=True),
}
Letter = tuple[str, str]
_AT_ONCE = 12
"""How many of anything that is counted one history may add, at most."""
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


def _exact(now: float, at: float | None) -> float | None:
    """An age of which every rule up to 10 s is told apart, and then those of a minute."""
    if at is None:
        return None
    age = now - at
    return age if age <= 10.0 else _minute(now, at)


def _minute(now: float, at: float | None) -> float | None:
    """An age of which only the minute matters."""
    if at is None:
        return None
    return 11.0 if now - at < 60.0 else 60.0


def _count(now: float, times: tuple[float, ...], window: float) -> int:
    """Of what only counts: what lies within a window leaves it together, by a longer step."""
    return sum(now - t < window for t in times)


def _near(count: int, most: int) -> int:
    """A count of which only the end matters: nothing uses up so many more in a history."""
    return max(0, count - most + _AT_ONCE)


def _of_record(record: SwitchRecord, now: float, numbers: ActingNumbers) -> Hashable:
    order = record.order
    told: Hashable = None
    if order is not None:
        trying = order.read_back is None or not (order.on or order.read_back)
        told = (
            order.on,
            _exact(now, order.last) if trying else None,
            min(order.tries, numbers.quick_tries + 1) if trying else 0,
            order.unsent,
            order.took,
            order.over and _exact(now, order.at),
            order.read_back,
            record.held is not None and order.last >= record.held,
        )
    return (
        record.prior,
        record.own,
        record.confirmed,
        record.person,
        told,
        record.seen,
        record.held is None,
        _exact(now, record.waiting),
        _minute(now, record.off_at) if record.own else None,
        _minute(now, record.enables[-1]) if record.enables else None,
        _count(now, record.enables, HOUR),
        _count(now, record.clashes, numbers.clash_window),
        record.down is None,
        min(record.futile, numbers.futile_enables),
        record.asserted,
    )


def _of_side(side: Side, now: float, numbers: ActingNumbers) -> Hashable:
    return (
        side.on,
        tuple((at - now, on) for at, on in side.due),
        side.trip,
        side.emergency,
        side.protected,
        side.shown,
        side.own_off,
        side.unread,
        side.own_off and side.aged,
        _exact(now, side.off_at) if side.own_off or side.tries else _minute(now, side.off_at),
        _exact(now, side.on_at) if side.coming_on else None,
        side.coming_on and side.on_over,
        side.prior,
        min(side.vain, numbers.futile_enables),
        side.shown_off,
        None if side.shown_off else _exact(now, side.over),
        side.foreign,
        side.foreign_shown,
        side.person,
        _count(now, side.clashes, numbers.clash_window),
        side.down,
        side.answered,
        side.hold,
        min(side.tries, numbers.quick_tries + 1),
        _exact(now, side.waiting),
        side.asked is not None and now - side.asked >= POLL,
    )


def canonical(world: World) -> Hashable:
    """What tells two worlds apart for all that can still happen within the depth that is explored.

    Left out is what only words depend on, and what no rule asks for any more. A test compares where
    worlds of one form go.
    """
    now, ledger, numbers = world.now, world.ledger, world.plan.numbers
    kept: Hashable = None
    if world.kept is not None:
        old, at, memory, stopped = world.kept
        kept = (
            stopped,
            tuple(
                (_of_record(old.record(side.name), at, numbers), _of_side(side, at, numbers))
                for side in memory
            ),
        )
    return (
        world.effect,
        world.stale,
        world.sink,
        world.disk,
        kept,
        world.rebooted,
        _minute(now, world.started),
        world.heard,
        world.good,
        world.stop,
        ledger.stop is None,
        ledger.run.good,
        ledger.run.heard,
        _near(ledger.writes_today(now), numbers.writes_a_day),
        tuple(_of_record(ledger.record(s.name), now, numbers) for s in world.sides),
        tuple(_of_side(side, now, numbers) for side in world.sides),
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
    for _ in range(8):  # longer than an opening waits
        world.cycle()
    ons, offs = world.ons, world.offs
    for seconds in (2.0, 2.0, 62.0, 62.0, 62.0, 600.0):
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
        ours = side.own_off and side.prior and not side.foreign
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


def _lines(name: str, names: Sequence[str], found: Explored, *, as_json: bool) -> Iterator[str]:
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
