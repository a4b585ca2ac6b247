"""Sixteen packs on sixteen serial links in one process, each at its natural rate.

The JK packs stream by themselves; the others are read once a second. Every byte comes at its
time, one by one, which is the hardest case: most adapters deliver several at once.
"""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import NamedTuple

from bmslink import connect
from boards import boards

PACKS = ("jbd",) * 6 + ("daly-a5",) * 5 + ("jk02",) * 5
NATURAL = {"jbd": 1.0, "daly-a5": 1.25, "jk02": 0.54}
"""Seconds between two readings: one a second is asked for, a Daly needs more for its eight
requests with their quiet times, and a JK sends when it likes."""


class Share(NamedTuple):
    """What one process with all links needed."""

    cpu: float
    """Of one core, 0 to 1."""
    seconds: float
    readings: dict[str, list[int]]
    """By protocol: how many came on each link."""
    latest: float
    """The longest time between two readings of a link, as a multiple of its natural one."""


def share(seconds: float) -> Share:
    """Measure for that long, after all links have found their step."""
    with boards(*PACKS) as targets:
        return asyncio.run(_share(targets, seconds))


async def _share(targets: list[str], seconds: float) -> Share:
    times: list[list[float]] = [[] for _ in targets]
    readers = [
        asyncio.ensure_future(_read(target, NATURAL[name], seen))
        for target, name, seen in zip(targets, PACKS, times, strict=True)
    ]
    while not all(len(seen) > 1 for seen in times):
        for reader in readers:
            if reader.done():
                reader.result()
        await asyncio.sleep(0.05)
    start, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    readings: dict[str, list[int]] = {name: [] for name in NATURAL}
    latest = 0.0
    for name, seen in zip(PACKS, times, strict=True):
        counted = [t for t in seen if start <= t <= start + wall]
        readings[name].append(len(counted))
        longest = max(b - a for a, b in pairwise([start, *counted, start + wall]))
        latest = max(latest, longest / NATURAL[name])
    return Share(cpu / wall, wall, readings, latest)


async def _read(target: str, period: float, seen: list[float]) -> None:
    async with connect(target) as device:
        streams = device.board.driver.name == "jk02"
        readings = device.stream(0.0 if streams else period)
        while await anext(readings):
            seen.append(time.perf_counter())
