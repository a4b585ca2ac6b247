"""How soon a current is switched off, on a wire that takes its time.

    python benchmarks/off.py [--times N] [--busy] [PROTOCOL ...]

A pack on a pseudo-terminal, served by another process: every byte takes as long as at the board's
speed, and the simulated board its usual moment. Two measurements for each protocol:

* violation: from the frame that shows a cell beyond its limit to the first byte of the off. The
  rest of the reading comes first. The pauses that the board needs, and the moments before its
  answers, are counted apart.
* table: from the decision to the first byte, while all settings are read in a loop.

`--busy`: fifteen other packs are polled by the same program meanwhile, and other programs keep
every core busy. The table is printed with the targets of the project, and the exit code is 5 where
one is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import pairwise
from typing import NamedTuple
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

import bmslink
from bmslink.board import Board
from bmslink.control import Battery, Engine, Mode
from bmslink.control.act.actuators import BoardActuator, prepare
from bmslink.control.decide.catalogue import default_policies
from bmslink.errors import BmsError
from bmslink.link.transport import OnData, OnLost
from bmslink.polling import readings
from bmslink.simulation.console import execute_on
from bmslink.simulation.terminal import Terminal
from bmslink.simulation.transport import SimDevice, SimLine, make_device

PROTOCOLS = ("jk02", "jk-modbus", "jk-nw", "jbd", "daly-a5", "daly-d2", "daly-p81")
TARGETS = {"jk": 0.080, "jbd": 0.200, "daly": 0.250}
"""Violation to off, s, beside gaps and what is asked in between."""
_VOLTS, _WORD = 3.947, b"\x0f\x6b"
"""A cell beyond every limit, and how it looks on the wire of all protocols, or backwards."""
_LIMIT = 3.8
_COLUMNS = (
    "protocol", "from", "n", "p50", "p99", "gaps", "board", "ours", "ours p99", "react", "target",
)  # fmt: skip
_OTHERS = ("jbd", "daly-a5", "jk02") * 5


class Sample(NamedTuple):
    """One off: seconds."""

    total: float
    gaps: float
    """Pauses that the board needs before each frame, as far as they were waited for."""
    boards: float
    """From the end of each question to the first byte of its answer."""
    reaction: float
    """From the last byte before the off to its own first byte, beyond the pause."""

    @property
    def ours(self) -> float:
        """What is left: programs, and bytes on the wire."""
        return self.total - self.gaps - self.boards


class Line:
    """When frames go out and come in."""

    def __init__(self, device: Board) -> None:
        """To be made before the device is opened."""
        self.sent: list[tuple[float, bytes]] = []
        self.heard: list[float] = []
        """When bytes came."""
        self.violated: float | None = None
        """When the first frame was that holds the cell beyond its limit."""
        self._device, self._loop = device, asyncio.get_running_loop()
        self._since = b""
        self.transport = device.link.transport
        self._write, self._open = self.transport.write, self.transport.open

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, the transport says what it does."""
        with (
            patch.object(self.transport, "write", self._writing),
            patch.object(self.transport, "open", self._opening),
        ):
            yield

    def clear(self) -> None:
        """Forget what was."""
        self.sent, self.heard, self.violated = [], [], None

    async def _writing(self, data: bytes) -> None:
        self.sent.append((self._loop.time(), bytes(data)))
        await self._write(data)

    async def _opening(self, on_data: OnData, on_lost: OnLost) -> None:
        def hearing(data: bytes) -> None:
            self.heard.append(self._loop.time())
            before = self._device.link.received
            on_data(data)
            self._since += data
            if self._device.link.received == before:
                return
            if self.violated is None and (_WORD in self._since or _WORD[::-1] in self._since):
                self.violated = self._loop.time()
            self._since = b""

        await self._open(hearing, on_lost)

    def sample(self, start: float, frame: bytes) -> Sample:
        """What happened between a moment and the off."""
        device = self._device
        timing, streams = device.link.timing, device.driver.streams
        off = next(at for at, data in self.sent if data == frame and at >= start)
        gaps = boards = 0.0
        for (at, data), (after, _) in pairwise([*self.sent, (math.inf, b"")]):
            if start <= at <= off and not streams:
                quiet = max((byte for byte in self.heard if byte < at), default=start)
                gaps += min(timing.gap, at - max(quiet, start))
            ends = at + len(data) * 10 / timing.baudrate
            first = min((byte for byte in self.heard if at < byte < after), default=ends)
            if at < off and first > start and not streams:
                boards += max(0.0, first - max(ends, start))
        last = max((byte for byte in self.heard if byte < off), default=start)
        reaction = off - last - (0.0 if streams else timing.gap)
        return Sample(off - start, gaps, boards, reaction)


def _open(stack: ExitStack, place: str, protocol: str) -> SimDevice:
    device = make_device(protocol, cells=16, load="idle")
    terminal = Terminal(place)
    stack.callback(terminal.close)
    line = SimLine(device, terminal.write, client_rate=lambda: terminal.rate, pace=True)
    stack.callback(line.close)
    terminal.listen(line.receive)
    return device


async def serve(place: str, protocol: str, others: Sequence[str]) -> None:
    """A pack at a place, stirred by the lines of standard input, until that ends, and others."""
    stack = ExitStack()
    device = _open(stack, place, protocol)
    for number, other in enumerate(others):
        _open(stack, f"{place}{number}", other)
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def stir() -> None:
        text = sys.stdin.readline()
        if text:
            device.tick()
            execute_on(device, text)
        else:
            ended.set()

    loop.add_reader(sys.stdin, stir)
    print("ready", flush=True)
    await ended.wait()
    stack.close()


async def _polled(target: str) -> None:
    async with bmslink.connect(target).board as device:
        async for _ in readings(device, interval=1.0, opened=True):
            pass


@asynccontextmanager
async def _disturbed(targets: Sequence[str], cores: int) -> AsyncIterator[None]:
    """Inside, these packs are polled; if there are any, so many cores are busy."""
    tasks = [asyncio.ensure_future(_polled(target)) for target in targets]
    code = "import os; os.setpriority(os.PRIO_PROCESS, 0, 0)\nwhile True: pass"
    spin = [sys.executable, "-c", code]  # as urgent as programs are, whatever we are
    count = cores if targets else 0
    spinning = [await asyncio.create_subprocess_exec(*spin) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            await process.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Packed(NamedTuple):
    """A connected pack."""

    device: Board
    charge: BoardActuator
    line: Line
    frame: bytes
    """That switches charging off."""
    stir: Callable[..., None]


@asynccontextmanager
async def packed(protocol: str, *, busy: bool, cores: int = 0) -> AsyncIterator[Packed]:
    """A pack in a process of its own, and what stirs it. `cores`: how many are kept busy by other
    programs; 0: all."""
    others = _OTHERS if busy else ()
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/bms"
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--serve", place, protocol, *others,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        if process.stdout is None or await process.stdout.readline() != b"ready\n":
            raise RuntimeError("the simulated pack did not start")

        def stir(*lines: str) -> None:
            if process.stdin is not None:
                process.stdin.write("".join(f"{text}\n" for text in lines).encode())

        device = bmslink.connect(f"{protocol}+serial://{place}").board
        line = Line(device)
        with line.watching():
            async with device:
                charge = (await prepare(device, waive=["untested"])).actuators["charge"]
                await charge.off(asyncio.get_running_loop().time() + 5.0)
                targets = [f"{p}+serial://{place}{n}" for n, p in enumerate(others)]
                async with _disturbed(targets, cores or os.cpu_count() or 1):
                    yield Packed(device, charge, line, line.sent[-1][1], stir)
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def violations(protocol: str, times: int, *, busy: bool) -> list[Sample]:
    """The reading that shows it is decided on by all shipped policies, and off goes out."""
    battery = Battery(
        chemistry="lfp", cells=16, capacity=100.0, charge_current=50, discharge_current=100
    )
    engine = Engine(default_policies(battery), acting=(Mode.ENFORCE, Mode.SHADOW))
    found: list[Sample] = []
    loop = asyncio.get_running_loop()
    async with packed(protocol, busy=busy) as (device, charge, line, frame, stir):
        while len(found) < times:
            stir("cell 3 auto", "clear all", "app charge on")
            await device.read()
            await asyncio.sleep(0.05)
            line.clear()
            stir(f"cell 3 {_VOLTS}")
            voltage = 0.0
            while voltage < _LIMIT:
                reading = await device.read()
                engine.step(reading, loop.time())
                voltage = reading.max_cell_voltage or 0.0
            begun = line.violated
            await charge.off(loop.time() + 2.0)
            if begun is not None:
                found.append(line.sample(begun, frame))
    return found


async def beside_table(protocol: str, times: int, *, busy: bool) -> list[Sample]:
    """Off while all settings are read, again and again."""
    found: list[Sample] = []
    loop = asyncio.get_running_loop()
    async with packed(protocol, busy=busy) as (device, charge, line, frame, stir):

        async def table() -> None:
            while True:
                with contextlib.suppress(BmsError):
                    await device.settings()

        reading = asyncio.ensure_future(table())
        while len(found) < times:
            line.clear()
            await asyncio.sleep(0.5 + 0.0137 * (len(found) % 30))
            begun = loop.time()
            await charge.off(begun + 3.0)
            found.append(line.sample(begun, frame))
            stir("app charge on")
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError, BmsError):
            await reading
    return found


def at(values: Sequence[float], share: float) -> float:
    """The value below which that share (0..1) of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _row(table: Table, *names: str, samples: list[Sample], target: float | None) -> bool:
    """Whether the target is met."""
    columns = [[getattr(s, name) for s in samples] for name in Sample._fields]
    ours = [s.ours for s in samples]
    worst = at(ours, 0.99)
    total, gaps, boards, reaction = columns
    shown = (
        at(total, 0.5), at(total, 0.99), at(gaps, 0.5), at(boards, 0.5), at(ours, 0.5), worst,
        at(reaction, 0.99),
    )  # fmt: skip
    numbers = [f"{1000 * value:.1f}" for value in shown]
    met = target is None or worst <= target
    verdict = "" if target is None else f"{1000 * target:.0f} {'met' if met else 'MISSED'}"
    table.add_row(*names, str(len(samples)), *numbers, verdict)
    return met


def main() -> int:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("protocols", nargs="*", default=PROTOCOLS)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.serve:
        place, protocol, *others = wish.protocols
        asyncio.run(serve(place, protocol, others))
        return 0
    table = Table(title="Off on the wire, ms", title_justify="left")
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in ("protocol", "from") else "right")
    met = True
    for protocol in wish.protocols:
        target = TARGETS[protocol.partition("-")[0].rstrip("0123456789")]
        found = asyncio.run(violations(protocol, wish.times, busy=wish.busy))
        met &= _row(table, protocol, "violation", samples=found, target=target)
        found = asyncio.run(beside_table(protocol, wish.times, busy=wish.busy))
        _row(table, "", "table", samples=found, target=None)
    Console(width=110).print(table)
    return 0 if met else 5


if __name__ == "__main__":
    sys.exit(main())
