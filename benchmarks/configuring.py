"""How close a whole change of settings comes to what the wire and the board's pauses allow.

Read everything, plan, write ten settings, read each back, read everything again: on a paced
pseudo-terminal. What must be sent is counted apart: who it is and the live values once, the table
three times (the plan's, once more before the first write, and the proof), ten writes with their
read-backs. To its wire time come the quiet time before every request and the pause after the last
write, in which boards forget what they had taken.
"""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bmslink import connect
from bmslink.board import Board
from bmslink.config import Plan, apply, draft
from bmslink.config.writer import _REST as REST
from bmslink.storage.journal import Journal
from boards import boards

WANTED = {
    "cell_ovp": 3.6,
    "cell_ovp_release": 3.45,
    "cell_uvp": 2.6,
    "pack_ovp": 57.5,
    "pack_uvp": 41.0,
    "charge_utp": 1.0,
    "charge_otp": 54.0,
    "discharge_otp": 59.0,
    "charge_ocp": 90.0,
    "balance_start_voltage": 3.42,
}
"""Ten settings in ten registers."""


class Traffic(NamedTuple):
    """What went over the wire."""

    size: int
    """Bytes both ways."""
    requests: int

    def plus(self, other: Traffic, times: int = 1) -> Traffic:
        """Both together."""
        return Traffic(self.size + times * other.size, self.requests + times * other.requests)


class Change(NamedTuple):
    """One change of ten settings, in seconds."""

    must: Traffic
    sent: Traffic
    limit: float
    took: float


def measure() -> Change:
    """One change on a fresh board."""
    with boards("jbd") as targets, tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(targets[0], Journal(Path(folder))))


async def _measure(target: str, journal: Journal) -> Change:
    tape = io.BytesIO()
    async with connect(target, record=tape).board as device:
        gap, baudrate = device.link.timing.gap, device.link.timing.baudrate
        parts = [await _parts(device, tape)]
        writes = await _writes(device, tape)
        await device.settings()  # whatever it asks only once it has asked by now
        seen = _traffic(tape, 0)
        start = time.perf_counter()
        async with device.conversation():
            plan: Plan = await draft(device, WANTED, chemistry="lfp", journal=journal)
            outcome = await apply(device, plan, journal=journal)
        took = time.perf_counter() - start
        if outcome.result != "done" or len(outcome.changes) != len(WANTED):
            raise RuntimeError(f"the change was not made: {outcome.sentence}")
        sent = _traffic(tape, 0).plus(seen, -1)
    must = parts[0].plus(writes)
    limit = must.size * 10 / baudrate + must.requests * gap + REST
    return Change(must, sent, limit, took)


async def _parts(device: Board, tape: io.BytesIO) -> Traffic:
    """Who it is and the live values once, the table three times."""
    identity = await device.identify()
    found = await device.settings_map(identity)
    await device.read()
    at = len(tape.getvalue())
    await device.identify()
    await device.read()
    once = _traffic(tape, at)
    at = len(tape.getvalue())
    await device.settings(found)
    return once.plus(_traffic(tape, at), 3)


async def _writes(device: Board, tape: io.BytesIO) -> Traffic:
    """Ten writes of two bytes with their acknowledgements, and a read-back for each: as long as
    a read, and as its answer."""
    found = await device.settings_map(await device.identify())
    slots = [found.by_address[found.setting(key).slot] for key in WANTED]
    at = len(tape.getvalue())
    async with device.writing():
        await device.fetch(slots)
    reading = _traffic(tape, at)
    request, acknowledgement = 9, 7
    return reading.plus(Traffic(request + acknowledgement, 1), len(slots))


def _traffic(tape: io.BytesIO, start: int) -> Traffic:
    lines = tape.getvalue()[start:].splitlines()[0 if start else 1 :]
    pieces = [json.loads(line) for line in lines]
    sizes = sum(len(piece["hex"]) // 2 for piece in pieces)
    return Traffic(sizes, sum(piece["dir"] == "tx" for piece in pieces))
