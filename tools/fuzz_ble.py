"""Hostile Bluetooth peripherals, many of them: `python tools/fuzz_ble.py [STREAMS] [PROTOCOL]...`

Gives each protocol that is spoken over Bluetooth STREAMS (10,000) streams of notifications: random
bytes, frames of its own and of others, cut, doubled, replayed, damaged and very long ones, in
packets of any size and at any pace, before and during a reading. What that reading gives does not
matter, but nothing may come out except our own errors, memory stays bounded, and after the noise
the link reads the pack again. Through bleak's interface to a backend in memory (`ble_memory`), on
virtual time; `fuzz_gatt.py` does the same over a real ATT and GATT stack. Needs hypothesis. Prints
one line per protocol; exits with 1 if any fails. `tests/transports/ble/test_ble_hostile.py` runs a
few of them.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import bmslink
from ble_memory import AIR, Module, simulated
from bmslink.errors import BmsError
from bmslink.link.capture import open_capture
from bmslink.protocols import DRIVERS, load_driver
from bmslink.transports.ble.backend import VARIABLE
from virtual_time import virtual_run

__all__ = ["BACKEND", "PROTOCOLS", "fuzz"]

BACKEND = "ble_memory:factory"
FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
PROTOCOLS = [name for name in DRIVERS if load_driver(name).modules]
STREAMS = 10_000
_ADDRESS = "C8:47:8C:E4:55:12"
_TRIES = 4
"""Readings in which a link must find back: silence ends half a frame, requests are repeated."""

Stream = list[bytes]


@cache
def samples(protocol: str) -> tuple[bytes, ...]:
    """Real frames of a protocol, from captures."""
    found: list[bytes] = []
    for path in sorted((FIXTURES / protocol).glob("*.jsonl"))[:8]:
        framer = load_driver(protocol).make_framer()
        heard = (piece.data for piece in open_capture(path)[1] if not piece.sent)
        frames = [frame.raw for data in islice(heard, 20) for frame in framer.feed(data)]
        found += frames[:2]
    return tuple(found)


@st.composite
def _cut(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    frame = draw(whole)
    return frame[: draw(st.integers(0, len(frame)))]


@st.composite
def _damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    frame = bytearray(draw(whole))
    frame[draw(st.integers(0, len(frame) - 1))] = draw(st.integers(0, 255))
    return bytes(frame)


def streams(protocol: str) -> st.SearchStrategy[Stream]:
    """What a peripheral sends, notification by notification, of any length."""
    others = [frame for other in PROTOCOLS for frame in samples(other)[:3]]
    whole = st.sampled_from([*samples(protocol), *others])
    endless = st.builds(
        lambda unit, times: unit * times, st.binary(min_size=1, max_size=8), st.integers(1, 999)
    )
    piece = st.one_of(
        st.binary(max_size=244),
        whole,
        _cut(whole),
        _damaged(whole),
        st.builds(lambda frame, times: frame * times, whole, st.integers(2, 9)),
        endless,
        st.sampled_from([b"", b"AT\r\n", b"\x00", b"\xff\xaa\x15\x01\x00\x16"]),
    )
    return st.lists(piece, max_size=12)


async def attack(protocol: str, module: Module, stream: Stream, pause: float) -> None:
    """Send the stream before and while a reading is asked for; then one must succeed.

    Raises whatever is not ours, and `AssertionError` where the link does not recover.
    """

    async def noise() -> None:
        for piece in stream:
            await asyncio.sleep(pause)
            module.notify(piece)

    async with bmslink.connect(f"{protocol}+ble://{_ADDRESS}", timeout=0.3).board as device:
        framer = device.link.framer
        for piece in stream:
            module.notify(piece)
        noisy = asyncio.create_task(noise())
        with suppress(BmsError):
            await device.read()
        await noisy
        if framer.pending > framer.longest:
            raise AssertionError(f"{framer.pending} bytes wait for the end of a frame")
        for _ in range(_TRIES):
            try:
                reading = await device.read()
            except BmsError:
                await asyncio.sleep(1)
            else:
                break
        else:
            raise AssertionError("the link does not recover")
        if not reading.cell_voltages:
            raise AssertionError("the reading says nothing")


def fuzz(protocol: str, count: int) -> None:
    """Attack `count` times; raises what went wrong, after hypothesis has made it small."""

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(streams(protocol), st.sampled_from([0.0, 0.001, 0.02, 0.4]))
    def run(stream: Stream, pause: float) -> None:
        AIR.clear()
        module = simulated(protocol, name="pack", address=_ADDRESS)
        virtual_run(attack(protocol, module, stream, pause))

    run()


def main(arguments: list[str]) -> int:
    """The command."""
    os.environ[VARIABLE] = BACKEND
    count = int(arguments[0]) if arguments else STREAMS
    for protocol in arguments[1:] or PROTOCOLS:
        start = time.perf_counter()
        fuzz(protocol, count)
        seconds = time.perf_counter() - start
        print(f"{protocol}: {count} streams survived in {seconds:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
