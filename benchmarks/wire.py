"""How close a poll comes to what the wire allows, on pseudo-terminals that keep a baud rate.

The limit is the time of all bytes both ways, ten bits each, plus the quiet times that were asked
for. The simulated boards answer at once; a real one takes 0 to 70 ms more for each request.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from typing import NamedTuple

from bmslink import connect
from boards import boards

PROTOCOLS = ("jbd", "daly-a5")


class Cycle(NamedTuple):
    """The polls of one device, in seconds."""

    name: str
    limit: float
    times: list[float]
    cpu: float
    """Of our process, per poll."""


def cycles(polls: int) -> list[Cycle]:
    """Each protocol without gaps, and with those that it keeps by default."""
    found = []
    for protocol in PROTOCOLS:
        for gap in (0.0, None):
            with boards(protocol) as targets:
                found.append(asyncio.run(_cycle(protocol, targets[0], gap, polls)))
    return found


async def _cycle(protocol: str, target: str, gap: float | None, polls: int) -> Cycle:
    wanted = target if gap is None else f"{target}?gap={gap}"
    wire, requests = await _traffic(wanted)
    async with connect(wanted).board as device:
        await device.read()
        await device.read()
        timing = device.link.timing
        times: list[float] = []
        cpu = time.process_time()
        for _ in range(polls):
            start = time.perf_counter()
            await device.read()
            times.append(time.perf_counter() - start)
        cpu = (time.process_time() - cpu) / polls
    limit = wire * 10 / timing.baudrate + requests * timing.gap
    gaps = f"{requests} x {timing.gap * 1000:.0f} ms gap" if timing.gap else "no gaps"
    return Cycle(f"{protocol}, {wire} bytes, {gaps}", limit, times, cpu)


async def _traffic(target: str) -> tuple[int, int]:
    """Bytes both ways and requests of the third poll; the first ones find out what is there."""
    tape = io.BytesIO()
    async with connect(target, record=tape).board as device:
        await device.read()
        await device.read()
        before = len(tape.getvalue())
        await device.read()
        lines = [json.loads(line) for line in tape.getvalue()[before:].splitlines()]
    return sum(len(line["hex"]) // 2 for line in lines), sum(line["dir"] == "tx" for line in lines)
