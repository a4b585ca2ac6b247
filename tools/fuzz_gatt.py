"""Hostile notifications over the real stack: whatever a module sends, the link stays usable.

    python tools/fuzz_gatt.py [STREAMS] [PROTOCOL...]

Each stream is a burst of notifications of one kind (random, oversized, replayed, cut, from
another protocol, …) while a reading is asked for. That may fail, but only with one of our own
errors; the readings after the burst must be the pack's again. Time is virtual, chance is seeded.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import bmslink
from bmslink.board import Board
from bmslink.errors import BmsError
from bmslink.transports.ble.backend import VARIABLE
from radio_world import BACKEND, PROTOCOLS, World, world
from virtual_time import virtual_run

__all__ = ["hostile_streams"]

_TRIES = 4
"""Readings in which a link must find back: silence ends half a frame, and requests are repeated."""
_HEADS = ("55aaeb90", "aa5590eb", "dd03001b", "dd040008", "a5019508", "d2037c", "5103", "ffaa1801")
_PAUSES = (0.0, 0.0, 0.001, 0.01, 0.2)

Stream = list[bytes]


class Endured(NamedTuple):
    """What came of hostile streams."""

    failed: int
    """Readings that failed meanwhile."""
    noise: int
    """Bytes that belonged to no frame."""


def _random(chance: random.Random, _: Sequence[bytes]) -> Stream:
    return [chance.randbytes(chance.randrange(1, 245)) for _ in range(chance.randrange(1, 40))]


def _bytewise(chance: random.Random, _: Sequence[bytes]) -> Stream:
    return [bytes([byte]) for byte in chance.randbytes(chance.randrange(400))]


def _oversized(chance: random.Random, _: Sequence[bytes]) -> Stream:
    return [chance.randbytes(chance.randrange(400, 2000)) for _ in range(5)]


def _endless(chance: random.Random, _: Sequence[bytes]) -> Stream:
    head = bytes.fromhex(chance.choice(_HEADS))
    return [head * chance.randrange(1, 30)] * chance.randrange(1, 60)


def _headed(chance: random.Random, _: Sequence[bytes]) -> Stream:
    """Something that begins like a frame and goes on as nothing."""
    return [
        bytes.fromhex(chance.choice(_HEADS)) + chance.randbytes(chance.randrange(300))
        for _ in range(chance.randrange(1, 20))
    ]


def _replayed(chance: random.Random, corpus: Sequence[bytes]) -> Stream:
    start = chance.randrange(max(1, len(corpus)))
    return list(corpus[start : start + chance.randrange(1, 40)])


def _shuffled(chance: random.Random, corpus: Sequence[bytes]) -> Stream:
    return chance.choices(corpus, k=chance.randrange(1, 40)) if corpus else []


def _damaged(chance: random.Random, corpus: Sequence[bytes]) -> Stream:
    stream = []
    for piece in filter(None, _replayed(chance, corpus)):
        changed = bytearray(piece)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        stream.append(bytes(changed[: chance.randrange(1, len(changed) + 1)]))
    return stream


def _empty(chance: random.Random, _: Sequence[bytes]) -> Stream:
    return [b""] * chance.randrange(1, 50)


_OWN: tuple[Callable[[random.Random, Sequence[bytes]], Stream], ...] = (
    _random,
    _bytewise,
    _oversized,
    _endless,
    _headed,
    _replayed,
    _shuffled,
    _damaged,
    _empty,
)


async def _traffic(protocol: str) -> list[bytes]:
    """What a pack of another protocol notifies."""
    async with world(protocol, seed=3) as here, bmslink.connect(here.target).board as device:
        for _ in range(2):
            await device.read()
        return list(here.notified)


async def hostile_streams(protocol: str, count: int, seed: int = 1) -> Endured:
    """So many streams on one connection; gives back what came of them.

    Raises `AssertionError` where the link does not find back, and whatever is not ours.
    """
    chance = random.Random(f"{protocol} {seed}")
    others = {name: await _traffic(name) for name in PROTOCOLS if not _related(name, protocol)}
    failed = 0
    async with (
        world(protocol, mtu=chance.choice((23, 185, 247))) as here,
        bmslink.connect(here.target).board as device,
    ):
        await device.read()
        for number in range(count):
            if chance.random() < 0.2:
                stream = _shuffled(chance, others[chance.choice(sorted(others))])
            else:
                stream = chance.choice(_OWN)(chance, here.notified[-200:])
            failed += await _endure(here, device, stream, chance)
            framer = device.link.framer
            _check(framer.pending <= framer.longest, f"{framer.pending} bytes wait", number)
            await _find_back(here, device, number)
        return Endured(failed, device.link.framer.skipped_bytes)


def _related(one: str, other: str) -> bool:
    """Whether frames of one are frames of the other: JK's records differ in what they say only."""
    return one.partition("0")[0] == other.partition("0")[0]


async def _endure(here: World, device: Board, stream: Stream, chance: random.Random) -> int:
    """A reading while a stream comes in."""
    session = here.served.session
    if session is None:
        raise AssertionError("The connection is gone.")

    async def pour() -> None:
        for piece in stream:
            session.put(piece)
            await asyncio.sleep(chance.choice(_PAUSES))

    pouring = asyncio.create_task(pour())
    try:
        await device.read()
        return 0
    except BmsError:
        return 1
    finally:
        await pouring


def _check(holds: bool, otherwise: str, stream: int) -> None:
    if not holds:
        raise AssertionError(f"Stream {stream}: {otherwise}.")


async def _find_back(here: World, device: Board, stream: int) -> None:
    """The next readings are the pack's, but for a few that may fail."""
    error: BmsError | None = None
    for _ in range(_TRIES):
        try:
            reading = await device.read()
        except BmsError as exc:
            error = exc
            continue
        truth = here.device.pack.truth().cell_voltages or ()
        found = reading.cell_voltages or ()
        _check(len(found) == len(truth), f"{len(found)} cells instead of {len(truth)}", stream)
        away = max(abs((a or 0.0) - (b or 0.0)) for a, b in zip(found, truth, strict=True))
        _check(away < 0.01, f"a cell is {away:g} V away", stream)
        return
    raise AssertionError(f"Stream {stream}: the link did not find back: {error}") from error


def main(arguments: list[str]) -> int:
    """Fuzz what was asked for, or all."""
    os.environ[VARIABLE] = BACKEND
    count = int(arguments[0]) if arguments else 1000
    for protocol in arguments[1:] or PROTOCOLS:
        start = time.perf_counter()
        seed = random.randrange(1 << 32)
        print(f"{protocol}, seed {seed}: ", end="", flush=True)
        failed, noise = virtual_run(hostile_streams(protocol, count, seed=seed))
        print(
            f"{count} streams, {noise} bytes of noise, {failed} readings failed meanwhile, "
            f"{time.perf_counter() - start:.0f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
