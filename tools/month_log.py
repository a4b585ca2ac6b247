"""A recording of an ordinary life, as `bmslink read --watch --json` would have written it.

    python tools/month_log.py LIFE [--days N] [--every S] [--seed N] [--probes NAME ...] > log.jsonl

The pack is the second model (`second_pack.py`), and nothing is switched: it is the month as it was
before anybody thought of policies. `--probes` are the names of the board's probes: two at the
cells, one at the MOSFETs, and any number that say nothing. `--list` names the lives.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lives import DAY, LIVES, POLL, Life, begin, go_on, reading

__all__ = ["PROBES", "lines"]

PROBES = ("cell_1", "cell_2", "mosfet")
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def lines(
    life: Life, *, days: float, every: float, seed: int = 1, probes: Sequence[str] = PROBES
) -> Iterator[str]:
    """The lines of the log; `every` is the time between readings, s, a multiple of 5."""
    world = begin(replace(life, unfitted=0), seed)
    while world.now < days * DAY:
        go_on(world, life, POLL, life.day)
        if world.now % every:
            continue
        found = reading(world, replace(life, unfitted=0))
        values = [*found.temperatures.values()]
        heard: dict[str, Any] = dict(zip(probes, values, strict=False))
        told = {
            "schema": 1,
            **replace(
                found,
                target="recorded",
                protocol="jbd",
                temperatures={**dict.fromkeys(probes), **heard},
                time=_BEGAN + timedelta(seconds=world.now),
            ).to_dict(),
        }
        yield json.dumps(told, ensure_ascii=False)


def main(arguments: list[str]) -> int:
    """Print a life."""
    parser = argparse.ArgumentParser(description="A recording of an ordinary life.")
    parser.add_argument("life", nargs="?", help="a part of its name")
    parser.add_argument("--list", action="store_true", help="name them all")
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=30.0, help="s between readings")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--probes", nargs="+", default=list(PROBES), metavar="NAME")
    chosen = parser.parse_args(arguments)
    found = [life for life in LIVES if chosen.life and chosen.life in life.name]
    if chosen.list or not found:
        print("\n".join(life.name for life in LIVES), file=sys.stdout)
        return 0 if chosen.list else 2
    for line in lines(
        found[0], days=chosen.days, every=chosen.every, seed=chosen.seed, probes=chosen.probes
    ):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
