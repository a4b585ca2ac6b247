"""Long random histories of what can happen to a switch, crashes included, judged by the laws.

    python tools/wander_acting.py [--histories 1000000] [--seed 0] [--tails 16] [--minutes M]

The alphabet, the truth beside the ledger and the laws are those of `explore_acting`, which follows
every history up to a depth; these are 20 to 60 steps long, with times that fit no step. Of every so
many it is also tried what becomes of it when nothing happens any more (`--tails`). Prints how many
histories, steps, deaths of the program and commands there were; ends with 1 at the first law that
is broken, with the shortest part of the history that breaks it.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from acting_laws import Broken
from acting_world import LETTERS, World
from explore_acting import PLANS, Letter, letters_of, rest

__all__ = ["Found", "Tally", "wander"]

Step = Letter | float
"""What happens, or how long nothing does, s."""
_LENGTHS = (20, 60)
_NAMES = tuple(name for name, plan in PLANS.items() if not plan.one_word)
_DEATHS = frozenset(("crash", "crash midway"))
_COMMON = frozenset(("violation", "clear", "a minute"))
_PART = 10_000


@dataclass
class Tally:
    """What was tried."""

    histories: int = 0
    steps: int = 0
    deaths: int = 0
    ons: int = 0
    offs: int = 0
    """Repeats left out."""

    def __str__(self) -> str:
        return (
            f"{self.histories} histories, {self.steps} steps, {self.deaths} deaths of the program, "
            f"{self.offs} offs, {self.ons} ons"
        )


@dataclass(frozen=True)
class Found:
    """A law that is broken, and the shortest part of the history that breaks it."""

    plan: str
    broken: Broken
    history: list[Step]

    def __str__(self) -> str:
        told = [f"{s:g} s" if isinstance(s, float) else " ".join(s) for s in self.history]
        return f"{self.plan}: broken {self.broken}\nby {', '.join(told)}"


def wander(seed: int, tally: Tally, *, tail: bool = True) -> Found | None:
    """One history, counted."""
    rnd = random.Random(seed)
    name = rnd.choice(_NAMES)
    plan = PLANS[name]
    letters = letters_of(plan, tuple(LETTERS))
    liked = rnd.sample(letters, rnd.randint(4, len(letters)))
    if rnd.random() < 0.6:  # taken and given back, with anything in between
        liked += [each for each in letters if each[0] in _COMMON] * (len(liked) // 4)
    history: list[Step] = []
    for _ in range(rnd.randint(*_LENGTHS)):
        if rnd.random() < 0.25:
            history.append(round(rnd.uniform(0.2, rnd.choice((5.0, 70.0, 700.0))), 1))
        else:
            history.append(rnd.choice(liked))
    world = World.new(plan)
    broken = _breaks(world, history, tail=tail)
    tally.histories += 1
    tally.steps += len(history)
    tally.deaths += sum(step[0] in _DEATHS for step in history if not isinstance(step, float))
    tally.ons += world.ons
    tally.offs += world.offs
    return None if broken is None else _shortest(name, broken, history, tail=tail)


def _shortest(name: str, broken: Broken, history: list[Step], *, tail: bool) -> Found:
    at = 0
    while at < len(history):
        less = history[:at] + history[at + 1 :]
        found = _breaks(World.new(PLANS[name]), less, tail=tail)
        if found is None:
            at += 1
        else:
            broken, history, at = found, less, 0
    return Found(name, broken, history)


def _breaks(world: World, history: Sequence[Step], *, tail: bool) -> Broken | None:
    try:
        world.cycle()
        for step in history:
            if isinstance(step, float):
                world.cycle(step)
            else:
                world.step(*step)
        if tail:
            rest(world)
    except Broken as broken:
        return broken
    return None


def _main() -> int:
    parser = argparse.ArgumentParser(description="Random histories of acting.")
    parser.add_argument("--histories", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tails", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=math.inf)
    asked = parser.parse_args()
    began, tally = time.monotonic(), Tally()
    gc.disable()  # nothing here goes in circles, and a million histories make much of it
    for number in range(asked.histories):
        found = wander(asked.seed + number, tally, tail=number % asked.tails == 0)
        if found is not None:
            print(f"seed {asked.seed + number}, {found}")
            return 1
        if tally.histories % _PART == 0:
            print(f"{tally}, {time.monotonic() - began:.0f} s", flush=True)
            gc.collect()
        if time.monotonic() - began > 60 * asked.minutes:
            break
    print(f"{tally}, {time.monotonic() - began:.1f} s: no law is broken")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
